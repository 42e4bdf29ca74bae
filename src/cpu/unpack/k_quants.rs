//! The formats with super-blocks of 256: small integer scales, and minimums, under one or two halves.

use super::legacy::{nibbles, table, two_entries, two_halves, two_wide};
use super::{BlockRows, Columns, Eight, Meet, Sink, SixteenFactors, TwoBits, Unpack, eight_rows, side_by_side};
use crate::cpu::quantized::{Halves3, Halves6, HalvesMin2, WholeMin4, WholeMin5, Wide};
use crate::cpu::vector::Simd;
use crate::quant::{BlockIQ4_XS, BlockQ2_K, BlockQ3_K, BlockQ4_K, BlockQ5_K, BlockQ6_K, IQ4_VALUES};

/// The four bytes of every lane as numbers.
#[inline(always)]
fn bytes<S: Simd>(s: S, x: S::I) -> [S::F; 4] {
    [s.byte::<0>(x), s.byte::<8>(x), s.byte::<16>(x), s.byte::<24>(x)]
}

/// All of four registers of bytes as numbers, in order.
#[inline(always)]
fn sixteen<S: Simd>(s: S, x: [S::I; 4]) -> [S::F; 16] {
    let mut out = [s.splat(0.0); 16];
    for (g, x) in x.into_iter().enumerate() {
        let four = bytes(s, x);
        for i in 0..4 {
            out[4 * g + i] = four[i];
        }
    }
    out
}

/// The number with its sign turned, also that of zero.
#[inline(always)]
fn negate<S: Simd>(s: S, x: S::F) -> S::F {
    s.as_f32(s.xor(s.as_i32(x), s.splat_i(i32::MIN)))
}

/// The scales that are `moved` too much, times what all are multiplied with.
#[inline(always)]
fn signed<S: Simd, const N: usize>(s: S, d: S::F, mut scale: [S::F; N], moved: f32) -> [S::F; N] {
    for scale in &mut scale {
        *scale = s.mul(d, s.sub(*scale, s.splat(moved)));
    }
    scale
}

/// The scales and the minimums, which are taken away, times what all of each are multiplied with.
#[inline(always)]
fn with_mins<S: Simd, const N: usize>(
    s: S,
    (d, dmin): (S::F, S::F),
    mut scale: [S::F; N],
    mut min: [S::F; N],
) -> ([S::F; N], [S::F; N]) {
    for i in 0..N {
        (scale[i], min[i]) = (s.mul(d, scale[i]), negate(s, s.mul(dmin, min[i])));
    }
    (scale, min)
}

/// Sixteen bytes as numbers: in each lane those of its group, for eight pairs of groups, whose lanes are neighbours.
#[inline(always)]
fn neighbours<S: Simd>(s: S, x: [S::I; 4]) -> [S::F; 8] {
    let mut out = [s.splat(0.0); 8];
    for (i, x) in x.into_iter().enumerate() {
        let x = s.shr_odd::<8>(x);
        (out[2 * i], out[2 * i + 1]) = (s.byte::<0>(x), s.byte::<16>(x));
    }
    out
}

/// The eight scales, then the eight minimums, of Q4_K and Q5_K as bytes, from the first sixteen bytes of a block.
#[inline(always)]
fn scales_k4<S: Simd>(s: S, [_, a, b, c]: [S::I; 4]) -> [[S::I; 2]; 2] {
    // Twelve bytes hold sixteen 6-bit numbers: the first eight keep their low six bits there, the others four bits in
    // the last four bytes and two on top of the first eight.
    let top = s.splat_i(0x3030_3030);
    let (low, high) = s.nibbles(c);
    [
        [s.bits::<0>(a, 0x3f), s.or(low, s.and(s.shr::<2>(a), top))],
        [s.bits::<0>(b, 0x3f), s.or(high, s.and(s.shr::<2>(b), top))],
    ]
}

