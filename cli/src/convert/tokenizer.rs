//! The tokenizer's files to `tokenizer.*`.

mod byte_level;
mod gpt1;
mod pre;
mod proto;
mod special;
mod spm;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pumice::gguf::{Encoded, Header};
use serde_json::Value;

use super::json::{Json, invalid, missing_file, read, shown};
use crate::failure::Failure;

pub use byte_level::byte_level;
pub use gpt1::gpt1;

/// Reads a folder's tokenizer into a header.
pub type Read = fn(&Folder, &mut Header) -> Result<(), Failure>;

/// Where a tokenizer's files are, and what the model says about it.
pub struct Folder<'a> {
    pub path: &'a Path,
    pub config: &'a Json,
    /// Rows of the embedding.
    pub n_vocab: usize,
}

impl Folder<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn json(&self, name: &str) -> Result<Option<Json>, Failure> {
        Json::read(&self.file(name))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.file(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| invalid(&path, "not UTF-8"))
    }

    /// The error for a folder without a tokenizer that this family could have.
    fn none(&self, files: &str) -> Failure {
        invalid(self.path, format!("no tokenizer: expected {files}; --no-tokenizer writes the weights alone"))
    }
}

/// Llama 1 and 2 have SentencePiece's model, or the same in tokenizer.json; Llama 3 has byte-level BPE.
pub fn llama(folder: &Folder, header: &mut Header) -> Result<(), Failure> {
    let tokenizer = folder.json("tokenizer.json")?;
    if folder.file("tokenizer.model").exists() {
        spm::from_model(folder, header)?;
    } else if tokenizer.is_some_and(|t| t.get("model.byte_fallback").and_then(Value::as_bool) == Some(true)) {
        spm::from_json(folder, header)?;
    } else {
        byte_level(folder, header)?;
    }
    // What else llama.cpp's converter knows about models of this family, by the sizes of their vocabularies.
    match folder.n_vocab {
        32016 => {
            // Code Llama's, which its files do not name.
            for (key, id) in [("prefix", 32007u32), ("suffix", 32008), ("middle", 32009), ("eot", 32010)] {
                header.set(format!("tokenizer.ggml.{key}_token_id"), id);
            }
        }
        49152 => header.set("tokenizer.ggml.add_bos_token", false),
        _ => {}
    }
    if let Some(config) = folder.json("tokenizer_config.json")?
        && let Some(prefix) = config.flag("add_prefix_space")?
    {
        header.set("tokenizer.ggml.add_space_prefix", prefix);
    }
    Ok(())
}

/// What a token is, by llama.cpp's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A vocabulary on its way into a file: one entry for each row of the embedding.
struct Vocabulary {
    texts: Vec<String>,
    kinds: Vec<Kind>,
    scores: Vec<f32>,
}

/// A score below those of all tokens that text is made of.
const NO_SCORE: f32 = -1000.0;

impl Vocabulary {
    /// Of places that no token has yet.
    fn new(n_vocab: usize) -> Self {
        Self {
            texts: (0..n_vocab).map(|i| format!("[PAD{i}]")).collect(),
            kinds: vec![Kind::Unused; n_vocab],
            scores: vec![-10000.0; n_vocab],
        }
    }

    /// Puts a token into its place; false if there is no such place.
    fn put(&mut self, id: usize, text: &str, kind: Kind, score: f32) -> bool {
        let Some(place) = self.texts.get_mut(id) else { return false };
        *place = text.to_owned();
        (self.kinds[id], self.scores[id]) = (kind, score);
        true
    }

    /// Puts all tokens of a JSON object, text to id, into their places.
    fn put_all(&mut self, file: &Json, key: &str, tokens: &Value) -> Result<(), Failure> {
        let tokens = tokens.as_object().ok_or_else(|| file.bad(key, shown(tokens), "an object of tokens"))?;
        for (text, id) in tokens {
            let put = id.as_u64().is_some_and(|id| self.put(id as usize, text, Kind::Normal, 0.0));
            if !put {
                let found = format!("{} for {:?}", shown(id), shortened(text));
                return Err(file.bad(key, found, format!("ids below the model's {}", self.texts.len())));
            }
        }
        Ok(())
    }

    /// Puts an added token into its place, if there is one: one that is special is a mark, others are text that is always
    /// one token.
    fn put_added(&mut self, id: usize, token: &Added) -> bool {
        if token.special || looks_special(&token.text) {
            return self.put(id, &token.text, Kind::Control, NO_SCORE);
        }
        self.put(id, &token.text.replace('▁', " "), Kind::UserDefined, NO_SCORE)
    }

    fn find(&self, text: &str) -> Option<u32> {
        let used = |i: &usize| self.kinds[*i] != Kind::Unused;
        self.texts.iter().position(|t| t == text).filter(used).map(|i| i as u32)
    }

