//! What sound GGUF files say: values, tensors, split models.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;

use std::path::{Path, PathBuf};

use gguf_bytes::*;
use pumice::gguf::{Array, Value as V, ValueType};
use pumice::quant::GgmlType;
use pumice::{Bytes, Error, Gguf, GgufDefect};

fn parse(file: &File) -> Gguf {
    Gguf::parse("test.gguf", Bytes::from_vec(file.bytes())).unwrap()
}

fn strs(array: Array) -> Vec<Vec<u8>> {
    array.iter_strs().unwrap().map(<[u8]>::to_vec).collect()
}

#[test]
fn every_value_type_in_every_version() {
    for version in 1..=3 {
        let gguf = parse(&every_type(version));
        assert_eq!((gguf.version(), gguf.alignment(), gguf.n_parts()), (version, 32, 1));
        let scalars: Vec<V> = gguf.keys().take(12).map(|(_, value)| value).collect();
        let expected = [
            V::U8(200),
            V::I8(-7),
            V::U16(60_000),
            V::I16(-300),
            V::U32(4_000_000_000),
            V::I32(-70_000),
            V::F32(-1.5),
            V::Bool(true),
            V::Str("grüße"),
            V::U64(1 << 63),
            V::I64(-(1 << 40)),
            V::F64(0.1),
        ];
        assert_eq!(scalars, expected);
        for value in expected {
            assert_eq!(gguf.get(&format!("k.{}", value.ty() as u32)), Some(value));
        }
        assert_eq!(gguf.get("k.9"), None);

        let array = |id: u32| gguf.need_array(&format!("a.{id}")).unwrap();
        let u64s = |id| array(id).iter_u64().map(Iterator::collect::<Vec<_>>);
        let i64s = |id| array(id).iter_i64().map(Iterator::collect::<Vec<_>>);
        assert_eq!(u64s(0), Some(vec![200, 3]));
        assert_eq!(u64s(1), None, "one is negative");
        assert_eq!(i64s(1), Some(vec![-7, 100]));
        assert_eq!(u64s(2), Some(vec![60_000, 4]));
        assert_eq!(i64s(3), Some(vec![-300, 5]));
        assert_eq!(i64s(4), Some(vec![4_000_000_000, 6]));
        assert_eq!(i64s(5), Some(vec![-70_000, 7]));
        assert_eq!(array(6).iter_f32().unwrap().collect::<Vec<_>>(), [-1.5, 3e10]);
        assert_eq!(array(7).iter_bool().unwrap().collect::<Vec<_>>(), [true, false]);
        assert_eq!(strs(array(8)), ["grüße".as_bytes(), b""]);
        assert_eq!(u64s(10), Some(vec![1 << 63, 8]));
        assert_eq!(i64s(10), None, "one is above i64::MAX");
        assert_eq!(i64s(11), Some(vec![-(1 << 40), 9]));
        assert_eq!(array(12).iter_f32().unwrap().collect::<Vec<_>>(), [0.1, -2.0]);
        assert!(array(6).iter_u64().is_none() && array(8).iter_u64().is_none() && array(7).iter_u64().is_none());
        assert!(array(4).iter_f32().is_none() && array(4).iter_strs().is_none() && array(4).iter_bool().is_none());
    }
}

#[test]
fn typed_reading_names_file_and_key() {
    let gguf = parse(&every_type(3));
    assert_eq!(gguf.get_u64("k.4").unwrap(), Some(4_000_000_000));
    assert_eq!(gguf.get_f32("k.12").unwrap(), Some(0.1));
    assert_eq!(gguf.get_bool("k.7").unwrap(), Some(true));
    assert_eq!(gguf.get_str("k.8").unwrap(), Some("grüße"));
    assert_eq!((gguf.get_u64("none").unwrap(), gguf.get_array("none").unwrap()), (None, None));
    let text = |error: Error| error.to_string();
    assert_eq!(
        text(gguf.need_u64("k.5").unwrap_err()),
        "test.gguf: the metadata key `k.5` is the i32 -70000, expected an integer from 0 on"
    );
    assert_eq!(
        text(gguf.need_f32("k.8").unwrap_err()),
        "test.gguf: the metadata key `k.8` is the str \"grüße\", expected a float"
    );
    assert_eq!(
        text(gguf.need_str("a.8").unwrap_err()),
        "test.gguf: the metadata key `a.8` is an array of 2 str, expected a string"
    );
    assert_eq!(text(gguf.need_array("x").unwrap_err()), "test.gguf: the metadata key `x` is missing");
    assert!(matches!(gguf.need_str("x"), Err(Error::MissingKey { .. })));
    assert!(matches!(gguf.get_bool("k.4"), Err(Error::BadKey { .. })));
}

