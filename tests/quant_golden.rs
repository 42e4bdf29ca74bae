//! Dequantization against values from GGUF's own Python package; `tools/quant_vectors.py` writes the files.

use std::path::Path;

use pumice::quant::{self, GgmlType};

/// The blocks of a type and the values that they stand for.
fn vectors(ty: GgmlType) -> (Vec<u8>, Vec<f32>) {
    let name = format!("tests/golden/quant/{}.bin", ty.name().to_lowercase());
    let mut bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&name)).expect(&name);
    let each = ty.block_bytes() + ty.block_len() * size_of::<f32>();
    assert!(!bytes.is_empty() && bytes.len().is_multiple_of(each), "{name}");
    let values = bytes.split_off(bytes.len() / each * ty.block_bytes());
    let values = values.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (bytes, values)
}

fn types() -> impl Iterator<Item = GgmlType> {
    GgmlType::all().filter(|ty| *ty != GgmlType::F32 && quant::is_supported(*ty))
}

#[test]
fn every_value_is_that_of_the_reference() {
    for ty in types() {
        let (bytes, expected) = vectors(ty);
        let mut values = vec![f32::NAN; expected.len()];
        quant::dequantize(ty, &bytes, &mut values).unwrap();
        for (i, (value, expected)) in values.iter().zip(&expected).enumerate() {
            assert_eq!(value.to_bits(), expected.to_bits(), "{ty}, value {i}: {value:e} is not {expected:e}");
        }
    }
    assert_eq!(types().count(), 15);
}

#[test]
fn alignment_does_not_matter() {
    for ty in types() {
        let (mut bytes, expected) = vectors(ty);
        bytes.insert(0, 0);
        let mut values = vec![f32::NAN; expected.len()];
        quant::dequantize(ty, &bytes[1..], &mut values).unwrap();
        assert!(values.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{ty}");
    }
}
