//! Broken GGUF files, one defect each: the reader must name the defect, the place and the byte.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;

use GgufDefect::*;
use gguf_bytes::*;
use pumice::{Bytes, Error, Gguf, GgufDefect, GgufPlace};

/// The defect of these bytes.
fn defect(bytes: Vec<u8>) -> GgufDefect {
    match Gguf::parse("bad.gguf", Bytes::from_vec(bytes)) {
        Err(Error::Gguf { file, defect }) if file == "bad.gguf" => defect,
        other => panic!("{other:?}"),
    }
}

fn file_defect(file: File) -> GgufDefect {
    defect(file.bytes())
}

fn value(key: &str) -> GgufPlace {
    GgufPlace::Value { key: key.to_owned() }
}

fn entry(name: &str) -> GgufPlace {
    GgufPlace::Tensor { name: name.to_owned() }
}

/// Where the value of the only key starts in version 3, if the key has one letter: after its length, itself, the type.
const VALUE: u64 = HEADER + 8 + 1 + 4;

/// A file with the one key `k`.
fn one(value: Value) -> File {
    File::new(3).key("k", value)
}

#[test]
fn magic() {
    assert_eq!(defect(b"".to_vec()), BadMagic { found: vec![] });
    assert_eq!(defect(b"GGU".to_vec()), BadMagic { found: b"GGU".to_vec() });
    assert_eq!(defect(b"ggml\x03\0\0\0".to_vec()), BadMagic { found: b"ggml".to_vec() });
    assert_eq!(defect(b"FUGG\x03\0\0\0".to_vec()), BadMagic { found: b"FUGG".to_vec() });
}

#[test]
fn version() {
    for version in [0, 4, 0x0001_0001, u32::MAX] {
        assert_eq!(file_defect(File::new(version)), BadVersion { at: 4, version });
    }
    for version in [1u32, 2, 3] {
        let swapped = version.swap_bytes();
        assert_eq!(file_defect(File::new(swapped)), BigEndian { at: 4, version: swapped });
    }
}

#[test]
fn counts_beyond_the_file() {
    for version in [1, 3] {
        let width = size(version, 0).len() as u64;
        for (count, fits) in [(u64::from(u32::MAX), false), (1, false), (0, true)] {
            let mut file = File::new(version);
            file.n_keys = Some(count);
            match Gguf::parse("bad.gguf", Bytes::from_vec(file.bytes())) {
                Ok(gguf) => assert!(fits && gguf.keys().count() == 0),
                Err(Error::Gguf { defect, .. }) => {
                    assert!(!fits);
                    assert_eq!(defect, CountBeyondFile { at: 8 + width, what: "metadata keys", count, remain: 0 });
                }
                Err(other) => panic!("{other}"),
            }
            let mut file = File::new(version);
            file.n_tensors = Some(count);
            if !fits {
                assert_eq!(file_defect(file), CountBeyondFile { at: 8, what: "tensors", count, remain: 0 });
            }
        }
    }
    let mut file = one(u8(1)); // 14 bytes of metadata
    file.n_keys = Some(u64::MAX);
    assert_eq!(file_defect(file), CountBeyondFile { at: 16, what: "metadata keys", count: u64::MAX, remain: 14 });
    let mut file = one(u8(1));
    file.n_keys = Some(2);
    assert_eq!(file_defect(file), CountBeyondFile { at: 16, what: "metadata keys", count: 2, remain: 14 });
    let mut file = one(u8(1)).tensor("t", &[], 0, 0).data(4);
    let remain = file.bytes().len() as u64 - HEADER;
    file.n_tensors = Some(1 << 62);
    assert_eq!(file_defect(file), CountBeyondFile { at: 8, what: "tensors", count: 1 << 62, remain });
}

