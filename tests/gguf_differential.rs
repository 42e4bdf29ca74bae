//! The same files through this reader and through the crate gguf-rs: what both read must be the same.
//!
//! Left out is what gguf-rs 0.1 does not read, or reads wrongly:
//! - tensor sizes of Q8_1 (it counts 40 bytes a block, not 36), of the types from IQ4_NL on whose block has not 256
//!   elements (it divides by 256 all the same: IQ4_NL, I8 to F64, BF16, MXFP4), and of types 40 (it panics) and 41;
//! - in version 1, dimensions (it reads 64 bits each where the format has 32), so no tensors of version 1;
//! - arrays of arrays (it refuses them);
//! - an alignment that is not a multiple of 8 (it takes 32 instead);
//! - floats that are not finite (they become null) and strings that are not UTF-8 (it replaces the wrong bytes, so
//!   ours are compared after the same replacement).

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use gguf_bytes::*;
use gguf_rs::{ByteOrder, GGUFContainer, GGUFModel};
use pumice::gguf::{Value as V, ValueType};
use pumice::quant::GgmlType;
use pumice::{Bytes, Gguf};

/// gguf-rs starts after the four bytes of the magic.
fn peer(bytes: &[u8]) -> GGUFModel {
    let reader = Box::new(Cursor::new(bytes[4..].to_vec()));
    GGUFContainer::new(ByteOrder::LE, reader, u64::MAX).decode().unwrap()
}

/// Whether gguf-rs counts the bytes of this type rightly.
fn peer_sizes(ty: GgmlType) -> bool {
    use GgmlType::*;
    !matches!(ty, Q8_1 | IQ4_NL | I8 | I16 | I32 | I64 | F64 | BF16 | MXFP4)
}

/// Compares everything; returns the number of values and tensors compared.
fn compare(name: &str, bytes: &[u8]) -> usize {
    let ours = Gguf::parse(name, Bytes::from_vec(bytes.to_vec())).unwrap();
    let theirs = peer(bytes);
    assert_eq!(format!("v{}", ours.version()), theirs.get_version(), "{name}");
    assert_eq!(u64::from(ours.alignment()), theirs.alignment(), "{name}");
    assert_eq!(ours.keys().count() as u64, theirs.num_kv(), "{name}");
    let mut compared = 0;
    for (key, value) in ours.keys() {
        let at = format!("{name}: {key}");
        let their = theirs.metadata().get(key).unwrap_or_else(|| panic!("{at}"));
        match value {
            V::Str(text) => assert_eq!(Some(text), their.as_str(), "{at}"),
            V::Bool(truth) => assert_eq!(Some(truth), their.as_bool(), "{at}"),
            V::F32(number) => assert_eq!(Some(number), their.as_f64().map(|n| n as f32), "{at}"),
            V::F64(number) => assert_eq!(Some(number), their.as_f64(), "{at}"),
            V::Array(array) => {
                let their = their.as_array().unwrap_or_else(|| panic!("{at}"));
                assert_eq!(array.len(), their.len(), "{at}");
                match array.elem_type() {
                    ValueType::Str => {
                        let ours = array.iter_strs().unwrap().map(|text| String::from_utf8_lossy(text));
                        assert!(ours.eq(their.iter().map(|v| v.as_str().unwrap())), "{at}");
                    }
                    ValueType::Bool => {
                        assert!(array.iter_bool().unwrap().eq(their.iter().map(|v| v.as_bool().unwrap())), "{at}");
                    }
                    ValueType::F32 | ValueType::F64 => {
                        let ours = array.iter_f32().unwrap();
                        assert!(ours.eq(their.iter().map(|v| v.as_f64().unwrap() as f32)), "{at}");
                    }
                    _ => match array.iter_i64() {
                        Some(ours) => assert!(ours.eq(their.iter().map(|v| v.as_i64().unwrap())), "{at}"),
                        None => {
                            let ours = array.iter_u64().unwrap();
                            assert!(ours.eq(their.iter().map(|v| v.as_u64().unwrap())), "{at}");
                        }
                    },
                }
                compared += array.len();
            }
            integer => assert_eq!((integer.as_u64(), integer.as_i64()), (their.as_u64(), their.as_i64()), "{at}"),
        }
        compared += 1;
    }
    assert_eq!(ours.tensors().len() as u64, theirs.num_tensor(), "{name}");
    if !ours.tensors().is_empty() {
        // without tensors, gguf-rs pads a data section that is not there
        assert_eq!(ours.data_offset(), theirs.data_offset(), "{name}");
    }
    for (our, their) in ours.tensors().iter().zip(theirs.tensors()) {
        let dims: Vec<u64> = our.dims.as_slice().iter().map(|d| *d as u64).collect();
        assert_eq!((&our.name, our.ty.id(), &dims), (&their.name, their.kind, &their.shape), "{name}");
        assert_eq!(our.file_offset(), theirs.data_offset() + their.offset, "{name}: {}", our.name);
        if peer_sizes(our.ty) {
            assert_eq!(our.byte_len() as u64, their.size, "{name}: {}", our.name);
        }
        compared += 1;
    }
    compared
}

#[test]
fn every_value_type() {
    for version in 1..=3 {
        assert_eq!(compare(&format!("values v{version}"), &every_type(version).bytes()), 12 + 12 + 24);
    }
}

#[test]
fn every_tensor_type() {
    for version in [2, 3] {
        let mut file = File::new(version).aligned(64);
        let mut offset = 0;
        let types: Vec<GgmlType> = GgmlType::all().filter(|ty| ty.id() < 40).collect();
        for (i, ty) in types.iter().enumerate() {
            let dims: &[u64] = &[256, 3, 1, 2][..1 + i % 4];
            file = file.tensor(ty.name(), dims, ty.id(), offset as u64);
            let rows: u64 = dims[1..].iter().product();
            offset += (ty.row_bytes(256).unwrap() * rows as usize).next_multiple_of(64);
        }
        assert_eq!(compare(&format!("tensors v{version}"), &file.data(offset).bytes()), 1 + types.len());
    }
}

#[test]
fn a_random_vocabulary() {
    let mut state = 7u64; // a fixed seed
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let tokens: Vec<Value> =
        (0..20_000).map(|_| str((0..random(12)).map(|_| random(256) as u8).collect::<Vec<_>>())).collect();
    let scores: Vec<Value> = (0..20_000).map(|_| f32(random(1 << 24) as f32 * -1e-4)).collect();
    let types: Vec<Value> = (0..20_000).map(|_| i32(random(7) as i32)).collect();
    for version in [1, 2, 3] {
        let file = File::new(version).key("tokenizer.ggml.tokens", array(8, tokens.clone()));
        let file = file.key("tokenizer.ggml.scores", array(6, scores.clone()));
        let file = file.key("tokenizer.ggml.token_type", array(5, types.clone()));
        assert_eq!(compare(&format!("vocabulary v{version}"), &file.bytes()), 60_003);
    }
}

/// Every GGUF file among the tests, and those in the directories that `PUMICE_TEST_GGUF` lists.
#[test]
fn every_fixture() {
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    dirs.extend(std::env::var_os("PUMICE_TEST_GGUF").iter().flat_map(std::env::split_paths));
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "gguf") {
                files.push(path);
            }
        }
    }
    for path in &files {
        let compared = compare(&path.display().to_string(), &std::fs::read(path).unwrap());
        println!("{}: {compared} values and tensors agree", path.display());
    }
}
