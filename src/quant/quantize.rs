//! f32 to a tensor's bytes: GGUF's reference quantizers, scalar.

use half::{bf16, f16};

use super::{BlockQ8_0, GgmlType};
use crate::{Error, Result};

/// Appends `values` to `out` as whole blocks of type `ty`: F32, F16, BF16 or Q8_0.
///
/// The bytes are those of llama.cpp's reference code and of the `gguf` package: F16 and BF16 are rounded to the nearest,
/// ties to even, a NaN stays one; a Q8_0 block's scale is its greatest magnitude over 127.
///
/// # Errors
///
/// [`Error::InvalidArgument`] for other types and for values that are no whole blocks; `out` is then as it was.
pub fn quantize(ty: GgmlType, values: &[f32], out: &mut Vec<u8>) -> Result<()> {
    let (blocks, rest) = values.as_chunks::<32>();
    match ty {
        GgmlType::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        GgmlType::F16 => out.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
        GgmlType::BF16 => out.extend(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes())),
        GgmlType::Q8_0 if rest.is_empty() => {
            for block in blocks {
                out.extend_from_slice(bytemuck::bytes_of(&BlockQ8_0::quantize(block)));
            }
        }
        GgmlType::Q8_0 => {
            let (found, expected) = (format!("{} values", values.len()), "a multiple of 32".to_owned());
            return Err(Error::InvalidArgument { name: "length", found, expected });
        }
        ty => {
            let (found, expected) = (ty.name().to_owned(), "F32, F16, BF16 or Q8_0".to_owned());
            return Err(Error::InvalidArgument { name: "tensor type", found, expected });
        }
    }
    Ok(())
}

impl BlockQ8_0 {
    /// Rounds to the nearest of 255 multiples of the scale, halves away from zero. The integers are chosen with the scale
    /// before its own rounding to f16.
    pub fn quantize(values: &[f32; 32]) -> Self {
        let greatest = values.iter().fold(0f32, |greatest, v| greatest.max(v.abs()));
        let d = greatest / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        Self { d: f16::from_f32(d).to_le_bytes(), qs: values.map(|v| (v * inverse).round() as i8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::dequantize;

    #[test]
    fn q8_0_has_the_references_bits() {
        // What the `gguf` package makes of these.
        let mut values = [0f32; 32];
        values[..6].copy_from_slice(&[-127.0, 0.5, 1.5, -0.5, 126.49, 2.49]);
        let block = BlockQ8_0::quantize(&values);
        assert_eq!(block.d, f16::ONE.to_le_bytes());
        assert_eq!(block.qs[..7], [-127, 1, 2, -1, 126, 2, 0]);
        // The scale, 0.1 / 127, is no f16; 0.05 lies between two multiples of it.
        values[..6].copy_from_slice(&[0.1, 0.05, 0.033, -0.1, -0.05, 1e-30]);
        let block = BlockQ8_0::quantize(&values);
        assert_eq!((block.d, &block.qs[..6]), ([0x73, 0x12], &[127, 64, 42, -127, -64, 0][..]));
        assert_eq!(BlockQ8_0::quantize(&[0.0; 32]), BlockQ8_0 { d: [0; 2], qs: [0; 32] });
    }

    #[test]
    fn floats_are_rounded_to_even() {
        let bytes = |ty, value| {
            let mut out = Vec::new();
            quantize(ty, &[value], &mut out).unwrap();
            let mut back = [0.0];
            dequantize(ty, &out, &mut back).unwrap();
            back[0]
        };
        assert_eq!(bytes(GgmlType::F32, 0.1), 0.1);
        assert_eq!(bytes(GgmlType::F16, 1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(bytes(GgmlType::F16, 1.0 + 3.0 / 2048.0), 1.0 + 1.0 / 512.0);
        assert_eq!(bytes(GgmlType::F16, 1e6), f32::INFINITY);
        assert_eq!(bytes(GgmlType::BF16, 1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(bytes(GgmlType::BF16, 1.0 + 3.0 / 256.0), 1.0 + 1.0 / 64.0);
        assert!(bytes(GgmlType::BF16, f32::from_bits(0x7f80_0001)).is_nan());
    }

    #[test]
    fn other_types_and_parts_of_blocks_are_refused() {
        let mut out = vec![1];
        assert!(quantize(GgmlType::Q8_0, &[0.0; 33], &mut out).is_err());
        assert!(quantize(GgmlType::Q4_0, &[0.0; 32], &mut out).is_err());
        assert_eq!(out, [1]);
    }
}
