//! Writing GGUF files, version 3, little-endian.
//!
//! A [`Header`] says everything that comes before the tensors' bytes: the metadata and the tensor table. Once it is
//! written, the bytes follow, tensor by tensor and in pieces of any size, so a model never needs to be in memory.

use std::collections::HashSet;
use std::io::{self, Write};

use super::{Dims, ValueType};
use crate::error::{Error, Result};
use crate::quant::GgmlType;

/// What the offsets of tensors are multiples of; GGUF's own default, which files need not name.
const ALIGNMENT: usize = 32;

/// What a metadata value, or an element of an array, can be made from.
pub trait Element {
    /// Its type in the file.
    const TYPE: ValueType;

    /// Appends its bytes.
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty, $type:ident;)*) => {
        $(impl Element for $number {
            const TYPE: ValueType = ValueType::$type;

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

numbers! {
    u8, U8; i8, I8; u16, U16; i16, I16; u32, U32; i32, I32; u64, U64; i64, I64; f32, F32; f64, F64;
}

impl Element for bool {
    const TYPE: ValueType = ValueType::Bool;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }
}

impl Element for &str {
    const TYPE: ValueType = ValueType::Str;

    fn encode(&self, out: &mut Vec<u8>) {
        (self.len() as u64).encode(out);
        out.extend_from_slice(self.as_bytes());
    }
}

/// A metadata value in the form that files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    ty: ValueType,
    bytes: Vec<u8>,
}

impl<T: Element> From<T> for Encoded {
    fn from(value: T) -> Self {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        Encoded { ty: T::TYPE, bytes }
    }
}

impl Encoded {
    /// An array. GGUF allows empty ones, but not every reader does.
    pub fn array<T: Element>(elements: impl IntoIterator<Item = T>) -> Self {
        let mut bytes = Vec::new();
        (T::TYPE as u32).encode(&mut bytes);
        let count_at = bytes.len();
        0u64.encode(&mut bytes);
        let mut count = 0u64;
        for element in elements {
            element.encode(&mut bytes);
            count += 1;
        }
        bytes[count_at..][..8].copy_from_slice(&count.to_le_bytes());
        Encoded { ty: ValueType::Array, bytes }
    }
}

/// An entry of the tensor table to be.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    ty: GgmlType,
    dims: Dims,
    len: usize,
}

/// A file's metadata and tensor table, before it is written.
#[derive(Debug, Clone, Default)]
pub struct Header {
    keys: Vec<(String, Encoded)>,
    tensors: Vec<Entry>,
    names: HashSet<String>,
}

impl Header {
    /// Without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a metadata key. One that is set already keeps its place.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Encoded>) {
        let (key, value) = (key.into(), value.into());
        match self.keys.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.keys.push((key, value)),
        }
    }

    /// Whether the key has been set.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(k, _)| k == key)
    }

    /// Appends a tensor; `dims` from the innermost on. Tensors' bytes will be written in the order of these calls.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the name is there already, or the rows are no whole blocks of the type, or the size
    /// overflows.
    pub fn tensor(&mut self, name: impl Into<String>, dims: &[usize], ty: GgmlType) -> Result<()> {
        let name = name.into();
        let refused = |found, expected| Err(Error::InvalidArgument { name: "tensor", found, expected });
        let sized = Dims::new(dims).and_then(|dims| {
            let len = ty.row_bytes(dims.row_len())?.checked_mul(dims.rows())?;
            Some((dims, len))
        });
        let Some((dims, len)) = sized else {
            return refused(
                format!("{name} of {dims:?}"),
                format!("rows of a multiple of {} elements", ty.block_len()),
            );
        };
        if !self.names.insert(name.clone()) {
            return refused(name, "a name of its own for each".to_owned());
        }
        self.tensors.push(Entry { name, ty, dims, len });
        Ok(())
    }

    /// Bytes of all tensors together, without the padding between them.
    pub fn data_len(&self) -> u64 {
        self.tensors.iter().map(|t| t.len as u64).sum()
    }

    /// Writes the header; what is returned takes the tensors' bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write<W: Write>(&self, mut out: W) -> io::Result<Data<W>> {
        let mut bytes = b"GGUF".to_vec();
        3u32.encode(&mut bytes);
        (self.tensors.len() as u64).encode(&mut bytes);
        (self.keys.len() as u64).encode(&mut bytes);
        for (key, value) in &self.keys {
            key.as_str().encode(&mut bytes);
            (value.ty as u32).encode(&mut bytes);
            bytes.extend_from_slice(&value.bytes);
        }
        let mut offset = 0;
        for Entry { name, ty, dims, len } in &self.tensors {
            name.as_str().encode(&mut bytes);
            (dims.as_slice().len() as u32).encode(&mut bytes);
            dims.as_slice().iter().for_each(|d| (*d as u64).encode(&mut bytes));
            ty.id().encode(&mut bytes);
            (offset as u64).encode(&mut bytes);
            offset += len.next_multiple_of(ALIGNMENT);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&bytes)?;
        Ok(Data { out, lens: self.tensors.iter().map(|t| t.len).collect(), current: 0, written: 0 })
    }
}

