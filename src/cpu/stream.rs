//! Products of one place or two: the weights stream from memory and are met as they are unpacked, in registers.
//!
//! One token waits for memory, if unpacking does not take longer, so what counts is the order in which bytes are asked for.
//! On Zen 5, where two cores read 68 GB/s from one end to the other, or 44 while neighbours are busy, and beside
//! as many instructions as a kernel has:
//!
//! - sixteen rows side by side, while the next sixteen are asked for, one byte after the other: 55, or 36. Without
//!   that it is 40. Both sixteens do not fit into the nearest cache, so much is fetched into it twice;
//! - eight rows, two neighbouring blocks of each, while the next eight are asked for: 60, or 41;
//! - four rows, four blocks of each: the same. One row after the other: all of it.
//!
//! What is asked for comes into the nearest cache there; on Zen 4, into the second: see [`Simd::weights_near`].
//!
//! So [`eight`] has two neighbouring groups of columns of each of eight rows in the lanes. A row's chain goes through both in
//! turn: its sum changes lanes in between. One row at a time would need sums of lanes instead, and sixteen such changes.
//! Where groups have only sixteen columns and unpacking takes longer than reading, [`sixteen`] rows need fewer instructions.
//!
//! Instruction sets with few registers have no room for sixteen rows' columns: they take [`four`] rows, whose bytes stay in
//! the order of the file. On Zen 3, that reads as fast as a plain loop from one end to the other.

use std::marker::PhantomData;
use std::ops::Range;

use super::matmul::Cols;
use super::panel::{BLOCK, Panel, Panels};
use super::quantized::{Format, Lanes, dot4, fetch, offset, step};
use super::unpack::{Columns, Eight, Meet, Rows, Sink, Unpack, unpack};
use super::vector::Simd;

mod four;
pub(super) use four::Factors;
use four::four;

/// Bytes of sixteen rows up to which [`eight`] asks for rows sixteen ahead, not eight: half of a nearest cache. Q4_0 and
/// Q5_K of 2048 columns are 8 % faster than with eight, those with longer rows 3 % slower.
const AHEAD: usize = 24 << 10;

/// Which integers of sixty-four columns meet in neighbouring lanes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// Those of the first thirty-two columns and of the second.
    Blocks,
    /// Those of the first half and of the second of thirty-two columns.
    Halves,
    /// Those of four groups, sixteen of each at a time: see [`four`].
    Quarters,
}

/// What sixty-four columns meet, of `NT` places, in the lanes that a format has for them. Columns that there are not add
/// nothing to a chain, not even to -0, if the weights are zeros.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Pair<const NT: usize> {
    /// By place, then thirty-two columns if they are two groups, then lane.
    scale: [[[f32; 2]; 2]; NT],
    /// What makes a dot product exact that starts from it.
    start: [[[i32; 2]; 2]; NT],
    /// The scaled sum of a group's integers, which minimums are multiplied with.
    sum: [[[f32; 2]; 2]; NT],
    /// The integers, four in each.
    q: [[[i32; 2]; 8]; NT],
}

impl<const NT: usize> Pair<NT> {
    const NOTHING: Self =
        Self { scale: [[[-0.0; 2]; 2]; NT], start: [[[0; 2]; 2]; NT], sum: [[[-0.0; 2]; 2]; NT], q: [[[0; 2]; 8]; NT] };
}

/// One place or two of a product, arranged for each of its formats.
#[derive(Default)]
pub(super) struct Pairs {
    one: Vec<Pair<1>>,
    two: Vec<Pair<2>>,
}

/// The most formats that a product has: queries, keys and values, each of another.
const FORMATS: usize = 3;

impl Pairs {
    /// The most of each kind that products of so many tokens take.
    fn most(tokens: usize, cols: Cols) -> [usize; 2] {
        let of = |cols: usize| FORMATS * cols.div_ceil(four::COLUMNS) * 2;
        let any = of(cols.any.max(cols.hidden));
        [if tokens >= 1 { any } else { 0 }, if tokens >= 2 { any } else { of(cols.fine) }]
    }

    /// Takes the memory for that, or says how many bytes could not be had.
    pub(super) fn reserve(&mut self, tokens: usize, cols: Cols) -> Result<(), usize> {
        let [one, two] = Self::most(tokens, cols);
        let no_memory = |_| Self::bytes(tokens, cols);
        self.one.try_reserve_exact(one.saturating_sub(self.one.len())).map_err(no_memory)?;
        self.two.try_reserve_exact(two.saturating_sub(self.two.len())).map_err(no_memory)
    }

