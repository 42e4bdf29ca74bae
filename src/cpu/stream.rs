//! Products of one place or two: the weights stream from memory and are met as they are unpacked, in registers.
//!
//! One token waits for memory, if unpacking does not take longer, so what counts is the order in which bytes are asked
//! for, and the number of instructions beside that. On Zen 5, where two cores read 68 GB/s from one end to the other,
//! or 44 while neighbours are busy, and beside as many instructions as a kernel has:
//!
//! - sixteen rows side by side, while the next sixteen are asked for, one byte after the other: 55, or 36. Without
//!   that it is 40. Both sixteens do not fit into the nearest cache, so much is fetched into it twice;
//! - eight rows, two neighbouring blocks of each, while the next eight are asked for: 60, or 41;
//! - four rows, four blocks of each: the same. One row after the other: all of it.
//!
//! What is asked for comes into the nearest cache there, for [`eight`] rows. On Zen 4 and Emerald Rapids it comes into the
//! second (see [`Simd::weights_near`]), and instructions count more: [`sixteen`] rows have fewest.
//!
//! Formats with two bits of four groups in a byte have their rows [`side_by_side`]: of others, sixteen rows as they lie
//! read faster from memory, whatever they do in the caches.
//!
//! Instruction sets with few registers have no room for what sixteen rows meet together: they take the rows
//! [`in_turn`], each from end to end.

use super::room;
use std::ops::Range;

use super::matmul::Cols;
use super::panel::{BLOCK, Panel, Places};
use super::quantized::{Format, Lanes};
use super::unpack::{Eight, Rows, Unpack};
use super::vector::Simd;

mod dots;
mod eight;
mod in_turn;
mod side_by_side;
mod sixteen;

use dots::COLUMNS;
pub(super) use side_by_side::side_by_side;
pub(super) use sixteen::SixteenFactors;

/// Which integers of sixty-four columns meet in neighbouring lanes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// Those of the first thirty-two columns and of the second.
    Blocks,
    /// Those of the first half and of the second of thirty-two columns.
    Halves,
    /// Those of four groups, sixteen of each at a time: see [`dots`].
    Quarters,
}

/// What sixty-four columns meet, of `NT` places, in the lanes that a format has for them. Columns that there are not add
/// nothing to a chain, not even to -0, if the weights are zeros.
#[derive(Clone, Copy)]
#[repr(C, align(64))] // no load of the integers straddles two cache lines
pub(super) struct Pair<const NT: usize> {
    /// The integers, four in each.
    q: [[[i32; 2]; 8]; NT],
    /// By place, then thirty-two columns if they are two groups, then lane.
    scale: [[[f32; 2]; 2]; NT],
    /// What makes a dot product exact that starts from it.
    start: [[[i32; 2]; 2]; NT],
    /// The scaled sum of a group's integers, which minimums are multiplied with.
    sum: [[[f32; 2]; 2]; NT],
}

impl<const NT: usize> Pair<NT> {
    const NOTHING: Self =
        Self { q: [[[0; 2]; 8]; NT], scale: [[[-0.0; 2]; 2]; NT], start: [[[0; 2]; 2]; NT], sum: [[[-0.0; 2]; 2]; NT] };
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
        let of = |cols: usize| FORMATS * cols.div_ceil(COLUMNS) * 2;
        let any = of(cols.any.max(cols.hidden));
        [if tokens >= 1 { any } else { 0 }, if tokens >= 2 { any } else { of(cols.fine) }]
    }

    /// Takes the memory for that, or says how many bytes could not be had.
    pub(super) fn reserve(&mut self, tokens: usize, cols: Cols) -> Result<(), usize> {
        let [one, two] = Self::most(tokens, cols);
        let no_memory = |_| Self::bytes(tokens, cols);
        room(&mut self.one, one).map_err(no_memory)?;
        room(&mut self.two, two).map_err(no_memory)
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
    pub(super) fn arrange(&mut self, x: Places, format: &Format) -> Range<usize> {
        let Some(lanes) = &format.lanes else { return 0..0 };
        match x.places {
            1 => arrange(x.one, lanes, &mut self.one),
            2 => arrange(x.two, lanes, &mut self.two),
            _ => 0..0,
        }
    }

    /// What was arranged of these places, one or two.
    pub(super) fn of(&self, x: Places, range: Range<usize>) -> (&[Pair<1>], &[Pair<2>]) {
        if x.places == 1 { (&self.one[range], &[]) } else { (&[], &self.two[range]) }
    }
}

/// Arranges two panels in a pair, or for [`Order::Quarters`] four in two pairs: where thirty-two columns are a group,
/// each has sixteen of them for each of four groups, and the first has their scales; where sixteen are, each has four
/// groups. (What is left at the end of a row then meets no pair.) Without an order, nothing.
fn arrange<const NT: usize>(panels: &[Panel<NT>], lanes: &Lanes, pairs: &mut Vec<Pair<NT>>) -> Range<usize> {
    let Some(order) = (lanes.order)() else { return 0..0 };
    let (begin, groups) = (pairs.len(), lanes.kind.groups());
    let together = if order == Order::Quarters { COLUMNS / BLOCK } else { 2 };
    for at in (0..panels.len()).step_by(together) {
        let panels = &panels[at..panels.len().min(at + together)];
        let first = pairs.len();
        pairs.resize(first + together / 2, Pair::NOTHING);
        for (i, panel) in panels.iter().enumerate() {
            for t in 0..NT {
                for half in 0..2 {
                    let (sum, scaled) = match groups {
                        1 => (panel.sum(0, t), panel.scaled_sum[t]),
                        _ => (panel.sum(1 + half, t), panel.scaled_half[half][t]),
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
    /// The same, arranged for the format, if it has an order.
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
    unsafe { U::streamed(s, p) }
}

/// Multiplies sixteen rows as they lie in the file, four groups of columns at a time.
///
/// # Safety
/// As for [`streamed`].
#[inline(always)]
pub(super) unsafe fn in_order<S: Simd, U: Unpack, const NT: usize>(s: S, p: Streamed<NT>) {
    // SAFETY: the caller's contract.
    unsafe { if S::PAIRS { sixteen::sixteen::<S, U, NT>(s, p) } else { in_turn::in_turn::<S, U, NT>(s, p) } }
}

/// Whether a format that is [`Eight`] is taken so wherever weights come: one of eight bits needs next to no unpacking,
/// and is 4 % faster on Zen 4 than sixteen rows at a time. It takes many registers.
const fn always_eight<S: Simd, U: Unpack>() -> bool {
    S::PAIRS && size_of::<U>() >= U::LEN
}

/// What a format does that is [`Eight`]: eight rows, where weights come into the nearest cache.
///
/// # Safety
/// As for [`streamed`].
#[inline(always)]
pub(super) unsafe fn eight<S: Simd, U: Eight, const NT: usize>(s: S, p: Streamed<NT>) {
    // SAFETY: the caller's contract.
    unsafe {
        match S::weights_near() {
            true => eight::eight::<S, U, NT, true>(s, p),
            false if always_eight::<S, U>() => eight::eight::<S, U, NT, false>(s, p),
            false => in_order::<S, U, NT>(s, p),
        }
    }
}

/// The order in which a format's one place or two are arranged; `None` if it takes them as the panels have them.
pub(super) fn order<S: Simd, U: Unpack>() -> Option<Order> {
    let order = U::order::<S>()?;
    Some(if always_eight::<S, U>() || S::weights_near() { order } else { Order::Quarters })
}