#[test]
fn strings_in_arrays_are_bytes_and_found_by_number() {
    for version in [1, 3] {
        // lengths that differ, none of them text, across several strides of the index
        let pieces: Vec<Vec<u8>> = (0..100usize).map(|i| vec![0xff; i % 7]).collect();
        let gguf = parse(&File::new(version).key("p", array(8, pieces.iter().map(str).collect())));
        let found = gguf.need_array("p").unwrap();
        assert_eq!((found.len(), found.elem_type(), found.is_empty()), (100, ValueType::Str, false));
        assert_eq!(strs(found), pieces);
        for (i, piece) in pieces.iter().enumerate() {
            assert_eq!(found.get_str_bytes(i), Some(piece.as_slice()));
        }
        assert_eq!(found.get_str_bytes(100), None);
        assert_eq!(found.get_str_bytes(usize::MAX), None);
    }
}

#[test]
fn arrays_of_arrays() {
    for version in [1, 3] {
        let words = array(8, vec![str("a"), str("bc"), str("")]);
        let numbers = array(2, vec![u16(1), u16(2)]);
        let nested = array(9, vec![words, numbers, array(9, vec![array(4, vec![]), array(4, vec![u32(5)])])]);
        let gguf = parse(&File::new(version).key("n", nested).key("after", u8(1)));
        let found: Vec<Array> = gguf.need_array("n").unwrap().iter_arrays().unwrap().collect();
        assert_eq!(strs(found[0]), [&b"a"[..], b"bc", b""]);
        assert_eq!((found[0].get_str_bytes(1), found[0].get_str_bytes(3)), (Some(&b"bc"[..]), None));
        assert_eq!(found[1].iter_u64().unwrap().collect::<Vec<_>>(), [1, 2]);
        let inner: Vec<usize> = found[2].iter_arrays().unwrap().map(|a| a.len()).collect();
        assert_eq!((found.len(), inner), (3, vec![0, 1]));
        assert_eq!(gguf.need_u64("after").unwrap(), 1);
    }
}

#[test]
fn every_tensor_type_has_its_size() {
    let mut file = File::new(3);
    let mut offset = 0;
    for ty in GgmlType::all() {
        file = file.tensor(ty.name(), &[ty.block_len() as u64 * 3, 2], ty.id(), offset as u64);
        offset += (ty.block_bytes() * 6).next_multiple_of(32);
    }
    let file = file.data(offset);
    let (gguf, bytes) = (parse(&file), file.bytes());
    assert_eq!(gguf.tensors().len(), 34);
    let mut start = gguf.data_offset() as usize;
    for (ty, info) in GgmlType::all().zip(gguf.tensors()) {
        assert_eq!((info.ty, info.name.as_str(), info.byte_len()), (ty, ty.name(), ty.block_bytes() * 6));
        assert_eq!((info.file_offset(), info.part()), (start as u64, 0));
        assert_eq!(gguf.tensor_data(info), &bytes[start..start + info.byte_len()]);
        assert_eq!(gguf.tensor(&info.name), Some(info));
        start += info.byte_len().next_multiple_of(32);
    }
    assert_eq!(gguf.tensor("Q4_2"), None);
}

