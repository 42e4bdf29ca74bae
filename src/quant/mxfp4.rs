//! MXFP4, the Open Compute Project's microscaling format: four-bit floats (E2M1) under a power of two (E8M0).

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, split_nibbles};

/// What the sixteen E2M1 codes stand for, doubled so that they are integers: sign, then 0, ½, 1, 1½, 2, 3, 4, 6.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 32 weights `2^(e - 128) * MXFP4_VALUES[q]`, `q` of four bits.
///
/// ```text
/// 0   1                   17
/// | e | qs                |
///
/// qs[i]            B B B B A A A A             A: weight i, B: weight i + 16; i < 16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockMXFP4 {
    /// The exponent of the group's scale, biased by 127.
    pub e: u8,
    /// The codes: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockMXFP4>() == 17 && align_of::<BlockMXFP4>() == 1);

impl BlockMXFP4 {
    /// Half of the group's scale, `2^(e - 128)`, to go with the doubled [`MXFP4_VALUES`].
    ///
    /// Exponents 0 and 1 are subnormal f32 numbers. 255, NaN in the specification, is 2^127, as in GGUF's own readers;
    /// products under the highest exponents may be infinite.
    pub fn half_scale(&self) -> f32 {
        f32::from_bits(match self.e {
            e @ 0..=1 => 0x0020_0000 << e,
            e => u32::from(e - 1) << 23,
        })
    }
}

impl Block for BlockMXFP4 {
    const TYPE: GgmlType = GgmlType::MXFP4;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        scale[0] = self.half_scale();
        split_nibbles(&self.qs, q, |nibble| MXFP4_VALUES[usize::from(nibble)]);
    }
}
