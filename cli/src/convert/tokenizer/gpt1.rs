//! GPT-1's BPE, `tokenizer.ggml.model = "gpt1"`, which is pumice's own: docs/formats.md.

use pumice::gguf::{Encoded, Header};
use serde_json::Value;

use super::{Folder, Kind, Vocabulary, added, beyond, merges_json, merges_txt};
use crate::convert::json::{Json, shown};
use crate::failure::Failure;

/// What stands for text that the vocabulary cannot say, unless tokenizer.json names another.
const UNKNOWN: &str = "<unk>";

/// From tokenizer.json, or from vocab.json and merges.txt.
pub fn gpt1(folder: &Folder, header: &mut Header) -> Result<(), Failure> {
    let mut vocabulary = Vocabulary::new(folder.n_vocab);
    let tokenizer = folder.json("tokenizer.json")?;
    let (unknown, merges) = match &tokenizer {
        Some(tokenizer) => {
            check(tokenizer)?;
            let vocab = tokenizer.get("model.vocab").ok_or_else(|| tokenizer.missing("model.vocab"))?;
            vocabulary.put_all(tokenizer, "model.vocab", vocab)?;
            (tokenizer.text("model.unk_token")?.unwrap_or(UNKNOWN), merges_json(tokenizer)?)
        }
        None => {
            let vocab = folder.json("vocab.json")?;
            let vocab = vocab.ok_or_else(|| folder.none("tokenizer.json, or vocab.json and merges.txt"))?;
            for (text, id) in vocab.members() {
                if !id.as_u64().is_some_and(|id| vocabulary.put(id as usize, text, Kind::Normal, 0.0)) {
                    return Err(vocab.bad(text, shown(id), format!("an id below the model's {}", folder.n_vocab)));
                }
            }
            (UNKNOWN, merges_txt(folder)?)
        }
    };
    for (id, token) in added(folder, tokenizer.as_ref())? {
        if !vocabulary.put_added(id, &token) {
            return Err(beyond(folder, id, &token));
        }
    }
    let unknown = vocabulary.find(unknown);
    if let Some(id) = unknown {
        vocabulary.kinds[id as usize] = Kind::Unknown;
    }
    vocabulary.write("gpt1", None, false, header);
    if !merges.is_empty() {
        header.set("tokenizer.ggml.merges", Encoded::array(merges.iter().map(String::as_str)));
    }
    if let Some(id) = unknown {
        header.set("tokenizer.ggml.unknown_token_id", id);
    }
    Ok(())
}

/// Refuses a tokenizer.json that is not GPT-1's: lower-cased, cut at spaces and punctuation, `</w>` behind each word.
fn check(tokenizer: &Json) -> Result<(), Failure> {
    for (key, expected) in [
        ("model.type", "BPE"),
        ("model.end_of_word_suffix", "</w>"),
        ("normalizer.type", "BertNormalizer"),
        ("pre_tokenizer.type", "BertPreTokenizer"),
    ] {
        let found = tokenizer.need_text(key)?;
        if found != expected {
            return Err(tokenizer.bad(key, format!("{found:?}"), expected));
        }
    }
    for (key, expected) in [("clean_text", true), ("handle_chinese_chars", true), ("lowercase", true)] {
        tokenizer.only(&format!("normalizer.{key}"), expected)?;
    }
    match tokenizer.get("normalizer.strip_accents") {
        None | Some(Value::Bool(true)) => Ok(()),
        Some(found) => Err(tokenizer.bad("normalizer.strip_accents", shown(found), "null or true")),
    }
}
