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
    /// `q` holds `LEN` values, `scale` and `min` hold `LEN / GROUP` (`min` may be empty without minimums).
    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]);
}
