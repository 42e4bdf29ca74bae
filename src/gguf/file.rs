//! One file: its bytes to a metadata table and a tensor table, everything checked.

use super::cursor::{Cursor, Place};
use super::tensor::{Dims, TensorInfo};
use super::value::{Array, Value, ValueType};
use crate::error::GgufDefect;
use crate::order::order;
use crate::quant::GgmlType;

/// llama.cpp's bound on tensor names, the terminating zero included.
const MAX_TENSOR_NAME: usize = 64;
const DEFAULT_ALIGNMENT: u32 = 32;
/// Ids that older files may have; new ones are not given to these numbers again.
const REMOVED_TYPES: [u32; 8] = [4, 5, 31, 32, 33, 36, 37, 38];

/// What one file says. Positions are offsets in its bytes.
pub(super) struct Parsed {
    pub version: u32,
    pub alignment: u32,
    pub data_offset: usize,
    /// In the file's order.
    pub entries: Vec<Entry>,
    /// Numbers of entries in the order of their keys.
    pub by_key: Vec<usize>,
    pub tensors: Vec<TensorInfo>,
}

/// One metadata key.
pub(super) struct Entry {
    pub key: String,
    at: usize,
    value: Stored,
}

/// Numbers themselves, and where everything else lies.
enum Stored {
    Number(Value<'static>),
    Str { start: usize, end: usize },
    Array { elem: ValueType, len: usize, start: usize, end: usize, index: Vec<usize>, wide: bool },
}

impl Entry {
    pub fn value<'a>(&'a self, bytes: &'a [u8]) -> Value<'a> {
        match &self.value {
            Stored::Number(value) => *value,
            // Text was checked when the file was opened. Should the file have changed under its mapping since, empty
            // text is still text.
            Stored::Str { start, end } => {
                Value::Str(bytes.get(*start..*end).and_then(|s| std::str::from_utf8(s).ok()).unwrap_or_default())
            }
            Stored::Array { elem, len, start, end, index, wide } => Value::Array(Array {
                elem: *elem,
                len: *len,
                bytes: bytes.get(*start..*end).unwrap_or_default(),
                index,
                wide: *wide,
            }),
        }
    }
}

/// Why a header could not be parsed.
pub(super) enum Stop {
    Defect(GgufDefect),
    /// The file goes on, but so many of its bytes must be there at least.
    More(usize),
}

/// Reads the header of file number `part` of a model. The file has `len` bytes; `bytes` are these, or the first of them.
pub(super) fn parse(bytes: &[u8], len: usize, part: usize) -> Result<Parsed, Stop> {
    let mut cursor = Cursor::within(bytes, len, true);
    let parsed = header(&mut cursor, bytes, len, part);
    parsed.map_err(|defect| cursor.more.map_or(Stop::Defect(defect), Stop::More))
}

fn header(cursor: &mut Cursor, bytes: &[u8], len: usize, part: usize) -> Result<Parsed, GgufDefect> {
    if cursor.word().ok() != Some(*b"GGUF") {
        return Err(GgufDefect::BadMagic { found: bytes[..bytes.len().min(4)].to_vec() });
    }
    let version = version(cursor)?;
    cursor.wide = version > 1;
    let tensors_at = cursor.pos();
    let n_tensors = cursor.size()?;
    let entries_at = cursor.pos();
    let n_entries = cursor.size()?;
    // The fewest bytes they can have. A key: its length, one letter, the type, one byte of value; a tensor: an empty
    // name, no dimensions, the type and the offset.
    let (key_bytes, tensor_bytes) = (cursor.size_bytes() + 6, cursor.size_bytes() + 16);
    let n_entries = count(cursor, entries_at, "metadata keys", n_entries, key_bytes)?;
    let n_tensors = count(cursor, tensors_at, "tensors", n_tensors, tensor_bytes)?;

    let mut entries = Vec::new();
    for i in 0..n_entries {
        cursor.after = ((n_entries - i - 1) * key_bytes).saturating_add(n_tensors * tensor_bytes);
        entries.push(entry(cursor, i)?);
    }
    let by_key = sort_keys(&entries)?;
    let alignment = alignment(&entries, &by_key)?;

    let mut tensors = Vec::new();
    for i in 0..n_tensors {
        cursor.after = (n_tensors - i - 1) * tensor_bytes;
        tensors.push(tensor(cursor, i, part, alignment)?);
    }
    // Without tensors there is no data section, and nothing pads the file for it.
    let data_offset = if n_tensors == 0 {
        cursor.pos()
    } else {
        cursor.pos().checked_next_multiple_of(alignment as usize).unwrap_or(usize::MAX)
    };
    place(&mut tensors, data_offset, len)?;
    Ok(Parsed { version, alignment, data_offset, entries, by_key, tensors })
}

fn version(cursor: &mut Cursor) -> Result<u32, GgufDefect> {
    let at = cursor.pos() as u64;
    match cursor.u32()? {
        version @ 1..=3 => Ok(version),
        // a small number with its bytes reversed
        version if version != 0 && version & 0xffff == 0 => Err(GgufDefect::BigEndian { at, version }),
        version => Err(GgufDefect::BadVersion { at, version }),
    }
}

/// A count of things of at least `least` bytes each, if the rest of the file can hold them.
fn count(cursor: &Cursor, at: usize, what: &'static str, count: u64, least: usize) -> Result<usize, GgufDefect> {
    let fits = usize::try_from(count).ok().filter(|n| *n <= cursor.remain() / least);
    fits.ok_or(GgufDefect::CountBeyondFile { at: at as u64, what, count, remain: cursor.remain() as u64 })
}

fn entry(cursor: &mut Cursor, index: usize) -> Result<Entry, GgufDefect> {
    let at = cursor.pos();
    cursor.place = Place::Key(index as u64);
    let key = cursor.text()?;
    if key.is_empty() {
        return Err(GgufDefect::EmptyKey { at: at as u64, index: index as u64 });
    }
    cursor.place = Place::Value(key);
    let value = match cursor.value_type()? {
        ValueType::Str => {
            let text = cursor.text()?;
            Stored::Str { start: cursor.pos() - text.len(), end: cursor.pos() }
        }
        ValueType::Array => {
            let mut index = Vec::new();
            let span = cursor.array(1, &mut index)?;
            Stored::Array { elem: span.elem, len: span.len, start: span.start, end: span.end, index, wide: cursor.wide }
        }
        ty => Stored::Number(cursor.number(ty)?),
    };
    Ok(Entry { key: key.to_owned(), at, value })
}

/// Keys are found by binary search: no copies of them, and no keys that collide by design.
fn sort_keys(entries: &[Entry]) -> Result<Vec<usize>, GgufDefect> {
    let by_key = order(entries.len(), &|a, b| entries[a].key.cmp(&entries[b].key));
    for pair in by_key.windows(2) {
        let (first, second) = (&entries[pair[0]], &entries[pair[1]]);
        if first.key == second.key {
            return Err(GgufDefect::DuplicateKey { at: second.at as u64, key: second.key.clone() });
        }
    }
    Ok(by_key)
}

/// The entry with this key.
pub(super) fn find<'a>(entries: &'a [Entry], by_key: &[usize], key: &str) -> Option<&'a Entry> {
    let found = by_key.binary_search_by(|i| entries[*i].key.as_str().cmp(key)).ok()?;
    Some(&entries[by_key[found]])
}