/// The tensors' bytes, one tensor after the other.
#[derive(Debug)]
pub struct Data<W> {
    out: W,
    /// Bytes of every tensor.
    lens: Vec<usize>,
    /// The tensor that is being written.
    current: usize,
    /// How much of it has been.
    written: usize,
}

impl<W: Write> Data<W> {
    /// The next bytes of the current tensor: a piece of it, or all. When it is whole, the next one is the current one.
    ///
    /// # Errors
    /// Those of the output; `InvalidInput` if these are more bytes than the tensor has left.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let len = self.lens.get(self.current).copied().unwrap_or(0);
        if piece.len() > len - self.written {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more bytes than the tensor has"));
        }
        self.out.write_all(piece)?;
        self.written += piece.len();
        if self.written == len && self.current < self.lens.len() {
            self.out.write_all(&[0; ALIGNMENT][..len.next_multiple_of(ALIGNMENT) - len])?;
            (self.current, self.written) = (self.current + 1, 0);
        }
        Ok(())
    }

    /// Gives the output back, after the last tensor.
    ///
    /// # Errors
    /// Those of flushing it; `InvalidInput` if tensors are missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.current < self.lens.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not all tensors have been written"));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Gguf};

    #[test]
    fn what_is_written_is_read() {
        let mut header = Header::new();
        header.set("a.number", 7u32);
        header.set("a.text", "grüße");
        header.set("a.number", -8i32);
        header.set("some.texts", Encoded::array(["x", "", "ü"]));
        header.set("some.flags", Encoded::array([true, false]));
        header.tensor("three", &[3], GgmlType::F32).unwrap();
        header.tensor("blocks", &[32, 2], GgmlType::Q8_0).unwrap();
        assert_eq!((header.data_len(), header.has("a.text"), header.has("b")), (12 + 68, true, false));

        let mut data = header.write(Vec::new()).unwrap();
        data.write(&[1; 5]).unwrap();
        data.write(&[2; 7]).unwrap();
        data.write(&[3; 68]).unwrap();
        let gguf = Gguf::parse("written", Bytes::from_vec(data.finish().unwrap())).unwrap();
        let keys: Vec<_> = gguf.keys().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a.number", "a.text", "some.texts", "some.flags"]);
        assert_eq!(gguf.get("a.number").unwrap().as_i64(), Some(-8));
        assert_eq!(gguf.get_str("a.text").unwrap(), Some("grüße"));
        let texts = gguf.get_array("some.texts").unwrap().unwrap();
        assert_eq!(texts.iter_strs().unwrap().collect::<Vec<_>>(), ["x", "", "ü"].map(str::as_bytes));
        let flags = gguf.get_array("some.flags").unwrap().unwrap();
        assert_eq!(flags.iter_bool().unwrap().collect::<Vec<_>>(), [true, false]);
        let tensor = |name| gguf.tensor(name).map(|t| (t.dims.as_slice().to_vec(), gguf.tensor_data(t))).unwrap();
        assert_eq!(tensor("three"), (vec![3], &[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2][..]));
        assert_eq!(tensor("blocks"), (vec![32, 2], &[3; 68][..]));
    }

    #[test]
    fn nothing_incomplete_or_superfluous_is_written() {
        let mut header = Header::new();
        header.tensor("a", &[2], GgmlType::F32).unwrap();
        assert!(header.tensor("a", &[2], GgmlType::F32).is_err());
        assert!(header.tensor("b", &[33], GgmlType::Q8_0).is_err());
        assert!(header.tensor("c", &[usize::MAX, 2], GgmlType::F32).is_err());
        assert!(header.tensor("d", &[1; 5], GgmlType::F32).is_err());

        let mut data = header.write(Vec::new()).unwrap();
        assert!(data.write(&[0; 9]).is_err());
        data.write(&[0; 7]).unwrap();
        assert!(data.write(&[0; 2]).is_err());
        assert!(header.write(Vec::new()).unwrap().finish().is_err());
        data.write(&[0; 1]).unwrap();
        assert!(data.write(&[0]).is_err());
        data.finish().unwrap();
    }
}
