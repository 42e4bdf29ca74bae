//! Eight rows at a time, with two neighbouring groups of columns of each in the lanes, for CPUs that have weights
//! brought into the nearest cache, and for weights that need next to no unpacking.
//!
//! A row's chain goes through both groups in turn: its sum changes lanes in between. One row at a time would need sums
//! of lanes instead, and sixteen such changes.

use std::marker::PhantomData;

use super::{Pair, Streamed};
use crate::cpu::panel::BLOCK;
use crate::cpu::quantized::{dot4, fetch};
use crate::cpu::unpack::{Eight, Meet, Rows, Unpack};
use crate::cpu::vector::Simd;

/// Bytes of sixteen rows up to which [`eight`] asks for rows sixteen ahead, not eight: half of a nearest cache. Q4_0 and
/// Q5_K of 2048 columns are 8 % faster than with eight, those with longer rows 3 % slower.
const AHEAD: usize = 24 << 10;

/// Multiplies sixteen rows with one place or two. Meanwhile rows behind them are asked for, one byte after the other,
/// into the cache that `NEAR` says ([`Simd::weights_near`], known when this is compiled: a branch for each columns
/// costs 5 %).
///
/// # Safety
/// As for [`super::streamed`].
#[inline(always)]
pub(super) unsafe fn eight<S: Simd, U: Eight, const NT: usize, const NEAR: bool>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, pairs, sums, .. } = p;
    assert!(pairs.len() == (blocks * U::LEN).div_ceil(2 * BLOCK), "pairs for these rows");
    // Blocks of thirty-two columns are taken two at a time.
    let together = if U::LEN == BLOCK { 2 } else { 1 };
    for first in [0, 8] {
        let ahead = match 16 * rows.stride() <= AHEAD {
            true => ahead.wrapping_add(first * rows.stride()),
            false if first == 0 => rows.row(8),
            false => ahead,
        };
        let mut places = EightRows::<S, U, NT, NEAR> { s, pairs, ahead, acc: [s.splat(0.0); NT], format: PhantomData };
        for (index, block) in (0..blocks).step_by(together).enumerate() {
            let last: [[U; 2]; 8];
            // SAFETY: the caller's contract.
            let rows = unsafe {
                if block + together <= blocks {
                    rows.eight(first, block, size_of::<U>())
                } else {
                    last = rows.last(first, block..blocks);
                    Rows::of(&last).eight(0, 0, size_of::<U>())
                }
            };
            U::unpack_eight(s, rows, index, &mut places);
        }
        for (sums, acc) in sums.iter_mut().zip(places.acc) {
            let acc = s.to_array(acc);
            for r in 0..8 {
                sums[first + r] = acc[2 * r];
            }
        }
    }
}

/// The places that eight rows meet, and their chains.
struct EightRows<'a, S: Simd, U, const NT: usize, const NEAR: bool> {
    s: S,
    pairs: &'a [Pair<NT>],
    ahead: *const u8,
    /// The chains, in the even lanes; in the others are sums that nobody wants.
    acc: [S::F; NT],
    format: PhantomData<U>,
}

impl<'a, S: Simd, U: Unpack, const NT: usize, const NEAR: bool> EightRows<'a, S, U, NT, NEAR> {
    /// What columns `64 at..64 at + 64` meet. Looked at without a check, since the branch that it takes keeps loads
    /// before it from becoming parts of the instructions behind it.
    #[inline(always)]
    fn pair(&self, at: usize) -> &'a Pair<NT> {
        // SAFETY: `eight` saw as many pairs as the blocks that it has unpacked, which are what `at` is counted from.
        unsafe { self.pairs.get_unchecked(at) }
    }

    /// Four times four columns of each lane; `k` is the number of the first four in the pair.
    #[inline(always)]
    fn dots(&self, mut dot: [S::I; NT], at: usize, k: usize, q: [S::I; 4]) -> [S::I; NT] {
        let (s, pair) = (self.s, self.pair(at));
        for i in 0..4 {
            for t in 0..NT {
                dot[t] = dot4::<S, U::Kind>(s, dot[t], q[i], s.splat2_i(pair.q[t][k + i]));
            }
        }
        dot
    }

    /// What the dot products of thirty-two columns, or two of them, start from.
    #[inline(always)]
    fn start(&self, at: usize, i: usize) -> [S::I; NT] {
        let mut dot = [self.s.splat_i(0); NT];
        for t in 0..NT {
            if !U::HAS_MIN {
                dot[t] = self.s.splat2_i(self.pair(at).start[t][i]);
            }
        }
        dot
    }

    /// The chains' next steps, through both lanes.
    #[inline(always)]
    fn add(&mut self, at: usize, i: usize, dot: [S::I; NT], scale: S::F, min: S::F) {
        let (s, pair) = (self.s, self.pair(at));
        for t in 0..NT {
            let (factor, dot) = (s.mul(scale, s.splat2(pair.scale[t][i])), s.to_f32(dot[t]));
            let sum = s.splat2(pair.sum[t][i]);
            for _ in 0..2 {
                self.acc[t] = s.fma(factor, dot, self.acc[t]);
                if U::HAS_MIN {
                    self.acc[t] = s.fma(min, sum, self.acc[t]);
                }
                self.acc[t] = s.swap(self.acc[t]);
            }
        }
    }
}

impl<S: Simd, U: Unpack, const NT: usize, const NEAR: bool> Meet<S> for EightRows<'_, S, U, NT, NEAR> {
    #[inline(always)]
    fn wholes(&mut self, at: usize, [a, b, c, d, e, f, g, h]: [S::I; 8], scale: S::F, min: S::F) {
        fetch::<S, U>(self.s, self.ahead, at, NEAR);
        let zero = [self.s.splat_i(0); NT];
        // Two chains, that one need not wait for the other.
        let (mut dot, more) = (self.dots(self.start(at, 0), at, 0, [a, b, c, d]), self.dots(zero, at, 4, [e, f, g, h]));
        for t in 0..NT {
            dot[t] = self.s.add_i(dot[t], more[t]);
        }
        self.add(at, 0, dot, scale, min);
    }

    #[inline(always)]
    fn divided(&mut self, at: usize, first: [S::I; 4], second: [S::I; 4], scale: S::F, min: S::F) {
        fetch::<S, U>(self.s, self.ahead, at, NEAR);
        let zero = [self.s.splat_i(0); NT];
        let (mut dot, second) = (self.dots(zero, at, 0, first), self.dots(zero, at, 4, second));
        for t in 0..NT {
            dot[t] = self.s.add_neighbours(dot[t], second[t]);
        }
        self.add(at, 0, dot, scale, min);
    }

    #[inline(always)]
    fn halves(&mut self, at: usize, i: usize, q: [S::I; 4], scale: S::F, min: S::F) {
        if i == 0 {
            fetch::<S, U>(self.s, self.ahead, at, NEAR);
        }
        let dot = self.dots(self.start(at, i), at, 4 * i, q);
        self.add(at, i, dot, scale, min);
    }
}
