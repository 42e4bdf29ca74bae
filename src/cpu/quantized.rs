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
//! the same order. One token, or two, meet the weights as they are unpacked, in registers; for more, sixteen rows are
//! unpacked once into a tile that stays in the cache while all tokens pass over it.
//!
//! How fast this can be: for thirty-two columns and a token there are eight dot products, one product of scales and one
//! fused multiply-add, or two for a format with a minimum, all of which go through the same two ports of a Zen 4 core. So
//! at most eight parts in ten, or in eleven, of its time are dot products.
//!
//! The integers cannot overflow: a group of 32 is at most 32 * 128 * 127, and with the AVX-512 offset of 128
//! 32 * 255 * 127, both below 2^21, so their conversion to f32 is exact too.

use std::marker::PhantomData;
use std::ops::Range;

use super::panel::{Panel, Panels};
use super::unpack::{Columns, Rows, Sink, Unpack, unpack};
use super::vector::Simd;
use crate::quant::Block;

/// The weights and the tokens of one product, and where its results go.
pub(super) struct Product<'a> {
    /// All rows of the matrix.
    pub weights: &'a [u8],
    pub row_bytes: usize,
    pub rows: usize,
    pub x: &'a Panels,
    /// Element `[token][row]` goes to `out + token * out_stride + row`.
    pub out: *mut f32,
    pub out_stride: usize,
}

/// Room for the tile that a product with many tokens unpacks.
pub(super) type Tile = Vec<TileBlock>;

/// Thirty-two columns of sixteen rows, unpacked.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct TileBlock {
    q: [[u32; 16]; 8],
    scale: [[f32; 16]; 2],
    min: [[f32; 16]; 2],
}

impl TileBlock {
    const ZERO: Self = Self { q: [[0; 16]; 8], scale: [[0.0; 16]; 2], min: [[0.0; 16]; 2] };
}

/// Computes rows `first..last`, one at a time.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
pub(super) unsafe fn scalar<B: Block>(p: &Product, first: usize, last: usize, _tile: &mut Tile) {
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

/// Computes rows `first..last`, sixteen at a time.
///
/// # Safety
/// As for [`scalar`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, U: Unpack>(s: S, p: &Product, first: usize, last: usize, tile: &mut Tile) {
    if p.rows < 16 {
        // SAFETY: the caller's contract.
        return unsafe { scalar::<U>(p, first, last, tile) };
    }
    let blocks = p.row_bytes / size_of::<U>();
    let mut row = first;
    while row < last {
        // The last tile reaches back over rows that are already done; only the new ones are stored.
        let start = row.min(p.rows - 16);
        let lanes = row - start..(last - start).min(16);
        let rows = Rows::new(&p.weights[start * p.row_bytes..], p.row_bytes);
        // SAFETY: the lanes are rows `row..last` at most.
        let store = Store { out: unsafe { p.out.add(start) }, stride: p.out_stride, lanes: lanes.clone() };
        // SAFETY: every row has `blocks` blocks, and `store` speaks of these rows alone.
        unsafe {
            let ahead = p.weights.as_ptr().wrapping_add((start + 16) * p.row_bytes);
            if p.x.places == 1 {
                store.put_all(s, streamed::<S, U, 1>(s, rows, blocks, ahead, &p.x.one), 0..1, false);
            } else if p.x.places == 2 {
                store.put_all(s, streamed::<S, U, 2>(s, rows, blocks, ahead, &p.x.two), 0..2, p.x.fine);
            } else {
                // Few tokens do not make up for a tile that leaves the nearest cache: they pass over one part after the
                // other.
                let per_block = U::LEN / 32;
                let part = if p.x.places <= FEW { blocks.min(FEW_COLUMNS / per_block) } else { blocks };
                tile.resize(part * per_block, TileBlock::ZERO);
                let offset = if U::WIDE { S::WIDE_OFFSET } else { U::OFFSET };
                let mut sums = [[0.0; 16]; FEW];
                for first in (0..blocks).step_by(part) {
                    let columns = first * per_block..(first + part).min(blocks) * per_block;
                    let mut keep = Keep::<S, U> { s, tile, first: columns.start, ahead, format: PhantomData };
                    for block in first..(first + part).min(blocks) {
                        unpack::<S, U>(s, rows, block, &mut keep);
                    }
                    let part = Part { tile: &tile[..columns.len()], columns, x: p.x, offset, store: &store };
                    match (U::WIDE, U::GROUP, U::HAS_MIN) {
                        (true, ..) => over_tile::<S, Wide>(s, part, &mut sums),
                        (_, 16, true) => over_tile::<S, HalvesMin>(s, part, &mut sums),
                        (_, 16, _) => over_tile::<S, Halves>(s, part, &mut sums),
                        (_, _, true) => over_tile::<S, WholeMin>(s, part, &mut sums),
                        _ => over_tile::<S, Whole>(s, part, &mut sums),
                    }
                }
            }
        }
        row = start + lanes.end;
    }
}