    /// Bytes of that.
    pub(super) fn bytes(tokens: usize, cols: Cols) -> usize {
        let [one, two] = Self::most(tokens, cols);
        one.saturating_mul(size_of::<Pair<1>>()).saturating_add(two.saturating_mul(size_of::<Pair<2>>()))
    }

    /// Bytes taken.
    pub(super) fn taken(&self) -> usize {
        self.one.capacity() * size_of::<Pair<1>>() + self.two.capacity() * size_of::<Pair<2>>()
    }

    /// The next product begins.
    pub(super) fn clear(&mut self) {
        self.one.clear();
        self.two.clear();
    }

    /// Arranges the places for a format; nothing, if it takes none or they are more than two.
    pub(super) fn arrange(&mut self, x: &Panels, format: &Format) -> Range<usize> {
        let Some(lanes) = &format.lanes else { return 0..0 };
        match ((lanes.order)(), x.places) {
            (Some(order), 1) => arrange(&x.one, lanes, order, &mut self.one),
            (Some(order), 2) => arrange(&x.two, lanes, order, &mut self.two),
            _ => 0..0,
        }
    }

    /// What was arranged, one place or two.
    pub(super) fn of(&self, range: Range<usize>) -> (&[Pair<1>], &[Pair<2>]) {
        if self.two.is_empty() { (&self.one[range], &[]) } else { (&[], &self.two[range]) }
    }
}

/// Arranges two panels in a pair, or for [`Order::Quarters`] four in two pairs: where thirty-two columns are a group, each has
/// sixteen of them for each of four groups, and the first has their scales; where sixteen are, each has four groups.
fn arrange<const NT: usize>(
    panels: &[Panel<NT>],
    lanes: &Lanes,
    order: Order,
    pairs: &mut Vec<Pair<NT>>,
) -> Range<usize> {
    let (begin, groups) = (pairs.len(), lanes.kind.groups());
    let together = if order == Order::Quarters { four::COLUMNS / BLOCK } else { 2 };
    for panels in panels.chunks(together) {
        let first = pairs.len();
        pairs.resize(first + together / 2, Pair::NOTHING);
        for (i, panel) in panels.iter().enumerate() {
            for t in 0..NT {
                for half in 0..2 {
                    let (sum, scaled) = match groups {
                        1 => (panel.sum[0][t] + panel.sum[1][t], panel.scaled_sum[t]),
                        _ => (panel.sum[half][t], panel.scaled_half[half][t]),
                    };
                    let (pair, to, lane) = match (order, groups) {
                        (Order::Quarters, 1) => (half, i / 2, i % 2),
                        (Order::Quarters, _) => (i / 2, i % 2, half),
                        (_, 1) => (0, 0, i),
                        _ => (0, i, half),
                    };
                    let pair = &mut pairs[first + pair];
                    pair.scale[t][to][lane] = panel.scale[t];
                    pair.start[t][to][lane] = -lanes.offset * sum;
                    pair.sum[t][to][lane] = scaled;
                    for k in 0..4 {
                        let (to, lane) = match order {
                            Order::Blocks => (4 * half + k, i),
                            Order::Halves => (4 * i + k, half),
                            Order::Quarters => (4 * to + 2 * lane + k / 2, k % 2),
                        };
                        let q = panel.q[t][4 * half + k].map(|q| q as u8);
                        pair.q[t][to][lane] = i32::from_le_bytes(q);
                    }
                }
            }
        }
    }
    begin..pairs.len()
}

/// One place or two, and sixteen rows that they meet.
pub(super) struct Streamed<'a, const NT: usize> {
    pub rows: Rows,
    /// As many as the rows have.
    pub blocks: usize,
    /// What is asked for meanwhile behind the rows.
    pub ahead: *const u8,
    pub panels: &'a [Panel<NT>],
    /// The same, arranged for a format that has an order.
    pub pairs: &'a [Pair<NT>],
    pub sums: &'a mut [[f32; 16]; NT],
}

/// Multiplies sixteen rows with one place or two.
///
/// # Safety
/// The rows have `blocks` blocks of the format, and are still borrowed.
#[inline(always)]
pub(super) unsafe fn streamed<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    // SAFETY: the caller's contract.
    unsafe { if S::PAIRS { U::streamed(s, p) } else { four::<S, U, NT>(s, p) } }
}

