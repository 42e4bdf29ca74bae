//! Reading a state, whoever may have written it.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::Read;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::{CHECKSUM, HEADER, MAGIC, VERSION};
use crate::cpu::PAGE;
use crate::error::{StateDefect, StateMismatch};
use crate::model::kv::{Page, Sequence};
use crate::{Error, Result, Session, Token};

/// Reads forward through a state. Nothing is allocated before the bytes that fill it are known to be there.
pub(super) struct Reader<'a, R> {
    source: R,
    hash: XxHash3_64,
    at: u64,
    /// Where the checksum begins.
    end: u64,
    len: u64,
    /// For errors.
    name: &'a Path,
}

/// A page of the state: its place in the sequences that have it, and the positions that some of them uses.
struct Use {
    place: usize,
    positions: usize,
}

/// A sequence as the state lists it, with the numbers of its pages.
struct Listed {
    tokens: Vec<Token>,
    pages: Vec<u32>,
}

impl<'a, R: Read> Reader<'a, R> {
    pub fn new(source: R, len: u64, name: &'a Path) -> Self {
        Self { source, hash: XxHash3_64::new(), at: 0, end: len.saturating_sub(CHECKSUM), len, name }
    }

    /// The sequences, by their numbers.
    pub fn read(mut self, session: &mut Session, wanted: Option<usize>) -> Result<BTreeMap<usize, Sequence>> {
        if self.len < MAGIC.len() as u64 + CHECKSUM || self.bytes("the header")? != MAGIC {
            return Err(self.defect(StateDefect::BadMagic));
        }
        match self.u32("the version")? {
            VERSION => {}
            0 => return Err(self.bad_field(4, "the version", 0, "1 or more".to_owned())),
            found => return Err(self.mismatch(StateMismatch::Version { found, supported: VERSION })),
        }
        let zero = self.u32("the header")?;
        if zero != 0 {
            return Err(self.bad_field(4, "a reserved field", zero.into(), "0".to_owned()));
        }
        let expected = self.u64("the header")?;
        if expected != self.len {
            return Err(self.defect(StateDefect::BadLength { found: self.len, expected }));
        }
        let model = u128::from_le_bytes(self.bytes("the header")?);
        let format = session.kv_format().map(|(what, expected)| (what, expected, self.u32("the header")));
        if model != session.model().fingerprint() {
            return Err(self.unless_damaged(StateMismatch::Model));
        }
        for (what, expected, found) in format {
            let found = found?;
            if found != expected {
                return Err(self.unless_damaged(StateMismatch::Layout { what, found, expected }));
            }
        }
        let count = self.u32("the header")?;
        debug_assert_eq!(self.at, HEADER);

        let mut pages = Vec::new();
        let mut sequences: BTreeMap<usize, Listed> = BTreeMap::new();
        for _ in 0..count {
            let (number, sequence) = self.sequence(session, &mut pages)?;
            if sequences.last_key_value().is_some_and(|(last, _)| *last >= number) {
                let expected = "more than the one before".to_owned();
                return Err(self.bad_field(0, "the number of the sequence before", number as u64, expected));
            }
            sequences.insert(number, sequence);
        }
        session.check_pages(pages.len(), 0, 0)?;
        let pages = self.pages(session, &pages)?;
        self.check()?;

        if wanted.is_some() && sequences.len() != 1 {
            return Err(self.mismatch(StateMismatch::Sequences { found: sequences.len() }));
        }
        let longest = sequences.values().map(|s| s.tokens.len()).max().unwrap_or(0);
        if longest > session.n_ctx() {
            return Err(Error::ContextFull { needed: longest, n_ctx: session.n_ctx() });
        }
        let share = |listed: Listed| {
            let own = listed.pages.iter().map(|at| pages[*at as usize].clone()).collect();
            Sequence { tokens: listed.tokens, pages: own }
        };
        Ok(sequences.into_iter().map(|(number, sequence)| (number, share(sequence))).collect())
    }

