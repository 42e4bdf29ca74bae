//! GGUF: from bytes to typed metadata and a tensor table.
//!
//! [`Gguf::open`] checks everything once: each length against the bytes that remain, each product before it is used,
//! each tensor's place. What is read afterwards is borrowed from the file's bytes and cannot fail. Versions 1, 2 and
//! 3 are read, little-endian, and models that are split into several files. A [`Header`] writes version 3.

mod cursor;
mod file;
mod load;
mod split;
mod tensor;
mod value;
mod write;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use crate::error::{Error, GgufDefect, Result};
use crate::map::Bytes;
use crate::order::order;
use file::Stop;
use load::Told;

pub use load::{Fill, Load, Tell};
pub use tensor::{Dims, TensorInfo};
pub use value::{Array, Value, ValueType};
pub use write::{Data, Element, Encoded, Header};

/// A GGUF model file, or all files of a split one, with its metadata and tensor table.
///
/// Keeps the bytes alive and copies none of them but names and numbers.
pub struct Gguf {
    /// The files in order.
    parts: Vec<Part>,
    /// What the first file says; its `tensors` are those of all files.
    first: file::Parsed,
    /// Numbers of tensors in the order of their names.
    by_name: Vec<usize>,
}

/// One file.
struct Part {
    /// For errors.
    name: String,
    /// All of it, or at least the header.
    bytes: Bytes,
    /// The length of the file.
    len: u64,
}

impl Gguf {
    /// Opens a file, and if it is the first part of a split model (`name-00001-of-00003.gguf`), the other parts
    /// beside it.
    ///
    /// `mmap` says whether to map the files (see [`Bytes::map`] for the promise this asks of the file) or to read
    /// them into memory.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be opened, [`Error::NoMemory`] if it is to be read and does not fit,
    /// [`Error::Gguf`] if it is not a sound GGUF file.
    pub fn open(path: &Path, mmap: bool) -> Result<Gguf> {
        let load = if mmap { Load::Map } else { Load::Read };
        Self::load(path, load, &mut |_, _| ControlFlow::Continue(()))
    }

    /// The same, with more choices. While files are read, `tell` hears how many bytes of all files are done; if it breaks
    /// off, the result is [`Error::Cancelled`].
    ///
    /// # Errors
    /// As for [`Gguf::open`].
    pub fn load(path: &Path, load: Load, tell: &mut Tell) -> Result<Gguf> {
        let total = if load == Load::Read { split::file_bytes(path) } else { 0 };
        let mut told = Told { done: 0, total, tell };
        split::open(path, |path, part| load::open(path, part, load, &mut told))
    }

    /// Reads one whole file of `len` bytes from wherever `fill` gets them, or its header alone: no more than that,
    /// rounded up to 4 KiB. No byte is asked for twice, and no memory is taken for what a broken file merely announces.
    /// `tell` as for [`Gguf::load`].
    ///
    /// # Errors
    /// As for [`Gguf::parse`], [`Error::NoMemory`], and what `fill` says.
    pub fn read(name: &str, len: u64, header_only: bool, fill: &mut Fill, tell: &mut Tell) -> Result<Gguf> {
        load::read(name, len, header_only, fill, &mut Told { done: 0, total: len, tell })?.whole()
    }

    /// Brings all pages of what is mapped into memory. `tell` as for [`Gguf::load`].
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn preload(&self, tell: &mut Tell) -> Result<()> {
        let total = self.parts.iter().map(|part| part.bytes.len() as u64).sum();
        load::preload(self, &mut Told { done: 0, total, tell })
    }

    /// Whether tensors have their bytes.
    pub fn has_data(&self) -> bool {
        self.tensors().iter().all(|tensor| self.tensor_data(tensor).len() == tensor.len)
    }

    /// Reads a buffer that holds one whole file. `name` stands for the file's name in errors.
    ///
    /// # Errors
    /// [`Error::Gguf`] if it is not a sound GGUF file, or is a part of a split one.
    pub fn parse(name: &str, bytes: Bytes) -> Result<Gguf> {
        Gguf::part(name.to_owned(), bytes, 0)?.whole()
    }

    /// A single file as a model.
    fn whole(self) -> Result<Gguf> {
        match self.split()? {
            None => self.join(Vec::new()),
            Some((0, count)) => Err(self.defect(GgufDefect::SplitBuffer { count })),
            Some((number, count)) => Err(self.defect(GgufDefect::NotFirstPart { number: number + 1, count })),
        }
    }

    /// File number `part` on its own; tensors cannot be found by name yet.
    fn part(name: String, bytes: Bytes, part: usize) -> Result<Gguf> {
        match file::parse(&bytes, bytes.len(), part) {
            Ok(first) => {
                let len = bytes.len() as u64;
                Ok(Gguf::of(name, bytes, len, first))
            }
            Err(Stop::Defect(defect)) => Err(Error::Gguf { file: name, defect }),
            Err(Stop::More(_)) => Err(Error::Internal { what: "a whole file that goes on".to_owned() }),
        }
    }

    /// A file of `len` bytes that has been parsed; tensors cannot be found by name yet.
    fn of(name: String, bytes: Bytes, len: u64, first: file::Parsed) -> Gguf {
        Gguf { parts: vec![Part { name, bytes, len }], first, by_name: Vec::new() }
    }

