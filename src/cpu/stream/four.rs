//! Four rows at a time, with four neighbouring groups of columns of each in the lanes.
//!
//! Rows' chains, four lanes, go through the quarters of a register in turn.

use std::ops::Range;

use super::dots::{COLUMNS, dots, met, steps, taken, together};
use super::{Pair, Streamed};
use crate::cpu::panel::BLOCK;
use crate::cpu::quantized::{Kind, fetch, offset};
use crate::cpu::unpack::{Rows, Unpack};
use crate::cpu::vector::{Simd, chain_through};

/// How far ahead bytes are asked for, about, if that is not less than the next four rows or more than sixteen. On Zen 4, 4 kB or 24 are
/// up to a tenth slower.
const AHEAD: usize = 16 << 10;

/// Multiplies sixteen rows with one place or two. Meanwhile what lies ahead is asked for, one byte after the other.
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn four<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, pairs, sums, .. } = p;
    assert!(pairs.len() == (blocks * U::LEN).div_ceil(COLUMNS) * 2, "pairs for these rows");
    let rows_ahead = 4 * (AHEAD / (4 * rows.stride())).clamp(1, 4);
    for first in [0, 4, 8, 12] {
        let ahead = match first + rows_ahead {
            row @ 0..16 => rows.row(row),
            row => ahead.wrapping_add((row - 16) * rows.stride()),
        };
        let (mut acc, mut asked) = ([[0.0; 4]; NT], 0);
        for block in (0..blocks).step_by(together::<U>()) {
            let copies: [[U; 4]; 4];
            // SAFETY: the caller's contract.
            let (rows, groups) = unsafe {
                match taken::<U>(block, blocks) {
                    Some((block, groups)) => (rows.four(first, block, size_of::<U>()), groups),
                    None => {
                        copies = rows.last(first, 0..blocks);
                        (Rows::of(&copies).four(0, 0, size_of::<U>()), 0..blocks)
                    }
                }
            };
            let [scale, min] = U::factors_four(s, rows);
            // (A macro, not a closure: a closure that is not inlined would lose the target features.)
            macro_rules! step {
                ($step:literal) => {
                    if $step < const { steps::<U>() } {
                        if $step % U::Kind::GROUPS == 0 {
                            fetch::<S, U>(s, ahead, asked, false);
                            asked += 1;
                        }
                        // SAFETY: as many pairs were seen as these blocks have.
                        let pairs = unsafe { met::<U, NT>(pairs, block * U::LEN, $step) };
                        let dots = dots::<S, U, NT>(s, rows, $step, pairs);
                        acc = add::<S, U, NT>(s, scale[$step], min[$step], dots, pairs[0], &groups, acc);
                    }
                };
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            sums[first..first + 4].copy_from_slice(&acc);
        }
    }
}

/// Scales and minimums: four groups in each.
pub(in crate::cpu) type FourFactors<S> = [[<S as Simd>::F; 4]; 2];

/// The chains' next steps, through these of four groups.
#[inline(always)]
fn add<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    scale: S::F,
    min: S::F,
    dot: [S::I; NT],
    pair: &Pair<NT>,
    groups: &Range<usize>,
    mut acc: [[f32; 4]; NT],
) -> [[f32; 4]; NT] {
    for t in 0..NT {
        let factor = s.mul(scale, s.spread(bytemuck::cast(pair.scale[t])));
        let start = s.as_i32(s.spread(bytemuck::cast(pair.start[t])));
        let has_start = const { offset::<S, U>() != 0 };
        let dot = s.to_f32(if has_start { s.add_i(dot[t], start) } else { dot[t] });
        acc[t] = if U::HAS_MIN {
            chain::<S, U, 2>(s, acc[t], [(factor, dot), (min, s.spread(bytemuck::cast(pair.sum[t])))], groups)
        } else {
            chain::<S, U, 1>(s, acc[t], [(factor, dot)], groups)
        };
    }
    acc
}

/// [`Simd::chain`] through these groups.
#[inline(always)]
fn chain<S: Simd, U: Unpack, const N: usize>(
    s: S,
    acc: [f32; 4],
    terms: [(S::F, S::F); N],
    groups: &Range<usize>,
) -> [f32; 4] {
    if U::LEN > BLOCK || *groups == (0..4) {
        return s.chain(acc, terms);
    }
    chain_through(s, acc, terms, groups)
}
