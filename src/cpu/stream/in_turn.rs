//! Sixteen rows, some hundred columns of one after the other, for instruction sets with few registers.
//!
//! What the lanes have of a row's dot products is kept, in the nearest cache, until that of all rows is there; then
//! lanes are added, and all rows' chains go through one group after the other, as where they are
//! [`sixteen`](super::sixteen).

use std::mem::MaybeUninit;

use super::Streamed;
use super::dots::{COLUMNS, met, row_dots, steps, sums, together};
use super::sixteen::{add, rest};
use crate::cpu::panel::BLOCK;
use crate::cpu::unpack::Unpack;
use crate::cpu::vector::Simd;

/// How many times four groups of a row are taken before the next row: 512 columns, or 256 where sixteen are a group.
/// What is kept of one place is 4 kB; with 16 kB, one token takes a fifth longer on Zen 4.
const STEPS: usize = 4;

/// Multiplies sixteen rows with one place or two. With a row's columns, the same of the row sixteen further are asked for (a
/// few lines at a time: 512 columns' at once take a fifth longer for SmolLM2).
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn in_turn<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, panels, pairs, sums: out } = p;
    assert!(pairs.len() == (blocks * U::LEN).div_ceil(COLUMNS) * 2, "pairs for these rows");
    assert!(panels.len() == blocks * U::LEN / BLOCK, "panels for these rows");
    let mut acc = [s.splat(0.0); NT];
    let whole = blocks - blocks % together::<U>();
    // Blocks of a row that are taken before the next row's.
    let most = STEPS / const { steps::<U>() } * together::<U>();
    for first in (0..whole).step_by(most) {
        let last = whole.min(first + most);
        // By step, row, and place.
        let mut all = [[[MaybeUninit::<S::I>::uninit(); NT]; 16]; STEPS];
        for row in 0..16 {
            let asked = ahead.wrapping_add(row * rows.stride());
            let mut to = all.iter_mut();
            for block in (first..last).step_by(together::<U>()) {
                s.prefetch_lines(
                    asked.wrapping_add(block * size_of::<U>()),
                    const { (together::<U>() * size_of::<U>()).div_ceil(64) },
                    false,
                );
                // SAFETY: the caller's contract.
                let blocks = unsafe { rows.one(row, block, size_of::<U>()) };
                // (A macro, not a closure: a closure that is not inlined would lose the target features.)
                macro_rules! step {
                    ($step:literal) => {
                        if $step < const { steps::<U>() }
                            && let Some(to) = to.next()
                        {
                            // SAFETY: as many pairs were seen as these blocks have.
                            let pairs = unsafe { met::<U, NT>(pairs, block * U::LEN, $step) };
                            let dots = row_dots::<S, U, NT>(s, blocks, 0, $step, pairs);
                            for t in 0..NT {
                                to[row][t] = MaybeUninit::new(dots[t]);
                            }
                        }
                    };
                }
                step!(0);
                step!(1);
                step!(2);
                step!(3);
            }
        }
        let mut all = all.iter();
        for block in (first..last).step_by(together::<U>()) {
            // SAFETY: the caller's contract.
            let factors = U::factors_sixteen(s, unsafe { rows.block(block, size_of::<U>()) });
            macro_rules! step {
                ($step:literal) => {
                    if $step < const { steps::<U>() }
                        && let Some(lanes) = all.next()
                    {
                        let mut dots = [[s.splat_i(0); 4]; NT];
                        for set in 0..4 {
                            let mut four = [[s.splat_i(0); NT]; 4];
                            for row in 0..4 {
                                for t in 0..NT {
                                    // SAFETY: just written.
                                    four[row][t] = unsafe { lanes[4 * set + row][t].assume_init() };
                                }
                            }
                            let sums = sums::<S, U::Kind, NT>(s, four);
                            for t in 0..NT {
                                dots[t][set] = sums[t];
                            }
                        }
                        // SAFETY: as above.
                        let [pair, _] = unsafe { met::<U, NT>(pairs, block * U::LEN, $step) };
                        acc = add::<S, U, NT>(s, &factors, 4 * $step, dots, pair, acc);
                    }
                };
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
        }
    }
    // SAFETY: the caller's contract.
    unsafe { rest::<S, U, NT>(s, rows, whole..blocks, ahead, panels, acc, out) };
}
