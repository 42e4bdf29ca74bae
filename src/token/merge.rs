//! Joining neighbours, best pair first: what both kinds of BPE do with a piece of text.
//!
//! A heap holds the pairs that can be joined. A pair that has changed since is not looked for in the heap but
//! recognised when it comes up, by its key, so a piece of n symbols takes O(n log n), whatever it holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No neighbour.
const NONE: u32 = u32::MAX;
/// The key of a symbol that cannot be joined with the next, or is gone. No pair's key: indices are below [`NONE`].
const NO_PAIR: u64 = u64::MAX;

/// A stretch of text that is one token, or may become a part of one.
pub(super) struct Symbol {
    /// The token; what it is at the start is up to the caller.
    pub id: u32,
    /// Where it starts in the text, in bytes.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    prev: u32,
    next: u32,
    /// Rank of the pair it makes with the next symbol, then its own index: smaller goes first, then further left.
    key: u64,
    /// The token that the pair makes.
    joined: u32,
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
    pub fn push(&mut self, id: u32, start: u32, end: u32) {
        let index = self.symbols.len() as u32;
        let prev = index.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { id, start, end, prev, next: index + 1, key: NO_PAIR, joined: NONE });
    }

    /// Joins until nothing can be joined, and returns what is left, in order.
    ///
    /// `pair` says whether two neighbours can be joined: the pair's rank (smaller goes first) and its token.
    pub fn merge(&mut self, pair: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) -> impl Iterator<Item = &Symbol> {
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        self.heap.clear();
        for index in 0..self.symbols.len() as u32 {
            self.rate(index, &pair);
        }
        while let Some(Reverse(key)) = self.heap.pop() {
            let index = key as u32;
            let left = &mut self.symbols[index as usize];
            if left.key != key {
                continue; // it, or its neighbour, has been joined meanwhile
            }
            let (prev, gone) = (left.prev, left.next as usize);
            left.id = left.joined;
            let right = &mut self.symbols[gone];
            let (next, end) = (right.next, right.end);
            right.key = NO_PAIR;
            let left = &mut self.symbols[index as usize];
            (left.next, left.end) = (next, end);
            if let Some(next) = self.symbols.get_mut(next as usize) {
                next.prev = index;
            }
            self.rate(prev, &pair);
            self.rate(index, &pair);
        }
        let (symbols, mut at) = (&self.symbols, 0);
        std::iter::from_fn(move || {
            let symbol = symbols.get(at as usize)?;
            at = symbol.next;
            Some(symbol)
        })
    }

    /// Sees whether the symbol can be joined with its next one.
    fn rate(&mut self, index: u32, pair: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) {
        let Some(left) = self.symbols.get(index as usize) else { return };
        let joined = self.symbols.get(left.next as usize).and_then(|right| pair(left, right));
        let (key, joined) = match joined {
            Some((rank, joined)) => (u64::from(rank) << 32 | u64::from(index), joined),
            None => (NO_PAIR, NONE),
        };
        let left = &mut self.symbols[index as usize];
        (left.key, left.joined) = (key, joined);
        if key != NO_PAIR {
            self.heap.push(Reverse(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins digits by a table of (left, right) => (rank, joined).
    fn merge(ids: &[u32], table: &[((u32, u32), (u32, u32))]) -> Vec<(u32, u32, u32)> {
        let mut merger = Merger::default();
        for (i, &id) in ids.iter().enumerate() {
            merger.push(id, i as u32, i as u32 + 1);
        }
        let pair = |l: &Symbol, r: &Symbol| table.iter().find(|(p, _)| *p == (l.id, r.id)).map(|(_, joined)| *joined);
        merger.merge(pair).map(|s| (s.id, s.start, s.end)).collect()
    }

    #[test]
    fn the_best_pair_goes_first_and_the_leftmost_of_equals() {
        let table = [((1, 2), (1, 12)), ((2, 3), (0, 23)), ((1, 1), (2, 11)), ((11, 1), (3, 111))];
        assert_eq!(merge(&[1, 2, 3], &table), [(1, 0, 1), (23, 1, 3)]);
        assert_eq!(merge(&[1, 1, 1], &table), [(111, 0, 3)]);
        assert_eq!(merge(&[1, 1, 1, 1], &table), [(11, 0, 2), (11, 2, 4)]);
        assert_eq!(merge(&[1, 2, 1, 2, 3], &table), [(12, 0, 2), (1, 2, 3), (23, 3, 5)]);
        assert_eq!(merge(&[7], &table), [(7, 0, 1)]);
        assert_eq!(merge(&[], &table), []);
    }
}
