//! What can be wrong with the bytes of a GGUF file: one variant per kind of defect.

use std::fmt;

use super::shown;

/// A defect in the container itself. `at` is the byte offset, from the start of the file, of the field that shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufDefect {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {found:02x?}, expected the four bytes \"GGUF\"")]
    BadMagic {
        /// The bytes found (fewer than four in a shorter file).
        found: Vec<u8>,
    },
    /// The file was written for a big-endian machine.
    #[error("at byte {at}: version {version:#010x} means a big-endian file; only little-endian files are read")]
    BigEndian {
        /// Where the version is.
        at: u64,
        /// The version as a little-endian machine reads it.
        version: u32,
    },
    /// The version is none of 1, 2 and 3.
    #[error("at byte {at}: GGUF version {version} is not known; known: 1, 2, 3")]
    BadVersion {
        /// Where the version is.
        at: u64,
        /// What the file says.
        version: u32,
    },
    /// The file ends inside a field of fixed size.
    #[error("at byte {at}: the file ends in {place}: {needed} bytes are needed, {remain} remain")]
    Truncated {
        /// Where the field starts.
        at: u64,
        /// What was being read.
        place: GgufPlace,
        /// The field's size.
        needed: u64,
        /// Bytes from there to the end of the file.
        remain: u64,
    },
    /// The header counts more metadata keys or tensors than the file has room for.
    #[error("at byte {at}: the header counts {count} {what}, more than the remaining {remain} bytes can hold")]
    CountBeyondFile {
        /// Where the count is.
        at: u64,
        /// What is counted: "metadata keys" or "tensors".
        what: &'static str,
        /// The count.
        count: u64,
        /// Bytes from the end of the header to the end of the file.
        remain: u64,
    },
    /// A string is longer than the rest of the file.
    #[error("at byte {at}: a string of {len} bytes in {place}, but {remain} bytes remain")]
    StringBeyondFile {
        /// Where the string's length is.
        at: u64,
        /// What was being read.
        place: GgufPlace,
        /// The length the file gives.
        len: u64,
        /// Bytes after the length.
        remain: u64,
    },
    /// An array has more elements than the rest of the file can hold.
    #[error("at byte {at}: an array of {len} elements in {place}, but {remain} bytes remain")]
    ArrayBeyondFile {
        /// Where the array's length is.
        at: u64,
        /// What was being read.
        place: GgufPlace,
        /// The length the file gives, in elements.
        len: u64,
        /// Bytes after the length.
        remain: u64,
    },
    /// Arrays of arrays go deeper than the reader follows.
    #[error("at byte {at}: arrays are nested deeper than {limit} in {place}")]
    NestedTooDeep {
        /// Where the array that is too deep starts.
        at: u64,
        /// What was being read.
        place: GgufPlace,
        /// Levels that are followed.
        limit: u32,
    },
    /// The type id of a metadata value, or of an array's elements, is not one of GGUF's thirteen.
    #[error("at byte {at}: unknown metadata type {id} in {place}")]
    BadValueType {
        /// Where the type id is.
        at: u64,
        /// What was being read.
        place: GgufPlace,
        /// What the file says.
        id: u32,
    },
    /// A key, a tensor name or a string value is not UTF-8. (Strings inside arrays may hold any bytes.)
    #[error("at byte {at}: {place} is not valid UTF-8")]
    NotUtf8 {
        /// Where the first wrong byte is.
        at: u64,
        /// What was being read.
        place: GgufPlace,
    },
    /// A metadata key has no name.
    #[error("at byte {at}: metadata key number {index} is empty")]
    EmptyKey {
        /// Where the key starts.
        at: u64,
        /// Its number in the file, from 0.
        index: u64,
    },
    /// A metadata key is there twice.
    #[error("at byte {at}: the metadata key `{key}` is there a second time", key = shown(key))]
    DuplicateKey {
        /// Where the second one starts.
        at: u64,
        /// The key.
        key: String,
    },
    /// `general.alignment` is not a u32.
    #[error("at byte {at}: `general.alignment` is of type {found}, expected u32")]
    AlignmentType {
        /// Where the key starts.
        at: u64,
        /// The type found.
        found: &'static str,
    },
    /// `general.alignment` is zero or not a power of two.
    #[error("at byte {at}: `general.alignment` is {alignment}, expected a power of two")]
    BadAlignment {
        /// Where the key starts.
        at: u64,
        /// What the file says.
        alignment: u32,
    },
    /// A tensor's name has 64 bytes or more.
    #[error("at byte {at}: the tensor name `{name}` has {len} bytes, expected fewer than 64", name = shown(name))]
    TensorNameTooLong {
        /// Where the name starts.
        at: u64,
        /// Its first characters.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
    /// A tensor is there twice, in one file or in two parts of a split one.
    #[error("at byte {at}: the tensor `{name}` is there a second time", name = shown(name))]
    DuplicateTensor {
        /// Where the second one's entry starts.
        at: u64,
        /// The tensor.
        name: String,
    },
    /// A tensor has more than four dimensions.
    #[error("at byte {at}: the tensor `{name}` has {n_dims} dimensions, expected at most 4", name = shown(name))]
    TooManyDims {
        /// Where the number of dimensions is.
        at: u64,
        /// The tensor.
        name: String,
        /// What the file says.
        n_dims: u32,
    },
    /// A tensor's type id once meant a format that GGUF has removed.
    #[error(
        "at byte {at}: the tensor `{name}` has type {id}, which was removed from GGUF; the file must be made anew",
        name = shown(name)
    )]
    RemovedTensorType {
        /// Where the type id is.
        at: u64,
        /// The tensor.
        name: String,
        /// What the file says.
        id: u32,
    },
    /// A tensor's type id is not one of mainline GGUF's.
    #[error("at byte {at}: the tensor `{name}` has the unknown type {id}", name = shown(name))]
    UnknownTensorType {
        /// Where the type id is.
        at: u64,
        /// The tensor.
        name: String,
        /// What the file says.
        id: u32,
    },
    /// A tensor's elements or bytes are more than a machine word counts.
    #[error("at byte {at}: the tensor `{name}` with dimensions {dims:?} is too large to address", name = shown(name))]
    ShapeOverflow {
        /// Where the tensor's entry starts.
        at: u64,
        /// The tensor.
        name: String,
        /// Its dimensions, innermost first.
        dims: Vec<u64>,
    },
    /// A row of a tensor is not a whole number of its type's blocks.
    #[error(
        "at byte {at}: the tensor `{name}` has rows of {row_len} elements, not a multiple of {ty}'s block of {block}",
        name = shown(name)
    )]
    PartialBlock {
        /// Where the tensor's entry starts.
        at: u64,
        /// The tensor.
        name: String,
        /// Its type.
        ty: &'static str,
        /// Elements in a row.
        row_len: u64,
        /// Elements in a block.
        block: u64,
    },
    /// A tensor's offset is not a multiple of the file's alignment.
    #[error(
        "at byte {at}: the tensor `{name}` has offset {offset}, not a multiple of the alignment {alignment}",
        name = shown(name)
    )]
    UnalignedTensor {
        /// Where the tensor's entry starts.
        at: u64,
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },
    /// A tensor does not end within the file.
    #[error(
        "at byte {at}: the tensor `{name}` has {bytes} bytes at offset {offset} of a data section of {section} bytes",
        name = shown(name)
    )]
    TensorPastEnd {
        /// Where the tensor's entry starts.
        at: u64,
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the data section.
        section: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "at byte {at}: the tensor `{name}` overlaps the tensor `{other}`",
        name = shown(name), other = shown(other)
    )]
    OverlappingTensors {
        /// Where the entry of `name` starts.
        at: u64,
        /// The tensor that starts later in the data section.
        name: String,
        /// The one that starts before it and reaches into it.
        other: String,
    },
    /// A header that is read piece by piece goes on and on.
    #[error("the header takes at least {needed} bytes, the limit is {limit}")]
    HeaderTooLarge {
        /// Bytes that it takes at least.
        needed: u64,
        /// The most that are read.
        limit: u64,
    },
    /// The file is a part of a split model, but not the first.
    #[error("part {number} of a model split into {count} files; open the first part")]
    NotFirstPart {
        /// The part, counted from 1 as in the file's name.
        number: u64,
        /// Parts in all.
        count: u64,
    },
    /// The first part of a split model has a name that does not tell the names of the others.
    #[error("the first of {count} parts; its name must end in `{expected}` for the others to be found")]
    SplitName {
        /// Parts in all.
        count: u64,
        /// How the name must end.
        expected: String,
    },
    /// A buffer holds one part of a split model; only files are joined.
    #[error("the first of {count} parts of a split model; a buffer must hold a whole model")]
    SplitBuffer {
        /// Parts in all.
        count: u64,
    },
    /// A part of a split model is not beside the first.
    #[error("part {number} of {count} is missing")]
    MissingPart {
        /// The part, counted from 1 as in the file's name.
        number: u64,
        /// Parts in all.
        count: u64,
    },
    /// A part's `split.no` or `split.count` is not what its place demands.
    #[error("`{key}` is {found}, expected {expected}")]
    SplitMismatch {
        /// The key.
        key: &'static str,
        /// What the part says; "missing" if it has no such key.
        found: String,
        /// What the first part makes it.
        expected: u64,
    },
    /// The parts together do not have the tensors that the first part announces.
    #[error("`split.tensors.count` is {expected}, but the parts have {found} tensors")]
    SplitTensorCount {
        /// Tensors in all parts.
        found: u64,
        /// What the first part says.
        expected: u64,
    },
}

/// What the reader was reading when it met a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufPlace {
    /// Magic, version and counts.
    Header,
    /// The name of a metadata key.
    Key {
        /// Its number in the file, from 0.
        index: u64,
    },
    /// The type or value of a metadata key.
    Value {
        /// The key.
        key: String,
    },
    /// The name of a tensor.
    TensorName {
        /// Its number in the file, from 0.
        index: u64,
    },
    /// A tensor's dimensions, type and offset.
    Tensor {
        /// The tensor.
        name: String,
    },
}

impl fmt::Display for GgufPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "the header"),
            Self::Key { index } => write!(f, "the name of metadata key number {index}"),
            Self::Value { key } => write!(f, "the value of `{}`", shown(key)),
            Self::TensorName { index } => write!(f, "the name of tensor number {index}"),
            Self::Tensor { name } => write!(f, "the entry of the tensor `{}`", shown(name)),
        }
    }
}
