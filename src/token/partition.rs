//! Cutting text at the special tokens in it.

use std::ops::Range;

use super::Token;
use super::vocab::{Vocab, attr};

/// A part of a text: a special token, or what lies between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Token(Token),
    Text(Range<usize>),
}

/// Cuts `text` at each of the tokens `special`, which come longest first: a token is found anywhere before a shorter
/// one is looked for at all. Control and unknown tokens are text unless `parse_special`; user-defined ones never are.
pub(super) fn partition(vocab: &Vocab, special: &[Token], text: &str, parse_special: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    if text.is_empty() {
        return parts;
    }
    parts.push(Part::Text(0..text.len()));
    // A search costs a walk over the text, and vocabularies have thousands of special tokens. Only those are searched
    // for whose every pair of bytes is somewhere in the text: usually those that are in it, and few others.
    let mut pairs = None;
    for &token in special {
        if !parse_special && vocab.is(token, attr::CONTROL | attr::UNKNOWN) {
            continue;
        }
        let needle = vocab.text(token);
        if !pairs.get_or_insert_with(|| Pairs::of(text.as_bytes())).may_contain(needle) {
            continue;
        }
        let Ok(needle) = std::str::from_utf8(needle) else { continue };
        if parts.iter().any(|part| matches!(part, Part::Text(range) if text[range.clone()].contains(needle))) {
            parts = cut(parts, text, needle, token, vocab.is(token, attr::STRIPS_RIGHT));
        }
    }
    parts
}

/// Cuts each part that is text at every occurrence of `needle`.
fn cut(parts: Vec<Part>, text: &str, needle: &str, token: Token, strips_right: bool) -> Vec<Part> {
    let mut out = Vec::with_capacity(parts.len() + 2);
    for part in parts {
        let Part::Text(Range { mut start, end }) = part else {
            out.push(part);
            continue;
        };
        while let Some(found) = text[start..end].find(needle) {
            if found > 0 {
                out.push(Part::Text(start..start + found));
            }
            out.push(Part::Token(token));
            start += found + needle.len();
            if strips_right {
                start = end - text[start..end].trim_start_matches(is_c_space).len();
            }
        }
        if start < end {
            out.push(Part::Text(start..end));
        }
    }
    out
}

/// What C's `isspace` says.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Which pairs of neighbouring bytes a text has.
struct Pairs(Vec<u64>);

impl Pairs {
    fn of(text: &[u8]) -> Pairs {
        let mut bits = vec![0; (1 << 16) / 64];
        for pair in text.windows(2) {
            let pair = usize::from(u16::from_le_bytes([pair[0], pair[1]]));
            bits[pair / 64] |= 1 << (pair % 64);
        }
        Pairs(bits)
    }

    fn may_contain(&self, needle: &[u8]) -> bool {
        needle.windows(2).all(|pair| {
            let pair = usize::from(u16::from_le_bytes([pair[0], pair[1]]));
            self.0[pair / 64] & 1 << (pair % 64) != 0
        })
    }
}
