//! Metadata values, borrowed from the file's bytes.

use std::fmt;

use super::cursor::Cursor;

/// The type of a metadata value, by GGUF's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are GGUF's own
#[repr(u32)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type with this id, if GGUF has one.
    pub fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, Str, Array, U64, I64, F64].into_iter().find(|t| *t as u32 == id)
    }

    /// A short name: `u32`, `str`, `array`.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "str",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Bytes of a value; `None` for strings and arrays, whose values tell their own lengths.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }
}

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // the names are GGUF's own
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// Decodes a value of fixed size; `None` for other types or too few bytes. A bool is true unless its byte is 0.
    pub(super) fn fixed(ty: ValueType, bytes: &[u8]) -> Option<Value<'static>> {
        Some(match ty {
            ValueType::U8 => Value::U8(u8::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::Bool => Value::Bool(*bytes.first()? != 0),
            ValueType::U64 => Value::U64(u64::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(*bytes.first_chunk()?)),
            ValueType::Str | ValueType::Array => return None,
        })
    }

    /// The value's type.
    pub fn ty(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::Str(_) => ValueType::Str,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The number, of any integer type that holds it; `None` for negative ones and other types.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// The number, of any integer type; `None` for numbers from 2^63 on and other types.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::I8(v) => Some(v.into()),
            Value::I16(v) => Some(v.into()),
            Value::I32(v) => Some(v.into()),
            Value::I64(v) => Some(v),
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The number, of either float type, rounded to f32; `None` for other types.
    pub fn as_f32(&self) -> Option<f32> {
        match *self {
            Value::F32(v) => Some(v),
            Value::F64(v) => Some(v as f32),
            _ => None,
        }
    }

    /// The truth value; `None` for other types.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// The text; `None` for other types.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Value::Str(v) => Some(v),
            _ => None,
        }
    }

    /// The array; `None` for other types.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }
}

/// For messages: the type and, where it is short, the value.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = self.ty().name();
        match self {
            Value::U8(v) => write!(f, "the {ty} {v}"),
            Value::I8(v) => write!(f, "the {ty} {v}"),
            Value::U16(v) => write!(f, "the {ty} {v}"),
            Value::I16(v) => write!(f, "the {ty} {v}"),
            Value::U32(v) => write!(f, "the {ty} {v}"),
            Value::I32(v) => write!(f, "the {ty} {v}"),
            Value::U64(v) => write!(f, "the {ty} {v}"),
            Value::I64(v) => write!(f, "the {ty} {v}"),
            Value::F32(v) => write!(f, "the {ty} {v}"),
            Value::F64(v) => write!(f, "the {ty} {v}"),
            Value::Bool(v) => write!(f, "the {ty} {v}"),
            Value::Str(v) if v.chars().count() <= 40 => write!(f, "the {ty} {v:?}"),
            Value::Str(v) => write!(f, "the {ty} {:?}…", v.chars().take(40).collect::<String>()),
            Value::Array(v) => write!(f, "an array of {} {}", v.len(), v.elem_type().name()),
        }
    }
}

/// How many strings of an array share one place in its index.
///
/// An entry for each string would cost 2 MB for a large vocabulary; one for sixteen costs a sixteenth of that, and
/// the walk over the others stays within a cache line or a few.
pub(super) const STRIDE: usize = 16;

/// An array in the metadata, borrowed from the file's bytes.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    pub(super) elem: ValueType,
    pub(super) len: usize,
    /// The elements, one after the other; checked to hold `len` of them when the file was opened.
    pub(super) bytes: &'a [u8],
    /// Where in `bytes` every [`STRIDE`]th string starts; empty if the elements are no strings or the array is nested.
    pub(super) index: &'a [usize],
    /// Whether lengths in the file have 64 bits (version 1: 32).
    pub(super) wide: bool,
}

impl<'a> Array<'a> {
    /// The type of the elements.
    pub fn elem_type(&self) -> ValueType {
        self.elem
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// String number `i`, in constant time (in an array inside an array: in time proportional to `i`).
    ///
    /// The bytes need not be UTF-8: vocabularies hold pieces of characters. `None` if there is no such string.
    pub fn get_str_bytes(&self, i: usize) -> Option<&'a [u8]> {
        if i >= self.len {
            return None;
        }
        let (start, skip) = match self.index.get(i / STRIDE) {
            Some(&start) => (start, i % STRIDE),
            None => (0, i),
        };
        Array { bytes: self.bytes.get(start..)?, len: skip.checked_add(1)?, ..*self }.iter_strs()?.nth(skip)
    }

    /// Number or truth value `i`. `None` if there is no such element, or the elements are strings or arrays.
    pub fn get_number(&self, i: usize) -> Option<Value<'static>> {
        let size = self.elem.size()?;
        let at = (i < self.len).then(|| i.checked_mul(size))??;
        Value::fixed(self.elem, self.bytes.get(at..)?)
    }

    /// The strings in order, as bytes; `None` unless the elements are strings.
    pub fn iter_strs(&self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let mut cursor = Cursor::new(self.bytes, self.wide);
        let mut left = self.len;
        (self.elem == ValueType::Str).then_some(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            cursor.string().ok()
        }))
    }

    /// The elements as u64; `None` unless all are integers of any type and none is negative.
    pub fn iter_u64(&self) -> Option<impl Iterator<Item = u64> + use<'a>> {
        let values = self.numbers()?;
        values.clone().all(|v| v.as_u64().is_some()).then(|| values.filter_map(|v| v.as_u64()))
    }

    /// The elements as i64; `None` unless all are integers of any type and none is above `i64::MAX`.
    pub fn iter_i64(&self) -> Option<impl Iterator<Item = i64> + use<'a>> {
        let values = self.numbers()?;
        values.clone().all(|v| v.as_i64().is_some()).then(|| values.filter_map(|v| v.as_i64()))
    }

    /// The elements as f32; `None` unless they are of either float type.
    pub fn iter_f32(&self) -> Option<impl Iterator<Item = f32> + use<'a>> {
        let float = matches!(self.elem, ValueType::F32 | ValueType::F64);
        Some(self.numbers().filter(|_| float)?.filter_map(|v| v.as_f32()))
    }

    /// The elements as bool; `None` unless they are bools.
    pub fn iter_bool(&self) -> Option<impl Iterator<Item = bool> + use<'a>> {
        let bool = self.elem == ValueType::Bool;
        Some(self.numbers().filter(|_| bool)?.filter_map(|v| v.as_bool()))
    }

    /// The arrays in an array of arrays, in order; `None` unless the elements are arrays.
    pub fn iter_arrays(&self) -> Option<impl Iterator<Item = Array<'a>> + use<'a>> {
        let Array { bytes, wide, .. } = *self;
        let mut cursor = Cursor::new(bytes, wide);
        let mut left = self.len;
        (self.elem == ValueType::Array).then_some(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let span = cursor.array(2, &mut Vec::new()).ok()?;
            Some(Array { elem: span.elem, len: span.len, bytes: bytes.get(span.start..span.end)?, index: &[], wide })
        }))
    }

    /// The elements; `None` if their type has no fixed size.
    fn numbers(&self) -> Option<impl Iterator<Item = Value<'static>> + Clone + use<'a>> {
        let Array { elem, len, bytes, .. } = *self;
        Some(bytes.chunks_exact(elem.size()?).take(len).filter_map(move |chunk| Value::fixed(elem, chunk)))
    }
}

/// Arrays are equal if their elements are, wherever they lie.
impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.elem, self.len, self.wide, self.bytes) == (other.elem, other.len, other.wide, other.bytes)
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} x {})", self.len, self.elem.name())
    }
}
