//! Matrix products with quantized weights.
//!
//! One chain for every output element, on every CPU: for each group of columns that shares a scale, in order,
//!
//! ```text
//! acc = fma(weight scale * activation scale, exact integer dot product of the group, acc)
//! acc = fma(weight minimum, activation scale * sum of the group's integers, acc)      formats with a minimum
//! ```
//!
//! [`scalar`] is that, word for word. The SIMD code keeps sixteen rows in the lanes and walks the columns, which is
//! the same order, or walks the groups once it has their dot products. One token, or two, meet the weights as they are
//! unpacked, in registers: [`super::stream`]; for more there is [`super::tile`].
//!
//! How fast this can be: for thirty-two columns and a token there are eight dot products, one product of scales and one
//! fused multiply-add, or two for a format with a minimum, all of which go through the same two ports of a Zen core. So
//! at most eight parts in ten, or in eleven, of its time are dot products; two thirds for groups of sixteen. (Intel's cores
//! convert the dot products there, too: eight parts in eleven, or in twelve; 57 and 50 % for groups of sixteen.)
//!
//! The integers cannot overflow: a group of 32 is at most 32 * 128 * 127, and with the AVX-512 offset of 128
//! 32 * 255 * 127, both below 2^21, so their conversion to f32 is exact too.

use std::ops::Range;

use super::panel::{MOVED, Panel, Places};
use super::stream::{Order, Pair, Streamed, order};
use super::tile::{Fill, Tile};
use super::unpack::{Columns, Rows, Unpack};
use super::vector::{Simd, prefetch_write};
use crate::quant::Block;

/// The weights and the tokens of one product, and where its results go.
pub(super) struct Product<'a> {
    /// All rows of the matrix.
    pub weights: &'a [u8],
    pub row_bytes: usize,
    pub rows: usize,
    pub format: &'static Format,
    pub x: Places<'a>,
    /// One place or two, arranged for the format, if it has lanes.
    pub one: &'a [Pair<1>],
    pub two: &'a [Pair<2>],
    /// Element `[token][row]` goes to `out + token * out_stride + row`.
    pub out: *mut f32,
    pub out_stride: usize,
}

/// The code for one format: all that is compiled for each. What is not in it is the same code for all formats.
pub(super) struct Format {
    /// [`scalar`].
    pub scalar: unsafe fn(&Product, usize, usize),
    /// What a table with vectors has.
    pub lanes: Option<Lanes>,
}

/// The code for one format and one instruction set.
pub(super) struct Lanes {
    /// [`super::stream::streamed`] for one place.
    pub one: unsafe fn(Streamed<1>),
    /// And for two.
    pub two: unsafe fn(Streamed<2>),
    /// [`super::tile::fill`].
    pub fill: unsafe fn(Fill),
    /// Bytes and weights of a block.
    pub block_bytes: usize,
    pub block_len: usize,
    /// What the integers have too much.
    pub offset: i32,
    pub kind: KindOf,
    /// [`super::stream::order`].
    pub order: fn() -> Option<Order>,
}

impl Lanes {
    /// That of a format, from its functions.
    pub const fn new<S: Simd, U: Unpack>(
        one: unsafe fn(Streamed<1>),
        two: unsafe fn(Streamed<2>),
        fill: unsafe fn(Fill),
    ) -> Self {
        let (offset, kind) = (offset::<S, U>(), <U::Kind as Kind>::NAME);
        assert!(U::Kind::GROUPS == 32 / U::GROUP && U::Kind::HAS_MIN == U::HAS_MIN);
        Self { one, two, fill, block_bytes: size_of::<U>(), block_len: U::LEN, offset, kind, order: order::<S, U> }
    }
}

/// What a format's integers have too much.
pub(super) const fn offset<S: Simd, U: Unpack>() -> i32 {
    if U::Kind::WIDE { S::WIDE_OFFSET } else { U::OFFSET }
}

/// Computes rows `first..last` by the format's scalar code.
///
/// # Safety
/// As for [`scalar`].
pub(super) unsafe fn plain(p: &Product, first: usize, last: usize, _tile: &mut Tile) {
    // SAFETY: the caller's contract.
    unsafe { (p.format.scalar)(p, first, last) }
}

