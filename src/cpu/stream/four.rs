//! Four rows at a time, with four neighbouring groups of columns of each in the lanes.
//!
//! Lane `4q + r` is what group `q` of row `r` has. Its integers come as they lie in the file, sixteen columns in a quarter of a
//! register, and lanes are added to their neighbours until one is left of each row. Rows' chains, four lanes, then go
//! through the quarters in turn.

use super::{Pair, Streamed};
use crate::cpu::panel::BLOCK;
use crate::cpu::quantized::{Kind, dot4, fetch, offset};
use crate::cpu::unpack::{BlockRows, Rows, Unpack};
use crate::cpu::vector::Simd;

/// Columns that are arranged together, in two pairs.
pub(super) const COLUMNS: usize = 4 * BLOCK;

/// Multiplies sixteen rows with one place or two. Meanwhile the next four rows are asked for, one byte after the other.
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn four<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, pairs, sums, .. } = p;
    assert!(pairs.len() == (blocks * U::LEN).div_ceil(COLUMNS) * 2, "pairs for these rows");
    // Blocks of thirty-two columns are taken four at a time.
    let together = if U::LEN == BLOCK { 4 } else { 1 };
    for first in [0, 4, 8, 12] {
        let ahead = if first < 12 { rows.row(first + 4) } else { ahead };
        let mut acc = [[0.0; 4]; NT];
        for (index, block) in (0..blocks).step_by(together).enumerate() {
            let last: [[U; 4]; 4];
            // SAFETY: the caller's contract.
            let rows = unsafe {
                if block + together <= blocks {
                    rows.four(first, block, size_of::<U>())
                } else {
                    last = rows.last(first, block..blocks);
                    Rows::of(&last).four(0, 0, size_of::<U>())
                }
            };
            let factors = U::factors(s, rows);
            if U::LEN == BLOCK {
                acc = columns::<S, U, NT, 0>(s, rows, factors, ahead, pairs, index, acc);
            } else {
                acc = columns::<S, U, NT, 0>(s, rows, factors, ahead, pairs, 2 * index, acc);
                acc = columns::<S, U, NT, 1>(s, rows, factors, ahead, pairs, 2 * index + 1, acc);
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            sums[first..first + 4].copy_from_slice(&acc);
        }
    }
}

/// Scales and minimums: four groups in each.
pub(in crate::cpu) type Factors<S> = [[<S as Simd>::F; 4]; 2];

/// The chains' steps for columns `128 at..128 at + 128`, the `PART`th of the rows' block or blocks.
#[inline(always)]
fn columns<S: Simd, U: Unpack, const NT: usize, const PART: usize>(
    s: S,
    rows: BlockRows,
    [scale, min]: Factors<S>,
    ahead: *const u8,
    pairs: &[Pair<NT>],
    at: usize,
    mut acc: [[f32; 4]; NT],
) -> [[f32; 4]; NT] {
    fetch::<S, U>(s, ahead, at, S::weights_near());
    // SAFETY: `four` saw two pairs for every 128 columns that the blocks have.
    let pairs: &[Pair<NT>; 2] = unsafe { &*pairs.as_ptr().add(2 * at).cast() };
    // (Macros, not closures: a closure that is not inlined would lose the target features.)
    if U::Kind::GROUPS == 1 {
        macro_rules! row {
            ($row:literal) => {{
                let w = [U::integers(s, rows, $row, 2 * PART), U::integers(s, rows, $row, 2 * PART + 1)];
                let mut dot = [w[0]; NT];
                for t in 0..NT {
                    dot[t] = whole::<S, U::Kind>(s, w, [x(s, &pairs[0], t), x(s, &pairs[1], t)]);
                }
                dot
            }};
        }
        let dot = neighbours::<S, U::Kind, NT, 8>(s, row!(0), row!(1), row!(2), row!(3));
        return add::<S, U, NT>(s, scale[PART], min[PART], dot, &pairs[0], acc);
    }
    macro_rules! sixty_four {
        ($i:literal) => {{
            macro_rules! row {
                ($row:literal) => {{
                    let w = U::integers(s, rows, $row, 2 * PART + $i);
                    let mut dot = [w; NT];
                    for t in 0..NT {
                        dot[t] = dot4::<S, U::Kind>(s, s.splat_i(0), w, x(s, &pairs[$i], t));
                    }
                    dot
                }};
            }
            let dot = neighbours::<S, U::Kind, NT, 4>(s, row!(0), row!(1), row!(2), row!(3));
            acc = add::<S, U, NT>(s, scale[2 * PART + $i], min[2 * PART + $i], dot, &pairs[$i], acc);
        }};
    }
    sixty_four!(0);
    sixty_four!(1);
    acc
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

/// Sums of the lanes of each quarter, rows side by side; a lane has the products of `COLUMNS` columns.
#[inline(always)]
fn neighbours<S: Simd, K: Kind, const NT: usize, const COLUMNS: u32>(
    s: S,
    a: [S::I; NT],
    b: [S::I; NT],
    c: [S::I; NT],
    d: [S::I; NT],
) -> [S::I; NT] {
    let mut sums = a;
    for t in 0..NT {
        let ab = two::<S, K, COLUMNS>(s, a[t], b[t]);
        let cd = two::<S, K, COLUMNS>(s, c[t], d[t]);
        sums[t] = match COLUMNS {
            8 => two::<S, K, 16>(s, ab, cd),
            _ => two::<S, K, 8>(s, ab, cd),
        };
    }
    sums
}

/// Sums of neighbours, each of the products of so many columns.
#[inline(always)]
fn two<S: Simd, K: Kind, const COLUMNS: u32>(s: S, a: S::I, b: S::I) -> S::I {
    let fits = const { !K::WIDE && COLUMNS * 127 * ((1 << K::BITS) - 1) <= i16::MAX as u32 };
    if fits { s.add_in_quarters_16(a, b) } else { s.add_in_quarters(a, b) }
}

/// The chains' next steps, through four groups.
#[inline(always)]
fn add<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    scale: S::F,
    min: S::F,
    dot: [S::I; NT],
    pair: &Pair<NT>,
    mut acc: [[f32; 4]; NT],
) -> [[f32; 4]; NT] {
    for t in 0..NT {
        let factor = s.mul(scale, s.spread(bytemuck::cast(pair.scale[t])));
        let start = s.as_i32(s.spread(bytemuck::cast(pair.start[t])));
        let has_start = const { offset::<S, U>() != 0 };
        let dot = s.to_f32(if has_start { s.add_i(dot[t], start) } else { dot[t] });
        acc[t] = if U::HAS_MIN {
            s.chain(acc[t], [(factor, dot), (min, s.spread(bytemuck::cast(pair.sum[t])))])
        } else {
            s.chain(acc[t], [(factor, dot)])
        };
    }
    acc
}