#[test]
fn keys() {
    assert_eq!(file_defect(File::new(3).key("", u32(1))), EmptyKey { at: HEADER, index: 0 });
    let file = one(u8(1)).key("other", u8(2)).key("k", u32(3));
    let at = HEADER + 14 + (8 + 5 + 4 + 1);
    assert_eq!(file_defect(file), DuplicateKey { at, key: "k".to_owned() });
    let place = GgufPlace::Key { index: 0 };
    assert_eq!(file_defect(File::new(3).key(b"ab\xff", u8(1))), NotUtf8 { at: HEADER + 8 + 2, place });
    let mut bytes = one(u8(1)).bytes();
    bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let place = GgufPlace::Key { index: 0 };
    assert_eq!(defect(bytes), StringBeyondFile { at: HEADER, place, len: u64::MAX, remain: 6 });
}

#[test]
fn value_types() {
    for id in [13, 0x0100_0000, u32::MAX] {
        assert_eq!(file_defect(one(raw(id, [0; 8]))), BadValueType { at: VALUE - 4, place: value("k"), id });
        let elements = array(id, vec![raw(id, [0; 8])]);
        assert_eq!(file_defect(one(elements)), BadValueType { at: VALUE, place: value("k"), id });
    }
}

#[test]
fn strings() {
    for len in [1, 1 << 40, u64::MAX] {
        let wrong = StringBeyondFile { at: VALUE, place: value("k"), len, remain: 0 };
        assert_eq!(file_defect(one(raw(8, len.to_le_bytes()))), wrong);
    }
    let wrong = NotUtf8 { at: VALUE + 8 + 3, place: value("k") };
    assert_eq!(file_defect(one(str(b"abc\xc3"))), wrong);
    // version 1: lengths of 32 bits
    let file = File::new(1).key("k", raw(8, u32::MAX.to_le_bytes()));
    let wrong = StringBeyondFile { at: 16 + 4 + 1 + 4, place: value("k"), len: u32::MAX.into(), remain: 0 };
    assert_eq!(file_defect(file), wrong);
}

#[test]
fn arrays() {
    let at = VALUE + 4;
    for (id, element) in [(0, u8(1)), (5, i32(1)), (12, f64(1.0)), (8, str("")), (9, array(0, vec![]))] {
        let fits = array(id, vec![element.clone(), element.clone()]);
        let remain = one(fits.clone()).bytes().len() as u64 - at - 8;
        assert!(Gguf::parse("good.gguf", Bytes::from_vec(one(fits).bytes())).is_ok());
        for len in [3, 1 << 61, u64::MAX / 4, u64::MAX] {
            let bad = one(array_of_len(id, len, vec![element.clone(), element.clone()]));
            assert_eq!(file_defect(bad), ArrayBeyondFile { at, place: value("k"), len, remain });
        }
    }
    // the second string claims more than there is
    let strings = array_of_len(8, 2, vec![str("abc"), raw(8, 5u64.to_le_bytes())]);
    let wrong = StringBeyondFile { at: at + 8 + 11, place: value("k"), len: 5, remain: 0 };
    assert_eq!(file_defect(one(strings)), wrong);
}

#[test]
fn nested_arrays() {
    let nested = |depth: usize| (1..depth).fold(array(0, vec![u8(1)]), |inner, _| array(9, vec![inner]));
    let gguf = Gguf::parse("deep.gguf", Bytes::from_vec(one(nested(4)).bytes())).unwrap();
    assert_eq!(gguf.need_array("k").unwrap().len(), 1);
    // each level above has its type and its length
    let wrong = NestedTooDeep { at: VALUE + 4 * 12, place: value("k"), limit: 4 };
    assert_eq!(file_defect(one(nested(5))), wrong);
    let level = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
    assert_eq!(file_defect(one(raw(9, level.repeat(1_000_000)))), wrong, "and no stack overflows");
    // an array inside claims more than there is
    let inner = array(9, vec![array_of_len(4, 7, vec![u32(1)])]);
    let wrong = ArrayBeyondFile { at: VALUE + 12 + 4, place: value("k"), len: 7, remain: 4 };
    assert_eq!(file_defect(one(inner)), wrong);
}

