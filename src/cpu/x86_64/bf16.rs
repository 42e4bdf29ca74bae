//! VDPBF16PS: two bfloat16 of each lane at once.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Avx512;
use crate::cpu::bf16::{Bf16, COLUMNS, Piece};
use crate::cpu::float::{Float, next};
use crate::cpu::scalar::Scalar;
use crate::cpu::vector::Simd;

/// bfloat16 weights whose pairs the instruction multiplies: for functions of the table that is handed out where
/// [`PairsOfBf16::detect`] has found it.
pub(crate) struct PairsOfBf16;

impl PairsOfBf16 {
    /// `None` on a CPU without the instruction, or with one that does something else.
    pub(crate) fn detect() -> Option<Self> {
        let s = Avx512::detect().filter(|_| is_x86_feature_detected!("avx512bf16"))?;
        // SAFETY: the CPU has the instruction.
        unsafe { is_exact(s) }.then_some(Self)
    }
}

impl Float<Avx512> for PairsOfBf16 {
    type Weights = [u8; 2 * COLUMNS];
    type Activations = [Piece; 1];
    const FINE: bool = true;

    #[inline(always)]
    fn weights(s: Avx512, w: &[u8; 2 * COLUMNS], _: usize) -> __m512 {
        s.as_f32(s.load_i(&bytemuck::cast(*w)))
    }
    #[inline(always)]
    fn activations(s: Avx512, [x]: &[Piece; 1], _: usize) -> __m512 {
        s.as_f32(s.load_i(&x.0))
    }
    #[inline(always)]
    fn fma(_: Avx512, w: __m512, x: __m512, chains: __m512) -> __m512 {
        // SAFETY: only that table's functions come here. (The types differ in name alone.)
        unsafe { _mm512_dpbf16_ps(chains, transmute::<__m512, __m512bh>(w), transmute::<__m512, __m512bh>(x)) }
    }
}

/// The same without it, for few rows.
impl Float<Scalar> for PairsOfBf16 {
    type Weights = [u8; 2 * COLUMNS];
    type Activations = [Piece; 1];
    const PARTS: usize = 2;

    fn weights(s: Scalar, w: &[u8; 2 * COLUMNS], part: usize) -> [f32; 16] {
        Bf16::weights(s, w, part)
    }
    fn activations(_: Scalar, [x]: &[Piece; 1], part: usize) -> [f32; 16] {
        x.0.map(|pair| f32::from_bits(if part == 0 { pair & 0xffff << 16 } else { pair << 16 }))
    }
}

/// Whether the instruction gives the bits that it should: for some thousand pairs of all signs and magnitudes, it is
/// tried. One that rounded otherwise, or in another order, would differ in one of ten.
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn is_exact(s: Avx512) -> bool {
    let mut state = 1u64;
    // Knuth's generator of 64 bits, of which the high ones are good.
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let mut chain = [0.0; 16];
    (0..200).all(|round| {
        // A sign, an exponent near that of 1, as near as often makes sums lose few bits or many, and a mantissa.
        let mut bits = |width: u32| (random() & 0x807f) | (127 - width + random() % (2 * width + 1)) << 7;
        let width = round % 20;
        if width == 0 {
            chain = [0.0; 16];
        }
        let mut pairs = || std::array::from_fn::<u32, 16, _>(|_| bits(width) | bits(width) << 16);
        let (w, x) = (bytemuck::cast(pairs()), [Piece(pairs())]);
        let [[pairs]] = next::<_, PairsOfBf16, 1, 1>(s, [[s.load(&chain)]], [&w], [&x]);
        let [[plain]] = next::<_, PairsOfBf16, 1, 1>(Scalar, [[chain]], [&w], [&x]);
        chain = plain;
        plain.map(f32::to_bits) == s.to_array(pairs).map(f32::to_bits)
    })
}