fn alignment(entries: &[Entry], by_key: &[usize]) -> Result<u32, GgufDefect> {
    let Some(entry) = find(entries, by_key, "general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let at = entry.at as u64;
    match &entry.value {
        Stored::Number(Value::U32(alignment)) if alignment.is_power_of_two() => Ok(*alignment),
        Stored::Number(Value::U32(alignment)) => Err(GgufDefect::BadAlignment { at, alignment: *alignment }),
        other => Err(GgufDefect::AlignmentType {
            at,
            found: match other {
                Stored::Number(value) => value.ty().name(),
                Stored::Str { .. } => ValueType::Str.name(),
                Stored::Array { .. } => ValueType::Array.name(),
            },
        }),
    }
}

/// One entry of the tensor table; `start` is still the offset in the data section.
fn tensor(cursor: &mut Cursor, index: usize, part: usize, alignment: u32) -> Result<TensorInfo, GgufDefect> {
    let entry_at = cursor.pos();
    let at = entry_at as u64;
    cursor.place = Place::TensorName(index as u64);
    let name = cursor.text()?;
    if name.len() >= MAX_TENSOR_NAME {
        let len = name.len() as u64;
        return Err(GgufDefect::TensorNameTooLong { at, name: name.chars().take(MAX_TENSOR_NAME).collect(), len });
    }
    cursor.place = Place::Tensor(name);
    let name = || name.to_owned();

    let dims_at = cursor.pos() as u64;
    let n_dims = cursor.u32()?;
    let mut ne = [1u64; 4];
    let Some(ne) = usize::try_from(n_dims).ok().and_then(|n| ne.get_mut(..n)) else {
        return Err(GgufDefect::TooManyDims { at: dims_at, name: name(), n_dims });
    };
    for dim in ne.iter_mut() {
        *dim = cursor.size()?;
    }
    let too_large = || GgufDefect::ShapeOverflow { at, name: name(), dims: ne.to_vec() };
    let words: Vec<usize> = ne.iter().map_while(|d| usize::try_from(*d).ok()).collect();
    let dims = Dims::new(&words).filter(|_| words.len() == ne.len()).ok_or_else(too_large)?;

    let ty_at = cursor.pos() as u64;
    let id = cursor.u32()?;
    let ty = GgmlType::from_id(id).ok_or_else(|| match REMOVED_TYPES.contains(&id) {
        true => GgufDefect::RemovedTensorType { at: ty_at, name: name(), id },
        false => GgufDefect::UnknownTensorType { at: ty_at, name: name(), id },
    })?;
    if !dims.row_len().is_multiple_of(ty.block_len()) {
        let (row_len, block) = (dims.row_len() as u64, ty.block_len() as u64);
        return Err(GgufDefect::PartialBlock { at, name: name(), ty: ty.name(), row_len, block });
    }
    let len = ty.row_bytes(dims.row_len()).and_then(|n| n.checked_mul(dims.rows())).ok_or_else(too_large)?;

    let offset = cursor.u64()?;
    if !offset.is_multiple_of(alignment.into()) {
        return Err(GgufDefect::UnalignedTensor { at, name: name(), offset, alignment });
    }
    // An offset that no word holds ends past every file; `place` refuses it with the others.
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    Ok(TensorInfo { name: name(), ty, dims, at: entry_at, part, start, len })
}

/// Turns offsets in the data section into offsets in the file, and checks that each tensor has its own bytes there.
///
/// llama.cpp wants the tensors one after the other without gaps. Bytes that no tensor uses harm nobody, so here
/// they may stand in any order and with gaps.
fn place(tensors: &mut [TensorInfo], data_offset: usize, file_len: usize) -> Result<(), GgufDefect> {
    for tensor in tensors.iter_mut() {
        let start = data_offset.checked_add(tensor.start);
        match start.filter(|start| start.checked_add(tensor.len).is_some_and(|end| end <= file_len)) {
            Some(start) => tensor.start = start,
            None => {
                return Err(GgufDefect::TensorPastEnd {
                    at: tensor.at as u64,
                    name: tensor.name.clone(),
                    offset: tensor.start as u64,
                    bytes: tensor.len as u64,
                    section: file_len.saturating_sub(data_offset) as u64,
                });
            }
        }
    }
    let filled: Vec<&TensorInfo> = tensors.iter().filter(|t| t.len > 0).collect();
    for pair in order(filled.len(), &|a, b| filled[a].start.cmp(&filled[b].start)).windows(2) {
        let (first, second) = (filled[pair[0]], filled[pair[1]]);
        if first.start + first.len > second.start {
            let (name, other) = (second.name.clone(), first.name.clone());
            return Err(GgufDefect::OverlappingTensors { at: second.at as u64, name, other });
        }
    }
    Ok(())
}