/// Computes rows `first..last`, one at a time.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
pub(super) unsafe fn scalar<B: Block>(p: &Product, first: usize, last: usize) {
    let (groups, per_block) = (B::LEN / B::GROUP, B::LEN / 32);
    let (mut q, mut scale, mut min) = ([0; 256], [0.0; 16], [0.0; 16]);
    for row in first..last {
        let blocks: &[B] = bytemuck::cast_slice(&p.weights[row * p.row_bytes..][..p.row_bytes]);
        let mut first = 0.0f32;
        for t in 0..p.x.places {
            let mut acc = 0.0f32;
            for (b, block) in blocks.iter().enumerate() {
                block.unpack(&mut q[..B::LEN], &mut scale[..groups], &mut min[..groups]);
                for g in 0..groups {
                    let at = g * B::GROUP;
                    let (x, x_scale, x_sum) = p.x.block(t, b * per_block + at / 32);
                    let x = &x.as_flattened()[at % 32..][..B::GROUP];
                    let dot: i32 = q[at..].iter().zip(x).map(|(q, x)| i32::from(*q) * i32::from(*x)).sum();
                    acc = (scale[g] * x_scale).mul_add(dot as f32, acc);
                    if B::HAS_MIN {
                        let sum = if B::GROUP == 32 { x_sum[0] + x_sum[1] } else { x_sum[at % 32 / 16] };
                        acc = min[g].mul_add(x_scale * sum as f32, acc);
                    }
                }
            }
            let (token, result) = match (p.x.fine, t % 2) {
                (false, _) => (t, acc),
                (true, 0) => {
                    first = acc;
                    continue;
                }
                _ => (t / 2, first + acc),
            };
            // SAFETY: the caller's contract.
            unsafe { p.out.add(token * p.out_stride + row).write(result) };
        }
    }
}

/// Computes rows `first..last`: one or two places sixteen rows at a time, more of them thirty-two.
///
/// # Safety
/// As for [`scalar`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd>(s: S, p: &Product, first: usize, last: usize, tile: &mut Tile) {
    let Some(lanes) = p.format.lanes.as_ref().filter(|_| p.rows >= 16) else {
        // SAFETY: the caller's contract.
        return unsafe { (p.format.scalar)(p, first, last) };
    };
    let blocks = p.row_bytes / lanes.block_bytes;
    let together = if p.x.places <= 2 { 16 } else { 32 };
    for row in (first..last).step_by(together) {
        let sixteen = |from: usize| {
            let store = Store::new(p.out, p.out_stride, p.rows, from, last);
            let rows = Rows::new(&p.weights[store.start * p.row_bytes..], p.row_bytes);
            (rows, p.weights.as_ptr().wrapping_add((store.start + together) * p.row_bytes), store)
        };
        // SAFETY: every row has `blocks` blocks, and a `store` speaks of its rows alone.
        unsafe {
            let (rows, ahead, store) = sixteen(row);
            match p.x.places {
                1 => {
                    let mut sums = [[0.0; 16]; 1];
                    (lanes.one)(Streamed { rows, blocks, ahead, panels: p.x.one, pairs: p.one, sums: &mut sums });
                    store.put(0, sums[0]);
                }
                2 => {
                    let mut sums = [[0.0; 16]; 2];
                    (lanes.two)(Streamed { rows, blocks, ahead, panels: p.x.two, pairs: p.two, sums: &mut sums });
                    let [a, b] = sums;
                    if p.x.fine {
                        store.put(0, s.to_array(s.add(s.load(&a), s.load(&b))));
                    } else {
                        store.put(0, a);
                        store.put(1, b);
                    }
                }
                _ => {
                    let (more_rows, more_ahead, more) = sixteen(row + 16);
                    tile.multiply(s, lanes, [rows, more_rows], blocks, [ahead, more_ahead], p.x);
                    put_all(s, [store, more], tile, p.x.places, p.x.fine);
                }
            }
        }
    }
}

/// Stores what a tile has for all places; the two places of a fine token are added.
///
/// # Safety
/// The wanted lanes of all tokens may be written.
#[inline(always)]
pub(super) unsafe fn put_all<S: Simd>(s: S, stores: [Store; 2], tile: &Tile, places: usize, fine: bool) {
    let tokens = if fine { places / 2 } else { places };
    for t in 0..tokens {
        let next = (t + 8).min(tokens - 1);
        for (i, store) in stores.iter().enumerate() {
            // The results of neighbouring tokens are rows apart, lines that only these few stores touch: a fifth of the
            // time of a product was spent waiting for them before they were asked for here.
            prefetch_write(store.out.wrapping_add(next * store.stride + store.start));
            let sum = |place| tile.results(place)[i];
            let result = if fine { s.to_array(s.add(s.load(sum(2 * t)), s.load(sum(2 * t + 1)))) } else { *sum(t) };
            // SAFETY: the caller's contract.
            unsafe { store.put(t, result) };
        }
    }
}

/// Where the results of sixteen rows go.
pub(super) struct Store {
    /// Of row 0, for the first token; a token's are `stride` further than those of the one before.
    out: *mut f32,
    stride: usize,
    /// The first of the rows.
    pub start: usize,
    /// Those that are wanted.
    lanes: Range<usize>,
}

