//! The formats of 32 weights with one f16 scale: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//!
//! In the 4- and 5-bit formats byte `i` of `qs` holds the low four bits of weight `i` (low nibble) and of weight
//! `i + 16` (high nibble), so a SIMD kernel gets two halves of 16 weights with a mask and a shift:
//!
//! ```text
//!            bit 7 6 5 4 3 2 1 0
//! qs[0]          16 16 16 16  0  0  0  0
//! qs[15]         31 31 31 31 15 15 15 15
//! ```
//!
//! In the 5-bit formats bit `i` of the little-endian word `qh` is bit 4 of weight `i`.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, f16_to_f32, split_nibbles};

/// 32 weights `d * (q - 8)`, `q` of four bits.
///
/// ```text
/// 0   2                   18
/// | d | qs                |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// The nibbles: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ4_0>() == 18 && align_of::<BlockQ4_0>() == 1);

impl Block for BlockQ4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        split_nibbles(&self.qs, q, |nibble| nibble as i8 - 8);
    }
}

/// 32 weights `d * q + m`, `q` of four bits.
///
/// ```text
/// 0   2   4                   20
/// | d | m | qs                |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_1 {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// The minimum, f16, little-endian.
    pub m: [u8; 2],
    /// The nibbles: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ4_1>() == 20 && align_of::<BlockQ4_1>() == 1);

impl Block for BlockQ4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        min[0] = f16_to_f32(self.m);
        split_nibbles(&self.qs, q, |nibble| nibble as i8);
    }
}

/// 32 weights `d * (q - 16)`, `q` of five bits.
///
/// ```text
/// 0   2    6                   22
/// | d | qh | qs                |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_0 {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// Bit 4 of weight `i` at bit `i` of this little-endian word.
    pub qh: [u8; 4],
    /// The low nibbles: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ5_0>() == 22 && align_of::<BlockQ5_0>() == 1);

impl Block for BlockQ5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        unpack_5_bits(&self.qs, self.qh, q, 16);
    }
}

/// 32 weights `d * q + m`, `q` of five bits.
///
/// ```text
/// 0   2   4    8                   24
/// | d | m | qh | qs                |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_1 {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// The minimum, f16, little-endian.
    pub m: [u8; 2],
    /// Bit 4 of weight `i` at bit `i` of this little-endian word.
    pub qh: [u8; 4],
    /// The low nibbles: weights 0..16 low, 16..32 high.
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<BlockQ5_1>() == 24 && align_of::<BlockQ5_1>() == 1);

impl Block for BlockQ5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        min[0] = f16_to_f32(self.m);
        unpack_5_bits(&self.qs, self.qh, q, 0);
    }
}

/// 32 weights `d * q`, `q` a signed byte; -128 does not occur in files from the usual quantizers, but is read.
///
/// ```text
/// 0   2                                       34
/// | d | qs                                    |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    /// The scale, f16, little-endian.
    pub d: [u8; 2],
    /// The weights in order.
    pub qs: [i8; 32],
}
const _: () = assert!(size_of::<BlockQ8_0>() == 34 && align_of::<BlockQ8_0>() == 1);

impl Block for BlockQ8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const LEN: usize = 32;
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    fn unpack(&self, q: &mut [i8], scale: &mut [f32], _min: &mut [f32]) {
        scale[0] = f16_to_f32(self.d);
        q.copy_from_slice(&self.qs);
    }
}

/// The five-bit weights minus `offset`: nibbles from `qs`, fifth bits from `qh`.
fn unpack_5_bits(qs: &[u8; 16], qh: [u8; 4], q: &mut [i8], offset: i8) {
    split_nibbles(qs, q, |nibble| nibble as i8);
    let high = u32::from_le_bytes(qh);
    for (i, q) in q.iter_mut().enumerate() {
        *q = (*q | (((high >> i) & 1) << 4) as i8) - offset;
    }
}
