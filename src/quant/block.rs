//! What every quantized format has in common: a block is small integers in groups, each group with its scale.

use bytemuck::Pod;

use super::GgmlType;

/// One block of a quantized format, exactly as the file holds it.
///
/// The weights of a block form groups of [`Self::GROUP`]. Weight `i` of group `g` is `scale[g] * q[i] + min[g]`
/// in f32, the product rounded before the sum; formats without a minimum leave the sum out. This one view of all
/// formats is what dequantization, the dot products and the SIMD kernels are built on.
pub trait Block: Pod {
    /// The tensor type that is made of these blocks.
    const TYPE: GgmlType;
    /// Weights in a block.
    const LEN: usize;
    /// Weights that share a scale: 16 or 32.
    const GROUP: usize;
    /// Whether groups have a minimum.
    const HAS_MIN: bool;

    /// Writes the block's integers and the scale and minimum of each group.
    ///
    /// `q` holds `LEN` values in the order of the weights, `scale` and `min` hold `LEN / GROUP` (`min` may be empty
    /// without minimums). An offset of the format is taken out of `q` where all of it fits an i8.
    ///
    /// # Panics
    ///
    /// When a slice is of another length; no content of the block can make it panic.
    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]);
}

/// An f16 as files store it, little-endian, to f32: exact.
pub(super) fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// The low nibbles of `packed` in order to the first half of `q`, the high ones to the second, each through `value`.
pub(super) fn split_nibbles(packed: &[u8], q: &mut [i8], value: impl Fn(u8) -> i8) {
    let (low, high) = q.split_at_mut(packed.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(packed) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}