impl Store {
    /// Of rows `from..from + 16`, those before `last`. At the end of all `rows`, at least sixteen, the last sixteen, which
    /// reach back over some that are already done: only the new ones are wanted.
    #[inline(always)]
    pub(super) fn new(out: *mut f32, stride: usize, rows: usize, from: usize, last: usize) -> Self {
        let start = from.min(rows - 16);
        let lanes = if from < last { from - start..(last - start).min(16) } else { 0..0 };
        Self { out, stride, start, lanes }
    }

    /// # Safety
    /// The wanted lanes of token `t` may be written.
    #[inline(always)]
    pub(super) unsafe fn put(&self, t: usize, results: [f32; 16]) {
        // SAFETY: the caller's contract.
        let out = unsafe { self.out.add(t * self.stride + self.start) };
        if self.lanes == (0..16) {
            // SAFETY: the caller's contract, for all lanes.
            unsafe { out.cast::<[f32; 16]>().write_unaligned(results) };
            return;
        }
        for lane in self.lanes.clone() {
            // SAFETY: the caller's contract.
            unsafe { out.add(lane).write(results[lane]) };
        }
    }
}

/// Asks for as many bytes at `ahead` as thirty-two columns of sixteen rows take, or sixty-four of eight, the `at`th of
/// them. Streams a row apart defeat the hardware's prefetcher, but the next rows are contiguous. A few lines at a time:
/// all of a super-block's at once would fill the queues that the loads here wait in. As many for all columns: a line
/// that two ask for costs less than finding that out.
#[inline(always)]
pub(super) fn fetch<S: Simd, U: Unpack>(s: S, ahead: *const u8, at: usize, near: bool) {
    let bytes = 16 * 32 * size_of::<U>() / U::LEN;
    let ahead = ahead.wrapping_add(at * bytes);
    s.prefetch_lines(ahead, bytes.div_ceil(64), near);
    // Where a page begins, what is asked for waits until the page is found: it had better be looked for before.
    s.prefetch(ahead.wrapping_add(MEMORY_PAGE));
}

/// Bytes of a small page of memory.
pub(super) const MEMORY_PAGE: usize = 4096;

/// What sets one format's chain apart from another's, once its columns are unpacked.
pub(super) trait Kind {
    /// Chains of groups in thirty-two columns.
    const GROUPS: usize;
    const HAS_MIN: bool;
    /// Of the integers: those of eight bits are in the form made by [`Simd::wide`], others are not negative.
    const BITS: u32;
    const WIDE: bool = Self::BITS == 8;
    const NAME: KindOf;
}

macro_rules! kinds {
    ($($name:ident: $groups:literal, $has_min:literal, $bits:literal;)*) => {
        /// Names of them.
        #[derive(Clone, Copy)]
        pub(super) enum KindOf {
            $($name,)*
        }

        $(
            pub(super) struct $name;
            impl Kind for $name {
                const GROUPS: usize = $groups;
                const HAS_MIN: bool = $has_min;
                const BITS: u32 = $bits;
                const NAME: KindOf = KindOf::$name;
            }
        )*

        impl KindOf {
            /// Groups of thirty-two columns.
            pub(super) fn groups(self) -> usize {
                match self {
                    $(Self::$name => $groups,)*
                }
            }
        }
    };
}

kinds! {
    Whole4: 1, false, 4;
    Whole5: 1, false, 5;
    WholeMin4: 1, true, 4;
    WholeMin5: 1, true, 5;
    Wide: 1, false, 8;
    Halves3: 2, false, 3;
    Halves6: 2, false, 6;
    HalvesMin2: 2, true, 2;
}

/// The chain's steps for thirty-two columns, whose integers have `offset` too much.
#[inline(always)]
pub(super) fn step<S: Simd, K: Kind, const NT: usize>(
    s: S,
    mut acc: [S::F; NT],
    columns: Columns<S>,
    panel: &Panel<NT>,
    offset: i32,
) -> [S::F; NT] {
    for g in 0..K::GROUPS {
        let mut dot = [s.splat_i(0); NT];
        for t in 0..NT {
            dot[t] = s.splat_i(start::<K, NT>(panel, g, t, offset));
        }
        if S::PAIRS {
            // Two chains, that one need not wait for the other.
            let mut more = [s.splat_i(0); NT];
            for k in (g * 8 / K::GROUPS..(g + 1) * 8 / K::GROUPS).step_by(2) {
                for t in 0..NT {
                    dot[t] = dot4::<S, K>(s, dot[t], columns.q[k], splat(s, panel.q[t][k]));
                    more[t] = dot4::<S, K>(s, more[t], columns.q[k + 1], splat(s, panel.q[t][k + 1]));
                }
            }
            for t in 0..NT {
                dot[t] = s.add_i(dot[t], more[t]);
            }
        } else {
            let start = dot;
            dot = dots::<S, K, NT, false>(s, g, 0, |t| start[t], |k| columns.q[k], |t, k| splat(s, panel.q[t][k]));
        }
        for t in 0..NT {
            acc[t] = add::<S, K, NT>(s, acc[t], dot[t], [columns.scale[g], columns.min[g]], panel, g, t);
        }
    }
    acc
}