/// Eight groups' numbers, and anything behind them.
#[inline(always)]
fn padded<F: Copy>(x: [F; 8]) -> [F; 16] {
    let [a, b, c, d, e, f, g, h] = x;
    [a, b, c, d, e, f, g, h, a, a, a, a, a, a, a, a]
}

/// The eight scales and minimums of Q4_K and Q5_K.
#[inline(always)]
fn factors_k4<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
    let head = rows.load(s, 0);
    let [[a, b], [c, d]] = scales_k4(s, head);
    let all = sixteen(s, [a, b, c, d]);
    let (mut scale, mut min) = ([all[0]; 8], [all[0]; 8]);
    for i in 0..8 {
        (scale[i], min[i]) = (all[i], all[8 + i]);
    }
    let (scale, min) = with_mins(s, two_halves(s, head[0]), scale, min);
    [padded(scale), padded(min)]
}

/// The same for eight rows: four pairs of neighbours.
#[inline(always)]
fn factors_k4_eight<S: Simd>(s: S, head: [S::I; 4]) -> ([S::F; 4], [S::F; 4]) {
    let [[a, b], [c, d]] = scales_k4(s, head);
    let [a, b, c, d, e, f, g, h] = neighbours(s, [a, b, c, d]);
    with_mins(s, two_halves(s, head[0]), [a, b, c, d], [e, f, g, h])
}

/// The `i % 2`th sixteen of each of groups `i / 2 * 4` and up of Q4_K and Q5_K, whose nibbles begin at `at`.
#[inline(always)]
fn nibbles_k4<S: Simd>(s: S, rows: BlockRows, row: usize, at: usize, i: usize) -> S::I {
    let bytes = rows.halves_twice(s, row, at + 64 * (i / 2), i % 2 == 1);
    s.and(s.shr_quarters(bytes, [0, 4, 0, 4]), s.splat_i(0x0f0f_0f0f))
}

impl Unpack for BlockQ4_K {
    const OFFSET: i32 = 0;
    type Kind = WholeMin4;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, min] = Self::factors_sixteen(s, rows);
        for pair in 0..4 {
            let both = rows.load32(s, 16 + 32 * pair);
            let (mut low, mut high) = (both, both);
            for g in 0..8 {
                (low[g], high[g]) = s.nibbles(both[g]);
            }
            for (j, q) in [(2 * pair, low), (2 * pair + 1, high)] {
                sink.take(8 * index + j, Columns { q, scale: [scale[j]; 2], min: [min[j]; 2] });
            }
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        factors_k4(s, rows)
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        nibbles_k4(s, rows, row, 16, i)
    }

    eight_rows!(Halves);
}

impl Eight for BlockQ4_K {
    #[inline(always)]
    fn unpack_eight<S: Simd>(s: S, rows: BlockRows, index: usize, to: &mut impl Meet<S>) {
        let (scale, min) = factors_k4_eight(s, rows.twice().load(s, 0));
        for pair in 0..4 {
            let both = rows.halves(s, 16 + 32 * pair);
            let (mut low, mut high) = (both, both);
            for g in 0..4 {
                (low[g], high[g]) = s.nibbles(both[g]);
            }
            to.divided(4 * index + pair, low, high, scale[pair], min[pair]);
        }
    }
}

/// Both halves of four bits of every byte, and on top the next two of its bits in `fifth`.
#[inline(always)]
fn with_fifth<S: Simd>(s: S, both: S::I, fifth: &mut S::I) -> (S::I, S::I) {
    let ((low, high), top) = (s.nibbles(both), s.splat_i(0x1010_1010));
    let all = (s.or(low, s.and(s.shl::<4>(*fifth), top)), s.or(high, s.and(s.shl::<3>(*fifth), top)));
    *fifth = s.shr::<2>(*fifth);
    all
}

