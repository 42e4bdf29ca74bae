//! SentencePiece BPE, `tokenizer.ggml.model = "llama"`: from tokenizer.model, or from a tokenizer.json made of one.

use std::collections::HashMap;

use pumice::gguf::Header;
use serde_json::Value as Json;

use super::proto::{Value, fields};
use super::special::Special;
use super::{Folder, Kind, Vocabulary, added, merges_json};
use crate::convert::json::{invalid, read};
use crate::failure::Failure;

/// Reads tokenizer.model.
pub fn from_model(folder: &Folder, header: &mut Header) -> Result<(), Failure> {
    let path = folder.file("tokenizer.model");
    let bytes = read(&path)?.unwrap_or_default();
    let model = Model::read(&bytes).ok_or_else(|| invalid(&path, "not a SentencePiece model"))?;
    if model.kind != BPE {
        return Err(invalid(&path, "a SentencePiece model of another kind (unigram, word or char), expected BPE"));
    }
    if model.pieces.len() > folder.n_vocab {
        let what = format!("{} tokens, expected at most the model's {}", model.pieces.len(), folder.n_vocab);
        return Err(invalid(&path, what));
    }
    let mut vocabulary = Vocabulary::new(folder.n_vocab);
    for (id, (text, score, kind)) in model.pieces.iter().enumerate() {
        vocabulary.put(id, text, *kind, *score);
    }
    for (id, token) in added(folder, None)? {
        vocabulary.put_added(id, &token); // many folders name a padding token that was never embedded
    }
    finish(folder, &vocabulary, header)?;
    if !model.space_prefix {
        header.set("tokenizer.ggml.add_space_prefix", false);
    }
    Ok(())
}

/// Reads tokenizer.json, whose merges are in the order of the scores that SentencePiece had for their results.
pub fn from_json(folder: &Folder, header: &mut Header) -> Result<(), Failure> {
    let tokenizer = folder.json("tokenizer.json")?.ok_or_else(|| folder.none("tokenizer.json"))?;
    let vocab = tokenizer.get("model.vocab").ok_or_else(|| tokenizer.missing("model.vocab"))?;
    let mut vocabulary = Vocabulary::new(folder.n_vocab);
    vocabulary.put_all(&tokenizer, "model.vocab", vocab)?;
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, merge) in merges_json(&tokenizer)?.iter().enumerate() {
        ranks.entry(merge.replacen(' ', "", 1)).or_insert(rank);
    }
    let lowest = -(ranks.len() as f32) - 1.0;
    for (id, text) in vocabulary.texts.iter().enumerate() {
        if vocabulary.kinds[id] == Kind::Unused {
            continue;
        }
        vocabulary.scores[id] = ranks.get(text).map_or(lowest, |rank| -(*rank as f32));
        if is_byte(text) {
            (vocabulary.kinds[id], vocabulary.scores[id]) = (Kind::Byte, 0.0);
        }
    }
    for (id, token) in added(folder, Some(&tokenizer))? {
        vocabulary.put_added(id, &token);
    }
    finish(folder, &vocabulary, header)?;
    if !prepends_space(&tokenizer) {
        header.set("tokenizer.ggml.add_space_prefix", false);
    }
    Ok(())
}

fn finish(folder: &Folder, vocabulary: &Vocabulary, header: &mut Header) -> Result<(), Failure> {
    vocabulary.write("llama", Some("default"), true, header);
    let tokenizer = folder.json("tokenizer.json")?;
    Special::read(folder, tokenizer.as_ref(), vocabulary)?.write(header);
    Ok(())
}

/// `<0x0A>`
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether text gets a space in front: by the normalizer, or by the pre-tokenizer of later files.
fn prepends_space(tokenizer: &crate::convert::json::Json) -> bool {
    let steps = |key: &str, list: &str| -> Vec<&Json> {
        let Some(found) = tokenizer.get(key) else { return Vec::new() };
        found.get(list).and_then(Json::as_array).map_or_else(|| vec![found], |steps| steps.iter().collect())
    };
    let kind = |step: &Json, kind: &str| step.get("type").and_then(Json::as_str) == Some(kind);
    let normalizes = steps("normalizer", "normalizers").iter().any(|step| kind(step, "Prepend"));
    let cuts = steps("pre_tokenizer", "pretokenizers");
    let scheme = |step: &Json| match step.get("prepend_scheme").and_then(Json::as_str) {
        Some(scheme) => scheme != "never",
        None => step.get("add_prefix_space").and_then(Json::as_bool).unwrap_or(true),
    };
    normalizes || cuts.iter().any(|step| kind(step, "Metaspace") && scheme(step))
}

/// `TrainerSpec.ModelType.BPE`
const BPE: u64 = 2;

/// What is needed of a `ModelProto`.
struct Model {
    pieces: Vec<(String, f32, Kind)>,
    kind: u64,
    space_prefix: bool,
}

impl Model {
    /// `None` if these are no such bytes.
    fn read(bytes: &[u8]) -> Option<Model> {
        let mut model = Model { pieces: Vec::new(), kind: 1, space_prefix: true };
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(read_piece(piece)?),
                (2, Value::Bytes(trainer)) => {
                    for field in fields(trainer) {
                        if let (3, Value::Number(kind)) = field? {
                            model.kind = kind;
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => {
                    for field in fields(normalizer) {
                        if let (3, Value::Number(add)) = field? {
                            model.space_prefix = add != 0;
                        }
                    }
                }
                _ => {}
            }
        }
        Some(model).filter(|model| !model.pieces.is_empty())
    }
}

/// A `SentencePiece`. One that its users defined is taken for a normal one, as llama.cpp's converter has it.
fn read_piece(message: &[u8]) -> Option<(String, f32, Kind)> {
    let mut piece = (String::new(), 0.0, Kind::Normal);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(text)) => piece.0 = std::str::from_utf8(text).ok()?.to_owned(),
            (2, Value::Float(score)) => piece.1 = score,
            (3, Value::Number(kind)) => {
                piece.2 = match kind {
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    _ => Kind::Normal,
                }
            }
            _ => {}
        }
    }
    Some(piece)
}
