//! Any tensor's bytes to f32: the slow, plain way that kernels are compared with, and how embedding rows are read.

use super::block::f16_to_f32;
use super::{Block, GgmlType};
use crate::{Error, Result};

/// Writes the elements of `bytes`, whole blocks of type `ty` in file order, as f32 to `out`.
///
/// The values are those of GGUF's reference dequantizers to the last bit, whatever the alignment of `bytes`.
///
/// # Errors
///
/// [`Error::InvalidArgument`] unless `ty` is F32, F16, BF16 or a type with a [`Block`], `out` holds whole blocks and
/// `bytes` exactly as many; `out` is then as it was.
pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    let write: fn(&[u8], &mut [f32]) = match ty {
        GgmlType::F32 => |bytes, out| elements(bytes, out, f32::from_le_bytes),
        GgmlType::F16 => |bytes, out| elements(bytes, out, f16_to_f32),
        GgmlType::BF16 => |bytes, out| elements(bytes, out, bf16_to_f32),
        ty => super::match_format!(ty, B => blocks::<B>, _ => {
            return Err(Error::InvalidArgument {
                name: "tensor type",
                found: ty.name().to_owned(),
                expected: super::supported_types(),
            });
        }),
    };
    if ty.row_bytes(out.len()) != Some(bytes.len()) {
        return Err(Error::InvalidArgument {
            name: "length",
            found: format!("{} bytes of {ty} for {} elements", bytes.len(), out.len()),
            expected: format!("{} bytes for each {} elements", ty.block_bytes(), ty.block_len()),
        });
    }
    write(bytes, out);
    Ok(())
}

/// A bf16 as files store it is the upper half of an f32.
fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

fn elements<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (out, element) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = read(*element);
    }
}

fn blocks<B: Block>(bytes: &[u8], out: &mut [f32]) {
    let (mut q, mut scale, mut min) = ([0; 256], [0.0; 16], [0.0; 16]);
    let groups = B::LEN / B::GROUP;
    let (q, scale) = (&mut q[..B::LEN], &mut scale[..groups]);
    let min = if B::HAS_MIN { &mut min[..groups] } else { &mut [] };
    for (bytes, out) in bytes.chunks_exact(size_of::<B>()).zip(out.chunks_exact_mut(B::LEN)) {
        bytemuck::pod_read_unaligned::<B>(bytes).unpack(q, scale, min);
        for (g, (out, q)) in out.chunks_exact_mut(B::GROUP).zip(q.chunks_exact(B::GROUP)).enumerate() {
            for (out, &q) in out.iter_mut().zip(q) {
                let product = scale[g] * f32::from(q);
                *out = if B::HAS_MIN { product + min[g] } else { product };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_refused(ty: GgmlType, bytes: usize, elements: usize) {
        let mut out = vec![7.0; elements];
        let err = dequantize(ty, &vec![0; bytes], &mut out).unwrap_err();
        assert!(matches!(err, Error::InvalidArgument { .. }), "{err}");
        assert!(out.iter().all(|x| *x == 7.0));
    }

    #[test]
    fn lengths_must_agree() {
        assert_refused(GgmlType::Q4_0, 18, 31);
        assert_refused(GgmlType::Q4_0, 17, 32);
        assert_refused(GgmlType::Q4_0, 36, 32);
        assert_refused(GgmlType::F32, 7, 2);
        assert_refused(GgmlType::Q6_K, 210, 255);
        for ty in GgmlType::all().filter(|ty| super::super::is_supported(*ty)) {
            dequantize(ty, &[], &mut []).unwrap();
        }
    }

    #[test]
    fn types_without_a_block_are_refused() {
        assert_refused(GgmlType::Q8_1, 36, 32);
        assert_refused(GgmlType::IQ2_XXS, 66, 256);
        assert_refused(GgmlType::I32, 4, 1);
    }

    #[test]
    fn floats_are_read_at_any_alignment() {
        let mut bytes = vec![0xff];
        bytes.extend([1.5f32, -0.0, f32::MIN_POSITIVE].iter().flat_map(|x| x.to_le_bytes()));
        let mut out = [0.0; 3];
        dequantize(GgmlType::F32, &bytes[1..], &mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), [1.5f32, -0.0, f32::MIN_POSITIVE].map(f32::to_bits));
    }
}
