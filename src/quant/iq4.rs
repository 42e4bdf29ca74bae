//! The formats whose four bits index a table of 16 unevenly spaced integers: IQ4_NL and IQ4_XS.
#![allow(non_camel_case_types)] // the names are GGUF's own

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, f16_to_f32, split_nibbles};

/// What the sixteen codes of IQ4_NL and IQ4_XS stand for: denser around zero, where weights are.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 32 weights `d * IQ4_VALUES[q]`, `q` of four bits.
///
/// ```text
/// 0   2                   18
/// | d | qs                |
///
/// qs[i]            B B B B A A A A             A: weight i, B: weight i + 16; i < 16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIQ4_NL {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// The codes: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockIQ4_NL>() == 18 && align_of::<BlockIQ4_NL>() == 1);

impl Block for BlockIQ4_NL {
    const TYPE: GgmlType = GgmlType::IQ4_NL;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        split_nibbles(&self.qs, q, |nibble| IQ4_VALUES[usize::from(nibble)]);
    }
}

/// 256 weights `d * (sc - 32) * IQ4_VALUES[q]` in groups of 32; `q` of four bits, `sc` of six.
///
/// ```text
/// 0   2          4          8                       136
/// | d | scales_h | scales_l | qs                    |
///
/// scales_h         bits 4 and 5 of group g at bits 2*g and 2*g + 1 of this little-endian word; g < 8
/// scales_l[j]      B B B B A A A A             bits 0..4, A: group 2*j, B: group 2*j + 1; j < 4
/// qs[16*g + i]     B B B B A A A A             A: weight 32*g + i, B: weight 32*g + 16 + i; i < 16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIQ4_XS {
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
    /// Bits 4 and 5 of the scales; see [`Self::scales`].
    pub scales_h: [u8; 2],
    /// Bits 0 to 3 of the scales.
    pub scales_l: [u8; 4],
    /// The codes, each group of 32 in 16 bytes.
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockIQ4_XS>() == 136 && align_of::<BlockIQ4_XS>() == 1);

impl BlockIQ4_XS {
    /// The integer scale of each group, -32..=31.
    pub fn scales(&self) -> [i8; 8] {
        let high = u16::from_le_bytes(self.scales_h);
        std::array::from_fn(|g| {
            let low = (self.scales_l[g / 2] >> (g % 2 * 4)) & 15;
            (low | (((high >> (2 * g)) & 3) << 4) as u8) as i8 - 32
        })
    }
}

impl Block for BlockIQ4_XS {
    const TYPE: GgmlType = GgmlType::IQ4_XS;
    const LEN: usize = 256;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        let d = f16_to_f32(self.d);
        for (scale, sc) in scale.iter_mut().zip(self.scales()) {
            *scale = d * f32::from(sc);
        }
        for (qs, q) in self.qs.chunks_exact(16).zip(q.chunks_exact_mut(32)) {
            split_nibbles(qs, q, |nibble| IQ4_VALUES[usize::from(nibble)]);
        }
    }
}
