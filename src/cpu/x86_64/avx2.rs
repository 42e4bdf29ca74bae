//! The lanes in AVX2, FMA and F16C: two registers each, lanes 0 to 7 and 8 to 15.

use std::arch::x86_64::*;

use crate::cpu::float::{self, Float};
use crate::cpu::vector::{Simd, Task, load_four_halves, offset};

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` on a CPU without the instructions.
    pub(crate) fn detect() -> Option<Self> {
        let all =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }

    /// # Safety
    /// [`Avx2::detect`] has given `Some` in this process.
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

/// The same intrinsic for both halves.
macro_rules! both {
    ($f:path, $($arg:expr),+) => {
        [op!($f($($arg[0]),+)), op!($f($($arg[1]),+))]
    };
}

/// Each of four integers in the four lanes of its quarter.
macro_rules! quarters {
    ($n:expr) => {{
        let [a, b, c, d] = $n.map(|n: u32| n as i32);
        [op!(_mm256_setr_epi32(a, a, a, a, b, b, b, b)), op!(_mm256_setr_epi32(c, c, c, c, d, d, d, d))]
    }};
}

/// A 4 x 4 transpose of dwords within each half of four registers.
macro_rules! transpose4 {
    ($a:expr, $b:expr, $c:expr, $d:expr) => {{
        let (a, b, c, d) = ($a, $b, $c, $d);
        op!({
            let (a, b) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (c, d) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(a, c),
                _mm256_unpackhi_epi64(a, c),
                _mm256_unpacklo_epi64(b, d),
                _mm256_unpackhi_epi64(b, d),
            ]
        })
    }};
}

/// What `$lo` or `$hi` makes of the low or the high halves of two registers' quarters: the high ones if they are `$last`.
macro_rules! unpacked {
    ($last:expr, $lo:ident, $hi:ident, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        op!(if $last { $hi(a, b) } else { $lo(a, b) })
    }};
}

/// The same of sixteen bytes of row `$r` and of the next, which the caller of what this is in promises are readable.
macro_rules! two_rows {
    ($last:expr, $lo:ident, $hi:ident, $base:expr, $strides:expr, $r:expr) => {{
        // SAFETY: the caller's contract.
        let (a, b) = unsafe { (load16($base, $strides, $r), load16($base, $strides, $r + 1)) };
        unpacked!($last, $lo, $hi, a, b)
    }};
}

/// The lanes of four folded by the tree of [`Simd::sum`].
macro_rules! fold4 {
    ($x:expr, $f:ident) => {{
        let x = $x;
        op!({
            let (a, b) = ($f(x[0][0], x[0][1]), $f(x[1][0], x[1][1]));
            let (c, d) = ($f(x[2][0], x[2][1]), $f(x[3][0], x[3][1]));
            // Four lanes of each, two in each half of a register.
            let ac = $f(_mm256_permute2f128_ps::<0x20>(a, c), _mm256_permute2f128_ps::<0x31>(a, c));
            let bd = $f(_mm256_permute2f128_ps::<0x20>(b, d), _mm256_permute2f128_ps::<0x31>(b, d));
            // Two: those of a and b in the first half, of c and d in the second.
            let all = $f(_mm256_shuffle_ps::<0x44>(ac, bd), _mm256_shuffle_ps::<0xee>(ac, bd));
            let (even, odd) = (_mm256_shuffle_ps::<0x88>(all, all), _mm256_shuffle_ps::<0xdd>(all, all));
            let mut out = [0.0; 8];
            _mm256_storeu_ps(out.as_mut_ptr(), $f(even, odd));
            [out[0], out[1], out[4], out[5]]
        })
    }};
}

/// Sixteen bytes of a row: see [`Simd::load_rows`].
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load16(base: *const u8, strides: [usize; 3], row: usize) -> __m128i {
    // SAFETY: the caller's contract; SSE2 is in every x86-64.
    unsafe { _mm_loadu_si128(base.add(offset(strides, row)).cast()) }
}

/// Thirty-two likewise.
///
/// # Safety
/// They are readable, and the CPU has AVX.
#[inline(always)]
unsafe fn load32(base: *const u8, strides: [usize; 3], row: usize) -> __m256i {
    // SAFETY: the caller's contract.
    unsafe { _mm256_loadu_si256(base.add(offset(strides, row)).cast()) }
}

/// Has `x` in a register here, and what is loaded later in the source loaded later.
#[target_feature(enable = "avx2")]
#[inline]
fn in_order(mut x: __m256) -> __m256 {
    // SAFETY: nothing is done.
    unsafe { std::arch::asm!("/* {0} */", inout(ymm_reg) x, options(nostack, preserves_flags)) };
    x
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];

    const WIDE_OFFSET: i32 = 0;
    const QUERIES: usize = 2;
    const PAIRS: bool = false;
    const DOTS: bool = false;

    #[inline(always)]
    fn call<T: Task<Self>>(self, task: T) {
        #[target_feature(enable = "avx2,fma,f16c")]
        #[inline(never)]
        unsafe fn run<T: Task<Avx2>>(s: Avx2, task: T) {
            task.run(s)
        }
        op!(run(self, task))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        op!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> [__m256; 2] {
        op!([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))])
    }
    #[inline(always)]
    fn to_array(self, x: [__m256; 2]) -> [f32; 16] {
        let mut out = [0.0; 16];
        op!({
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        });
        out
    }
    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    fn min(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_fmadd_ps, a, b, c)
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; 16]) -> [__m256; 2] {
        op!({
            let (low, high) = (_mm_loadu_si128(x.as_ptr().cast()), _mm_loadu_si128(x.as_ptr().add(8).cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        })
    }
    #[inline(always)]
    fn sum4(self, x: [[__m256; 2]; 4]) -> [f32; 4] {
        fold4!(x, _mm256_add_ps)
    }
    #[inline(always)]
    fn greatest4(self, x: [[__m256; 2]; 4]) -> [f32; 4] {
        fold4!(x, _mm256_max_ps)
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; 16]) -> [__m256; 2] {
        let x = op!({
            let x = _mm256_loadu_si256(x.as_ptr().cast());
            [_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(x))]
        });
        self.as_f32(self.shl::<16>(x))
    }
    #[inline(always)]
    fn to_f16(self, x: [__m256; 2]) -> [u16; 16] {
        let mut out = [0; 16];
        op!({
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[0]));
            _mm_storeu_si128(out.as_mut_ptr().add(8).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[1]));
        });
        out
    }
    #[inline(always)]
    fn low_f16(self, x: [__m256i; 2]) -> [__m256; 2] {
        op!({
            let mask = _mm256_set1_epi32(0xffff);
            let packed = _mm256_packus_epi32(_mm256_and_si256(x[0], mask), _mm256_and_si256(x[1], mask));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            [_mm256_cvtph_ps(_mm256_castsi256_si128(packed)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed))]
        })
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> [__m256i; 2] {
        op!([_mm256_set1_epi32(x); 2])
    }
    #[inline(always)]
    fn load_i(self, x: &[u32; 16]) -> [__m256i; 2] {
        op!([_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(8).cast())])
    }
    #[inline(always)]
    fn to_array_i(self, x: [__m256i; 2]) -> [u32; 16] {
        let mut out = [0; 16];
        op!({
            _mm256_storeu_si256(out.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), x[1]);
        });
        out
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; 16]) -> [__m256i; 2] {
        op!({
            let x = _mm_loadu_si128(x.as_ptr().cast());
            [_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))]
        })
    }
    #[inline(always)]
    fn add_i(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    fn and(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_and_si256, a, b)
    }
    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    fn xor(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_xor_si256, a, b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
        let n = op!(_mm_cvtsi32_si128(N as i32));
        both!(_mm256_sll_epi32, a, [n; 2])
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
        let n = op!(_mm_cvtsi32_si128(N as i32));
        both!(_mm256_srl_epi32, a, [n; 2])
    }
    #[inline(always)]
    fn normal_bf16(self, a: [__m256i; 2]) -> [__m256i; 2] {
        // The exponent's bits are never negative: what is multiplied by their sign stays, or is 0.
        let exponents = self.and(a, self.splat_i(0x7f80_7f80));
        both!(_mm256_sign_epi16, a, exponents)
    }
    #[inline(always)]
    fn to_i8(self, a: [__m256i; 2]) -> [i8; 16] {
        let mut out = [0; 16];
        op!({
            // The low byte of each lane to the front of its 128 bits, then the four groups together.
            let low_bytes = _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
            let low_bytes = _mm256_broadcastsi128_si256(low_bytes);
            let (a, b) = (_mm256_shuffle_epi8(a[0], low_bytes), _mm256_shuffle_epi8(a[1], low_bytes));
            let a = _mm_unpacklo_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let b = _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256::<1>(b));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_unpacklo_epi64(a, b));
        });
        out
    }
    #[inline(always)]
    fn low_bytes(self, x: [[__m256i; 2]; 4]) -> ([[i8; 16]; 4], [i32; 4]) {
        let mut out = ([[0; 16]; 4], [0; 4]);
        op!({
            let low = _mm256_set1_epi32(0xff);
            let mut halves = [_mm256_setzero_si256(); 2];
            for half in 0..2 {
                let (a, b) = (x[2 * half], x[2 * half + 1]);
                let a = _mm256_packus_epi32(_mm256_and_si256(a[0], low), _mm256_and_si256(a[1], low));
                let b = _mm256_packus_epi32(_mm256_and_si256(b[0], low), _mm256_and_si256(b[1], low));
                // In each half of the register four times four bytes: of a the first and the third, of b likewise.
                let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                halves[half] = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
                _mm256_storeu_si256(out.0.as_mut_ptr().cast::<__m256i>().add(half), halves[half]);
            }
            let sums =
                halves.map(|q| _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1)));
            let sums = _mm256_hadd_epi32(sums[0], sums[1]);
            let sums = _mm256_hadd_epi32(sums, sums);
            // Those of the first and the third, then of the second and the last.
            let both = _mm_unpacklo_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            _mm_storeu_si128(out.1.as_mut_ptr().cast(), both);
        });
        out
    }
    #[inline(always)]
    fn to_f32(self, a: [__m256i; 2]) -> [__m256; 2] {
        both!(_mm256_cvtepi32_ps, a)
    }
    #[inline(always)]
    fn as_f32(self, a: [__m256i; 2]) -> [__m256; 2] {
        both!(_mm256_castsi256_ps, a)
    }
    #[inline(always)]
    fn as_i32(self, a: [__m256; 2]) -> [__m256i; 2] {
        both!(_mm256_castps_si256, a)
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: [__m256i; 2]) -> [__m256i; 2] {
        let table = op!(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())));
        both!(_mm256_shuffle_epi8, [table; 2], index)
    }

    #[inline(always)]
    fn dot4(self, acc: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
        self.add_pair_sums(acc, both!(_mm256_maddubs_epi16, w, x))
    }
    #[inline(always)]
    fn pair_sums(self, pairs: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
        let products = both!(_mm256_maddubs_epi16, w, x);
        both!(_mm256_add_epi16, pairs, products)
    }
    #[inline(always)]
    fn pinned(self, [a, b]: [__m256i; 2]) -> [__m256i; 2] {
        #[target_feature(enable = "avx2")]
        #[inline]
        unsafe fn pin(mut a: __m256i, mut b: __m256i) -> [__m256i; 2] {
            // SAFETY: nothing is done.
            unsafe {
                std::arch::asm!("/* {0} {1} */", inout(ymm_reg) a, inout(ymm_reg) b, options(nomem, nostack, preserves_flags));
            }
            [a, b]
        }
        op!(pin(a, b))
    }
    #[inline(always)]
    fn add_pair_sums(self, acc: [__m256i; 2], pairs: [__m256i; 2]) -> [__m256i; 2] {
        let ones = op!(_mm256_set1_epi16(1));
        self.add_i(acc, both!(_mm256_madd_epi16, pairs, [ones; 2]))
    }
    #[inline(always)]
    fn wide(self, w: [__m256i; 2]) -> [__m256i; 2] {
        w
    }
    #[inline(always)]
    fn dot4_wide(self, acc: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
        // |w| is at most 128 and |x| at most 127, so a pair of products fits an i16: 2 * 128 * 127 < 32768.
        let (w, x) = (both!(_mm256_abs_epi8, w), both!(_mm256_sign_epi8, x, w));
        self.add_pair_sums(acc, both!(_mm256_maddubs_epi16, w, x))
    }
    #[inline(always)]
    fn even_odd(self, x: [__m256i; 2]) -> [[__m256i; 2]; 2] {
        op!({
            let high = [_mm256_slli_epi16::<8>(x[0]), _mm256_slli_epi16::<8>(x[1])];
            [
                [_mm256_srai_epi16::<8>(high[0]), _mm256_srai_epi16::<8>(high[1])],
                [_mm256_srai_epi16::<8>(x[0]), _mm256_srai_epi16::<8>(x[1])],
            ]
        })
    }
    #[inline(always)]
    fn dot2(self, acc: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
        self.add_i(acc, both!(_mm256_madd_epi16, w, x))
    }

    #[inline(always)]
    fn part<W: Float<Self>, const R: usize, const T: usize>(
        self,
        mut chains: [[[__m256; 2]; T]; R],
        rows: [&W::Weights; R],
        x: [&W::Activations; T],
        part: usize,
    ) -> [[[__m256; 2]; T]; R] {
        if R < 3 {
            return float::part::<Self, W, R, T>(self, chains, rows, x, part);
        }
        // One half of the lanes after the other: six pairs of registers leave room for two tokens and a row. (LLVM would load
        // three rows at once, and store chains in memory meanwhile.) No weights have another [`Float::fma`] here.
        for half in 0..2 {
            let mut these = [W::activations(self, x[0], part)[half]; T];
            for t in 1..T {
                these[t] = W::activations(self, x[t], part)[half];
            }
            for r in 0..R {
                let w = W::weights(self, rows[r], part)[half];
                for t in 0..T {
                    chains[r][t][half] = op!(_mm256_fmadd_ps(w, these[t], chains[r][t][half]));
                }
                chains[r][T - 1][half] = op!(in_order(chains[r][T - 1][half]));
            }
        }
        chains
    }

    #[inline(always)]
    unsafe fn load_quarters(self, base: *const u8, at: [usize; 4]) -> [__m256i; 2] {
        macro_rules! two {
            ($a:expr, $b:expr) => {
                // SAFETY: the caller's contract for the addresses, `self` for the instruction.
                unsafe {
                    let (low, high) = (_mm_loadu_si128(base.add($a).cast()), _mm_loadu_si128(base.add($b).cast()));
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
                }
            };
        }
        [two!(at[0], at[1]), two!(at[2], at[3])]
    }
    #[inline(always)]
    fn shl_quarters(self, a: [__m256i; 2], n: [u32; 4]) -> [__m256i; 2] {
        let n = quarters!(n);
        both!(_mm256_sllv_epi32, a, n)
    }
    #[inline(always)]
    fn shr_quarters(self, a: [__m256i; 2], n: [u32; 4]) -> [__m256i; 2] {
        let n = quarters!(n);
        both!(_mm256_srlv_epi32, a, n)
    }
    #[inline(always)]
    fn spread_bits(self, bits: [u32; 4], value: u8) -> [[__m256i; 2]; 2] {
        let both = quarters!(bits);
        op!({
            let first = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let (second, value) = (_mm256_add_epi8(first, _mm256_set1_epi8(2)), _mm256_set1_epi8(value as i8));
            macro_rules! spread {
                ($x:expr, $bytes:expr) => {{
                    let set = _mm256_and_si256(_mm256_shuffle_epi8($x, $bytes), bit);
                    _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), value)
                }};
            }
            [[spread!(both[0], first), spread!(both[1], first)], [spread!(both[0], second), spread!(both[1], second)]]
        })
    }
    #[inline(always)]
    fn add_in_quarters(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_hadd_epi32, a, b)
    }
    #[inline(always)]
    fn add_in_quarters_16(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        let ones = op!(_mm256_set1_epi16(1));
        let packed = both!(_mm256_packs_epi32, a, b);
        both!(_mm256_madd_epi16, packed, [ones; 2])
    }
    #[inline(always)]
    fn transpose_quarters(self, [a, b, c, d]: [[__m256i; 2]; 4]) -> [[__m256i; 2]; 4] {
        macro_rules! quarter {
            ($half:literal, $lanes:literal) => {
                op!([
                    _mm256_permute2x128_si256::<$lanes>(a[$half], b[$half]),
                    _mm256_permute2x128_si256::<$lanes>(c[$half], d[$half])
                ])
            };
        }
        [quarter!(0, 0x20), quarter!(0, 0x31), quarter!(1, 0x20), quarter!(1, 0x31)]
    }
    #[inline(always)]
    unsafe fn load_dwords(self, base: *const u8, strides: [usize; 3], last: bool) -> [__m256i; 2] {
        // Sixteen bytes of each row, of which all but four are left behind: half the instructions of loading four.
        let base = if last { base.wrapping_sub(12) } else { base };
        macro_rules! two {
            ($r:expr) => {
                two_rows!(last, _mm_unpacklo_epi32, _mm_unpackhi_epi32, base, strides, $r)
            };
        }
        macro_rules! four {
            ($r:literal) => {
                unpacked!(last, _mm_unpacklo_epi64, _mm_unpackhi_epi64, two!($r), two!($r + 2))
            };
        }
        let (a, b, c, d) = (four!(0), four!(4), four!(8), four!(12));
        op!([_mm256_set_m128i(b, a), _mm256_set_m128i(d, c)])
    }
    #[inline(always)]
    unsafe fn load_halves(self, base: *const u8, strides: [usize; 3], last: bool) -> [__m256; 2] {
        // As for dwords.
        let base = if last { base.wrapping_sub(14) } else { base };
        macro_rules! two {
            ($r:expr) => {
                two_rows!(last, _mm_unpacklo_epi16, _mm_unpackhi_epi16, base, strides, $r)
            };
        }
        macro_rules! four {
            ($r:expr) => {
                unpacked!(last, _mm_unpacklo_epi32, _mm_unpackhi_epi32, two!($r), two!($r + 2))
            };
        }
        macro_rules! eight {
            ($r:literal) => {{
                let halves = unpacked!(last, _mm_unpacklo_epi64, _mm_unpackhi_epi64, four!($r), four!($r + 4));
                op!(_mm256_cvtph_ps(halves))
            }};
        }
        [eight!(0), eight!(8)]
    }
    #[inline(always)]
    unsafe fn load_four_halves(self, base: *const u8, strides: [usize; 3], apart: usize) -> [[__m256; 2]; 4] {
        // Where the second of two halves is in the upper half of a register that begins with the first.
        let at = apart.wrapping_sub(16) / 2;
        if !apart.is_multiple_of(2) || (at != 1 && at != 3) {
            // SAFETY: the caller's contract.
            return unsafe { load_four_halves(self, base, strides, apart) };
        }
        macro_rules! two {
            ($base:expr, $r:expr) => {{
                // SAFETY: the caller's contract: these bytes are of two blocks, each of sixteen bytes or more.
                let (a, b) = unsafe { (load32($base, strides, $r), load32($base, strides, $r + 1)) };
                op!(_mm256_unpacklo_epi16(a, b))
            }};
        }
        macro_rules! eight {
            ($base:expr, $r:literal) => {{
                let (ab, cd) = (two!($base, $r), two!($base, $r + 2));
                let (ef, gh) = (two!($base, $r + 4), two!($base, $r + 6));
                op!({
                    let (a, e) = (_mm256_unpacklo_epi32(ab, cd), _mm256_unpacklo_epi32(ef, gh));
                    let first = _mm256_castsi256_si128(_mm256_unpacklo_epi64(a, e));
                    // The second's are in the upper half's second dwords, or in the last.
                    let (a, e) = match at {
                        1 => (a, e),
                        _ => (_mm256_unpackhi_epi32(ab, cd), _mm256_unpackhi_epi32(ef, gh)),
                    };
                    let second = _mm256_extracti128_si256::<1>(_mm256_unpackhi_epi64(a, e));
                    (_mm256_cvtph_ps(first), _mm256_cvtph_ps(second))
                })
            }};
        }
        let behind = base.wrapping_add(2 * apart);
        let (low, high) = (eight!(base, 0), eight!(base, 8));
        let (low_behind, high_behind) = (eight!(behind, 0), eight!(behind, 8));
        [[low.0, high.0], [low.1, high.1], [low_behind.0, high_behind.0], [low_behind.1, high_behind.1]]
    }

    #[inline(always)]
    unsafe fn load_rows(self, base: *const u8, strides: [usize; 3]) -> [[__m256i; 2]; 4] {
        // Each half: rows that are four apart side by side, then a 4 x 4 transpose of dwords within each 128 bits.
        // (Macros, not closures: a closure that is not inlined would lose the target features.)
        macro_rules! two {
            ($a:expr) => {{
                // SAFETY: the caller's contract.
                let (low, high) = unsafe { (load16(base, strides, $a), load16(base, strides, $a + 4)) };
                op!(_mm256_set_m128i(high, low))
            }};
        }
        let low = transpose4!(two!(0), two!(1), two!(2), two!(3));
        let high = transpose4!(two!(8), two!(9), two!(10), two!(11));
        [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]], [low[3], high[3]]]
    }
    #[inline(always)]
    fn transpose(self, x: &[[__m256i; 2]; 16], out: &mut [[__m256i; 2]; 16]) {
        // Rows that are four apart side by side, then a 4 x 4 transpose of dwords within each 128 bits.
        macro_rules! four_lanes {
            ($rows:literal, $half:literal, $quarter:literal) => {{
                macro_rules! two {
                    ($r:expr) => {
                        op!(_mm256_permute2x128_si256::<{ 0x20 + 0x11 * $quarter }>(x[$r][$half], x[$r + 4][$half]))
                    };
                }
                const FIRST: usize = 8 * $rows;
                let lanes = transpose4!(two!(FIRST), two!(FIRST + 1), two!(FIRST + 2), two!(FIRST + 3));
                for i in 0..4 {
                    out[8 * $half + 4 * $quarter + i][$rows] = lanes[i];
                }
            }};
        }
        four_lanes!(0, 0, 0);
        four_lanes!(0, 0, 1);
        four_lanes!(0, 1, 0);
        four_lanes!(0, 1, 1);
        four_lanes!(1, 0, 0);
        four_lanes!(1, 0, 1);
        four_lanes!(1, 1, 0);
        four_lanes!(1, 1, 1);
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T1>(at.cast()))
    }
    #[inline(always)]
    fn prefetch_near(self, at: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T0>(at.cast()))
    }
}
