//! Sixteen rows, one after the other, for instruction sets with few registers.
//!
//! Each row is read from its beginning to its end: several rows' columns in turn, as much as is kept of a row otherwise,
//! reach two thirds of a Zen 3's bandwidth, whatever is asked for ahead. Dot products of sixteen groups of a row fill a
//! register; when all rows have theirs, lanes and rows change places, and all rows' chains go through one group after the
//! other, as where they are [`sixteen`](super::sixteen).

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::dots::{COLUMNS, met, row_dots, steps, sums, together};
use super::sixteen::{add, rest};
use super::{Pair, Streamed};
use crate::cpu::panel::BLOCK;
use crate::cpu::unpack::{BlockRows, Rows, Unpack};
use crate::cpu::vector::{Simd, Task};

/// Registers of dot products that are kept of a row: of one place those of 16,384 columns, or of 8192 where sixteen are a
/// group. Of longer rows, so many columns are taken at a time.
const MOST: usize = 32;

/// Multiplies sixteen rows with one place or two. With a row's columns, the same of the row sixteen further are asked for.
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
    let parts = whole.div_ceil(of_part::<U>());
    // By part and place, then row.
    let mut kept = [[MaybeUninit::<S::I>::uninit(); 16]; MOST];
    let (kept, _) = kept.as_chunks_mut::<NT>();
    for first in (0..parts).step_by(const { MOST / NT }) {
        let some = first..parts.min(first + const { MOST / NT });
        for row in 0..16 {
            let ahead = ahead.wrapping_add(row * rows.stride());
            for (part, kept) in some.clone().zip(kept.iter_mut()) {
                let block = part * of_part::<U>();
                // SAFETY: the caller's contract for the blocks; as many pairs were seen as they have.
                let dots = unsafe {
                    let ahead = ahead.wrapping_add(block * size_of::<U>());
                    let blocks = rows.one(row, block, size_of::<U>());
                    sixteen_groups::<S, U, NT>(s, blocks, whole - block, ahead, of_block::<U, NT>(pairs, block))
                };
                for t in 0..NT {
                    kept[t][row] = MaybeUninit::new(dots[t]);
                }
            }
            if some.end == parts {
                // What ends the row: where each one's last lines were missing, a token of SmolLM2 took half as long again.
                let [whole, end] = [whole, blocks].map(|block| block * size_of::<U>());
                s.prefetch_lines(ahead.wrapping_add(whole), (end - whole).div_ceil(64), false);
            }
        }
        for (part, kept) in some.zip(kept.iter()) {
            let block = part * of_part::<U>();
            // SAFETY: all rows' have just been written; as above.
            acc = unsafe { chains::<S, U, NT>(s, rows, block..whole, written(kept), pairs, acc) };
        }
    }
    // SAFETY: the caller's contract.
    unsafe { rest::<S, U, NT>(s, rows, whole..blocks, panels, acc, out) };
}

/// Blocks of a row that make a part: sixteen groups.
const fn of_part<U: Unpack>() -> usize {
    4 / steps::<U>() * together::<U>()
}

/// What a block meets, and those behind it.
///
/// # Safety
/// It is there.
#[inline(always)]
unsafe fn of_block<U: Unpack, const NT: usize>(pairs: &[Pair<NT>], block: usize) -> &[Pair<NT>] {
    // SAFETY: the caller's contract.
    unsafe { pairs.get_unchecked(block * U::LEN / (2 * BLOCK)..) }
}

