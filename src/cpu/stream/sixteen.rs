//! Sixteen rows at a time, four neighbouring groups of columns of each, for instruction sets with many registers.
//!
//! Dot products are those of four times four rows; then their lanes change places, and all rows' chains go through one group
//! after the other.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::dots::{COLUMNS, dots, met, steps, together};
use super::{Pair, Streamed};
use crate::cpu::panel::{BLOCK, Panel};
use crate::cpu::quantized::{Kind, fetch, offset, step};
use crate::cpu::unpack::{Columns, Rows, Sink, Unpack, unpack};
use crate::cpu::vector::Simd;

/// Multiplies sixteen rows with one place or two. Meanwhile the rows behind them are asked for, one byte after the
/// other, into the second cache: beside these the first has no room.
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn sixteen<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, panels, pairs, sums } = p;
    assert!(pairs.len() == (blocks * U::LEN).div_ceil(COLUMNS) * 2, "pairs for these rows");
    assert!(panels.len() == blocks * U::LEN / BLOCK, "panels for these rows");
    let (mut acc, mut asked) = ([s.splat(0.0); NT], 0);
    let whole = blocks - blocks % together::<U>();
    for block in (0..whole).step_by(together::<U>()) {
        // SAFETY: the caller's contract.
        let rows = unsafe { rows.block(block, size_of::<U>()) };
        // By step, place, and four rows.
        let mut all = [[[MaybeUninit::<S::I>::uninit(); 4]; NT]; 4];
        // (Macros, not closures: a closure that is not inlined would lose the target features.)
        macro_rules! four_rows {
            ($set:literal, $($step:literal)*) => {
                let four = rows.rows_from(4 * $set);
                $(if $step < const { steps::<U>() } {
                    if $step % U::Kind::GROUPS == 0 {
                        fetch::<S, U>(s, ahead, asked, false);
                        asked += 1;
                    }
                    if $step == 0 {
                        four.fetch_next(s, const { together::<U>() * size_of::<U>() });
                    }
                    // SAFETY: as many pairs were seen as these blocks have.
                    let pairs = unsafe { met::<U, NT>(pairs, block * U::LEN, $step) };
                    let dots = dots::<S, U, NT>(s, four, $step, pairs);
                    for t in 0..NT {
                        all[$step][t][$set] = MaybeUninit::new(dots[t]);
                    }
                })*
                $(if $step < const { steps::<U>() } {
                    for t in 0..NT {
                        // SAFETY: just written.
                        let dots = unsafe { all[$step][t][$set].assume_init() };
                        all[$step][t][$set] = MaybeUninit::new(s.settled(dots));
                    }
                })*
            };
        }
        macro_rules! sixteen_rows {
            ($($step:literal)*) => {
                four_rows!(0, $($step)*);
                four_rows!(1, $($step)*);
                four_rows!(2, $($step)*);
                four_rows!(3, $($step)*);
            };
        }
        macro_rules! chains {
            ($factors:expr, $($step:literal)*) => {$(
                if $step < const { steps::<U>() } {
                    // SAFETY: as above.
                    let [pair, _] = unsafe { met::<U, NT>(pairs, block * U::LEN, $step) };
                    let mut dots = [[s.splat_i(0); 4]; NT];
                    for t in 0..NT {
                        for set in 0..4 {
                            // SAFETY: this step's have been written, of all rows.
                            dots[t][set] = unsafe { all[$step][t][set].assume_init() };
                        }
                        dots[t] = s.transpose_quarters(dots[t]);
                    }
                    acc = add::<S, U, NT>(s, $factors, 4 * $step, dots, pair, acc);
                }
            )*};
        }
        if const { NT * steps::<U>() <= 4 } {
            sixteen_rows!(0 1 2 3);
            let factors = U::factors_sixteen(s, rows);
            chains!(&factors, 0 1 2 3);
        } else {
            let factors = U::factors_sixteen(s, rows);
            sixteen_rows!(0 1);
            chains!(&factors, 0 1);
            sixteen_rows!(2 3);
            chains!(&factors, 2 3);
        }
    }
    for block in whole..blocks {
        fetch::<S, U>(s, ahead, block, false);
    }
    // SAFETY: the caller's contract.
    unsafe { rest::<S, U, NT>(s, rows, whole..blocks, panels, acc, sums) };
}

/// The end of the rows' chains: blocks of thirty-two columns that are no four, one by one. What is next has been asked for.
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn rest<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    rows: Rows,
    blocks: Range<usize>,
    panels: &[Panel<NT>],
    acc: [S::F; NT],
    sums: &mut [[f32; 16]; NT],
) {
    let mut rest = Rest::<S, U, NT> { s, panels, acc, format: PhantomData };
    for block in blocks {
        // SAFETY: the caller's contract.
        unsafe { unpack::<S, U>(s, rows, block, &mut rest) };
    }
    for (sums, acc) in sums.iter_mut().zip(rest.acc) {
        *sums = s.to_array(acc);
    }
}

/// What blocks meet that are taken one by one, and the chains.
struct Rest<'a, S: Simd, U, const NT: usize> {
    s: S,
    panels: &'a [Panel<NT>],
    acc: [S::F; NT],
    format: PhantomData<U>,
}

impl<S: Simd, U: Unpack, const NT: usize> Sink<S> for Rest<'_, S, U, NT> {
    #[inline(always)]
    fn take(&mut self, at: usize, columns: Columns<S>) {
        self.acc = step::<S, U::Kind, NT>(self.s, self.acc, columns, &self.panels[at], const { offset::<S, U>() });
    }
}

/// Scales and minimums of sixteen rows, by group.
pub(in crate::cpu) type SixteenFactors<S> = [[<S as Simd>::F; 16]; 2];

/// The chains' next steps, through four groups, whose dot products these are by place.
#[inline(always)]
pub(super) fn add<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    [scale, min]: &SixteenFactors<S>,
    first: usize,
    dots: [[S::I; 4]; NT],
    pair: &Pair<NT>,
    mut acc: [S::F; NT],
) -> [S::F; NT] {
    for t in 0..NT {
        let (x_scale, start, sum): ([f32; 4], [i32; 4], [f32; 4]) =
            (bytemuck::cast(pair.scale[t]), bytemuck::cast(pair.start[t]), bytemuck::cast(pair.sum[t]));
        for q in 0..4 {
            let has_start = const { offset::<S, U>() != 0 };
            let dot = if has_start { s.add_i(dots[t][q], s.splat_i(start[q])) } else { dots[t][q] };
            acc[t] = s.fma(s.mul(scale[first + q], s.splat(x_scale[q])), s.to_f32(dot), acc[t]);
            if U::HAS_MIN {
                acc[t] = s.fma(min[first + q], s.splat(sum[q]), acc[t]);
            }
        }
    }
    acc
}
