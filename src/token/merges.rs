//! The merges of a file, which say what may be joined, and in which order.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::Token;
use super::memo::{Memo, NO_TOKEN, zeros};
use super::merge::{Joins, Symbol};
use super::texts::{Equals, Texts};
use super::vocab::Vocab;
use crate::error::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";

/// The merges as the file writes them, `left right`; a merge's number is its rank. Who only decodes never needs them,
/// so the first text that is encoded builds their table.
///
/// Pairs are looked up by their text, and remembered by their tokens. A table of all pairs by their tokens would look up
/// three tokens for each merge first: 140 ms instead of 9 for the 280,000 merges of Llama 3.
pub(super) struct Merges {
    table: OnceLock<Table>,
    pub memo: Memo,
}

struct Table {
    lines: Texts,
    /// The token that each merge makes, plus one; zero where nobody has looked yet, or there is none.
    made: Box<[AtomicU32]>,
}

impl Merges {
    /// Sees that the file has them.
    pub fn new(vocab: &Vocab) -> Result<Merges> {
        let merges = vocab.gguf.need_array(MERGES)?;
        if merges.iter_strs().is_none() {
            let found = format!("an array of {} {}", merges.len(), merges.elem_type().name());
            return Err(vocab.gguf.bad_key(MERGES, found, "an array of strings"));
        }
        Ok(Merges { table: OnceLock::new(), memo: Memo::default() })
    }

    /// What joins the symbols of words.
    pub fn joiner<'a>(&'a self, vocab: &'a Vocab) -> Result<Joiner<'a>> {
        if self.table.get().is_none() {
            let lines = Texts::new(&vocab.gguf, MERGES, Equals::First)?;
            let made = zeros(lines.len());
            self.table.get_or_init(|| Table { lines, made });
        }
        let table = self.table.get().ok_or_else(|| Error::Internal { what: "the merges are gone".to_owned() })?;
        Ok(Joiner { vocab, table, memo: &self.memo, line: Vec::new() })
    }
}

/// Joins symbols of one word after the other.
pub(super) struct Joiner<'a> {
    vocab: &'a Vocab,
    table: &'a Table,
    memo: &'a Memo,
    /// A line of the merges.
    line: Vec<u8>,
}

impl Joins for Joiner<'_> {
    fn weigh(&mut self, word: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        let rank = self.memo.pair(left.token, right.token, || {
            self.line.clear();
            self.line.extend_from_slice(&word[left.range()]);
            self.line.push(b' '); // no symbol has a space in it, so the line says where it is cut
            self.line.extend_from_slice(&word[right.range()]);
            self.table.lines.find(&self.line)
        })?;
        Some((rank, rank))
    }

    fn token(&mut self, word: &[u8], rank: u32, joined: Range<usize>) -> Token {
        let made = self.table.made.get(rank as usize);
        match made.map_or(0, |made| made.load(Relaxed)) {
            0 => {
                let token = self.vocab.find(&word[joined]);
                if let (Some(token), Some(made)) = (token, made) {
                    made.store(token + 1, Relaxed);
                }
                token.unwrap_or(NO_TOKEN)
            }
            known => known - 1,
        }
    }
}