#[test]
fn alignment() {
    for alignment in [0, 3, 13, 33, u32::MAX] {
        let file = File::new(3).key("general.alignment", u32(alignment));
        assert_eq!(file_defect(file), BadAlignment { at: HEADER, alignment });
    }
    let wrong: [(Value, &str); 4] =
        [(i32(32), "i32"), (u64(32), "u64"), (str("32"), "str"), (array(4, vec![u32(32)]), "array")];
    for (alignment, found) in wrong {
        let file = one(u8(0)).key("general.alignment", alignment);
        assert_eq!(file_defect(file), AlignmentType { at: HEADER + 14, found });
    }
    // the data section would start far beyond the file
    let mut file = File::new(3).aligned(1 << 31);
    file.alignment = 1;
    let file = file.tensor("t", &[4], 24, 0).data(4);
    let at = file.tensor_at(0);
    assert_eq!(file_defect(file), TensorPastEnd { at, name: "t".to_owned(), offset: 0, bytes: 4, section: 0 });
}

/// The defect of a file with a sound tensor and then this one, which a data section of `data` bytes follows; also
/// where the bad one's entry starts.
fn tensor_defect(name: impl AsRef<[u8]>, dims: &[u64], ty: u32, offset: u64, data: usize) -> (u64, GgufDefect) {
    let file = one(u8(1)).tensor("first", &[8], 0, 0).tensor(name, dims, ty, offset).data(data);
    (file.tensor_at(1), file_defect(file))
}

#[test]
fn tensor_names() {
    let long = "n".repeat(64);
    let (at, found) = tensor_defect(&long, &[8], 0, 32, 64);
    assert_eq!(found, TensorNameTooLong { at, name: long, len: 64 });
    let huge = "é".repeat(5000);
    let (at, found) = tensor_defect(&huge, &[8], 0, 32, 64);
    assert_eq!(found, TensorNameTooLong { at, name: "é".repeat(64), len: 10_000 });
    let fits = one(u8(1)).tensor("n".repeat(63), &[8], 0, 0).data(32);
    assert!(Gguf::parse("good.gguf", Bytes::from_vec(fits.bytes())).is_ok());
    let (at, found) = tensor_defect("first", &[8], 0, 32, 64);
    assert_eq!(found, DuplicateTensor { at, name: "first".to_owned() });
    let (at, found) = tensor_defect(b"\x80", &[8], 0, 32, 64);
    assert_eq!(found, NotUtf8 { at: at + 8, place: GgufPlace::TensorName { index: 1 } });

    let file = one(u8(1)).tensor("t", &[8], 0, 0).data(32);
    let (at, mut bytes) = (file.tensor_at(0) as usize, file.bytes());
    bytes[at..at + 8].copy_from_slice(&(1u64 << 63).to_le_bytes());
    let (place, remain) = (GgufPlace::TensorName { index: 0 }, (bytes.len() - at - 8) as u64);
    assert_eq!(defect(bytes), StringBeyondFile { at: at as u64, place, len: 1 << 63, remain });
}

#[test]
fn tensor_shapes() {
    let (at, found) = tensor_defect("t", &[1, 1, 1, 1, 1], 0, 32, 64);
    assert_eq!(found, TooManyDims { at: at + 9, name: "t".to_owned(), n_dims: 5 });
    let file = one(u8(1)).tensor("t", &[8], 0, 0).data(32);
    let (at, mut bytes) = (file.tensor_at(0) as usize, file.bytes());
    bytes[at + 9..at + 13].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(defect(bytes), TooManyDims { at: at as u64 + 9, name: "t".to_owned(), n_dims: u32::MAX });

    let huge: [&[u64]; 6] = [
        &[1 << 32, 1 << 32],
        &[u64::MAX, 2],
        &[2, u64::MAX],
        &[1 << 20, 1 << 20, 1 << 20, 1 << 20],
        &[u64::MAX],            // one dimension, but four bytes an element
        &[0, 1 << 40, 1 << 40], // no elements, but rows that cannot be counted
    ];
    for dims in huge {
        let (at, found) = tensor_defect("t", dims, 0, 32, 64);
        assert_eq!(found, ShapeOverflow { at, name: "t".to_owned(), dims: dims.to_vec() });
    }
    // i64's largest, and bytes that only just count: refused for want of data
    for (dims, bytes) in [(&[i64::MAX as u64][..], i64::MAX as u64), (&[1 << 31, 1 << 31], 1 << 62)] {
        let (at, found) = tensor_defect("t", dims, 24, 32, 64);
        assert_eq!(found, TensorPastEnd { at, name: "t".to_owned(), offset: 32, bytes, section: 64 });
    }
}

