//! The fixtures' checkpoints, and copies of them that can be spoiled.
#![allow(dead_code)] // each test crate uses its own part

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// The folder of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A folder that is deleted at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pumice-convert-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A copy of a fixture.
    pub fn copy(name: &str) -> Folder {
        let folder = Folder::new();
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, folder.file(from.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        folder
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// Changes a JSON file.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.json(name);
        change(&mut value);
        fs::write(self.file(name), value.to_string()).unwrap();
    }

    /// Sets a key of a JSON file; null counts as missing.
    pub fn set(&self, name: &str, key: &str, value: impl Into<Value>) {
        self.edit(name, |json| json[key] = value.into());
    }

    /// Changes the header of a safetensors file; the tensors' bytes stay.
    pub fn edit_header(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let bytes = fs::read(self.file(name)).unwrap();
        let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
        change(&mut header);
        let mut header = header.to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let data = &bytes[8 + len..];
        fs::write(self.file(name), [&(header.len() as u64).to_le_bytes(), &header[..], data].concat()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