#[test]
fn tensors_in_any_order_with_gaps_and_an_unpadded_end() {
    for alignment in [1, 8, 64, 4096] {
        let a = u64::from(alignment);
        let file = File::new(3).aligned(alignment);
        let file = file.tensor("late", &[3], 24, 8 * a).tensor("early", &[2], 24, a).data(8 * alignment as usize + 3);
        let gguf = parse(&file);
        assert_eq!((gguf.alignment(), gguf.data_offset() % a), (alignment, 0));
        let bytes = |from: u64, n| (from..from + n).map(|i| i as u8).collect::<Vec<_>>();
        assert_eq!(gguf.tensor_data(&gguf.tensors()[0]), bytes(8 * a, 3));
        assert_eq!(gguf.tensor_data(gguf.tensor("early").unwrap()), bytes(a, 2));
        assert_eq!(gguf.tensors()[0].file_offset(), gguf.data_offset() + 8 * a);
        assert_eq!(gguf.file_bytes(), file.bytes().len() as u64);
    }
}

#[test]
fn shapes_from_none_to_four_dimensions() {
    for version in [1, 2] {
        let file = File::new(version).tensor("scalar", &[], 0, 0).tensor("four", &[32, 2, 1, 3], 8, 32);
        let gguf = parse(&file.tensor("empty", &[32, 0], 8, 0).data(32 + 6 * 34));
        let dims = |name| gguf.tensor(name).unwrap().dims;
        assert_eq!((dims("scalar").as_slice(), dims("scalar").elements()), (&[][..], 1));
        assert_eq!((dims("four").row_len(), dims("four").rows()), (32, 6));
        assert_eq!(gguf.tensor_data(gguf.tensor("four").unwrap()).len(), 6 * 34);
        assert_eq!(gguf.tensor_data(gguf.tensor("empty").unwrap()), [0u8; 0]);
    }
}

#[test]
fn a_file_of_metadata_only_may_end_with_it() {
    let file = File::new(3).key("general.architecture", str("llama"));
    let gguf = parse(&file);
    assert_eq!(gguf.data_offset(), gguf.file_bytes());
    assert_eq!((gguf.tensors().len(), gguf.keys().count()), (0, 1));
    assert_eq!(parse(&File::new(3)).keys().count(), 0);
}

/// An empty directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Part `number` (from 0) of `count`, with one tensor of two bytes.
fn part(number: u16, count: u16, tensor: &str) -> File {
    let file = File::new(3).key("split.no", u16(number)).key("split.count", u16(count));
    file.key("split.tensors.count", i32(count.into())).tensor(tensor, &[2], 24, 0).data(number.into()).data(2)
}

fn write(dir: &Path, number: u16, count: u16, file: File) -> PathBuf {
    let path = dir.join(format!("m-{:05}-of-{count:05}.gguf", number + 1));
    std::fs::write(&path, file.bytes()).unwrap();
    path
}

#[test]
fn mapped_or_read_a_file_is_the_same() {
    let dir = directory("gguf-open");
    let path = write(&dir, 0, 1, part(0, 1, "t"));
    for mmap in [false, true] {
        let gguf = Gguf::open(&path, mmap).unwrap();
        assert_eq!((gguf.name(), gguf.n_parts()), (path.to_str().unwrap(), 1));
        let data = gguf.tensor_data(&gguf.tensors()[0]);
        assert_eq!((data, data.as_ptr().addr() % 32), (&[0u8, 1][..], 0));
    }
}

#[test]
fn a_split_model_is_one_model() {
    let dir = directory("gguf-split");
    let names = ["b", "c", "a"];
    let paths: Vec<PathBuf> = (0..3).map(|i| write(&dir, i, 3, part(i, 3, names[usize::from(i)]))).collect();
    for mmap in [false, true] {
        let gguf = Gguf::open(&paths[0], mmap).unwrap();
        assert_eq!((gguf.n_parts(), gguf.tensors().len()), (3, 3));
        let size = |path: &PathBuf| path.metadata().unwrap().len();
        assert_eq!(gguf.file_bytes(), paths.iter().map(size).sum::<u64>());
        for (i, name) in names.iter().enumerate() {
            let tensor = gguf.tensor(name).unwrap();
            assert_eq!((tensor.part(), gguf.tensor_data(tensor)), (i, &[0u8, 1][..]));
        }
    }
}

