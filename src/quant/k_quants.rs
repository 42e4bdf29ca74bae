//! The K-quants: super-blocks of 256 weights in groups of 16 or 32, each group with a small integer scale (and
//! minimum) that the super-block's f16 `d` (and `dmin`) multiplies.
//!
//! The integer scales are there for kernels too: dot products stay integers up to the super-block.
#![allow(non_camel_case_types)] // the names are GGUF's own

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, f16_to_f32, split_nibbles};

/// 256 weights `d * sc * q - dmin * m` in groups of 16; `q` of two bits, `sc` and `m` of four.
///
/// ```text
/// 0        16                      80  82     84
/// | scales | qs                    | d | dmin |
///
/// scales[g]        m m m m s s s s             s: scale, m: minimum of group g
/// qs[32*h + i]     3 3 2 2 1 1 0 0             weight 128*h + 32*s + i is the bit pair s; i < 32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ2_K {
    /// Scale (low nibble) and minimum (high nibble) of each group.
    pub scales: [u8; 16],
    /// Four weights a byte, 32 apart.
    pub qs: [u8; 64],
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
    /// The scale of the minimums, f16, little-endian.
    pub dmin: [u8; 2],
}
const _: () = assert!(size_of::<BlockQ2_K>() == 84 && align_of::<BlockQ2_K>() == 1);

impl Block for BlockQ2_K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const LEN: usize = 256;
    const GROUP: usize = 16;
    const HAS_MIN: bool = true;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
        let (d, dmin) = (f16_to_f32(self.d), f16_to_f32(self.dmin));
        for (g, byte) in self.scales.iter().enumerate() {
            scale[g] = d * f32::from(byte & 15);
            min[g] = -(dmin * f32::from(byte >> 4));
        }
        split_pairs(&self.qs, q);
    }
}

/// 256 weights `d * (sc - 32) * (q - 4)` in groups of 16; `q` of three bits, `sc` of six.
///
/// ```text
/// 0       32                      96       108 110
/// | hmask | qs                    | scales | d |
///
/// hmask[i]         7 6 5 4 3 2 1 0             bit 2 of weight 32*b + i at bit b; i < 32
/// qs[32*h + i]     3 3 2 2 1 1 0 0             bits 0 and 1 of weight 128*h + 32*s + i in the bit pair s
/// scales[j]        the low nibble of group j (low) and j + 8 (high); j < 8
/// scales[8 + j]    bits 4 and 5 of groups j, j + 4, j + 8 and j + 12 from the low bit pair up; j < 4
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ3_K {
    /// Bit 2 of the weights, eight weights a byte, 32 apart.
    pub hmask: [u8; 32],
    /// Bits 0 and 1, four weights a byte, 32 apart.
    pub qs: [u8; 64],
    /// Sixteen six-bit scales; see [`Self::scales`].
    pub scales: [u8; 12],
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
}
const _: () = assert!(size_of::<BlockQ3_K>() == 110 && align_of::<BlockQ3_K>() == 1);

impl BlockQ3_K {
    /// The integer scale of each group, -32..=31.
    pub fn scales(&self) -> [i8; 16] {
        std::array::from_fn(|g| {
            let low = (self.scales[g % 8] >> (g / 8 * 4)) & 15;
            let high = (self.scales[8 + g % 4] >> (g / 4 * 2)) & 3;
            (low | high << 4) as i8 - 32
        })
    }
}

impl Block for BlockQ3_K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const LEN: usize = 256;
    const GROUP: usize = 16;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        let d = f16_to_f32(self.d);
        for (scale, sc) in scale.iter_mut().zip(self.scales()) {
            *scale = d * f32::from(sc);
        }
        split_pairs(&self.qs, q);
        for (bit, q) in q.chunks_exact_mut(32).enumerate() {
            for (q, high) in q.iter_mut().zip(&self.hmask) {
                *q = (*q | (((high >> bit) & 1) << 2) as i8) - 4;
            }
        }
    }
}

/// 256 weights `d * sc * q - dmin * m` in groups of 32; `q` of four bits, `sc` and `m` of six.
///
/// ```text
/// 0   2      4        16                      144
/// | d | dmin | scales | qs                    |
///
/// qs[32*j + i]     B B B B A A A A             A: weight 64*j + i, B: weight 64*j + 32 + i; i < 32
/// ```
///
/// The scales are packed as [`scales_and_mins`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_K {
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
    /// The scale of the minimums, f16, little-endian.
    pub dmin: [u8; 2],
    /// Eight six-bit scales and minimums; see [`scales_and_mins`].
    pub scales: [u8; 12],
    /// The nibbles, two groups of 32 to 32 bytes.
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockQ4_K>() == 144 && align_of::<BlockQ4_K>() == 1);

impl Block for BlockQ4_K {
    const TYPE: GgmlType = GgmlType::Q4_K;
    const LEN: usize = 256;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
        float_scales(self.d, self.dmin, &self.scales, scale, min);
        for (qs, q) in self.qs.chunks_exact(32).zip(q.chunks_exact_mut(64)) {
            split_nibbles(qs, q, |nibble| nibble as i8);
        }
    }
}