/// Where the sixteen results of each token go.
#[derive(Clone)]
struct Store {
    out: *mut f32,
    stride: usize,
    /// Those that are wanted.
    lanes: Range<usize>,
}

impl Store {
    /// The results of `places`, as many as there are; those of a fine token are added.
    ///
    /// # Safety
    /// The wanted lanes of those tokens may be written.
    #[inline(always)]
    unsafe fn put_all<S: Simd, const NT: usize>(&self, s: S, results: [S::F; NT], places: Range<usize>, fine: bool) {
        if !fine {
            for (result, t) in results.into_iter().zip(places) {
                // SAFETY: the caller's contract.
                unsafe { self.put(t, s.to_array(result)) };
            }
            return;
        }
        for ([a, b], t) in results.as_chunks::<2>().0.iter().zip(places.step_by(2)) {
            // SAFETY: the caller's contract.
            unsafe { self.put(t / 2, s.to_array(s.add(*a, *b))) };
        }
    }

    /// # Safety
    /// The wanted lanes of token `t` may be written.
    #[inline(always)]
    unsafe fn put(&self, t: usize, results: [f32; 16]) {
        // SAFETY: the caller's contract.
        let out = unsafe { self.out.add(t * self.stride) };
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

/// One place or two, against weights as they come. Meanwhile the bytes at `ahead` are asked for, as many as are used here.
///
/// # Safety
/// The rows have `blocks` blocks of the format.
#[inline(always)]
unsafe fn streamed<S: Simd, U: Unpack, const NT: usize>(
    s: S,
    rows: Rows,
    blocks: usize,
    ahead: *const u8,
    panels: &[Panel<NT>],
) -> [S::F; NT] {
    let offset = if U::WIDE { S::WIDE_OFFSET } else { U::OFFSET };
    let mut sink = Meet::<S, U, NT> { s, acc: [s.splat(0.0); NT], panels, offset, ahead, format: PhantomData };
    for block in 0..blocks {
        // SAFETY: the caller's contract.
        unsafe { unpack::<S, U>(s, rows, block, &mut sink) };
    }
    sink.acc
}

/// Multiplies columns with a few places as they come.
struct Meet<'a, S: Simd, U, const NT: usize> {
    s: S,
    acc: [S::F; NT],
    panels: &'a [Panel<NT>],
    offset: i32,
    ahead: *const u8,
    format: PhantomData<U>,
}

impl<S: Simd, U: Unpack, const NT: usize> Sink<S> for Meet<'_, S, U, NT> {
    #[inline(always)]
    fn take(&mut self, at: usize, columns: Columns<S>) {
        let (s, acc, panel) = (self.s, self.acc, &self.panels[at]);
        fetch::<S, U>(s, self.ahead, at);
        self.acc = match (U::WIDE, U::GROUP, U::HAS_MIN) {
            (true, ..) => step::<S, Wide, NT>(s, acc, columns, panel, self.offset),
            (_, 16, true) => step::<S, HalvesMin, NT>(s, acc, columns, panel, self.offset),
            (_, 16, _) => step::<S, Halves, NT>(s, acc, columns, panel, self.offset),
            (_, _, true) => step::<S, WholeMin, NT>(s, acc, columns, panel, self.offset),
            _ => step::<S, Whole, NT>(s, acc, columns, panel, self.offset),
        };
    }
}

/// Keeps columns for many tokens. Meanwhile the bytes at `ahead` are asked for, as many as are used here.
struct Keep<'a, S, U> {
    s: S,
    tile: &'a mut [TileBlock],
    /// The number of the tile's first columns among all thirty-twos.
    first: usize,
    ahead: *const u8,
    format: PhantomData<U>,
}

impl<S: Simd, U: Unpack> Sink<S> for Keep<'_, S, U> {
    #[inline(always)]
    fn take(&mut self, at: usize, columns: Columns<S>) {
        let s = self.s;
        fetch::<S, U>(s, self.ahead, at);
        let to = &mut self.tile[at - self.first];
        for g in 0..8 {
            to.q[g] = s.to_array_i(columns.q[g]);
        }
        for i in 0..2 {
            to.scale[i] = s.to_array(columns.scale[i]);
            to.min[i] = s.to_array(columns.min[i]);
        }
    }
}

/// Asks for as many bytes at `ahead` as thirty-two columns of sixteen rows take, those of columns `at`. Sixteen streams
/// a row apart defeat the hardware's prefetcher, but their next tile is contiguous. A few lines at a time: all of a
/// super-block's at once would fill the queues that the loads here wait in.
#[inline(always)]
fn fetch<S: Simd, U: Unpack>(s: S, ahead: *const u8, at: usize) {
    let bytes = 16 * 32 * size_of::<U>() / U::LEN;
    for line in (at * bytes / 64..(at + 1) * bytes / 64).map(|line| 64 * line) {
        s.prefetch(ahead.wrapping_add(line));
    }
}