impl Unpack for BlockQ5_K {
    const OFFSET: i32 = 0;
    type Kind = WholeMin5;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, min] = Self::factors_sixteen(s, rows);
        let mut fifth = rows.load32(s, 16);
        for pair in 0..4 {
            let both = rows.load32(s, 48 + 32 * pair);
            let (mut low, mut high) = (both, both);
            for g in 0..8 {
                (low[g], high[g]) = with_fifth(s, both[g], &mut fifth[g]);
            }
            for (j, q) in [(2 * pair, low), (2 * pair + 1, high)] {
                sink.take(8 * index + j, Columns { q, scale: [scale[j]; 2], min: [min[j]; 2] });
            }
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        factors_k4(s, rows)
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        let fifth = rows.quarters(s, row, [16 + 16 * (i % 2); 4]);
        let fifth = match i / 2 {
            0 => s.shl_quarters(fifth, [4, 3, 2, 1]),
            _ => s.shr_quarters(fifth, [0, 1, 2, 3]),
        };
        s.or(nibbles_k4(s, rows, row, 48, i), s.and(fifth, s.splat_i(0x1010_1010)))
    }

    eight_rows!(Halves);
}

impl Eight for BlockQ5_K {
    #[inline(always)]
    fn unpack_eight<S: Simd>(s: S, rows: BlockRows, index: usize, to: &mut impl Meet<S>) {
        let (scale, min) = factors_k4_eight(s, rows.twice().load(s, 0));
        let mut fifth = rows.halves(s, 16);
        for pair in 0..4 {
            let both = rows.halves(s, 48 + 32 * pair);
            let (mut low, mut high) = (both, both);
            for g in 0..4 {
                (low[g], high[g]) = with_fifth(s, both[g], &mut fifth[g]);
            }
            to.divided(4 * index + pair, low, high, scale[pair], min[pair]);
        }
    }
}

/// The low halves of four bits of the bytes of `first` and `second`, then their high ones; on top of each the next two
/// bits of those of `high`.
#[inline(always)]
fn six_bits<S: Simd>(s: S, first: S::I, second: S::I, high: S::I) -> [S::I; 4] {
    let ((a, c), (b, d), top) = (s.nibbles(first), s.nibbles(second), s.splat_i(0x3030_3030));
    [
        s.or(a, s.and(s.shl::<4>(high), top)),
        s.or(b, s.and(s.shl::<2>(high), top)),
        s.or(c, s.and(high, top)),
        s.or(d, s.and(s.shr::<2>(high), top)),
    ]
}

/// Signed bytes moved up by 128.
#[inline(always)]
fn moved<S: Simd>(s: S, mut bytes: [S::I; 4]) -> [S::I; 4] {
    for bytes in &mut bytes {
        *bytes = s.xor(*bytes, s.splat_i(i32::from_ne_bytes([0x80; 4])));
    }
    bytes
}

impl Unpack for BlockQ6_K {
    const OFFSET: i32 = 32;
    type Kind = Halves6;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, _] = Self::factors_sixteen(s, rows);
        for half in 0..2 {
            let first = rows.load32(s, 64 * half);
            let second = rows.load32(s, 64 * half + 32);
            let high = rows.load32(s, 128 + 32 * half);
            let mut q = [first; 4];
            for g in 0..8 {
                [q[0][g], q[1][g], q[2][g], q[3][g]] = six_bits(s, first[g], second[g], high[g]);
            }
            for j in 0..4 {
                let at = 4 * half + j;
                let scale = [scale[2 * at], scale[2 * at + 1]];
                sink.take(8 * index + at, Columns { q: q[j], scale, min: scale });
            }
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        let d = rows.half(s, 208);
        [signed(s, d, sixteen(s, moved(s, rows.load(s, 192))), 128.0); 2]
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        let (low, high) = (64 * (i / 2), 128 + 32 * (i / 2));
        let nibbles = s.nibbles(rows.quarters(s, row, [low, low + 16, low + 32, low + 48]));
        let high = rows.quarters(s, row, [high, high + 16, high, high + 16]);
        let (nibbles, high) = match i % 2 {
            0 => (nibbles.0, s.shl_quarters(high, [4, 4, 2, 2])),
            _ => (nibbles.1, s.shr_quarters(high, [0, 0, 2, 2])),
        };
        s.or(nibbles, s.and(high, s.splat_i(0x3030_3030)))
    }

    eight_rows!(Halves);
}

