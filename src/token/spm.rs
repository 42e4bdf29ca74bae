//! SentencePiece BPE: text starts as characters, which are joined to tokens, the highest score first. Characters that
//! are no tokens fall back to tokens for their bytes.

use std::ops::Range;

use super::Token;
use super::memo::{Memo, NO_TOKEN};
use super::merge::{Joins, Merger, Symbol};
use super::vocab::Vocab;
use super::work;
use crate::error::Result;

const SCORES: &str = "tokenizer.ggml.scores";
/// What a space is written as.
const SPACE: char = '▁';
const SPACE_BYTES: &[u8] = "▁".as_bytes();

/// A SentencePiece tokenizer.
pub(super) struct Spm {
    /// For each token, a number that is smaller the higher its score.
    ranks: Vec<u32>,
    /// The token for each byte.
    bytes: Vec<Option<Token>>,
    /// No token has a space after something else, so words can be encoded one by one. That is so in most
    /// vocabularies, and several times as fast as one heap for the whole text.
    by_word: bool,
    /// Text after the start or a special token gets a space in front.
    pub space_prefix: bool,
    memo: Memo,
}

impl Spm {
    pub fn new(vocab: &Vocab) -> Result<Spm> {
        let (gguf, n) = (&vocab.gguf, vocab.len());
        let array = gguf.need_array(SCORES)?;
        let floats = array.iter_f32().map(|scores| scores.take(n).map(rank).collect::<Vec<_>>());
        let ranks = floats.or_else(|| Some(array.iter_i64()?.take(n).map(|score| rank(score as f32)).collect()));
        let ranks = ranks.filter(|ranks| ranks.len() == n).ok_or_else(|| {
            let found = format!("an array of {} {}", array.len(), array.elem_type().name());
            gguf.bad_key(SCORES, found, format!("an array of {n} numbers"))
        })?;
        let byte = |byte| vocab.find(format!("<0x{byte:02X}>").as_bytes()).or_else(|| vocab.find(&[byte]));
        Ok(Spm {
            ranks,
            bytes: (0..=255).map(byte).collect(),
            by_word: (0..n as Token).all(|token| word_len(vocab.text(token)) == vocab.text(token).len()),
            space_prefix: gguf.get_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
            memo: Memo::default(),
        })
    }

    /// Appends the tokens of `text`; `first` says that it starts the whole text or comes after a special token.
    pub fn encode(&self, vocab: &Vocab, text: &str, first: bool, unknown: Option<Token>, out: &mut Vec<Token>) {
        let mut written = String::with_capacity(text.len() + 16);
        if first && self.space_prefix {
            written.push(SPACE);
        }
        written.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
        let mut merger = Merger::default();
        let mut rest = written.as_bytes();
        while !rest.is_empty() {
            let (word, after) = rest.split_at(if self.by_word { word_len(rest) } else { rest.len() });
            rest = after;
            self.memo.word(vocab, word, out, |out| self.encode_word(vocab, word, unknown, &mut merger, out));
        }
    }

    fn encode_word(
        &self,
        vocab: &Vocab,
        word: &[u8],
        unknown: Option<Token>,
        merger: &mut Merger,
        out: &mut Vec<Token>,
    ) {
        merger.clear();
        let mut rest = word;
        while let Some(&lead) = rest.first() {
            let (character, after) = rest.split_at(len_utf8(lead).min(rest.len()));
            merger.push(character.len(), vocab.find(character).unwrap_or(NO_TOKEN));
            rest = after;
        }
        for symbol in merger.merge(word, &mut Joiner { vocab, spm: self }) {
            match symbol.token {
                NO_TOKEN => self.fall_back(&word[symbol.range()], unknown, out),
                token => out.push(token),
            }
        }
    }

    /// A character that is no token: its bytes, or if the vocabulary lacks one of them, the unknown token, if any.
    fn fall_back(&self, character: &[u8], unknown: Option<Token>, out: &mut Vec<Token>) {
        let bytes = character.iter().map(|&byte| self.bytes[usize::from(byte)]);
        match bytes.collect::<Option<Vec<_>>>() {
            Some(tokens) => out.extend(tokens),
            None => out.extend(unknown),
        }
    }
}

/// Joins symbols to tokens.
struct Joiner<'a> {
    vocab: &'a Vocab,
    spm: &'a Spm,
}

impl Joins for Joiner<'_> {
    fn weigh(&mut self, word: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        let find = || self.vocab.find(&word[left.range().start..right.range().end]);
        let token = self.spm.memo.pair(left.token, right.token, find)?;
        Some((self.spm.ranks[token as usize], token))
    }

    fn token(&mut self, _word: &[u8], token: Token, _joined: Range<usize>) -> Token {
        token
    }
}

/// The length of the first word: spaces, then anything up to the next space.
fn word_len(text: &[u8]) -> usize {
    let mut at = 0;
    while text[at..].starts_with(SPACE_BYTES) {
        at += SPACE_BYTES.len();
    }
    let len = find(&text[at..], SPACE_BYTES).map_or(text.len(), |len| at + len);
    work::add(len);
    len
}

/// The length of a character by its first byte.
fn len_utf8(lead: u8) -> usize {
    match lead {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// Numbers in the opposite order of the scores; a NaN is the lowest score.
fn rank(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    let bits = (score + 0.0).to_bits(); // so that -0 is 0
    if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff }
}

/// Appends the text of a normal token: spaces for `▁`.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&lead, after)) = rest.split_first() {
        match rest.strip_prefix(SPACE_BYTES) {
            Some(after) => {
                out.push(b' ');
                rest = after;
            }
            None => {
                out.push(lead);
                rest = after;
            }
        }
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

/// The byte of a byte token, `<0x0A>`.
pub(super) fn byte(text: &[u8]) -> Option<u8> {
    let hex = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    match hex.iter().map(|&digit| char::from(digit).to_digit(16)).collect::<Option<Vec<u32>>>()?[..] {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_order_scores_from_high_to_low() {
        let scores = [f32::INFINITY, 2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1000.0, f32::NEG_INFINITY, f32::NAN];
        assert!(scores.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank(0.0), rank(-0.0));
    }

    #[test]
    fn pieces_are_written_back() {
        let written = |text: &[u8]| {
            let mut out = Vec::new();
            decode(text, &mut out);
            out
        };
        assert_eq!(written("▁a▁▁b".as_bytes()), b" a  b");
        assert_eq!(written(b"ab\xe2\x96"), b"ab\xe2\x96");
        assert_eq!(
            (byte(b"<0x0A>"), byte(b"<0xfF>"), byte(b"<0x+1>"), byte(b"<0x>"), byte(b"<0x100>")),
            (Some(10), Some(255), None, None, None)
        );
    }
}
