//! Ways to bring a file's bytes in: mapping it, reading all of it, or reading its header alone.

use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use super::Gguf;
use super::file::{self, Stop};
use crate::error::{Error, GgufDefect, Result};
use crate::map::{self, Bytes};

/// How much of a file is brought in when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Nothing: it is mapped. See [`Bytes::map`] for the promise this asks of the file.
    Map,
    /// All of it, into memory.
    Read,
    /// Only the header: metadata and the tensor table. [`Gguf::tensor_data`] is empty then.
    Header,
}

/// Hears how many bytes are done, of how many.
pub type Tell<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Fills a buffer with a file's bytes from an offset on.
pub type Fill<'a> = dyn FnMut(u64, &mut [u8]) -> Result<()> + 'a;

/// Bytes that are read or touched between two reports.
const PIECE: usize = 4 << 20;

/// What a header is read in multiples of.
const BLOCK: usize = 4 << 10;

/// The largest header that is read piece by piece; known files have 16 MiB at most. A file that is mapped has no such
/// bound, since its header takes no memory.
const MAX_HEADER: usize = 256 << 20;

/// Counts bytes, and asks whether to go on.
pub(super) struct Told<'a> {
    pub done: u64,
    pub total: u64,
    pub tell: &'a mut Tell<'a>,
}

impl Told<'_> {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.done += bytes as u64;
        match (self.tell)(self.done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

/// Opens file number `part` of a model.
pub(super) fn open(path: &Path, part: usize, load: Load, told: &mut Told) -> Result<Gguf> {
    let name = path.display().to_string();
    if load == Load::Map {
        return Gguf::part(name, Bytes::map(path)?, part);
    }
    let (mut file, len) = map::open(path)?;
    let refuse = |source| map::io_error(path, "read", source);
    let mut fill = |offset, buffer: &mut [u8]| {
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer)).map_err(refuse)
    };
    if load == Load::Header {
        return header(name, len, part, &mut fill);
    }
    let bytes = Bytes::filled(size(len)?, "a file", |buffer| fill_in_pieces(buffer, 0, &mut fill, told))?;
    Gguf::part(name, bytes, part)
}

/// Reads a model from wherever `fill` gets its `len` bytes. Each byte is asked for once: the header is checked before
/// memory is taken for the rest.
pub(super) fn read(name: &str, len: u64, header_only: bool, fill: &mut Fill, told: &mut Told) -> Result<Gguf> {
    let mut gguf = header(name.to_owned(), len, 0, fill)?;
    if header_only || gguf.split()?.is_some() {
        return Ok(gguf);
    }
    let head = gguf.bytes().clone();
    let end = gguf.first.tensors.iter().map(|tensor| tensor.start + tensor.len).max().unwrap_or(0).max(head.len());
    told.total = end as u64;
    told.add(head.len())?;
    gguf.parts[0].bytes = Bytes::filled(end, "a model", |buffer| {
        buffer[..head.len()].copy_from_slice(&head);
        fill_in_pieces(&mut buffer[head.len()..], head.len(), fill, told)
    })?;
    Ok(gguf)
}

fn fill_in_pieces(buffer: &mut [u8], start: usize, fill: &mut Fill, told: &mut Told) -> Result<()> {
    let mut at = start as u64;
    for piece in buffer.chunks_mut(PIECE) {
        fill(at, piece)?;
        at += piece.len() as u64;
        told.add(piece.len())?;
    }
    Ok(())
}

/// Reads the header of a file of `len` bytes, and no more than that, rounded up to whole blocks.
///
/// How long it is shows only as it is parsed. So it is parsed again and again, each time with as many bytes as it must
/// have at least: what stands there already, and the least that everything announced can take. About half of what is
/// missing comes with each round, so there are a few dozen at most.
fn header(name: String, len: u64, part: usize, fill: &mut Fill) -> Result<Gguf> {
    let len = size(len)?;
    let mut bytes = Vec::new();
    let mut needed = BLOCK.min(len);
    loop {
        if needed > MAX_HEADER {
            let defect = GgufDefect::HeaderTooLarge { needed: needed as u64, limit: MAX_HEADER as u64 };
            return Err(Error::Gguf { file: name, defect });
        }
        let have = bytes.len();
        let no_memory = |_| Error::NoMemory { bytes: needed, what: "a header" };
        bytes.try_reserve_exact(needed - have).map_err(no_memory)?;
        bytes.resize(needed, 0);
        if needed > have {
            fill(have as u64, &mut bytes[have..])?;
        }
        match file::parse(&bytes, len, part) {
            Ok(parsed) => return Ok(Gguf::of(name, Bytes::from_vec(bytes), len as u64, parsed)),
            Err(Stop::Defect(defect)) => return Err(Error::Gguf { file: name, defect }),
            Err(Stop::More(bytes)) => needed = bytes.checked_next_multiple_of(BLOCK).unwrap_or(bytes).min(len),
        }
    }
}

/// Brings all pages of what is mapped into memory.
pub(super) fn preload(gguf: &Gguf, told: &mut Told) -> Result<()> {
    for part in &gguf.parts {
        for piece in part.bytes.chunks(PIECE) {
            // No page is smaller than this.
            let sum = piece.iter().step_by(4096).fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            std::hint::black_box(sum);
            told.add(piece.len())?;
        }
    }
    Ok(())
}

fn size(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|_| Error::NoMemory { bytes: usize::MAX, what: "a file" })
}