impl Eight for BlockQ6_K {
    #[inline(always)]
    fn unpack_eight<S: Simd>(s: S, rows: BlockRows, index: usize, to: &mut impl Meet<S>) {
        let d = rows.twice().half(s, 208);
        let scale = signed(s, d, neighbours(s, moved(s, rows.twice().load(s, 192))), 128.0);
        for half in 0..2 {
            let first = rows.halves(s, 64 * half);
            let second = rows.halves(s, 64 * half + 32);
            let high = rows.halves(s, 128 + 32 * half);
            let mut q = [first; 4];
            for g in 0..4 {
                [q[0][g], q[1][g], q[2][g], q[3][g]] = six_bits(s, first[g], second[g], high[g]);
            }
            for (j, q) in q.into_iter().enumerate() {
                let at = 4 * half + j;
                to.halves(4 * index + at / 2, at % 2, q, scale[at], scale[at]);
            }
        }
    }
}

/// The sixteen scales and minimums of Q2_K as bytes.
#[inline(always)]
fn nibbles_q2<S: Simd>(s: S, rows: BlockRows) -> ([S::I; 4], [S::I; 4]) {
    let both = rows.load(s, 0);
    let (mut scale, mut min) = (both, both);
    for g in 0..4 {
        (scale[g], min[g]) = s.nibbles(both[g]);
    }
    (scale, min)
}

/// Of one row of four, two bits of each of groups `4i..4i + 4` of Q2_K and Q3_K, which begin at `at`.
#[inline(always)]
fn two_bits<S: Simd>(s: S, rows: BlockRows, row: usize, at: usize, i: usize) -> S::I {
    let (at, shift) = (at + 32 * (i / 2), 4 * (i as u32 % 2));
    let bytes = rows.quarters(s, row, [at, at + 16, at, at + 16]);
    s.and(s.shr_quarters(bytes, [shift, shift, shift + 2, shift + 2]), s.splat_i(0x0303_0303))
}

impl Unpack for BlockQ2_K {
    const OFFSET: i32 = 0;
    type Kind = HalvesMin2;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, min] = Self::factors_sixteen(s, rows);
        for half in 0..2 {
            let mut rest = rows.load32(s, 16 + 32 * half);
            for j in 0..4 {
                let mut q = rest;
                for g in 0..8 {
                    q[g] = s.bits::<0>(rest[g], 3);
                    rest[g] = s.shr::<2>(rest[g]);
                }
                let at = 4 * half + j;
                let (scale, min) = ([scale[2 * at], scale[2 * at + 1]], [min[2 * at], min[2 * at + 1]]);
                sink.take(8 * index + at, Columns { q, scale, min });
            }
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        let (scale, min) = nibbles_q2(s, rows);
        let head = two_halves(s, rows.dword(s, 80));
        with_mins(s, head, sixteen(s, scale), sixteen(s, min)).into()
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        two_bits(s, rows, row, Self::AT, i)
    }

    side_by_side!();
}

impl TwoBits for BlockQ2_K {
    const AT: usize = 16;
    const ALWAYS: bool = true;
    /// Scales and minimums as bytes, and what they are multiplied with.
    type Rest<S: Simd> = ([S::I; 4], S::F, S::F);

    #[inline(always)]
    fn rest<S: Simd>(s: S, rows: BlockRows) -> Self::Rest<S> {
        let (d, dmin) = two_halves(s, rows.dword(s, 80));
        (rows.load(s, 0), d, negate(s, dmin))
    }

