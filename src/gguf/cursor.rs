//! Reading forward through bytes that may end or lie anywhere.

use super::value::{STRIDE, Value, ValueType};
use crate::error::{GgufDefect, GgufPlace};

/// Arrays inside arrays are followed to this depth (an array of numbers has depth 1). No known file goes beyond 2.
pub(super) const MAX_DEPTH: u32 = 4;

/// A position in a file's bytes. Every read checks that the bytes are there.
pub(super) struct Cursor<'a> {
    /// The whole file, or as much of its beginning as has been read.
    bytes: &'a [u8],
    /// The length of the whole file.
    len: usize,
    pos: usize,
    /// The fewest bytes that must follow what is being read.
    pub after: usize,
    /// Set if something lies within the file but beyond `bytes`: how many bytes must have been read at least.
    pub more: Option<usize>,
    /// Whether lengths and counts have 64 bits; 32 in version 1.
    pub wide: bool,
    /// What is being read, for errors.
    pub place: Place<'a>,
}

/// [`GgufPlace`] without its own text, since it is needed only for errors.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Header,
    Key(u64),
    Value(&'a str),
    TensorName(u64),
    Tensor(&'a str),
}

impl From<Place<'_>> for GgufPlace {
    fn from(place: Place) -> Self {
        match place {
            Place::Header => GgufPlace::Header,
            Place::Key(index) => GgufPlace::Key { index },
            Place::Value(key) => GgufPlace::Value { key: key.to_owned() },
            Place::TensorName(index) => GgufPlace::TensorName { index },
            Place::Tensor(name) => GgufPlace::Tensor { name: name.to_owned() },
        }
    }
}

/// Where an array lies: its elements are `start..end` of the bytes.
pub(super) struct Span {
    pub elem: ValueType,
    pub len: usize,
    pub start: usize,
    pub end: usize,
}

type Result<T> = std::result::Result<T, GgufDefect>;

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], wide: bool) -> Self {
        Self::within(bytes, bytes.len(), wide)
    }

    /// At the start of a file of `len` bytes, of which `bytes` are the first.
    pub fn within(bytes: &'a [u8], len: usize, wide: bool) -> Self {
        Cursor { bytes, len, pos: 0, after: 0, more: None, wide, place: Place::Header }
    }

    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Bytes of the file that have not been parsed.
    pub fn remain(&self) -> usize {
        self.len - self.pos
    }

    /// The next `n` bytes; `None`, and no step, if there are fewer.
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.pos..).and_then(|rest| rest.get(..n));
        match bytes {
            Some(_) => self.pos += n,
            None if n <= self.remain() => self.more = Some(self.pos.saturating_add(n).saturating_add(self.after)),
            None => {}
        }
        bytes
    }

    fn truncated(&self, needed: usize) -> GgufDefect {
        GgufDefect::Truncated {
            at: self.pos as u64,
            place: self.place.into(),
            needed: needed as u64,
            remain: self.remain() as u64,
        }
    }

    pub fn word<const N: usize>(&mut self) -> Result<[u8; N]> {
        let word = self.take(N).and_then(|bytes| bytes.first_chunk());
        word.copied().ok_or_else(|| self.truncated(N))
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.word().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.word().map(u64::from_le_bytes)
    }

    /// A length, a count or a dimension: u64, in version 1 u32.
    pub fn size(&mut self) -> Result<u64> {
        if self.wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// Bytes of a [`Self::size`].
    pub fn size_bytes(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// A length and as many bytes.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let at = self.pos as u64;
        let len = self.size()?;
        let bytes = usize::try_from(len).ok().and_then(|n| self.take(n));
        bytes.ok_or_else(|| GgufDefect::StringBeyondFile {
            at,
            place: self.place.into(),
            len,
            remain: self.remain() as u64,
        })
    }

    /// A string that must be text.
    pub fn text(&mut self) -> Result<&'a str> {
        let bytes = self.string()?;
        std::str::from_utf8(bytes).map_err(|error| GgufDefect::NotUtf8 {
            at: (self.pos - bytes.len() + error.valid_up_to()) as u64,
            place: self.place.into(),
        })
    }

    pub fn value_type(&mut self) -> Result<ValueType> {
        let at = self.pos as u64;
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| GgufDefect::BadValueType { at, place: self.place.into(), id })
    }

    /// A value of a type with a fixed size.
    pub fn number(&mut self, ty: ValueType) -> Result<Value<'static>> {
        let size = ty.size().unwrap_or(0);
        self.take(size).and_then(|bytes| Value::fixed(ty, bytes)).ok_or_else(|| self.truncated(size))
    }

    /// Walks over an array at `depth` (1: not inside another). The places of its strings go to `index`, from the
    /// start of the first, but only those of an array at depth 1.
    pub fn array(&mut self, depth: u32, index: &mut Vec<usize>) -> Result<Span> {
        if depth > MAX_DEPTH {
            return Err(GgufDefect::NestedTooDeep { at: self.pos as u64, place: self.place.into(), limit: MAX_DEPTH });
        }
        let elem = self.value_type()?;
        let at = self.pos as u64;
        let count = self.size()?;
        // The fewest bytes an element can have: itself, an empty string, an empty array.
        let least = match elem {
            ValueType::Array => 4 + self.size_bytes(),
            _ => elem.size().unwrap_or(self.size_bytes()),
        };
        let len = usize::try_from(count).ok().filter(|len| *len <= self.remain() / least);
        let len = len.ok_or_else(|| GgufDefect::ArrayBeyondFile {
            at,
            place: self.place.into(),
            len: count,
            remain: self.remain() as u64,
        })?;
        // Nothing is allocated for what has only been announced.
        if self.bytes.get(self.pos..).is_none_or(|rest| rest.len() < len * least) {
            self.take(len * least);
            return Err(self.truncated(len * least));
        }
        let (start, after) = (self.pos, self.after);
        match elem {
            ValueType::Array => {
                for i in 0..len {
                    self.after = after.saturating_add((len - i - 1) * least);
                    self.array(depth + 1, index)?;
                }
            }
            ValueType::Str if depth == 1 => {
                index.reserve_exact(len.div_ceil(STRIDE));
                for i in 0..len {
                    if i % STRIDE == 0 {
                        index.push(self.pos - start);
                    }
                    self.after = after.saturating_add((len - i - 1) * least);
                    self.string()?;
                }
            }
            ValueType::Str => {
                for i in 0..len {
                    self.after = after.saturating_add((len - i - 1) * least);
                    self.string()?;
                }
            }
            _ => self.pos += len * least, // checked above to be there
        }
        self.after = after;
        Ok(Span { elem, len, start, end: self.pos })
    }
}
