//! GGUF files built byte by byte, sound or not.
#![allow(dead_code)] // each test crate uses its own part

/// Bytes of the header of versions 2 and 3: magic, version, two counts.
pub const HEADER: u64 = 24;

/// A file under construction. What it is made of is written as it is given: nothing is checked.
pub struct File {
    pub version: u32,
    /// Counts for the header, if not the true ones.
    pub n_keys: Option<u64>,
    pub n_tensors: Option<u64>,
    /// What the data section is aligned to.
    pub alignment: usize,
    keys: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl File {
    pub fn new(version: u32) -> File {
        let (keys, tensors, data) = (Vec::new(), Vec::new(), Vec::new());
        File { version, n_keys: None, n_tensors: None, alignment: 32, keys, tensors, data }
    }

    /// Adds a metadata key.
    pub fn key(mut self, key: impl AsRef<[u8]>, value: Value) -> File {
        let mut bytes = string(self.version, key);
        bytes.extend(value.id.to_le_bytes());
        bytes.extend(value.bytes(self.version));
        self.keys.push(bytes);
        self
    }

    /// Adds `general.alignment` and aligns the data section to it.
    pub fn aligned(mut self, alignment: u32) -> File {
        self.alignment = alignment as usize;
        self.key("general.alignment", u32(alignment))
    }

    /// Adds an entry to the tensor table.
    pub fn tensor(mut self, name: impl AsRef<[u8]>, dims: &[u64], ty: u32, offset: u64) -> File {
        let mut bytes = string(self.version, name);
        bytes.extend((dims.len() as u32).to_le_bytes());
        for dim in dims {
            bytes.extend(size(self.version, *dim));
        }
        bytes.extend(ty.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    /// Appends `n` bytes to the data section: 0, 1, 2…
    pub fn data(mut self, n: usize) -> File {
        let start = self.data.len();
        self.data.extend((start..start + n).map(|i| i as u8));
        self
    }

    /// Appends these bytes to the data section, then zeros up to the alignment.
    pub fn bytes_of_data(mut self, bytes: &[u8]) -> File {
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
        self
    }

    /// The file up to the end of the metadata.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(size(self.version, self.n_tensors.unwrap_or(self.tensors.len() as u64)));
        bytes.extend(size(self.version, self.n_keys.unwrap_or(self.keys.len() as u64)));
        bytes.extend(self.keys.concat());
        bytes
    }

    /// Where entry `i` of the tensor table starts.
    pub fn tensor_at(&self, i: usize) -> u64 {
        (self.head().len() + self.tensors[..i].concat().len()) as u64
    }

    /// The whole file. Without tensors and data, it ends with the metadata.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend(self.tensors.concat());
        if !self.tensors.is_empty() || !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend(&self.data);
        }
        bytes
    }
}

/// A length or count, as wide as the version has it.
pub fn size(version: u32, n: u64) -> Vec<u8> {
    if version == 1 { (n as u32).to_le_bytes().to_vec() } else { n.to_le_bytes().to_vec() }
}

/// A length and the bytes.
pub fn string(version: u32, s: impl AsRef<[u8]>) -> Vec<u8> {
    [size(version, s.as_ref().len() as u64), s.as_ref().to_vec()].concat()
}

/// A metadata value: a type id, and what follows it in the file.
#[derive(Clone)]
pub struct Value {
    pub id: u32,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Raw(Vec<u8>),
    Str(Vec<u8>),
    /// Type id and number of the elements, and the elements.
    Array(u32, u64, Vec<Value>),
}

impl Value {
    fn bytes(&self, version: u32) -> Vec<u8> {
        match &self.content {
            Content::Raw(bytes) => bytes.clone(),
            Content::Str(bytes) => string(version, bytes),
            Content::Array(id, len, elements) => {
                let mut bytes = id.to_le_bytes().to_vec();
                bytes.extend(size(version, *len));
                elements.iter().for_each(|e| bytes.extend(e.bytes(version)));
                bytes
            }
        }
    }
}

/// Any type id with any bytes after it.
pub fn raw(id: u32, bytes: impl AsRef<[u8]>) -> Value {
    Value { id, content: Content::Raw(bytes.as_ref().to_vec()) }
}

pub fn u8(v: u8) -> Value {
    raw(0, v.to_le_bytes())
}

pub fn i8(v: i8) -> Value {
    raw(1, v.to_le_bytes())
}

pub fn u16(v: u16) -> Value {
    raw(2, v.to_le_bytes())
}

pub fn i16(v: i16) -> Value {
    raw(3, v.to_le_bytes())
}

pub fn u32(v: u32) -> Value {
    raw(4, v.to_le_bytes())
}

pub fn i32(v: i32) -> Value {
    raw(5, v.to_le_bytes())
}

pub fn f32(v: f32) -> Value {
    raw(6, v.to_le_bytes())
}

pub fn bool(v: bool) -> Value {
    raw(7, [v.into()])
}

pub fn str(v: impl AsRef<[u8]>) -> Value {
    Value { id: 8, content: Content::Str(v.as_ref().to_vec()) }
}

pub fn u64(v: u64) -> Value {
    raw(10, v.to_le_bytes())
}

pub fn i64(v: i64) -> Value {
    raw(11, v.to_le_bytes())
}

pub fn f64(v: f64) -> Value {
    raw(12, v.to_le_bytes())
}

/// An array of elements of type `id`.
pub fn array(id: u32, elements: Vec<Value>) -> Value {
    array_of_len(id, elements.len() as u64, elements)
}

/// An array that claims `len` elements.
pub fn array_of_len(id: u32, len: u64, elements: Vec<Value>) -> Value {
    Value { id: 9, content: Content::Array(id, len, elements) }
}

/// One key of every type and one array of every type, keys `k.<id>` and `a.<id>`; the same values as in
/// the tests that read them.
pub fn every_type(version: u32) -> File {
    let values = every_value();
    let mut file = File::new(version);
    for value in &values {
        file = file.key(format!("k.{}", value[0].id), value[0].clone());
    }
    for value in values {
        file = file.key(format!("a.{}", value[0].id), array(value[0].id, value));
    }
    file
}

/// Two values of every type but arrays.
fn every_value() -> Vec<Vec<Value>> {
    vec![
        vec![u8(200), u8(3)],
        vec![i8(-7), i8(100)],
        vec![u16(60_000), u16(4)],
        vec![i16(-300), i16(5)],
        vec![u32(4_000_000_000), u32(6)],
        vec![i32(-70_000), i32(7)],
        vec![f32(-1.5), f32(3e10)],
        vec![bool(true), bool(false)],
        vec![str("grüße"), str("")],
        vec![u64(1 << 63), u64(8)],
        vec![i64(-(1 << 40)), i64(9)],
        vec![f64(0.1), f64(-2.0)],
    ]
}