/// Sixteen rows, with one group of columns of each in the lanes.
///
/// # Safety
/// As for [`streamed`].
#[inline(always)]
pub(super) unsafe fn sixteen<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    // SAFETY: the caller's contract.
    unsafe {
        match S::weights_near() {
            true => sixteen_rows::<S, U, NT, true>(s, p),
            false => sixteen_rows::<S, U, NT, false>(s, p),
        }
    }
}

/// [`sixteen`]. (Where weights come to, [`Simd::weights_near`], is known when this is compiled: a branch for each columns costs
/// 5 %.)
///
/// # Safety
/// As for that.
#[inline(always)]
unsafe fn sixteen_rows<S: Simd, U: Unpack, const NT: usize, const NEAR: bool>(s: S, p: Streamed<NT>) {
    let Streamed { rows, blocks, ahead, panels, sums, .. } = p;
    assert!(panels.len() == blocks * U::LEN / BLOCK, "panels for these rows");
    let mut places = Sixteen::<S, U, NT, NEAR> { s, panels, ahead, acc: [s.splat(0.0); NT], format: PhantomData };
    for block in 0..blocks {
        // SAFETY: the caller's contract.
        unsafe { unpack::<S, U>(s, rows, block, &mut places) };
    }
    for (sums, acc) in sums.iter_mut().zip(places.acc) {
        *sums = s.to_array(acc);
    }
}

/// The places that sixteen rows meet, and their chains.
struct Sixteen<'a, S: Simd, U, const NT: usize, const NEAR: bool> {
    s: S,
    panels: &'a [Panel<NT>],
    ahead: *const u8,
    acc: [S::F; NT],
    format: PhantomData<U>,
}

impl<S: Simd, U: Unpack, const NT: usize, const NEAR: bool> Sink<S> for Sixteen<'_, S, U, NT, NEAR> {
    #[inline(always)]
    fn take(&mut self, at: usize, columns: Columns<S>) {
        // SAFETY: `sixteen` saw as many panels as the blocks have; without a check for the reason given in `EightRows::pair`.
        let (s, acc, panel) = (self.s, self.acc, unsafe { self.panels.get_unchecked(at) });
        fetch::<S, U>(s, self.ahead, at, NEAR);
        let offset = const { offset::<S, U>() };
        self.acc = step::<S, U::Kind, NT>(s, acc, columns, panel, offset);
    }
}

/// Whether a format's weights have four bits, but for scales. On Zen 4, whose weights are not asked for into the nearest cache,
/// sixteen rows of these are 6 to 20 % faster than eight, those of six bits 6 % slower.
const fn four_bits<U: Unpack>() -> bool {
    8 * size_of::<U>() / U::LEN == 4
}

/// Whether a format that has an order takes eight rows at a time, not sixteen; `near` is [`Simd::weights_near`].
#[inline(always)]
fn takes_eight<U: Unpack>(near: bool) -> bool {
    !four_bits::<U>() || near
}

/// The order in which a format's one place or two are arranged: none, if it takes sixteen rows.
pub(super) fn order<S: Simd, U: Unpack>() -> Option<Order> {
    match S::PAIRS {
        true => U::ORDER.filter(|_| takes_eight::<U>(S::weights_near())),
        false => Some(Order::Quarters),
    }
}

/// Eight rows at a time, with two neighbouring groups of columns of each in the lanes; [`sixteen`], where that is better.
///
/// # Safety
/// As for [`sixteen`].
#[inline(always)]
pub(super) unsafe fn eight<S: Simd, U: Eight, const NT: usize>(s: S, p: Streamed<NT>) {
    // SAFETY: the caller's contract.
    unsafe {
        let near = S::weights_near();
        match (takes_eight::<U>(near), near) {
            (true, true) => eight_rows::<S, U, NT, true>(s, p),
            (true, false) => eight_rows::<S, U, NT, false>(s, p),
            (false, true) => sixteen_rows::<S, U, NT, true>(s, p),
            (false, false) => sixteen_rows::<S, U, NT, false>(s, p),
        }
    }
}

/// [`eight`], where there are registers for it.
///
/// # Safety
/// As for [`sixteen`].
#[inline(always)]
unsafe fn eight_rows<S: Simd, U: Eight, const NT: usize, const NEAR: bool>(s: S, p: Streamed<NT>) {
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
    /// What columns `64 at..64 at + 64` meet. Looked at without a check, since the branch that it takes keeps loads before it
    /// from becoming parts of the instructions behind it.
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