/// Places that a tile is small for, and how many thirty-twos of columns it then has.
const FEW: usize = 16;
const FEW_COLUMNS: usize = 16;

/// Some columns of sixteen rows, and what they meet.
#[derive(Clone)]
struct Part<'a> {
    tile: &'a [TileBlock],
    /// Which thirty-twos of columns they are.
    columns: Range<usize>,
    x: &'a Panels,
    offset: i32,
    store: &'a Store,
}

/// All tokens against a part; `sums` is what a few places have from the parts before.
///
/// # Safety
/// `part.store` may be written for all tokens.
#[inline(always)]
unsafe fn over_tile<S: Simd, K: Kind>(s: S, part: Part, sums: &mut [[f32; 16]; FEW]) {
    let x = part.x;
    for (i, panels) in x.eights.chunks_exact(x.cols / 32).enumerate() {
        // SAFETY: the caller's contract.
        unsafe { group::<S, K, 8>(s, &part, panels, 8 * i..x.places, sums) };
    }
    let rest = x.places / 8 * 8;
    // SAFETY: the caller's contract.
    unsafe {
        group::<S, K, 4>(s, &part, &x.four, rest..x.places, sums);
        group::<S, K, 1>(s, &part, &x.one, rest..x.places, sums);
    }
}

/// The first `NT` of `places` against one part; nothing if there are no panels.
///
/// # Safety
/// `part.store` may be written for those places' tokens.
#[inline(always)]
unsafe fn group<S: Simd, K: Kind, const NT: usize>(
    s: S,
    part: &Part,
    panels: &[Panel<NT>],
    places: Range<usize>,
    sums: &mut [[f32; 16]; FEW],
) {
    let Part { tile, columns, x, offset, store } = part.clone();
    if panels.is_empty() {
        return;
    }
    // The results of neighbouring tokens are rows apart, lines that only these few stores touch: a fifth of the time
    // of a product was spent waiting for them before they were asked for here.
    for t in places.clone().take(NT) {
        let t = if x.fine { t / 2 } else { t };
        s.prefetch_near(store.out.wrapping_add(t * store.stride).cast());
    }
    let mut acc = [s.splat(0.0); NT];
    if columns.start > 0 {
        for (acc, t) in acc.iter_mut().zip(places.clone()) {
            *acc = s.load(&sums[t]);
        }
    }
    for (block, panel) in tile.iter().zip(&panels[columns.clone()]) {
        let mut q = [s.splat_i(0); 8];
        for g in 0..8 {
            q[g] = s.load_i(&block.q[g]);
        }
        let columns = Columns {
            q,
            scale: [s.load(&block.scale[0]), s.load(&block.scale[1])],
            min: [s.load(&block.min[0]), s.load(&block.min[1])],
        };
        acc = step::<S, K, NT>(s, acc, columns, panel, offset);
    }
    if columns.end < panels.len() {
        for (acc, t) in acc.into_iter().zip(places) {
            sums[t] = s.to_array(acc);
        }
        return;
    }
    // SAFETY: the caller's contract.
    unsafe { store.put_all(s, acc, places, x.fine) };
}

/// What sets one format's chain apart from another's, once its columns are unpacked.
pub(super) trait Kind {
    /// Chains of groups in thirty-two columns.
    const GROUPS: usize;
    const HAS_MIN: bool;
    const WIDE: bool;
}

macro_rules! kinds {
    ($($name:ident: $groups:literal, $has_min:literal, $wide:literal;)*) => {
        $(
            pub(super) struct $name;
            impl Kind for $name {
                const GROUPS: usize = $groups;
                const HAS_MIN: bool = $has_min;
                const WIDE: bool = $wide;
            }
        )*
    };
}

kinds! {
    Whole: 1, false, false;
    WholeMin: 1, true, false;
    Wide: 1, false, true;
    Halves: 2, false, false;
    HalvesMin: 2, true, false;
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
        if !K::HAS_MIN {
            for t in 0..NT {
                let sum = if K::GROUPS == 1 { panel.sum[0][t] + panel.sum[1][t] } else { panel.sum[g][t] };
                dot[t] = s.splat_i(-offset * sum);
            }
        }
        for k in g * 8 / K::GROUPS..(g + 1) * 8 / K::GROUPS {
            for t in 0..NT {
                let x = panel.q[t][k];
                dot[t] = if K::WIDE { s.dot4_wide(dot[t], columns.q[k], x) } else { s.dot4(dot[t], columns.q[k], x) };
            }
        }
        for t in 0..NT {
            let scale = s.mul(columns.scale[g], s.splat(panel.scale[t]));
            acc[t] = s.fma(scale, s.to_f32(dot[t]), acc[t]);
            if K::HAS_MIN {
                let sum = if K::GROUPS == 1 { panel.scaled_sum[t] } else { panel.scaled_half[g][t] };
                acc[t] = s.fma(columns.min[g], s.splat(sum), acc[t]);
            }
        }
    }
    acc
}