    /// A sequence's number, tokens and pages, whose uses are entered in `pages`.
    fn sequence(&mut self, session: &Session, pages: &mut Vec<Use>) -> Result<(usize, Listed)> {
        const WHAT: &str = "a sequence";
        let number = self.u64(WHAT)?;
        let bad_number = || self.bad_field(8, "the number of a sequence", number, format!("at most {}", usize::MAX));
        let number = usize::try_from(number).map_err(|_| bad_number())?;
        let len = self.u32(WHAT)? as usize;
        let tokens = self.words(len, "the tokens of a sequence")?;
        let n_vocab = session.model().params().n_vocab;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= n_vocab) {
            return Err(self.bad_field(4 * len as u64, "a token", u64::from(*token), format!("less than {n_vocab}")));
        }
        let own = self.words(len.div_ceil(PAGE), "the pages of a sequence")?;
        for (place, at) in own.iter().enumerate() {
            let positions = (len - place * PAGE).min(PAGE);
            let known = pages.len();
            match pages.get_mut(*at as usize) {
                Some(page) if page.place == place => page.positions = page.positions.max(positions),
                None if *at as usize == known => pages.push(Use { place, positions }),
                _ => {
                    let expected = format!("{known}, or a page that an earlier sequence has in the same place");
                    return Err(self.bad_field(4 * own.len() as u64, "the number of a page", u64::from(*at), expected));
                }
            }
        }
        Ok((number, Listed { tokens, pages: own }))
    }

    fn pages(&mut self, session: &Session, uses: &[Use]) -> Result<Vec<Page>> {
        const WHAT: &str = "keys and values";
        let layout = &session.layout;
        let mut pages = Vec::new();
        let mut bytes = Vec::new();
        for page in uses {
            self.need((page.positions * layout.position_bytes()) as u64, WHAT)?;
            let mut new = Page::new(layout)?;
            let all = new.bytes_mut();
            bytes.resize(page.positions * layout.head_bytes(), 0);
            for (layer, head) in layout.parts() {
                self.fill(&mut bytes, WHAT)?;
                let mut rest = &bytes[..];
                layout.pieces(layer, head, page.positions, |piece| {
                    let (bytes, after) = rest.split_at(piece.len());
                    all[piece].copy_from_slice(bytes);
                    rest = after;
                });
            }
            pages.push(new);
        }
        Ok(pages)
    }

    /// At the end: the checksum, and nothing before it that was not read.
    fn check(&mut self) -> Result<()> {
        if self.at != self.end {
            let expected = self.at + CHECKSUM;
            return Err(self.defect(StateDefect::BadLength { found: self.len, expected }));
        }
        let expected = self.hash.finish();
        self.end = self.len;
        let found = self.u64("the checksum")?;
        if found != expected {
            return Err(self.defect(StateDefect::BadChecksum { found, expected }));
        }
        Ok(())
    }

    /// The mismatch, or that it only looks like one since the state is damaged.
    fn unless_damaged(&mut self, mismatch: StateMismatch) -> Error {
        let mut rest = [0; 4096];
        while self.at < self.end {
            let some = rest.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
            if let Err(error) = self.fill(&mut rest[..some], "the state") {
                return error;
            }
        }
        self.check().err().unwrap_or_else(|| self.mismatch(mismatch))
    }

    fn need(&self, needed: u64, what: &'static str) -> Result<()> {
        let remain = self.end.saturating_sub(self.at);
        if needed <= remain {
            return Ok(());
        }
        Err(self.defect(StateDefect::Truncated { at: self.at, what, needed, remain }))
    }

    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<()> {
        self.need(bytes.len() as u64, what)?;
        self.source.read_exact(bytes).map_err(|source| Error::Io {
            path: self.name.to_owned(),
            action: "read",
            source,
        })?;
        self.hash.write(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what).map(|()| bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    fn words(&mut self, count: usize, what: &'static str) -> Result<Vec<u32>> {
        self.need(4 * count as u64, what)?;
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| Error::NoMemory { bytes: 4 * count, what: "a sequence" })?;
        for _ in 0..count {
            words.push(self.u32(what)?);
        }
        Ok(words)
    }

    /// A field that ended `back` bytes ago has a value that makes no sense.
    fn bad_field(&self, back: u64, what: &'static str, found: u64, expected: String) -> Error {
        self.defect(StateDefect::BadField { at: self.at - back, what, found, expected })
    }

    fn defect(&self, defect: StateDefect) -> Error {
        Error::State { file: self.name.display().to_string(), defect }
    }

    fn mismatch(&self, mismatch: StateMismatch) -> Error {
        Error::StateMismatch { file: self.name.display().to_string(), mismatch }
    }
}