/// What place `t`'s dot product of group `g` starts from, so that it is exact in the end: its integers have `offset` too
/// much.
#[inline(always)]
pub(super) fn start<K: Kind, const NT: usize>(panel: &Panel<NT>, g: usize, t: usize, offset: i32) -> i32 {
    let part = if K::GROUPS == 1 { 0 } else { 1 + g };
    match offset {
        _ if K::HAS_MIN => 0,
        MOVED => panel.start[part][t],
        _ => -offset * panel.sum(part, t),
    }
}

/// The dot products of group `g` of thirty-two columns, of `N` places that meet the same weights, which are `shift`
/// bits further up than [`Kind::BITS`] says. Place `t`'s starts from `start(t)`; `w(k)` are the weights of columns
/// `4k..4k + 4`, and `x(t, k)` what the place has for them. Each is asked for where it is needed, so that few registers
/// hold them: if `PINNED`, in this order, where sums are of pairs. (One token is faster without: what comes from memory
/// had better be asked for early.)
#[inline(always)]
pub(super) fn dots<S: Simd, K: Kind, const N: usize, const PINNED: bool>(
    s: S,
    g: usize,
    shift: u32,
    start: impl Fn(usize) -> S::I,
    w: impl Fn(usize) -> S::I,
    x: impl Fn(usize, usize) -> S::I,
) -> [S::I; N] {
    // How many sums of two products of such integers with those of activations fit into an i16.
    let fit = i16::MAX as usize / (2 * 127 * (((1 << K::BITS) - 1) << shift)); // a constant, once this is inlined
    let (mut dots, mut pairs) = ([s.splat_i(0); N], [s.splat_i(0); N]);
    // (A macro, not a loop, which would not be unrolled for what `pinned` is.)
    macro_rules! steps {
        ($($step:literal)*) => {$({
            let k = g * 8 / K::GROUPS + $step;
            let weights = w(k);
            for t in 0..N {
                let x = x(t, k);
                if K::WIDE || S::DOTS {
                    if $step == 0 {
                        dots[t] = start(t);
                    }
                    dots[t] = dot4::<S, K>(s, dots[t], weights, x);
                } else {
                    pairs[t] = s.pair_sums(pairs[t], weights, x);
                    if PINNED {
                        pairs[t] = s.pinned(pairs[t]);
                    }
                }
            }
            if !K::WIDE && !S::DOTS && (($step + 1) % fit == 0 || $step + 1 == 8 / K::GROUPS) {
                for t in 0..N {
                    if $step < fit {
                        dots[t] = start(t);
                    }
                    dots[t] = s.add_pair_sums(dots[t], pairs[t]);
                    pairs[t] = s.splat_i(0);
                }
            }
        })*};
    }
    if K::GROUPS == 1 {
        steps!(0 1 2 3 4 5 6 7);
    } else {
        steps!(0 1 2 3);
    }
    dots
}

/// Four columns more.
#[inline(always)]
pub(super) fn dot4<S: Simd, K: Kind>(s: S, dot: S::I, w: S::I, x: S::I) -> S::I {
    if K::WIDE { s.dot4_wide(dot, w, x) } else { s.dot4(dot, w, x) }
}

/// The chain's step for group `g`: what its exact dot product counts, and its minimum.
#[inline(always)]
pub(super) fn add<S: Simd, K: Kind, const NT: usize>(
    s: S,
    acc: S::F,
    dot: S::I,
    [scale, min]: [S::F; 2],
    panel: &Panel<NT>,
    g: usize,
    t: usize,
) -> S::F {
    let acc = s.fma(s.mul(scale, s.splat(panel.scale[t])), s.to_f32(dot), acc);
    match K::GROUPS {
        _ if !K::HAS_MIN => acc,
        1 => s.fma(min, s.splat(panel.scaled_sum[t]), acc),
        _ => s.fma(min, s.splat(panel.scaled_half[g][t]), acc),
    }
}

/// Four integers for every row.
#[inline(always)]
pub(super) fn splat<S: Simd>(s: S, x: [i8; 4]) -> S::I {
    s.splat_i(i32::from_le_bytes(x.map(|x| x as u8)))
}
