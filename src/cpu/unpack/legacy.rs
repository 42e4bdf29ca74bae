//! The formats with blocks of thirty-two: one scale, perhaps a minimum, then the integers.

use super::{BlockRows, Columns, Eight, Meet, Sink, SixteenFactors, Unpack, eight_rows};
use crate::cpu::quantized::{Whole4, Whole5, WholeMin4, WholeMin5, Wide};
use crate::cpu::vector::Simd;
use crate::quant::{
    BlockIQ4_NL, BlockMXFP4, BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0, IQ4_VALUES, MXFP4_VALUES,
};

/// Sixteen bytes of nibbles: the low ones are columns 0 to 15, the high ones 16 to 31.
#[inline(always)]
pub(super) fn nibbles<S: Simd>(s: S, bytes: [S::I; 4]) -> [S::I; 8] {
    let mut q = [bytes[0]; 8];
    for g in 0..4 {
        (q[g], q[g + 4]) = s.nibbles(bytes[g]);
    }
    q
}

/// The table's entry for each index. (A loop, not `map`: a closure that is not inlined would lose the target features.)
#[inline(always)]
fn entries<S: Simd>(s: S, mut q: [S::I; 8], table: &[i8; 16]) -> [S::I; 8] {
    for q in &mut q {
        *q = s.lookup(table, *q);
    }
    q
}

/// The same in the wide form.
#[inline(always)]
pub(super) fn table<S: Simd>(s: S, q: [S::I; 8], table: &[i8; 16]) -> [S::I; 8] {
    let mut q = entries(s, q, table);
    for q in &mut q {
        *q = s.wide(*q);
    }
    q
}

/// Sets bit 4 of each of thirty-two bytes from the bits of `high`, in order.
#[inline(always)]
fn fifth_bits<S: Simd>(s: S, q: [S::I; 8], high: S::I) -> [S::I; 8] {
    // Four bits at a time, each moved to bit 4 of its own byte.
    let mut out = q;
    let mut rest = high;
    for out in &mut out {
        let b0 = s.and(s.shl::<4>(rest), s.splat_i(0x10));
        let b1 = s.and(s.shl::<11>(rest), s.splat_i(0x10 << 8));
        let b2 = s.and(s.shl::<18>(rest), s.splat_i(0x10 << 16));
        let b3 = s.and(s.shl::<25>(rest), s.splat_i(0x10 << 24));
        *out = s.or(*out, s.or(s.or(b0, b1), s.or(b2, b3)));
        rest = s.shr::<4>(rest);
    }
    out
}

/// A format whose block is one piece: `$halves` says whether it begins with its scale, a half, and has no minimum,
/// `$factors` gives the scale and the minimum (or anything), `$body` the integers of sixteen rows, `$four` those of
/// four blocks of a row: two registers.
macro_rules! one_piece {
    ($halves:literal, $block:ty, $offset:expr, $kind:ty, |$s:ident, $rows:ident| $factors:expr, $body:expr, |$row:ident| $four:expr) => {
        impl Unpack for $block {
            const OFFSET: i32 = $offset;
            type Kind = $kind;

            #[inline(always)]
            fn unpack_rows<S: Simd>($s: S, $rows: BlockRows, index: usize, sink: &mut impl Sink<S>) {
                let ((scale, min), q) = ($factors, $body);
                sink.take(index, Columns { q, scale: [scale; 2], min: [min; 2] });
            }

            #[inline(always)]
            fn factors_sixteen<S: Simd>($s: S, rows: BlockRows) -> SixteenFactors<S> {
                let mut all = [[$s.splat(0.0); 16]; 2];
                if $halves {
                    all[0][..4].copy_from_slice(&rows.four_halves($s));
                } else {
                    for k in 0..4 {
                        let $rows = rows.next(k);
                        (all[0][k], all[1][k]) = $factors;
                    }
                }
                all
            }

            #[inline(always)]
            fn integers<S: Simd>($s: S, $rows: BlockRows, $row: usize, i: usize) -> S::I {
                let (first, second) = $four;
                if i == 0 { first } else { second }
            }

            eight_rows!(Blocks);
        }

        impl Eight for $block {
            #[inline(always)]
            fn unpack_eight<S: Simd>($s: S, $rows: BlockRows, index: usize, to: &mut impl Meet<S>) {
                let ((scale, min), q) = ($factors, $body);
                to.wholes(index, q, scale, min);
            }
        }
    };
}

/// Both halves of a number in a lane.
#[inline(always)]
pub(super) fn two_halves<S: Simd>(s: S, both: S::I) -> (S::F, S::F) {
    (s.low_f16(both), s.high_f16(both))
}