#[test]
fn tensor_types() {
    for id in [4, 5, 31, 32, 33, 36, 37, 38] {
        let (at, found) = tensor_defect("t", &[256], id, 32, 4096);
        assert_eq!(found, RemovedTensorType { at: at + 9 + 4 + 8, name: "t".to_owned(), id });
    }
    for id in [42, 100, 1 << 31, u32::MAX] {
        let (at, found) = tensor_defect("t", &[256], id, 32, 4096);
        assert_eq!(found, UnknownTensorType { at: at + 9 + 4 + 8, name: "t".to_owned(), id });
    }
}

#[test]
fn rows_of_part_blocks() {
    let cases = [(2, "Q4_0", 32, 48), (8, "Q8_0", 32, 31), (14, "Q6_K", 256, 128), (40, "NVFP4", 64, 32)];
    for (id, ty, block, row_len) in cases {
        let (at, found) = tensor_defect("t", &[row_len, 4], id, 32, 4096);
        assert_eq!(found, PartialBlock { at, name: "t".to_owned(), ty, row_len, block });
    }
    let (at, found) = tensor_defect("t", &[], 2, 32, 4096);
    assert_eq!(found, PartialBlock { at, name: "t".to_owned(), ty: "Q4_0", row_len: 1, block: 32 });
}

#[test]
fn tensor_offsets() {
    let name = || "t".to_owned();
    for offset in [1, 16, 33, 63, u64::MAX] {
        let (at, found) = tensor_defect("t", &[8], 0, offset, 128);
        assert_eq!(found, UnalignedTensor { at, name: name(), offset, alignment: 32 });
    }
    // one byte short, just past the end, far past it, and so far that the sum would wrap
    for (offset, data) in [(32, 63), (64, 64), (1 << 40, 64), (u64::MAX - 31, 64)] {
        let (at, found) = tensor_defect("t", &[8], 0, offset, data);
        let section = data as u64;
        assert_eq!(found, TensorPastEnd { at, name: name(), offset, bytes: 32, section });
    }
    // the same bytes, and the end of a longer tensor
    let (at, found) = tensor_defect("t", &[4], 0, 0, 64);
    assert_eq!(found, OverlappingTensors { at, name: name(), other: "first".to_owned() });
    let file = one(u8(1)).tensor("second", &[2], 0, 32).tensor("long", &[9], 0, 0).data(64);
    let at = file.tensor_at(0);
    let wrong = OverlappingTensors { at, name: "second".to_owned(), other: "long".to_owned() };
    assert_eq!(file_defect(file), wrong);
    // an offset that fits another alignment than the file's
    let file = File::new(3).aligned(64).tensor("a", &[4], 0, 0).tensor("t", &[4], 0, 32).data(64);
    let at = file.tensor_at(1);
    assert_eq!(file_defect(file), UnalignedTensor { at, name: name(), offset: 32, alignment: 64 });
}

