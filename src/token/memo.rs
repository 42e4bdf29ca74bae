//! What encoding has found out already: it speeds up the texts after it, and changes nothing.
//!
//! Looking a pair or a word up by its text misses the processor's caches three or four times. All threads share these
//! tables; an entry is one number that carries what it is about, so a lost or a strange one does no harm. They start as
//! zeros, which take no memory before they are written to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use bytemuck::Zeroable;

use super::Token;
use super::vocab::Vocab;

/// No token. Never in a table.
pub(super) const NO_TOKEN: Token = Token::MAX;

/// Entries of the table of pairs, as a power of two: 512 KiB.
const LOG_PAIRS: u32 = 16;
/// Bits of an entry for each token of a pair. Larger ones are not remembered; no vocabulary has them.
const TOKEN_BITS: u32 = 21;
/// Bits for what the pair makes.
const VALUE_BITS: u32 = 22;
/// The value of pairs that make nothing. No value is zero, so no entry is.
const NOTHING: u64 = (1 << VALUE_BITS) - 1;

/// What encoding has found out.
#[derive(Default)]
pub(super) struct Memo {
    pairs: OnceLock<Box<[AtomicU64]>>,
    words: OnceLock<Box<[AtomicU8]>>,
}

/// A word that is a token comes out as that token. Else others are found first, or nobody has looked yet.
const WHOLE: u8 = 1;

impl Memo {
    /// What the pair makes, `None` for nothing: remembered, or else as `find` says.
    #[inline]
    pub fn pair(&self, left: Token, right: Token, find: impl FnOnce() -> Option<u32>) -> Option<u32> {
        if left.max(right) >> TOKEN_BITS != 0 {
            return find();
        }
        let pair = u64::from(left) << TOKEN_BITS | u64::from(right);
        let pairs = self.pairs.get_or_init(|| zeros(1 << LOG_PAIRS));
        // Fibonacci hashing: the upper bits of the product depend on all of the pair's.
        let at = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - LOG_PAIRS);
        let Some(entry) = pairs.get(at as usize) else { return find() };
        let known = entry.load(Relaxed);
        if known != 0 && known >> VALUE_BITS == pair {
            let value = known & NOTHING;
            return (value != NOTHING).then(|| value as u32 - 1);
        }
        let found = find();
        let value = found.map_or(NOTHING, |found| u64::from(found) + 1);
        if found.is_none() || value < NOTHING {
            entry.store(pair << VALUE_BITS | value, Relaxed);
        }
        found
    }

    /// Appends the tokens of a word: most words are one token, and those that were so once are not taken apart again.
    /// `parts` does that.
    pub fn word(&self, vocab: &Vocab, word: &[u8], out: &mut Vec<Token>, parts: impl FnOnce(&mut Vec<Token>)) {
        let words = self.words.get_or_init(|| zeros(vocab.len()));
        let token = vocab.find(word);
        let known = token.and_then(|token| Some((token, words.get(token as usize)?)));
        if let Some((token, state)) = known
            && state.load(Relaxed) == WHOLE
        {
            out.push(token);
            return;
        }
        let start = out.len();
        parts(out);
        if let Some((token, state)) = known
            && out[start..] == [token]
        {
            state.store(WHOLE, Relaxed);
        }
    }
}

/// So many zeros; none if there is no memory for them.
pub(super) fn zeros<T: Zeroable>(len: usize) -> Box<[T]> {
    bytemuck::try_zeroed_slice_box(len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_asked_for_once_and_never_mistaken() {
        let memo = Memo::default();
        let truth = |left: Token, right: Token| ((left ^ right) & 3 != 0).then_some(left.wrapping_mul(31) & 0xfffff);
        let tokens = [0, 1, 2, 3, 255, 4096, 128_000, (1 << TOKEN_BITS) - 1, 1 << TOKEN_BITS, NO_TOKEN];
        for _ in 0..2 {
            for left in tokens {
                for right in tokens {
                    assert_eq!(memo.pair(left, right, || truth(left, right)), truth(left, right));
                }
            }
        }
        assert_eq!(memo.pair(255, 4096, || panic!("it is known")), truth(255, 4096));
        assert_eq!(memo.pair(0, 0, || panic!("it is known")), None);
        // What has no room is not remembered.
        assert_eq!(memo.pair(7, 8, || Some(NOTHING as u32 - 1)), Some(NOTHING as u32 - 1));
        assert_eq!(memo.pair(7, 8, || Some(NOTHING as u32 - 2)), Some(NOTHING as u32 - 2));
        assert_eq!(memo.pair(7, 8, || panic!("it is known")), Some(NOTHING as u32 - 2));
    }
}
