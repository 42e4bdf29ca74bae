//! Writing a state.

use std::collections::HashMap;
use std::hash::Hasher;
use std::io::{self, Write};

use twox_hash::XxHash3_64;

use super::{CHECKSUM, HEADER, MAGIC, VERSION};
use crate::Session;
use crate::cpu::PAGE;
use crate::model::kv::{Page, Sequence};

/// What a state of a session is to hold.
pub(super) struct Contents<'a> {
    session: &'a Session,
    /// With the numbers of their pages.
    sequences: Vec<(usize, &'a Sequence, Vec<u32>)>,
    /// Each once, in the order of their first use, with the number of positions that some sequence uses.
    pages: Vec<(&'a Page, usize)>,
}

impl<'a> Contents<'a> {
    pub fn of(session: &'a Session, sequence: Option<usize>) -> Self {
        static NONE: Sequence = Sequence { tokens: Vec::new(), pages: Vec::new() };
        let sequences: Vec<_> = match sequence {
            Some(number) => vec![(number, session.sequences.get(&number).unwrap_or(&NONE))],
            None => session.sequences.iter().map(|(number, s)| (*number, s)).collect(),
        };
        let mut contents = Self { session, sequences: Vec::new(), pages: Vec::new() };
        let mut numbers = HashMap::new();
        for (number, sequence) in sequences {
            let mut own = Vec::new();
            for (i, page) in sequence.pages.iter().enumerate() {
                let used = (sequence.tokens.len() - i * PAGE).min(PAGE);
                let at = *numbers.entry(page.address()).or_insert(contents.pages.len());
                match contents.pages.get_mut(at) {
                    Some((_, most)) => *most = used.max(*most),
                    None => contents.pages.push((page, used)),
                }
                own.push(at as u32);
            }
            contents.sequences.push((number, sequence, own));
        }
        contents
    }

    /// Bytes of the state.
    pub fn len(&self) -> u64 {
        let words: usize = self.sequences.iter().map(|(_, s, pages)| 3 + s.tokens.len() + pages.len()).sum();
        let positions: usize = self.pages.iter().map(|(_, used)| used).sum();
        HEADER + 4 * words as u64 + (positions * self.session.layout.position_bytes()) as u64 + CHECKSUM
    }

    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = Hashed { out, hash: XxHash3_64::new() };
        out.write_all(&MAGIC)?;
        out.words([VERSION, 0])?;
        out.write_all(&self.len().to_le_bytes())?;
        out.write_all(&self.session.model.fingerprint().to_le_bytes())?;
        out.words(self.session.kv_format().map(|(_, value)| value))?;
        out.words([self.sequences.len() as u32])?;
        for (number, sequence, pages) in &self.sequences {
            out.write_all(&(*number as u64).to_le_bytes())?;
            out.words([sequence.tokens.len() as u32])?;
            out.words(sequence.tokens.iter().copied())?;
            out.words(pages.iter().copied())?;
        }
        let layout = &self.session.layout;
        let mut bytes = Vec::new();
        for (page, used) in &self.pages {
            for (layer, head) in layout.parts() {
                bytes.clear();
                layout.pieces(layer, head, *used, |piece| bytes.extend_from_slice(&page.bytes()[piece]));
                out.write_all(&bytes)?;
            }
        }
        let checksum = out.hash.finish();
        out.out.write_all(&checksum.to_le_bytes())?;
        out.out.flush()
    }
}

/// Hashes what it passes on.
struct Hashed<W> {
    out: W,
    hash: XxHash3_64,
}

impl<W: Write> Hashed<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.write(bytes);
        self.out.write_all(bytes)
    }

    fn words(&mut self, words: impl IntoIterator<Item = u32>) -> io::Result<()> {
        words.into_iter().try_for_each(|word| self.write_all(&word.to_le_bytes()))
    }
}