    /// Takes over the tensors of the other parts and makes all tensors findable.
    fn join(mut self, others: Vec<Gguf>) -> Result<Gguf> {
        for other in others {
            self.parts.extend(other.parts);
            self.first.tensors.extend(other.first.tensors);
        }
        let tensors = &self.first.tensors;
        let by_name = order(tensors.len(), &|a, b| tensors[a].name.cmp(&tensors[b].name));
        for pair in by_name.windows(2) {
            let second = &tensors[pair[1]];
            if tensors[pair[0]].name == second.name {
                let defect = GgufDefect::DuplicateTensor { at: second.at as u64, name: second.name.clone() };
                return Err(Error::Gguf { file: self.parts[second.part].name.clone(), defect });
            }
        }
        self.by_name = by_name;
        Ok(self)
    }

    fn defect(&self, defect: GgufDefect) -> Error {
        Error::Gguf { file: self.name().to_owned(), defect }
    }

    /// The file's name as it was given (of a split model, the first file's).
    pub fn name(&self) -> &str {
        &self.parts[0].name
    }

    /// The bytes of the (first) file, which all metadata is borrowed from.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.parts[0].bytes
    }

    /// The version of the format: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.first.version
    }

    /// What the offsets of tensors are multiples of, in bytes: a power of two.
    pub fn alignment(&self) -> u32 {
        self.first.alignment
    }

    /// Where the tensor data starts in the (first) file, in bytes.
    pub fn data_offset(&self) -> u64 {
        self.first.data_offset as u64
    }

    /// The size of the file, or of all parts together, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// The number of files: 1 unless the model is split.
    pub fn n_parts(&self) -> usize {
        self.parts.len()
    }

    /// All metadata in the file's order (of a split model, the first file's).
    pub fn keys(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.first.entries.iter().map(|entry| (entry.key.as_str(), entry.value(self.bytes())))
    }

    /// The same in the order of the keys.
    pub(crate) fn keys_by_name(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let entries = self.first.by_key.iter().map(|i| &self.first.entries[*i]);
        entries.map(|entry| (entry.key.as_str(), entry.value(self.bytes())))
    }

    /// The value of a metadata key, if it is there.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        Some(file::find(&self.first.entries, &self.first.by_key, key)?.value(self.bytes()))
    }

    /// An integer of any type, from 0 on; `Ok(None)` if the key is not there.
    ///
    /// # Errors
    /// [`Error::BadKey`] if the value is negative or not an integer.
    pub fn get_u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "an integer from 0 on", |value| value.as_u64())
    }

    /// A float; `Ok(None)` if the key is not there.
    ///
    /// # Errors
    /// [`Error::BadKey`] if the value is not a float.
    pub fn get_f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a float", |value| value.as_f32())
    }

    /// A truth value; `Ok(None)` if the key is not there.
    ///
    /// # Errors
    /// [`Error::BadKey`] if the value is not a bool.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |value| value.as_bool())
    }

    /// Text; `Ok(None)` if the key is not there.
    ///
    /// # Errors
    /// [`Error::BadKey`] if the value is not a string.
    pub fn get_str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", |value| value.as_str())
    }

    /// An array; `Ok(None)` if the key is not there.
    ///
    /// # Errors
    /// [`Error::BadKey`] if the value is not an array.
    pub fn get_array(&self, key: &str) -> Result<Option<Array<'_>>> {
        self.typed(key, "an array", |value| value.as_array())
    }

    /// [`Self::get_u64`] of a key that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if it is not; [`Error::BadKey`].
    pub fn need_u64(&self, key: &str) -> Result<u64> {
        self.get_u64(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Self::get_f32`] of a key that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if it is not; [`Error::BadKey`].
    pub fn need_f32(&self, key: &str) -> Result<f32> {
        self.get_f32(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Self::get_str`] of a key that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if it is not; [`Error::BadKey`].
    pub fn need_str(&self, key: &str) -> Result<&str> {
        self.get_str(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Self::get_array`] of a key that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if it is not; [`Error::BadKey`].
    pub fn need_array(&self, key: &str) -> Result<Array<'_>> {
        self.get_array(key)?.ok_or_else(|| self.missing(key))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.bad_key(key, value.to_string(), expected))
    }

    /// The error for a key whose value makes no sense: it is `found`, but `expected` would be right.
    pub fn bad_key(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) -> Error {
        let (file, key) = (self.name().to_owned(), key.to_owned());
        Error::BadKey { file, key, found: found.into(), expected: expected.into() }
    }

    fn missing(&self, key: &str) -> Error {
        Error::MissingKey { file: self.name().to_owned(), key: key.to_owned() }
    }

    /// All tensors, in the order of the file or files.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.first.tensors
    }

    /// The same in the order of their names.
    pub(crate) fn tensors_by_name(&self) -> impl Iterator<Item = &TensorInfo> {
        self.by_name.iter().map(|i| &self.first.tensors[*i])
    }

    /// The tensor with this name, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let tensors = &self.first.tensors;
        let found = self.by_name.binary_search_by(|i| tensors[*i].name.as_str().cmp(name)).ok()?;
        Some(&tensors[self.by_name[found]])
    }

    /// The bytes of one of this model's tensors, no more and no fewer.
    ///
    /// They start at a multiple of [`Self::alignment`] from the start of their file, so a file that was mapped or read
    /// aligns them in memory too; a caller's own buffer does so only as far as it is aligned itself. For a tensor of
    /// another model the result is empty or meaningless, and without data ([`Load::Header`]) it is empty.
    pub fn tensor_data(&self, tensor: &TensorInfo) -> &[u8] {
        let bytes = self.parts.get(tensor.part).and_then(|part| part.bytes.get(tensor.start..));
        bytes.and_then(|bytes| bytes.get(..tensor.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("keys", &self.first.entries.len())
            .field("tensors", &self.tensors().len())
            .finish_non_exhaustive()
    }
}