/// Each field of a file in turn is the one the file ends in.
#[test]
fn truncated_in_every_field() {
    let header = GgufPlace::Header;
    let file = File::new(3).key("k", u32(1)).tensor("t", &[8], 0, 0).data(32);
    let (bytes, at) = (file.bytes(), file.tensor_at(0) as usize);
    let (data, end) = (bytes.len() - 32, bytes.len());
    // what is left of the file: from, to; what it is found to be
    let truncated = |at: usize, place: &GgufPlace, needed| {
        let place = place.clone();
        move |len: usize| Truncated { at: at as u64, place: place.clone(), needed, remain: (len - at) as u64 }
    };
    let count = |at, what| move |len: usize| CountBeyondFile { at, what, count: 1, remain: len as u64 - HEADER };
    type Expected = Box<dyn Fn(usize) -> GgufDefect>;
    let sections: Vec<(std::ops::Range<usize>, Expected)> = vec![
        (0..4, Box::new(|len| BadMagic { found: b"GGUF"[..len].to_vec() })),
        (4..8, Box::new(truncated(4, &header, 4))),
        (8..16, Box::new(truncated(8, &header, 8))),
        (16..24, Box::new(truncated(16, &header, 8))),
        (24..24 + 14, Box::new(count(16, "metadata keys"))), // a key has at least 14 bytes,
        (38..24 + 24, Box::new(count(8, "tensors"))),        // a tensor 24
        (at + 8 + 1..at + 13, Box::new(truncated(at + 9, &entry("t"), 4))),
        (at + 13..at + 21, Box::new(truncated(at + 13, &entry("t"), 8))),
        (at + 21..at + 25, Box::new(truncated(at + 21, &entry("t"), 4))),
        (at + 25..at + 33, Box::new(truncated(at + 25, &entry("t"), 8))),
        (
            at + 33..end,
            Box::new(move |len| TensorPastEnd {
                at: at as u64,
                name: "t".to_owned(),
                offset: 0,
                bytes: 32,
                section: len.saturating_sub(data) as u64,
            }),
        ),
    ];
    // Between these lies the tensor's name, which the count already missed: the header's check comes first.
    for (range, expected) in sections {
        for len in range {
            assert_eq!(defect(bytes[..len].to_vec()), expected(len), "cut after {len} bytes");
        }
    }
    assert!(Gguf::parse("whole.gguf", Bytes::from_vec(bytes)).is_ok());

    // With room enough for what the header counts, the fields of the metadata: a second key, longer than the least.
    let file = File::new(3).key("k", str("v")).key("a.longer.key", array(8, vec![str("x")]));
    let (bytes, at) = (file.bytes(), (HEADER + 22) as usize);
    let (key, place) = (GgufPlace::Key { index: 1 }, value("a.longer.key"));
    let string = |at: usize, place: &GgufPlace, claim| {
        let place = place.clone();
        move |len: usize| StringBeyondFile {
            at: at as u64,
            place: place.clone(),
            len: claim,
            remain: (len - at - 8) as u64,
        }
    };
    let array_start = at + 20 + 4;
    let sections: Vec<(std::ops::Range<usize>, Expected)> = vec![
        (at + 8..at + 20, Box::new(string(at, &key, 12))),
        (at + 20..at + 24, Box::new(truncated(at + 20, &place, 4))),
        (array_start..array_start + 4, Box::new(truncated(array_start, &place, 4))),
        (array_start + 4..array_start + 12, Box::new(truncated(array_start + 4, &place, 8))),
        (array_start + 20..array_start + 21, Box::new(string(array_start + 12, &place, 1))),
    ];
    for (range, expected) in sections {
        for len in range {
            assert_eq!(defect(bytes[..len].to_vec()), expected(len), "cut after {len} bytes");
        }
    }
    assert!(Gguf::parse("whole.gguf", Bytes::from_vec(bytes)).is_ok());
}

#[test]
fn messages_name_file_place_and_byte() {
    let message = |file: File| Gguf::parse("m.gguf", Bytes::from_vec(file.bytes())).unwrap_err().to_string();
    assert_eq!(
        message(one(raw(8, 9u64.to_le_bytes()))),
        "m.gguf: at byte 37: a string of 9 bytes in the value of `k`, but 0 bytes remain"
    );
    assert_eq!(
        message(File::new(3).tensor("t", &[8], 31, 0).data(32)),
        "m.gguf: at byte 45: the tensor `t` has type 31, which was removed from GGUF; the file must be made anew"
    );
    assert_eq!(
        message(File::new(3 << 24)),
        "m.gguf: at byte 4: version 0x03000000 means a big-endian file; only little-endian files are read"
    );
    assert_eq!(
        Gguf::parse("m.gguf", Bytes::from_static(b"PK\x03\x04")).unwrap_err().to_string(),
        "m.gguf: not a GGUF file: it starts with [50, 4b, 03, 04], expected the four bytes \"GGUF\""
    );
}
