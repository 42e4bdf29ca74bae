//! Joining neighbours, best pair first: what both kinds of BPE do with a piece of text.
//!
//! A heap holds the pairs that can be joined. A pair that has changed since is not looked for in the heap but
//! recognised when it comes up, by its key, so a piece of n symbols takes O(n log n), whatever it holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::{Token, work};

/// No neighbour.
const NONE: u32 = u32::MAX;
/// The key of a symbol that cannot be joined with the next, or is gone. No pair's key: indices are below [`NONE`].
const NO_PAIR: u64 = u64::MAX;

/// What neighbours may become.
pub(super) trait Joins {
    /// Whether two neighbours in `text` can be joined: the rank of that, smaller ones go first, and a number for it.
    fn weigh(&mut self, text: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)>;

    /// The token that the joining with this number makes, which lies at `joined` in `text`.
    fn token(&mut self, text: &[u8], number: u32, joined: Range<usize>) -> Token;
}

/// A stretch of text that is a token, or may become a part of one.
pub(super) struct Symbol {
    /// Its token, or [`NO_TOKEN`](super::memo::NO_TOKEN).
    pub token: Token,
    /// Where it starts and ends in the text, in bytes.
    start: u32,
    end: u32,
    prev: u32,
    next: u32,
    /// The number of its joining with the next symbol.
    joining: u32,
    /// The rank of the pair it makes with the next symbol, then its own index: smaller goes first, then further left.
    key: u64,
}

impl Symbol {
    /// Where it lies in the text.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The working memory of merging, which pieces reuse.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Merger {
    /// Starts a new piece.
    pub fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Appends a symbol of so many bytes. A piece has fewer than 2^32 - 1.
    pub fn push(&mut self, len: usize, token: Token) {
        let index = self.symbols.len() as u32;
        let start = self.symbols.last().map_or(0, |last| last.end);
        let (prev, end) = (index.checked_sub(1).unwrap_or(NONE), start + len as u32);
        self.symbols.push(Symbol { token, start, end, prev, next: index + 1, joining: 0, key: NO_PAIR });
    }

    /// Joins until nothing can be joined, and returns the symbols that are left, in order.
    pub fn merge(&mut self, text: &[u8], joins: &mut impl Joins) -> impl Iterator<Item = &Symbol> {
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        self.heap.clear();
        for index in 0..self.symbols.len() as u32 {
            self.weigh(index, text, joins);
        }
        while let Some(Reverse(key)) = self.heap.pop() {
            work::add(1);
            let index = key as u32;
            let Symbol { key: current, prev, next: gone, joining, start, .. } = self.symbols[index as usize];
            if current != key {
                continue; // it, or its neighbour, has been joined meanwhile
            }
            let right = &mut self.symbols[gone as usize];
            right.key = NO_PAIR;
            let (next, end) = (right.next, right.end);
            let left = &mut self.symbols[index as usize];
            (left.next, left.end) = (next, end);
            left.token = joins.token(text, joining, start as usize..end as usize);
            if let Some(next) = self.symbols.get_mut(next as usize) {
                next.prev = index;
            }
            self.weigh(prev, text, joins);
            self.weigh(index, text, joins);
        }
        let (symbols, mut at) = (&self.symbols, 0);
        std::iter::from_fn(move || {
            let symbol = symbols.get(at as usize)?;
            at = symbol.next;
            Some(symbol)
        })
    }

    /// Sees whether the symbol can be joined with its next one.
    fn weigh(&mut self, index: u32, text: &[u8], joins: &mut impl Joins) {
        work::add(1);
        let Some(left) = self.symbols.get(index as usize) else { return };
        let pair = self.symbols.get(left.next as usize).and_then(|right| joins.weigh(text, left, right));
        let key = pair.map_or(NO_PAIR, |(rank, _)| u64::from(rank) << 32 | u64::from(index));
        let left = &mut self.symbols[index as usize];
        (left.key, left.joining) = (key, pair.map_or(0, |(_, number)| number));
        if key != NO_PAIR {
            self.heap.push(Reverse(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines<'a>(&'a [&'a str]);

    impl Joins for Lines<'_> {
        fn weigh(&mut self, text: &[u8], left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
            let line = [&text[left.range()], b" ", &text[right.range()]].concat();
            let rank = self.0.iter().position(|merge| merge.as_bytes() == line)?;
            Some((rank as u32, 100 + rank as u32))
        }

        fn token(&mut self, text: &[u8], number: u32, joined: Range<usize>) -> Token {
            assert_eq!(self.0[number as usize - 100].replace(' ', "").as_bytes(), &text[joined]);
            number
        }
    }

    fn merge<'t>(text: &'t str, merges: &[&str]) -> Vec<&'t str> {
        let mut merger = Merger::default();
        text.chars().for_each(|c| merger.push(c.len_utf8(), 7));
        let mut parts = Vec::new();
        for symbol in merger.merge(text.as_bytes(), &mut Lines(merges)) {
            let part = &text[symbol.range()];
            let made = merges.iter().any(|merge| merge.replace(' ', "") == part);
            assert_eq!(made, symbol.token >= 100, "{part}");
            parts.push(part);
        }
        parts
    }

    #[test]
    fn the_best_pair_goes_first_and_the_leftmost_of_equals() {
        let merges = ["b c", "a b", "a a", "aa a"];
        assert_eq!(merge("abc", &merges), ["a", "bc"]);
        assert_eq!(merge("aaa", &merges), ["aaa"]);
        assert_eq!(merge("aaaa", &merges), ["aa", "aa"]);
        assert_eq!(merge("ababc", &merges), ["ab", "a", "bc"]);
        assert_eq!(merge("x", &merges), ["x"]);
        assert!(merge("", &merges).is_empty());
    }
}