/// The dot products of sixteen groups of a row, or as many as there are in `some` blocks: that of group `4s + q` in lane
/// `4q + s`. As many bytes are asked for at `ahead`.
///
/// # Safety
/// The blocks are there, and so are the pairs that they meet.
#[inline(always)]
unsafe fn sixteen_groups<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    blocks: BlockRows,
    some: usize,
    ahead: *const u8,
    pairs: &[Pair<NT>],
) -> [S::I; NT] {
    let mut lanes = [[s.splat_i(0); NT]; 4];
    // (A macro, not a closure: a closure that is not inlined would lose the target features.)
    macro_rules! steps {
        ($($step:literal)*) => {$({
            let (block, step) = const { ($step / steps::<U>() * together::<U>(), $step % steps::<U>()) };
            if block == 0 || block < some {
                // The lines that begin in as much as this step reads.
                let (from, to) = const { (lines::<U>($step), lines::<U>($step + 1)) };
                s.prefetch_lines(ahead.wrapping_add(64 * from), to - from, false);
                // SAFETY: the caller's contract.
                let pairs = unsafe { met::<U, NT>(pairs, block * U::LEN, step) };
                lanes[$step] = row_dots::<S, U, NT>(s, blocks.next(block), 0, step, pairs);
            }
        })*};
    }
    steps!(0 1 2 3);
    sums::<S, U::Kind, NT>(s, lanes)
}

/// What is kept of all rows.
///
/// # Safety
/// It has been written.
#[inline(always)]
unsafe fn written<T, const NT: usize>(kept: &[[MaybeUninit<T>; 16]; NT]) -> &[[T; 16]; NT] {
    // SAFETY: the caller's contract; a value that may not be initialized lies as one that is.
    unsafe { &*std::ptr::from_ref(kept).cast() }
}

/// Cache lines that begin before the `step`th quarter of a part.
const fn lines<U: Unpack>(step: usize) -> usize {
    (step * of_part::<U>() * size_of::<U>()).div_ceil(4 * 64)
}

/// The chains' next steps, through the first sixteen groups of `blocks` or fewer, with what [`sixteen_groups`] has given for each
/// row.
///
/// # Safety
/// The rows and `pairs` have these blocks.
#[inline(always)]
unsafe fn chains<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    rows: Rows,
    blocks: Range<usize>,
    dots: &[[S::I; 16]; NT],
    pairs: &[Pair<NT>],
    mut acc: [S::F; NT],
) -> [S::F; NT] {
    let mut by_group = [[s.splat_i(0); 16]; NT];
    for t in 0..NT {
        shared(s, Transpose::<S> { rows: &dots[t], lanes: &mut by_group[t] });
    }
    for (i, block) in blocks.step_by(together::<U>()).enumerate().take(const { 4 / steps::<U>() }) {
        // SAFETY: the caller's contract.
        let factors = U::factors_sixteen(s, unsafe { rows.block(block, size_of::<U>()) });
        macro_rules! steps {
            ($($step:literal)*) => {$(
                if $step < const { steps::<U>() } {
                    // SAFETY: the caller's contract.
                    let [pair, _] = unsafe { met::<U, NT>(of_block::<U, NT>(pairs, block), 0, $step) };
                    let mut four = [[s.splat_i(0); 4]; NT];
                    for t in 0..NT {
                        for q in 0..4 {
                            four[t][q] = by_group[t][4 * q + i * const { steps::<U>() } + $step];
                        }
                    }
                    acc = add::<S, U, NT>(s, &factors, 4 * $step, four, pair, acc);
                }
            )*};
        }
        steps!(0 1 2 3);
    }
    acc
}

/// Runs a task by a function that all formats share. (About which the compiler knows nothing: in one unit of code with
/// them, it became part of each, though it should never be.)
#[inline(always)]
fn shared<S: Simd, T: Task<S>>(s: S, task: T) {
    black_box::<fn(S, T)>(S::call)(s, task);
}

/// Lanes and rows change places, in a function that all formats share.
struct Transpose<'a, S: Simd> {
    rows: &'a [S::I; 16],
    lanes: &'a mut [S::I; 16],
}

impl<S: Simd> Task<S> for Transpose<'_, S> {
    #[inline(always)]
    fn run(self, s: S) {
        s.transpose(self.rows, self.lanes);
    }
}