/// How opening the first of two parts ends: the file that is blamed, and the defect.
fn split_defect(test: &str, first: File, second: Option<File>) -> (String, GgufDefect) {
    let dir = directory(test);
    let path = write(&dir, 0, 2, first);
    if let Some(second) = second {
        write(&dir, 1, 2, second);
    }
    match Gguf::open(&path, true) {
        Err(Error::Gguf { file, defect }) => {
            (Path::new(&file).file_name().unwrap().to_str().unwrap().to_owned(), defect)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_that_do_not_make_a_model() {
    use GgufDefect::*;
    let (first, second) = ("m-00001-of-00002.gguf".to_owned(), "m-00002-of-00002.gguf".to_owned());
    let defect = split_defect("gguf-missing", part(0, 2, "a"), None);
    assert_eq!(defect, (second.clone(), MissingPart { number: 2, count: 2 }));

    let defect = split_defect("gguf-number", part(0, 2, "a"), Some(part(0, 2, "b")));
    let wrong = SplitMismatch { key: "split.no", found: "0".to_owned(), expected: 1 };
    assert_eq!(defect, (second.clone(), wrong));

    let defect = split_defect("gguf-count", part(0, 2, "a"), Some(part(1, 3, "b")));
    let wrong = SplitMismatch { key: "split.count", found: "3".to_owned(), expected: 2 };
    assert_eq!(defect, (second.clone(), wrong));

    let defect = split_defect("gguf-whole", part(0, 2, "a"), Some(File::new(3).tensor("b", &[2], 24, 0).data(2)));
    let wrong = SplitMismatch { key: "split.no", found: "missing".to_owned(), expected: 1 };
    assert_eq!(defect, (second.clone(), wrong));

    let other = part(1, 2, "a");
    let at = other.tensor_at(0);
    let defect = split_defect("gguf-twice", part(0, 2, "a"), Some(other));
    assert_eq!(defect, (second.clone(), DuplicateTensor { at, name: "a".to_owned() }));

    let defect = split_defect("gguf-more", part(0, 2, "a"), Some(part(1, 2, "b").tensor("c", &[], 24, 32).data(33)));
    assert_eq!(defect, (first.clone(), SplitTensorCount { found: 3, expected: 2 }));

    let defect = split_defect("gguf-broken", part(0, 2, "a"), Some(File::new(9)));
    assert_eq!(defect, (second, BadVersion { at: 4, version: 9 }));

    let defect = split_defect("gguf-second", part(1, 2, "a"), None);
    assert_eq!(defect, (first.clone(), NotFirstPart { number: 2, count: 2 }));

    let defect = split_defect("gguf-name", part(0, 3, "a"), None);
    assert_eq!(defect, (first, SplitName { count: 3, expected: "-00001-of-00003.gguf".to_owned() }));
}

#[test]
fn a_buffer_cannot_be_a_part() {
    let defect = |file: File| match Gguf::parse("buffer", Bytes::from_vec(file.bytes())) {
        Err(Error::Gguf { file, defect }) if file == "buffer" => defect,
        other => panic!("{other:?}"),
    };
    assert_eq!(defect(part(0, 2, "a")), GgufDefect::SplitBuffer { count: 2 });
    assert_eq!(defect(part(1, 2, "a")), GgufDefect::NotFirstPart { number: 2, count: 2 });
    let many = File::new(3).key("split.no", u16(0)).key("split.count", u32(70_000));
    assert!(matches!(Gguf::parse("many", Bytes::from_vec(many.bytes())), Err(Error::BadKey { .. })));
}

#[test]
fn paths_that_are_no_files() {
    let dir = directory("gguf-no-file");
    for mmap in [false, true] {
        let missing = Gguf::open(&dir.join("no.gguf"), mmap).unwrap_err();
        assert!(matches!(&missing, Error::Io { action: "open", source, .. }
            if source.kind() == std::io::ErrorKind::NotFound));
        let directory = Gguf::open(&dir, mmap).unwrap_err();
        assert!(matches!(&directory, Error::Io { action: "open", source, .. }
            if source.kind() == std::io::ErrorKind::IsADirectory));
        let path = dir.join("empty.gguf");
        std::fs::write(&path, b"").unwrap();
        let empty = Gguf::open(&path, mmap).unwrap_err();
        assert!(matches!(empty, Error::Gguf { defect: GgufDefect::BadMagic { found }, .. } if found.is_empty()));
    }
}
