//! Joining neighbours, best pair first: what both kinds of BPE do with a piece of text.
//!
//! A heap holds the pairs that can be joined. A pair that has changed since is not looked for in the heap but
//! recognised when it comes up, by its key, so a piece of n symbols takes O(n log n), whatever it holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::work;

/// No neighbour.
const NONE: u32 = u32::MAX;
/// The key of a symbol that cannot be joined with the next, or is gone. No pair's key: indices are below [`NONE`].
const NO_PAIR: u64 = u64::MAX;

/// A stretch of text that is a token, or may become a part of one.
struct Symbol {
    /// Where it starts and ends in the text, in bytes.
    start: u32,
    end: u32,
    prev: u32,
    next: u32,
    /// The rank of the pair it makes with the next symbol, then its own index: smaller goes first, then further left.
    key: u64,
}

impl Symbol {
    fn range(&self) -> Range<usize> {
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

    /// Appends a symbol. A piece has fewer than 2^32 - 1.
    pub fn push(&mut self, start: u32, end: u32) {
        let index = self.symbols.len() as u32;
        let prev = index.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { start, end, prev, next: index + 1, key: NO_PAIR });
    }

    /// Joins until nothing can be joined, and returns where the symbols that are left lie in the text, in order.
    ///
    /// `rank` says whether two neighbours can be joined: smaller ranks go first.
    pub fn merge(
        &mut self,
        mut rank: impl FnMut(Range<usize>, Range<usize>) -> Option<u32>,
    ) -> impl Iterator<Item = Range<usize>> {
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        self.heap.clear();
        for index in 0..self.symbols.len() as u32 {
            self.rate(index, &mut rank);
        }
        while let Some(Reverse(key)) = self.heap.pop() {
            work::add(1);
            let index = key as u32;
            let Symbol { key: current, prev, next: gone, .. } = self.symbols[index as usize];
            if current != key {
                continue; // it, or its neighbour, has been joined meanwhile
            }
            let right = &mut self.symbols[gone as usize];
            right.key = NO_PAIR;
            let (next, end) = (right.next, right.end);
            let left = &mut self.symbols[index as usize];
            (left.next, left.end) = (next, end);
            if let Some(next) = self.symbols.get_mut(next as usize) {
                next.prev = index;
            }
            self.rate(prev, &mut rank);
            self.rate(index, &mut rank);
        }
        let (symbols, mut at) = (&self.symbols, 0);
        std::iter::from_fn(move || {
            let symbol = symbols.get(at as usize)?;
            at = symbol.next;
            Some(symbol.range())
        })
    }

    /// Sees whether the symbol can be joined with its next one.
    fn rate(&mut self, index: u32, mut rank: impl FnMut(Range<usize>, Range<usize>) -> Option<u32>) {
        work::add(1);
        let Some(left) = self.symbols.get(index as usize) else { return };
        let rank = self.symbols.get(left.next as usize).and_then(|right| rank(left.range(), right.range()));
        let key = rank.map_or(NO_PAIR, |rank| u64::from(rank) << 32 | u64::from(index));
        self.symbols[index as usize].key = key;
        if key != NO_PAIR {
            self.heap.push(Reverse(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge<'t>(text: &'t str, merges: &[&str]) -> Vec<&'t str> {
        let mut merger = Merger::default();
        for i in 0..text.len() as u32 {
            merger.push(i, i + 1);
        }
        let rank = |left, right| {
            let line = format!("{} {}", &text[left], &text[right]);
            merges.iter().position(|merge| *merge == line).map(|rank| rank as u32)
        };
        merger.merge(rank).map(|range| &text[range]).collect()
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
