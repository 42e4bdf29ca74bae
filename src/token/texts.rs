//! An array of strings in a file, and the way from a text to its number.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::work;
use crate::error::Result;
use crate::gguf::Gguf;

/// The strings of an array in the metadata, where they lie in the file, found by number and by text.
///
/// A string costs four bytes for its place and about ten in the table of hashes, which is seeded at random, so no file
/// can be made whose strings collide.
pub(super) struct Texts {
    gguf: Arc<Gguf>,
    /// Where the first text starts in the file. Texts lie one behind the other, each after its length.
    base: usize,
    /// Where each text starts, and where one after the last would, counted from `base`.
    starts: Vec<u32>,
    /// The bytes between two texts: the length of the second.
    gap: u32,
    /// Bytes of the longest text.
    longest: usize,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// Which of several equal texts is found.
#[derive(PartialEq, Eq)]
pub(super) enum Equals {
    First,
    Last,
}

impl Texts {
    /// Reads the array `key`. It has fewer than 2^31 strings.
    pub fn new(gguf: &Arc<Gguf>, key: &str, equals: Equals) -> Result<Texts> {
        let array = gguf.need_array(key)?;
        let found = || format!("an array of {} {}", array.len(), array.elem_type().name());
        let too_large = || gguf.bad_key(key, found(), "fewer than 2^31 strings of 4 GiB altogether");
        let strings = array.iter_strs().ok_or_else(|| gguf.bad_key(key, found(), "an array of strings"))?;
        let n = i32::try_from(array.len()).map_err(|_| too_large())? as usize;

        let gap = if gguf.version() > 1 { 8 } else { 4 };
        let (mut base, mut starts, mut longest) = (0, Vec::with_capacity(n + 1), 0);
        let mut start = 0u32;
        for text in strings {
            if starts.is_empty() {
                base = text.as_ptr().addr().saturating_sub(gguf.bytes().as_ptr().addr());
            }
            starts.push(start);
            longest = longest.max(text.len());
            let next = u32::try_from(text.len()).ok().and_then(|len| start.checked_add(len)?.checked_add(gap));
            start = next.ok_or_else(too_large)?;
        }
        starts.push(start);

        let (table, hasher) = (HashTable::with_capacity(n), DefaultHashBuilder::default());
        let mut texts = Texts { gguf: gguf.clone(), base, starts, gap, longest, table, hasher };
        texts.fill(equals);
        Ok(texts)
    }

    fn fill(&mut self, equals: Equals) {
        let mut table = std::mem::take(&mut self.table);
        for number in 0..self.len() as u32 {
            let text = self.get(number);
            if text.is_empty() {
                continue; // a placeholder that no text means
            }
            let same = |&other: &u32| self.get(other) == text;
            match table.entry(self.hasher.hash_one(text), same, |&other| self.hasher.hash_one(self.get(other))) {
                Entry::Occupied(mut entry) if equals == Equals::Last => *entry.get_mut() = number,
                Entry::Occupied(_) => {}
                Entry::Vacant(entry) => {
                    entry.insert(number);
                }
            }
        }
        self.table = table;
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Text number `number`; empty if there is none.
    pub fn get(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let (Some(&start), Some(&next)) = (self.starts.get(at), self.starts.get(at + 1)) else { return &[] };
        let texts = self.gguf.bytes().get(self.base..).unwrap_or_default();
        texts.get(start as usize..(next - self.gap) as usize).unwrap_or_default()
    }

    /// The number of a text.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None; // and a long text need not be hashed
        }
        work::add(text.len());
        self.table.find(self.hasher.hash_one(text), |&number| self.get(number) == text).copied()
    }
}
