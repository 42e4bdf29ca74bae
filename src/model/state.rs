//! Saved state: sequences with their keys and values as bytes, for a later session or another process.
//!
//! `docs/state.md` describes the format. Both directions work on a stream, so that a file of any size takes no memory
//! but for what it holds.

mod fingerprint;
mod load;
mod save;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use super::Session;
use crate::cpu::{KvType, PAGE};
use crate::map;
use crate::quant::GgmlType;
use crate::replace::Replacement;
use crate::{Error, Result};

/// How a state begins.
const MAGIC: [u8; 8] = *b"pumice\0S";
/// Raised when the format changes. All earlier ones are still read.
const VERSION: u32 = 1;
/// Bytes of the fields before the first sequence.
const HEADER: u64 = 64;
/// Bytes of the checksum at the end.
const CHECKSUM: u64 = 8;

/// What stands for the file's name in errors about a state in memory.
const IN_MEMORY: &str = "the state";

/// Bytes that a file is read and written by.
const BLOCK: usize = 1 << 20;

impl Session {
    /// The number of bytes that [`Session::save_state`] writes.
    pub fn state_len(&self, sequence: Option<usize>) -> u64 {
        save::Contents::of(self, sequence).len()
    }

    /// Writes a sequence, or all that there are: tokens, keys and values, from which [`Session::load_state`] goes on
    /// with the same logits to the last bit. What sequences share is written once. A sequence that does not exist is
    /// saved as one without tokens.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn save_state(&self, sequence: Option<usize>, out: impl Write) -> io::Result<()> {
        save::Contents::of(self, sequence).write(out)
    }

    /// Writes the state into a file. What was at the path is replaced when the new file is complete and on the disk, and
    /// stays if that fails.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_state_file(&self, sequence: Option<usize>, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut out = BufWriter::with_capacity(BLOCK, Replacement::create(path)?);
        let io = |source| Error::Io { path: path.to_owned(), action: "write", source };
        self.save_state(sequence, &mut out).map_err(io)?;
        out.into_inner().map_err(|error| io(error.into_error()))?.commit()
    }

    /// Loads what [`Session::save_state`] wrote, with this model, with any number of threads and on any computer. The
    /// sequences of the state replace all that the session has; with a `sequence`, the one sequence of the state
    /// replaces that one. Outputs are gone: for logits, truncate the sequence by its last token and feed that again.
    ///
    /// # Errors
    /// [`Error::State`] if the bytes are no state or not a sound one; [`Error::StateMismatch`] if it is one of another
    /// model or a later version, or has not one sequence where one is asked for; [`Error::ContextFull`],
    /// [`Error::NoMemory`]. The session is then as it was.
    pub fn load_state(&mut self, sequence: Option<usize>, state: &[u8]) -> Result<()> {
        self.load(sequence, state, state.len() as u64, Path::new(IN_MEMORY))
    }

    /// The same from a file.
    ///
    /// # Errors
    /// As for [`Session::load_state`], and [`Error::Io`].
    pub fn load_state_file(&mut self, sequence: Option<usize>, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (file, len): (File, u64) = map::open(path)?;
        self.load(sequence, BufReader::with_capacity(BLOCK, file), len, path)
    }

    fn load(&mut self, sequence: Option<usize>, source: impl io::Read, len: u64, name: &Path) -> Result<()> {
        let loaded = load::Reader::new(source, len, name).read(self, sequence)?;
        match sequence {
            None => self.sequences = loaded,
            Some(to) => {
                self.sequences.remove(&to);
                self.sequences.extend(loaded.into_values().map(|s| (to, s)));
            }
        }
        self.sequences.retain(|_, s| !s.tokens.is_empty());
        self.outputs.clear();
        Ok(())
    }

    /// What keys and values must have in common to be exchanged, in the order of the header.
    fn kv_format(&self) -> [(&'static str, u32); 5] {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX); // a state of more would not fit on any disk
        [
            (
                "element type",
                match self.layout.ty {
                    KvType::F16 => GgmlType::F16.id(),
                    KvType::F32 => GgmlType::F32.id(),
                    KvType::Q8_0 => GgmlType::Q8_0.id(),
                },
            ),
            ("page size", number(PAGE)),
            ("number of layers", number(self.layout.n_layer)),
            ("number of key-value heads", number(self.layout.n_head_kv)),
            ("head dimension", number(self.layout.head_dim)),
        ]
    }
}
