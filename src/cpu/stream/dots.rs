//! The dot products of four rows with what lies in neighbouring groups of columns.
//!
//! The integers come as they lie in the file, sixteen columns of a row in a quarter of a register, and lanes are added
//! to their neighbours until one is left of each row.

use super::Pair;
use crate::cpu::panel::BLOCK;
use crate::cpu::quantized::{Kind, dot4};
use crate::cpu::unpack::{BlockRows, Unpack};
use crate::cpu::vector::Simd;

/// Columns that are arranged together, in two pairs.
pub(super) const COLUMNS: usize = 4 * BLOCK;

/// Blocks of each row that are unpacked together: super-blocks one by one, those of thirty-two columns four at a time.
pub(super) const fn together<U: Unpack>() -> usize {
    if U::LEN == BLOCK { 4 } else { 1 }
}

/// How many times four groups such blocks have.
pub(super) const fn steps<U: Unpack>() -> usize {
    together::<U>() * U::LEN / COLUMNS * U::Kind::GROUPS
}

/// What the blocks that begin at column `at` meet in their `step`th four groups: two pairs if groups have thirty-two
/// columns, or one, twice.
///
/// # Safety
/// They are there.
#[inline(always)]
pub(super) unsafe fn met<U: Unpack, const NT: usize>(pairs: &[Pair<NT>], at: usize, step: usize) -> [&Pair<NT>; 2] {
    let first = at / (2 * BLOCK) + step * 2 / U::Kind::GROUPS;
    // SAFETY: the caller's contract.
    unsafe { [pairs.get_unchecked(first), pairs.get_unchecked(first + 2 / U::Kind::GROUPS - 1)] }
}

/// What lanes have of the dot products of the `step`th four groups in a row's blocks, four of each group; `row` is its
/// number among those of `rows`.
#[inline(always)]
pub(super) fn row_dots<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    rows: BlockRows,
    row: usize,
    step: usize,
    pairs: [&Pair<NT>; 2],
) -> [S::I; NT] {
    let mut dot = [s.splat_i(0); NT];
    if U::Kind::GROUPS == 1 {
        let w = [U::integers(s, rows, row, 2 * step), U::integers(s, rows, row, 2 * step + 1)];
        for t in 0..NT {
            dot[t] = whole::<S, U::Kind>(s, w, [x(s, pairs[0], t), x(s, pairs[1], t)]);
        }
    } else {
        let w = U::integers(s, rows, row, step);
        for t in 0..NT {
            dot[t] = dot4::<S, U::Kind>(s, dot[t], w, x(s, pairs[0], t));
        }
    }
    dot
}

/// From that of four rows, the dot product of group `q` of row `r` in lane `4q + r`.
#[inline(always)]
pub(super) fn sums<S: Simd, K: Kind, const NT: usize>(s: S, [a, b, c, d]: [[S::I; NT]; 4]) -> [S::I; NT] {
    if K::GROUPS == 1 { neighbours::<S, K, NT, 8>(s, a, b, c, d) } else { neighbours::<S, K, NT, 4>(s, a, b, c, d) }
}

/// The dot products of the `step`th four groups in the blocks of four rows: that of group `q` of row `r` in lane `4q + r`.
#[inline(always)]
pub(super) fn dots<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    rows: BlockRows,
    step: usize,
    pairs: [&Pair<NT>; 2],
) -> [S::I; NT] {
    sums::<S, U::Kind, NT>(
        s,
        [
            row_dots::<S, U, NT>(s, rows, 0, step, pairs),
            row_dots::<S, U, NT>(s, rows, 1, step, pairs),
            row_dots::<S, U, NT>(s, rows, 2, step, pairs),
            row_dots::<S, U, NT>(s, rows, 3, step, pairs),
        ],
    )
}

/// The integers of place `t`.
#[inline(always)]
fn x<S: Simd, const NT: usize>(s: S, pair: &Pair<NT>, t: usize) -> S::I {
    s.load_i(bytemuck::cast_ref(&pair.q[t]))
}

/// The dot products of two times four columns in each lane.
#[inline(always)]
fn whole<S: Simd, K: Kind>(s: S, [a, b]: [S::I; 2], x: [S::I; 2]) -> S::I {
    if K::WIDE || S::DOTS {
        return dot4::<S, K>(s, dot4::<S, K>(s, s.splat_i(0), a, x[0]), b, x[1]);
    }
    const { assert!(K::GROUPS == 2 || K::WIDE || K::BITS <= 5, "the sum of four products fits into an i16") };
    s.add_pair_sums(s.splat_i(0), s.pair_sums(s.pair_sums(s.splat_i(0), a, x[0]), b, x[1]))
}

/// Sums of the lanes of each quarter, rows side by side; a lane has so many products.
#[inline(always)]
fn neighbours<S: Simd, K: Kind, const NT: usize, const PRODUCTS: u32>(
    s: S,
    a: [S::I; NT],
    b: [S::I; NT],
    c: [S::I; NT],
    d: [S::I; NT],
) -> [S::I; NT] {
    let mut sums = a;
    for t in 0..NT {
        let ab = two::<S, K, PRODUCTS>(s, a[t], b[t]);
        let cd = two::<S, K, PRODUCTS>(s, c[t], d[t]);
        sums[t] = match PRODUCTS {
            8 => two::<S, K, 16>(s, ab, cd),
            _ => two::<S, K, 8>(s, ab, cd),
        };
    }
    sums
}

/// Sums of neighbours, each of so many products.
#[inline(always)]
fn two<S: Simd, K: Kind, const PRODUCTS: u32>(s: S, a: S::I, b: S::I) -> S::I {
    let fits = const { !K::WIDE && PRODUCTS * 127 * ((1 << K::BITS) - 1) <= i16::MAX as u32 };
    if fits { s.add_in_quarters_16(a, b) } else { s.add_in_quarters(a, b) }
}