    /// Sets the tokens and their kinds.
    fn write(&self, model: &str, pre: Option<&str>, with_scores: bool, header: &mut Header) {
        header.set("tokenizer.ggml.model", model);
        if let Some(pre) = pre {
            header.set("tokenizer.ggml.pre", pre);
        }
        header.set("tokenizer.ggml.tokens", Encoded::array(self.texts.iter().map(String::as_str)));
        if with_scores {
            header.set("tokenizer.ggml.scores", Encoded::array(self.scores.iter().copied()));
        }
        header.set("tokenizer.ggml.token_type", Encoded::array(self.kinds.iter().map(|kind| *kind as i32)));
    }
}

/// A token that was added to a vocabulary.
struct Added {
    text: String,
    special: bool,
}

/// Tokens that are marks although their files say otherwise; llama.cpp's list.
fn looks_special(text: &str) -> bool {
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || [("<|", "|>"), ("<｜", "｜>"), ("<unused", ">")]
            .iter()
            .any(|(a, b)| text.starts_with(a) && text.ends_with(b))
}

/// The added tokens of all files that have some, by id: tokenizer.json, tokenizer_config.json and added_tokens.json, the
/// first to name an id counting. Those that are named as having a role are special.
fn added(folder: &Folder, tokenizer: Option<&Json>) -> Result<Vec<(usize, Added)>, Failure> {
    let mut found: HashMap<usize, Added> = HashMap::new();
    let config = folder.json("tokenizer_config.json")?;
    if let Some((tokenizer, tokens)) = tokenizer.and_then(|t| Some((t, t.get("added_tokens")?))) {
        for token in tokens.as_array().ok_or_else(|| tokenizer.bad("added_tokens", shown(tokens), "an array"))? {
            let id = token.get("id").and_then(Value::as_u64);
            put(&mut found, id, Some(token)).ok_or_else(|| tokenizer.bad("added_tokens", shown(token), "a token"))?;
        }
    }
    if let Some((config, tokens)) = config.as_ref().and_then(|c| Some((c, c.get("added_tokens_decoder")?))) {
        let members =
            tokens.as_object().ok_or_else(|| config.bad("added_tokens_decoder", shown(tokens), "an object"))?;
        for (id, token) in members {
            let bad = || config.bad("added_tokens_decoder", format!("{} for {id:?}", shown(token)), "tokens by id");
            put(&mut found, id.parse().ok(), Some(token)).ok_or_else(bad)?;
        }
    }
    if let Some(tokens) = folder.json("added_tokens.json")? {
        for (text, id) in tokens.members() {
            let id = id.as_u64().ok_or_else(|| tokens.bad(text, shown(id), "an id"))?;
            found.entry(id as usize).or_insert_with(|| Added { text: text.clone(), special: false });
        }
    }
    let roles = special::named_tokens(folder)?;
    for token in found.values_mut() {
        token.special |= roles.contains(&token.text);
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

fn put(found: &mut HashMap<usize, Added>, id: Option<u64>, token: Option<&Value>) -> Option<()> {
    let (id, token) = (usize::try_from(id?).ok()?, token?);
    let text = token.get("content")?.as_str()?.to_owned();
    let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
    found.entry(id).or_insert(Added { text, special });
    Some(())
}

/// The error for a token that is beyond the embedding.
fn beyond(folder: &Folder, id: usize, token: &Added) -> Failure {
    let what = format!("the added token {:?} has id {id}, expected one below the model's", shortened(&token.text));
    invalid(folder.path, format!("{what} {}", folder.n_vocab))
}

/// The merges of vocab.json's companion, as lines `a b`.
fn merges_txt(folder: &Folder) -> Result<Vec<String>, Failure> {
    let name = "merges.txt";
    let text = folder.text(name)?.ok_or_else(|| missing_file(&folder.file(name)))?;
    let mut merges = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() || (i == 0 && line.starts_with("#version")) {
            continue;
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [left, right] => merges.push(format!("{left} {right}")),
            _ => {
                let found = format!("line {} is {:?}, expected two tokens", i + 1, shortened(line));
                return Err(invalid(&folder.file(name), found));
            }
        }
    }
    Ok(merges)
}

/// The merges of tokenizer.json, which come as lines or as pairs. A space inside a token is written as `Ġ`.
fn merges_json(tokenizer: &Json) -> Result<Vec<String>, Failure> {
    let key = "model.merges";
    let found = tokenizer.get(key).ok_or_else(|| tokenizer.missing(key))?;
    let merge = |merge: &Value| match merge {
        Value::String(line) => Some(line.clone()),
        Value::Array(pair) => match &pair[..] {
            [Value::String(left), Value::String(right)] => {
                Some(format!("{} {}", left.replace(' ', "Ġ"), right.replace(' ', "Ġ")))
            }
            _ => None,
        },
        _ => None,
    };
    let merges = found.as_array().ok_or_else(|| tokenizer.bad(key, shown(found), "an array"))?;
    let bad = |value: &Value| tokenizer.bad(key, format!("with the merge {}", shown(value)), "pairs of tokens");
    merges.iter().map(|value| merge(value).ok_or_else(|| bad(value))).collect()
}

/// A token's text for a message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