/// A scale, and no minimum.
#[inline(always)]
fn twice<F: Copy>(scale: F) -> (F, F) {
    (scale, scale)
}

/// Sixteen nibbles in each quarter, with a fifth bit on top.
#[inline(always)]
fn five_bits<S: Simd>(s: S, nibbles: S::I, fifth: [u32; 4]) -> (S::I, S::I) {
    let ((low, high), top) = (s.nibbles(nibbles), s.spread_bits(fifth, 0x10));
    (s.or(low, top[0]), s.or(high, top[1]))
}

/// The table's entries for both nibbles of every byte.
#[inline(always)]
pub(super) fn two_entries<S: Simd>(s: S, bytes: S::I, table: &[i8; 16]) -> (S::I, S::I) {
    let (low, high) = s.nibbles(bytes);
    (s.lookup(table, low), s.lookup(table, high))
}

/// Both in the wide form.
#[inline(always)]
pub(super) fn two_wide<S: Simd>(s: S, (a, b): (S::I, S::I)) -> (S::I, S::I) {
    (s.wide(a), s.wide(b))
}

one_piece!(true, BlockQ4_0, 8, Whole4, |s, rows| twice(rows.half(s, 0)), nibbles(s, rows.load(s, 2)), |row| s
    .nibbles(rows.blocks(s, row, 2)));

one_piece!(
    false,
    BlockQ4_1,
    0,
    WholeMin4,
    |s, rows| two_halves(s, rows.dword(s, 0)),
    nibbles(s, rows.load(s, 4)),
    |row| s.nibbles(rows.blocks(s, row, 4))
);

// Bytes 0 and 1 are the scale, 2 to 5 the fifth bits.
one_piece!(
    true,
    BlockQ5_0,
    16,
    Whole5,
    |s, rows| twice(rows.half(s, 0)),
    fifth_bits(s, nibbles(s, rows.load(s, 6)), rows.dword(s, 2)),
    |row| five_bits(s, rows.blocks(s, row, 6), rows.dwords(row, 2))
);

one_piece!(
    false,
    BlockQ5_1,
    0,
    WholeMin5,
    |s, rows| two_halves(s, rows.dword(s, 0)),
    fifth_bits(s, nibbles(s, rows.load(s, 8)), rows.dword(s, 4)),
    |row| five_bits(s, rows.blocks(s, row, 8), rows.dwords(row, 4))
);

one_piece!(
    true,
    BlockQ8_0,
    0,
    Wide,
    |s, rows| twice(rows.half(s, 0)),
    {
        let (low, high) = (rows.load(s, 2), rows.load(s, 18));
        let mut q = [low[0]; 8];
        for g in 0..4 {
            (q[g], q[g + 4]) = (s.wide(low[g]), s.wide(high[g]));
        }
        q
    },
    |row| two_wide(s, (rows.blocks(s, row, 2), rows.blocks(s, row, 18)))
);

one_piece!(
    true,
    BlockIQ4_NL,
    0,
    Wide,
    |s, rows| twice(rows.half(s, 0)),
    table(s, nibbles(s, rows.load(s, 2)), &IQ4_VALUES),
    |row| two_wide(s, two_entries(s, rows.blocks(s, row, 2), &IQ4_VALUES))
);

/// 2^(n - 64).
#[inline(always)]
fn power<S: Simd>(s: S, n: S::I) -> S::F {
    s.as_f32(s.shl::<23>(s.add_i(n, s.splat_i(127 - 64))))
}

/// The values, moved up by the largest: none is negative, and they have no more than five bits.
const MXFP4_OFFSET: i8 = 12;
const MXFP4_MOVED: [i8; 16] = {
    let mut moved = MXFP4_VALUES;
    let mut i = 0;
    while i < moved.len() {
        moved[i] += MXFP4_OFFSET;
        i += 1;
    }
    moved
};

one_piece!(
    false,
    BlockMXFP4,
    MXFP4_OFFSET as i32,
    Whole5,
    |s, rows| {
        // 2^(e - 128), half of what e says, as a product of two powers: the smallest two are subnormal numbers, which
        // exponent bits alone cannot give.
        let e = s.and(rows.dword(s, 0), s.splat_i(0xff));
        let (half, rest) = (s.shr::<1>(e), s.shr::<1>(s.add_i(e, s.splat_i(1))));
        twice(s.mul(power(s, half), power(s, rest)))
    },
    entries(s, nibbles(s, rows.load(s, 1)), &MXFP4_MOVED),
    |row| two_entries(s, rows.blocks(s, row, 1), &MXFP4_MOVED)
);
