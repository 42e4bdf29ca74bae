//! `tokenizer.ggml.pre`: the name for the way text is cut before merging.
//!
//! llama.cpp's converter finds it by the hash of a long text's token ids, which tells vocabularies apart as well as ways to
//! cut, so every new vocabulary needs an entry. Here it is read from tokenizer.json, which says how it cuts.

use serde_json::Value;

use crate::convert::json::{Json, shown};
use crate::failure::Failure;

/// A name, and whether readers begin text with BOS because of it.
pub struct Pre {
    pub name: &'static str,
    pub adds_bos: bool,
}

pub const GPT2: Pre = Pre { name: "gpt-2", adds_bos: false };

const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O_PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A step of cutting.
#[derive(PartialEq)]
enum Cut<'a> {
    /// Every match of the expression is a piece.
    Pattern(&'a str),
    /// Every digit is a piece.
    Digits,
}

/// The name of what a tokenizer.json cuts by.
pub fn find(tokenizer: &Json) -> Result<Pre, Failure> {
    let key = "pre_tokenizer";
    let found = tokenizer.get(key).ok_or_else(|| tokenizer.missing(key))?;
    let unknown = || tokenizer.bad(key, shown(found), "a known way to cut text for byte-level BPE");
    let steps = match found.get("pretokenizers") {
        Some(steps) => steps.as_array().ok_or_else(unknown)?.iter().collect(),
        None => vec![found],
    };
    let (mut cuts, mut byte_level) = (Vec::new(), false);
    for step in steps {
        let flag = |key: &str, default| step.get(key).and_then(Value::as_bool).unwrap_or(default);
        match step.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => {
                if flag("add_prefix_space", true) {
                    return Err(tokenizer.bad(key, "ByteLevel with add_prefix_space", "one that adds no space"));
                }
                byte_level = true;
                cuts.extend(flag("use_regex", true).then_some(Cut::Pattern(GPT2_PATTERN)));
            }
            Some("Digits") if flag("individual_digits", false) => cuts.push(Cut::Digits),
            Some("Split") if !flag("invert", false) => {
                let pattern = step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
                let pattern = pattern.filter(|_| step.get("behavior").and_then(Value::as_str) == Some("Isolated"));
                cuts.push(Cut::Pattern(pattern.ok_or_else(unknown)?));
            }
            _ => return Err(unknown()),
        }
    }
    let ignores_merges = tokenizer.flag("model.ignore_merges")?.unwrap_or(false);
    let pre = |name, adds_bos| Pre { name, adds_bos };
    let found = match &cuts[..] {
        _ if !byte_level => None,
        [Cut::Pattern(GPT2_PATTERN)] if !ignores_merges => Some(GPT2),
        [Cut::Digits, Cut::Pattern(GPT2_PATTERN)] if !ignores_merges => Some(pre("smollm", false)),
        [Cut::Pattern(LLAMA3_PATTERN)] if ignores_merges => Some(pre("llama-bpe", true)),
        [Cut::Pattern(LLAMA3_PATTERN)] => Some(pre("smaug-bpe", false)),
        [Cut::Pattern(QWEN2_PATTERN)] if !ignores_merges => Some(pre("qwen2", false)),
        [Cut::Pattern(GPT4O_PATTERN)] if !ignores_merges => Some(pre("gpt-4o", false)),
        [Cut::Pattern(TEKKEN_PATTERN)] if ignores_merges => Some(pre("tekken", true)),
        _ => None,
    };
    found.ok_or_else(unknown)
}
