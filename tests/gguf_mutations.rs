//! A sound file, cut at every length and with bytes changed everywhere: whatever comes, the reader answers, and what
//! it accepts can be used.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;

use gguf_bytes::*;
use pumice::gguf::{Array, Value as V};
use pumice::{Bytes, Error, Gguf};

/// Everything a file can hold, in a few hundred bytes.
fn sound(version: u32) -> File {
    let nested = array(9, vec![array(8, vec![str("in"), str("")]), array(9, vec![array(0, vec![u8(7)])])]);
    let file = every_type(version).key("nested", nested).aligned(16).key("split.count", u16(1));
    file.tensor("a", &[3, 2], 0, 0).tensor("b", &[32, 1, 2], 8, 32).tensor("c", &[], 28, 112).data(120)
}

/// Reads all there is; returns how many tensor bytes there are.
fn use_up(gguf: &Gguf) -> usize {
    fn walk(array: Array) {
        assert!(array.iter_strs().is_none_or(|strs| strs.count() == array.len()));
        assert_eq!(array.iter_strs().and_then(|mut strs| strs.next()), array.get_str_bytes(0));
        assert!(array.iter_u64().is_none_or(|numbers| numbers.count() == array.len()));
        assert!(array.iter_i64().is_none_or(|numbers| numbers.count() == array.len()));
        assert!(array.iter_f32().is_none_or(|numbers| numbers.count() == array.len()));
        assert!(array.iter_bool().is_none_or(|bools| bools.count() == array.len()));
        assert!(array.iter_arrays().is_none_or(|arrays| arrays.count() == array.len()));
        array.iter_arrays().into_iter().flatten().for_each(walk);
    }
    for (key, value) in gguf.keys() {
        assert_eq!(gguf.get(key).unwrap().ty(), value.ty());
        assert!(!value.to_string().is_empty());
        if let V::Array(array) = value {
            walk(array);
        }
    }
    let tensors = gguf.tensors().iter();
    tensors
        .map(|tensor| {
            assert_eq!(gguf.tensor(&tensor.name), Some(tensor));
            assert_eq!(gguf.tensor_data(tensor).len(), tensor.byte_len());
            tensor.byte_len()
        })
        .sum()
}

/// Whether the file is accepted; refusals name the file.
fn accepted(bytes: &[u8]) -> bool {
    match Gguf::parse("mutant", Bytes::from_vec(bytes.to_vec())) {
        Ok(gguf) => {
            assert!(use_up(&gguf) <= bytes.len());
            true
        }
        Err(Error::Gguf { file, defect }) => {
            assert!(file == "mutant" && !defect.to_string().is_empty());
            false
        }
        // the keys of split models are checked like any typed key
        Err(Error::BadKey { file, key, .. } | Error::MissingKey { file, key }) => {
            assert!(file == "mutant" && key.starts_with("split."));
            false
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn cut_at_every_length() {
    for version in 1..=3 {
        let bytes = sound(version).bytes();
        assert!(accepted(&bytes));
        for len in 0..bytes.len() {
            assert!(!accepted(&bytes[..len]), "version {version} cut to {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn every_byte_changed() {
    for version in 1..=3 {
        let bytes = sound(version).bytes();
        let (mut sound, mut broken) = (0, 0);
        for at in 0..bytes.len() {
            let old = bytes[at];
            for new in [old ^ 1, old ^ 0x80, old.wrapping_add(1), 0, 0x7f, 0xff] {
                let mut mutant = bytes.clone();
                mutant[at] = new;
                if accepted(&mutant) { sound += 1 } else { broken += 1 }
            }
        }
        // both must happen, or the mutants show nothing
        assert!(sound > 100 && broken > 100, "{sound} accepted, {broken} refused");
    }
}

#[test]
fn random_bytes_changed() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64; // a fixed seed: failures repeat
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let files: Vec<Vec<u8>> = (1..=3).map(|version| sound(version).bytes()).collect();
    let interesting = [0u64, 1, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];
    let (mut sound, mut broken) = (0, 0);
    for round in 0..30_000 {
        let mut mutant = files[round % 3].clone();
        for _ in 0..=random(4) {
            let at = random(mutant.len() - 8);
            match random(4) {
                0 => mutant[at] = random(256) as u8,
                1 => mutant[at..at + 8].copy_from_slice(&interesting[random(interesting.len())].to_le_bytes()),
                2 => mutant[at..at + 4].copy_from_slice(&(random(16) as u32).to_le_bytes()),
                // a piece of the file over another: lengths and types where none belong
                _ => {
                    let from = random(mutant.len() - 8);
                    mutant.copy_within(from..from + 8, at);
                }
            }
        }
        if accepted(&mutant) { sound += 1 } else { broken += 1 }
    }
    assert!(sound > 1000 && broken > 1000, "{sound} accepted, {broken} refused");
}