    #[inline(always)]
    fn shift<S: Simd>(group: usize) -> u32 {
        let lies = 2 * (group as u32 / 2 % 4);
        if S::DOTS { lies } else { lies.min(4) }
    }

    #[inline(always)]
    fn group<S: Simd>(s: S, bytes: &[S::I; 4], rest: &Self::Rest<S>, group: usize) -> ([S::I; 4], [S::F; 2]) {
        let ((both, d, dmin), shift, mut q) = (rest, Self::shift::<S>(group), *bytes);
        for q in &mut q {
            let is_moved = !S::DOTS && group / 2 % 4 == 3;
            *q = if is_moved { s.bits::<2>(*q, 3 << shift) } else { s.bits::<0>(*q, 3 << shift) };
        }
        let (both, at) = (both[group / 4], 8 * (group as u32 % 4));
        let scale = part(s, *d, both, 15, at, 0, shift);
        let min = match at {
            24 => part(s, *dmin, s.shr::<4>(both), 15, 24, 0, 0), // its own place is the sign's
            _ => part(s, *dmin, both, 15, at + 4, 0, 0),
        };
        (q, [scale, min])
    }
}

/// d times the number in every lane of `x` that has the bits `mask` from bit `at` on, less `moved`, over 2^`shift`. It
/// is exact: d has eleven bits, the number six, and the other factors are powers of two.
#[inline(always)]
fn part<S: Simd>(s: S, d: S::F, x: S::I, mask: i32, at: u32, moved: i32, shift: u32) -> S::F {
    let number = s.sub(s.to_f32(s.and(x, s.splat_i(mask << at))), s.splat((moved << at) as f32));
    s.mul(s.mul(d, s.splat(f32::from_bits((127 - at - shift) << 23))), number)
}

/// The sixteen scales of Q3_K, 32 too much, as bytes.
#[inline(always)]
fn scales_q3<S: Simd>(s: S, rows: BlockRows) -> [S::I; 4] {
    // Twelve bytes hold sixteen 6-bit scales: four low bits each in the first eight, the high two in the last four.
    let [_, a, b, c] = rows.load(s, 92);
    let top = s.splat_i(0x3030_3030);
    let ((a, a_high), (b, b_high)) = (s.nibbles(a), s.nibbles(b));
    [
        s.or(a, s.and(s.shl::<4>(c), top)),
        s.or(b, s.and(s.shl::<2>(c), top)),
        s.or(a_high, s.and(c, top)),
        s.or(b_high, s.and(s.shr::<2>(c), top)),
    ]
}

impl Unpack for BlockQ3_K {
    const OFFSET: i32 = 4;
    type Kind = Halves3;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, _] = Self::factors_sixteen(s, rows);
        // A set bit here means that 4 is not taken away.
        let mut third = rows.load32(s, 0);
        for half in 0..2 {
            let mut rest = rows.load32(s, 32 + 32 * half);
            for j in 0..4 {
                let mut q = rest;
                for g in 0..8 {
                    q[g] = s.or(s.bits::<0>(rest[g], 3), s.shl::<2>(s.bits::<0>(third[g], 1)));
                    (rest[g], third[g]) = (s.shr::<2>(rest[g]), s.shr::<1>(third[g]));
                }
                let at = 4 * half + j;
                let scale = [scale[2 * at], scale[2 * at + 1]];
                sink.take(8 * index + at, Columns { q, scale, min: scale });
            }
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        let d = rows.half(s, 108);
        [signed(s, d, sixteen(s, scales_q3(s, rows)), 32.0); 2]
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        let third = rows.quarters(s, row, [0, 16, 0, 16]);
        let third = match i {
            0 => s.shl_quarters(third, [2, 2, 1, 1]),
            1 => s.shr_quarters(third, [0, 0, 1, 1]),
            2 => s.shr_quarters(third, [2, 2, 3, 3]),
            _ => s.shr_quarters(third, [4, 4, 5, 5]),
        };
        s.or(two_bits(s, rows, row, Self::AT, i), s.and(third, s.splat_i(0x0404_0404)))
    }

    side_by_side!();
}