/// 256 weights `d * sc * q - dmin * m` in groups of 32; `q` of five bits, `sc` and `m` of six.
///
/// ```text
/// 0   2      4        16   48                      176
/// | d | dmin | scales | qh | qs                    |
///
/// qh[i]            7 6 5 4 3 2 1 0             bit 4 of weight 32*b + i at bit b; i < 32
/// qs[32*j + i]     B B B B A A A A             A: weight 64*j + i, B: weight 64*j + 32 + i
/// ```
///
/// The scales are packed as [`scales_and_mins`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_K {
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
    /// The scale of the minimums, f16, little-endian.
    pub dmin: [u8; 2],
    /// Eight six-bit scales and minimums; see [`scales_and_mins`].
    pub scales: [u8; 12],
    /// Bit 4 of the weights, eight weights a byte, 32 apart.
    pub qh: [u8; 32],
    /// The low nibbles, two groups of 32 to 32 bytes.
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<BlockQ5_K>() == 176 && align_of::<BlockQ5_K>() == 1);

impl Block for BlockQ5_K {
    const TYPE: GgmlType = GgmlType::Q5_K;
    const LEN: usize = 256;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
        float_scales(self.d, self.dmin, &self.scales, scale, min);
        for (qs, q) in self.qs.chunks_exact(32).zip(q.chunks_exact_mut(64)) {
            split_nibbles(qs, q, |nibble| nibble as i8);
        }
        for (bit, q) in q.chunks_exact_mut(32).enumerate() {
            for (q, high) in q.iter_mut().zip(&self.qh) {
                *q |= (((high >> bit) & 1) << 4) as i8;
            }
        }
    }
}

/// 256 weights `d * sc * (q - 32)` in groups of 16; `q` of six bits, `sc` a signed byte.
///
/// ```text
/// 0                       128          192      208 210
/// | ql                    | qh         | scales | d |
///
/// ql[64*h + i]     B B B B A A A A             bits 0..4, A: weight 128*h + i, B: weight 128*h + 64 + i; i < 64
/// qh[32*h + i]     3 3 2 2 1 1 0 0             bits 4 and 5 of weight 128*h + 32*s + i in the bit pair s; i < 32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ6_K {
    /// The low nibbles, two weights a byte, 64 apart.
    pub ql: [u8; 128],
    /// Bits 4 and 5, four weights a byte, 32 apart.
    pub qh: [u8; 64],
    /// The scale of each group.
    pub scales: [i8; 16],
    /// The scale of the scales, f16, little-endian.
    pub d: [u8; 2],
}
const _: () = assert!(size_of::<BlockQ6_K>() == 210 && align_of::<BlockQ6_K>() == 1);

impl Block for BlockQ6_K {
    const TYPE: GgmlType = GgmlType::Q6_K;
    const LEN: usize = 256;
    const GROUP: usize = 16;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        let d = f16_to_f32(self.d);
        for (scale, sc) in scale.iter_mut().zip(self.scales) {
            *scale = d * f32::from(sc);
        }
        split_pairs(&self.qh, q);
        for (ql, q) in self.ql.chunks_exact(64).zip(q.chunks_exact_mut(128)) {
            let (first, second) = q.split_at_mut(64);
            for ((a, b), low) in first.iter_mut().zip(second).zip(ql) {
                *a = (*a << 4 | (low & 15) as i8) - 32;
                *b = (*b << 4 | (low >> 4) as i8) - 32;
            }
        }
    }
}

/// The eight integer scales and the eight integer minimums of a Q4_K or Q5_K super-block, 0..=63.
///
/// ```text
/// bytes 0..4       h h s s s s s s             s: scale of group j < 4, h: bits 4 and 5 of the scale of group j + 4
/// bytes 4..8       h h m m m m m m             the same for the minimums
/// bytes 8..12      m m m m s s s s             bits 0..4 of the scale and the minimum of group j + 4
/// ```
pub fn scales_and_mins(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        let (s, m, low) = (packed[j], packed[j + 4], packed[j + 8]);
        scales[j] = s & 63;
        scales[j + 4] = (low & 15) | (s >> 6) << 4;
        mins[j] = m & 63;
        mins[j + 4] = (low >> 4) | (m >> 6) << 4;
    }
    (scales, mins)
}

/// Scale and minimum of each group of a Q4_K or Q5_K super-block.
fn float_scales(d: [u8; 2], dmin: [u8; 2], packed: &[u8; 12], scale: &mut [f32], min: &mut [f32]) {
    let (d, dmin) = (f16_to_f32(d), f16_to_f32(dmin));
    let (scales, mins) = scales_and_mins(packed);
    for g in 0..8 {
        scale[g] = d * f32::from(scales[g]);
        min[g] = -(dmin * f32::from(mins[g]));
    }
}

/// Bit pair `s` of byte `32*h + i` to `q[128*h + 32*s + i]`: how Q2_K, Q3_K and Q6_K store two bits a weight.
fn split_pairs(packed: &[u8; 64], q: &mut [i8]) {
    for (bytes, q) in packed.chunks_exact(32).zip(q.chunks_exact_mut(128)) {
        for (s, q) in q.chunks_exact_mut(32).enumerate() {
            for (q, byte) in q.iter_mut().zip(bytes) {
                *q = ((byte >> (2 * s)) & 3) as i8;
            }
        }
    }
}
