//! The lanes in AVX-512: one register each.

use std::arch::x86_64::*;

use crate::cpu::panel::MOVED;
use crate::cpu::vector::{Simd, Task, load_four_halves, offset};

/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI (and with them AVX2, FMA and F16C).
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// `None` on a CPU without the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }

    /// # Safety
    /// [`Avx512::detect`] has given `Some` in this process.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Self(())
    }
}

/// One intrinsic whose instructions `self` proves.
macro_rules! op {
    ($e:expr) => {
        // SAFETY: `self` exists, so `detect` saw every feature named there on this CPU.
        unsafe { $e }
    };
}

/// Each of four integers in the four lanes of its quarter.
macro_rules! quarters {
    ($n:expr) => {{
        let [a, b, c, d] = $n.map(|n: u32| n as i32);
        _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d)
    }};
}

/// The lanes of four folded by the tree of [`Simd::sum`].
macro_rules! fold4 {
    ($s:expr, $x:expr, $f:ident) => {{
        let [a, b, c, d] = $x;
        // The last two steps fold lanes of the same quarter, of which there is one for each.
        let all = op!({
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
            let ab = $f(ab, _mm512_shuffle_f32x4::<0xee>(a, b));
            let cd = $f(cd, _mm512_shuffle_f32x4::<0xee>(c, d));
            let four = $f(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xdd>(ab, cd));
            let two = $f(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            $f(two, _mm512_permute_ps::<0b10_11_00_01>(two))
        });
        let all = $s.to_array(all);
        [all[0], all[4], all[8], all[12]]
    }};
}

impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;

    // VPDPBUSD multiplies unsigned by signed bytes: signed weights are moved up by 128.
    const WIDE_OFFSET: i32 = MOVED;
    const QUERIES: usize = 8;
    const PAIRS: bool = true;
    const DOTS: bool = true;

    #[inline(always)]
    fn call<T: Task<Self>>(self, task: T) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        #[inline(never)]
        unsafe fn run<T: Task<Avx512>>(s: Avx512, task: T) {
            task.run(s)
        }
        op!(run(self, task))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn splat2(self, x: [f32; 2]) -> __m512 {
        op!(_mm512_castpd_ps(_mm512_set1_pd(bytemuck::cast(x))))
    }
    #[inline(always)]
    fn swap(self, x: __m512) -> __m512 {
        op!(_mm512_permute_ps::<0b10_11_00_01>(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> __m512 {
        op!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn to_array(self, x: __m512) -> [f32; 16] {
        let mut out = [0.0; 16];
        op!(_mm512_storeu_ps(out.as_mut_ptr(), x));
        out
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> __m512 {
        op!(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn sum4(self, x: [__m512; 4]) -> [f32; 4] {
        fold4!(self, x, _mm512_add_ps)
    }
    #[inline(always)]
    fn greatest4(self, x: [__m512; 4]) -> [f32; 4] {
        fold4!(self, x, _mm512_max_ps)
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> __m512 {
        let x = op!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast())));
        self.as_f32(self.shl::<16>(x))
    }
    #[inline(always)]
    fn to_f16(self, x: __m512) -> [u16; 16] {
        let mut out = [0; 16];
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)));
        out
    }
    #[inline(always)]
    fn low_f16(self, x: __m512i) -> __m512 {
        op!(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)))
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> __m512i {
        op!(_mm512_set1_epi32(x))
    }
    #[inline(always)]
    fn splat2_i(self, x: [i32; 2]) -> __m512i {
        op!(_mm512_set1_epi64(bytemuck::cast(x)))
    }
    #[inline(always)]
    fn load_i(self, x: &[u32; 16]) -> __m512i {
        op!(_mm512_loadu_si512(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn to_array_i(self, x: __m512i) -> [u32; 16] {
        let mut out = [0; 16];
        op!(_mm512_storeu_si512(out.as_mut_ptr().cast(), x));
        out
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> __m512i {
        op!(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn add_i(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_xor_si512(a, b))
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: __m512i) -> __m512i {
        op!(_mm512_slli_epi32::<N>(a))
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: __m512i) -> __m512i {
        op!(_mm512_srli_epi32::<N>(a))
    }
    #[inline(always)]
    fn shr_odd<const N: u32>(self, a: __m512i) -> __m512i {
        op!(_mm512_mask_srli_epi32::<N>(a, 0xaaaa, a))
    }
    #[inline(always)]
    fn add_neighbours(self, a: __m512i, b: __m512i) -> __m512i {
        op!({
            // In each quarter: two of a, two of b, then one and one.
            let (x, y) = (_mm512_castsi512_ps(a), _mm512_castsi512_ps(b));
            let (even, odd) = (_mm512_shuffle_ps::<0b10_00_10_00>(x, y), _mm512_shuffle_ps::<0b11_01_11_01>(x, y));
            let sums = _mm512_add_epi32(_mm512_castps_si512(even), _mm512_castps_si512(odd));
            _mm512_shuffle_epi32::<0b11_01_10_00>(sums)
        })
    }
    #[inline(always)]
    fn normal_bf16(self, a: __m512i) -> __m512i {
        op!(_mm512_maskz_mov_epi16(_mm512_test_epi16_mask(a, _mm512_set1_epi32(0x7f80_7f80)), a))
    }
    #[inline(always)]
    fn to_i8(self, a: __m512i) -> [i8; 16] {
        let mut out = [0; 16];
        op!(_mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)));
        out
    }
    #[inline(always)]
    fn low_bytes(self, [a, b, c, d]: [__m512i; 4]) -> ([[i8; 16]; 4], [i32; 4]) {
        let mut out = ([[0; 16]; 4], [0; 4]);
        op!({
            // Each quarter gets four bytes of each, in this order.
            let low = _mm512_set1_epi32(0xff);
            let ab = _mm512_packus_epi32(_mm512_and_si512(a, low), _mm512_and_si512(b, low));
            let cd = _mm512_packus_epi32(_mm512_and_si512(c, low), _mm512_and_si512(d, low));
            let bytes = _mm512_packus_epi16(ab, cd);
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_si512(out.0.as_mut_ptr().cast(), _mm512_permutexvar_epi32(order, bytes));
            let sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
            let sums = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
            let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            _mm_storeu_si128(out.1.as_mut_ptr().cast(), sums);
        });
        out
    }
    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        op!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn as_f32(self, a: __m512i) -> __m512 {
        op!(_mm512_castsi512_ps(a))
    }
    #[inline(always)]
    fn as_i32(self, a: __m512) -> __m512i {
        op!(_mm512_castps_si512(a))
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: __m512i) -> __m512i {
        op!(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), index))
    }

    #[inline(always)]
    fn dot4(self, acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
        op!(_mm512_dpbusd_epi32(acc, w, x))
    }
    #[inline(always)]
    fn settled(self, x: __m512i) -> __m512i {
        #[target_feature(enable = "avx512f")]
        #[inline]
        unsafe fn pin(mut x: __m512i) -> __m512i {
            // SAFETY: nothing is done.
            unsafe {
                std::arch::asm!("/* {0} */", inout(zmm_reg) x, options(nostack, preserves_flags));
            }
            x
        }
        op!(pin(x))
    }
    #[inline(always)]
    fn wide(self, w: __m512i) -> __m512i {
        self.xor(w, self.splat_i(i32::from_ne_bytes([0x80; 4])))
    }
    #[inline(always)]
    fn dot4_wide(self, acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
        self.dot4(acc, w, x)
    }

    #[inline(always)]
    unsafe fn load_rows(self, base: *const u8, [near, middle, far]: [usize; 3]) -> [__m512i; 4] {
        // The same near one of each far ones side by side; then a 4 x 4 transpose of dwords within each quarter.
        // (Macros, not closures: a closure that is not inlined would lose the target features.)
        // A pointer for each far one, from which the addresses of the near ones are a register away.
        let near = [0, near, middle, middle + near];
        // SAFETY: the caller's contract.
        let quads: [*const u8; 4] = unsafe { [base, base.add(far), base.add(2 * far), base.add(3 * far)] };
        macro_rules! row {
            ($a:expr, $r:expr) => {
                // SAFETY: the caller's contract for the address, `self` for the instruction.
                unsafe { _mm_loadu_si128(quads[$a].add(near[$r]).cast()) }
            };
        }
        macro_rules! four {
            ($a:expr) => {{
                let (q0, q1, q2, q3) = (row!(0, $a), row!(1, $a), row!(2, $a), row!(3, $a));
                self.join([q0, q1, q2, q3])
            }};
        }
        self.transpose_dwords([four!(0), four!(1), four!(2), four!(3)])
    }

    #[inline(always)]
    unsafe fn load_quarters(self, base: *const u8, [a, b, c, d]: [usize; 4]) -> __m512i {
        // (After inlining, the places are constants or a constant apart, and these branches are gone.)
        let apart = [b.wrapping_sub(a), c.wrapping_sub(a), d.wrapping_sub(a)];
        // SAFETY: the caller's contract for the addresses, `self` for the instructions.
        unsafe {
            let quarter = |at: usize| base.wrapping_add(at).cast::<__m128i>();
            match apart {
                [16, 32, 48] => _mm512_loadu_si512(quarter(a).cast()),
                [16, 0, 16] => _mm512_broadcast_i64x4(_mm256_loadu_si256(quarter(a).cast())),
                [0, 0, 0] => _mm512_broadcast_i32x4(_mm_loadu_si128(quarter(a))),
                [x, y, z] if x % 2 == 0 && [y, z] == [2 * x, 3 * x] && (16..=24).contains(&x) => {
                    // Three are in sixty-four bytes; of others, the last is where it belongs. (A permutation of both
                    // would be in the way of dot products on Zen 4, which begins one instruction with three registers
                    // in a cycle.)
                    let word = |i: usize| if i < 24 { (i / 8 * x + i % 8 * 2) as u16 / 2 } else { 0 };
                    let words: [u16; 32] = std::array::from_fn(word);
                    let words = _mm512_loadu_si512(words.as_ptr().cast());
                    let first = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(quarter(a).cast()));
                    _mm512_mask_loadu_epi64(first, 0b1100_0000, quarter(d.wrapping_sub(48)).cast())
                }
                _ => self.join([
                    _mm_loadu_si128(quarter(a)),
                    _mm_loadu_si128(quarter(b)),
                    _mm_loadu_si128(quarter(c)),
                    _mm_loadu_si128(quarter(d)),
                ]),
            }
        }
    }
    #[inline(always)]
    unsafe fn load_halves_twice(self, base: *const u8, at: usize, second: bool) -> __m512i {
        // SAFETY: the caller's contract for the addresses, `self` for the instructions.
        unsafe {
            let all = _mm512_loadu_si512(base.add(at).cast());
            if second {
                _mm512_shuffle_i32x4::<0b11_11_01_01>(all, all)
            } else {
                _mm512_shuffle_i32x4::<0b10_10_00_00>(all, all)
            }
        }
    }
    #[inline(always)]
    fn shl_quarters(self, a: __m512i, n: [u32; 4]) -> __m512i {
        op!(_mm512_sllv_epi32(a, quarters!(n)))
    }
    #[inline(always)]
    fn shr_quarters(self, a: __m512i, n: [u32; 4]) -> __m512i {
        op!(_mm512_srlv_epi32(a, quarters!(n)))
    }
    #[inline(always)]
    unsafe fn load_four_halves(self, base: *const u8, strides: [usize; 3], apart: usize) -> [__m512; 4] {
        if !apart.is_multiple_of(2) || 3 * apart + 2 > 64 {
            // SAFETY: the caller's contract.
            return unsafe { load_four_halves(self, base, strides, apart) };
        }
        // The four of each row are in one load. Quadword `k` gets what four rows have at the `k`th place.
        let word = |lane: usize| if lane < 16 { lane as u16 / 4 * (apart as u16 / 2) } else { 0 };
        let words: [u16; 32] = std::array::from_fn(word);
        // SAFETY: the caller's contract for the addresses, `self` for the instructions.
        unsafe {
            let words = _mm512_loadu_si512(words.as_ptr().cast());
            macro_rules! row {
                ($row:expr) => {{
                    let row = _mm512_loadu_si512(base.add(offset(strides, $row)).cast());
                    _mm512_castsi512_si256(_mm512_permutexvar_epi16(words, row))
                }};
            }
            macro_rules! four {
                ($first:expr) => {{
                    let ab = _mm256_blend_epi16::<0x22>(row!($first), row!($first + 1));
                    let cd = _mm256_blend_epi16::<0x88>(row!($first + 2), row!($first + 3));
                    _mm256_blend_epi16::<0xcc>(ab, cd)
                }};
            }
            let a = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(four!(0)), four!(4));
            let b = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(four!(8)), four!(12));
            let first = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13), b);
            let last = _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15), b);
            [
                _mm512_cvtph_ps(_mm512_castsi512_si256(first)),
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(first)),
                _mm512_cvtph_ps(_mm512_castsi512_si256(last)),
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(last)),
            ]
        }
    }
    #[inline(always)]
    fn spread_bits(self, bits: [u32; 4], value: u8) -> [__m512i; 2] {
        let half = |bits: u32, at: u32| u64::from(bits as u16) << at;
        let [a, b, c, d] = bits;
        let low = half(a, 0) | half(b, 16) | half(c, 32) | half(d, 48);
        let high = half(a >> 16, 0) | half(b >> 16, 16) | half(c >> 16, 32) | half(d >> 16, 48);
        op!([_mm512_maskz_set1_epi8(low, value as i8), _mm512_maskz_set1_epi8(high, value as i8)])
    }
    #[inline(always)]
    fn add_in_quarters(self, a: __m512i, b: __m512i) -> __m512i {
        op!({
            let (a, b) = (_mm512_castsi512_ps(a), _mm512_castsi512_ps(b));
            let (even, odd) = (_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b));
            _mm512_add_epi32(_mm512_castps_si512(even), _mm512_castps_si512(odd))
        })
    }
    #[inline(always)]
    fn add_in_quarters_16(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1)))
    }
    #[inline(always)]
    fn transpose_quarters(self, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        op!({
            let (ab, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
            let (cd, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
            [
                _mm512_shuffle_i32x4::<0x88>(ab, cd),
                _mm512_shuffle_i32x4::<0xdd>(ab, cd),
                _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
                _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
            ]
        })
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T1>(at.cast()))
    }
    #[inline(always)]
    fn prefetch_near(self, at: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T0>(at.cast()))
    }
    #[inline(always)]
    fn weights_near() -> bool {
        super::weights_near()
    }
}

impl Avx512 {
    /// Four quarters. Into half a register, any port of a Zen core inserts what comes from memory; into a whole one,
    /// two of four.
    #[inline(always)]
    fn join(self, [a, b, c, d]: [__m128i; 4]) -> __m512i {
        op!({
            let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
            let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(c), d);
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        })
    }

    /// A 4 x 4 transpose of dwords within each quarter.
    #[inline(always)]
    fn transpose_dwords(self, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        op!({
            let (ab, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ]
        })
    }
}