impl TwoBits for BlockQ3_K {
    const AT: usize = 32;
    // With AVX2, where third bits take more instructions than transposing saves, rows in turn are a tenth faster.
    const ALWAYS: bool = false;
    /// Scales as bytes, 32 too much, and what they are multiplied with; the third bits, by sixteen bytes.
    type Rest<S: Simd> = ([S::I; 4], S::F, [[S::I; 4]; 2]);

    #[inline(always)]
    fn rest<S: Simd>(s: S, rows: BlockRows) -> Self::Rest<S> {
        (scales_q3(s, rows), rows.half(s, 108), [rows.load(s, 0), rows.load(s, 16)])
    }

    #[inline(always)]
    fn shift<S: Simd>(group: usize) -> u32 {
        [0, 2, 4, 2][group / 2 % 4]
    }

    #[inline(always)]
    fn group<S: Simd>(s: S, bytes: &[S::I; 4], rest: &Self::Rest<S>, group: usize) -> ([S::I; 4], [S::F; 2]) {
        let ((scales, d, third), shift, mut q) = (rest, Self::shift::<S>(group), *bytes);
        for (q, third) in q.iter_mut().zip(third[group % 2]) {
            // From bit `group / 2` of its byte to above the two.
            let third = match group / 2 {
                0 => s.shl::<2>(third),
                1 => s.shl::<3>(third),
                2 => s.shl::<4>(third),
                3 => s.shl::<1>(third),
                4 => s.shr::<2>(third),
                5 => s.shr::<1>(third),
                6 => third,
                _ => s.shr::<3>(third),
            };
            let two = if group / 2 % 4 == 3 { s.bits::<4>(*q, 3 << shift) } else { s.bits::<0>(*q, 3 << shift) };
            *q = s.or(two, s.bits::<0>(third, 4 << shift));
        }
        let scale = part(s, *d, scales[group / 4], 63, 8 * (group as u32 % 4), 32, shift);
        (q, [scale; 2])
    }
}

impl Unpack for BlockIQ4_XS {
    const OFFSET: i32 = 0;
    type Kind = Wide;

    #[inline(always)]
    fn unpack_rows<S: Simd>(s: S, rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
        let [scale, _] = Self::factors_sixteen(s, rows);
        for j in 0..8 {
            let q = table(s, nibbles(s, rows.load(s, 8 + 16 * j)), &IQ4_VALUES);
            sink.take(8 * index + j, Columns { q, scale: [scale[j]; 2], min: [scale[j]; 2] });
        }
    }

    #[inline(always)]
    fn factors_sixteen<S: Simd>(s: S, rows: BlockRows) -> SixteenFactors<S> {
        let head = rows.load(s, 0);
        let d = s.low_f16(head[0]);
        // Eight 6-bit scales: nibbles in the second dword, pairs of high bits in the first one's upper half.
        let (mut low, mut high) = (head[1], s.shr::<16>(head[0]));
        let mut scales = [d; 8];
        for scale in &mut scales {
            let nibble = s.and(low, s.splat_i(15));
            let both = s.or(nibble, s.shl::<4>(s.and(high, s.splat_i(3))));
            (low, high) = (s.shr::<4>(low), s.shr::<2>(high));
            *scale = s.mul(d, s.sub(s.to_f32(both), s.splat(32.0)));
        }
        [padded(scales); 2]
    }

    #[inline(always)]
    fn integers<S: Simd>(s: S, rows: BlockRows, row: usize, i: usize) -> S::I {
        let at = 8 + 64 * (i / 2);
        let (low, high) =
            two_wide(s, two_entries(s, rows.quarters(s, row, [at, at + 16, at + 32, at + 48]), &IQ4_VALUES));
        [low, high][i % 2]
    }
}
