//! Matrix products with float weights: rows as they lie in the file against f32 activations, or, if they are
//! [bfloat16](super::bf16), against rounded ones.
//!
//! Sixteen chains for every output element, on every CPU, as for all sums of floats: column `c` of F32 and F16 belongs to
//! chain `c mod 16`,
//!
//! ```text
//! chain = fma(weight, activation, chain)    for each of its columns, in order, from 0
//! ```
//!
//! and the chains are added by one fixed tree, [`Simd::sum`]. Weights are widened exactly, and missing columns are zeros.
//! [`scalar`] is that, word for word. The SIMD code has the chains in the lanes, so rows meet tokens as both lie in memory:
//! nothing changes lanes but the sums, in the end.
//!
//! One token reads the weights nearly from one end to the other, two rows at a time. Several meet four rows at a time,
//! four by four: sixteen registers of chains, and every load serves four of them. Without so many registers, it is two
//! rows by three tokens, or where weights take fewer bytes than activations, three rows by two tokens, of which less comes
//! through the caches then. (F16 on Zen 3: prompts are 5 to 10 % faster so, and four tokens half as fast again; just three of
//! them are better taken by two rows.)
//!
//! A product takes a fused multiply-add for every sixteen weights, or an instruction for every thirty-two of bfloat16, so
//! that two a cycle are the limit: a prompt reaches more than eight tenths of it.

use std::ops::Range;

use bytemuck::{Pod, Zeroable, bytes_of_mut};

use super::quantized::{MEMORY_PAGE, Store, put_all};
use super::scalar::Scalar;
use super::tile::{Sums, TOGETHER, Tile};
use super::vector::Simd;

/// Float weights as they lie in the file, and how they meet activations.
pub(super) trait Float<S: Simd>: Sized {
    /// The weights of a step, sixteen columns or more. They need not be aligned.
    type Weights: Pod;
    /// The activations of a step.
    type Activations: Pod;

    /// Whether tokens may be fine.
    const FINE: bool = false;
    /// A step of the chains is made in so many parts, one after the other.
    const PARTS: usize = 1;

    /// In a register, as [`Float::fma`] takes them.
    fn weights(s: S, w: &Self::Weights, part: usize) -> S::F;
    /// The same.
    fn activations(s: S, x: &Self::Activations, part: usize) -> S::F;
    /// A part of a step.
    #[inline(always)]
    fn fma(s: S, w: S::F, x: S::F, chains: S::F) -> S::F {
        s.fma(w, x, chains)
    }

    /// All places times twice sixteen rows, which start at `starts`.
    #[inline(always)]
    fn many(s: S, p: &Product, starts: [usize; 2], tile: &mut Tile) {
        if S::PAIRS {
            many::<S, Self, 4, 4>(s, p, starts, tile)
        } else if const { size_of::<Self::Weights>() == size_of::<Self::Activations>() } || p.x.count == 3 {
            many::<S, Self, 2, 3>(s, p, starts, tile)
        } else {
            many::<S, Self, 3, 2>(s, p, starts, tile)
        }
    }
}

pub(super) struct F32;
pub(super) struct F16;

impl<S: Simd> Float<S> for F32 {
    type Weights = [[u8; 4]; 16];
    type Activations = [f32; 16];

    #[inline(always)]
    fn weights(s: S, w: &[[u8; 4]; 16], _: usize) -> S::F {
        s.load(&bytemuck::cast(*w))
    }
    #[inline(always)]
    fn activations(s: S, x: &[f32; 16], _: usize) -> S::F {
        s.load(x)
    }
}

impl<S: Simd> Float<S> for F16 {
    type Weights = [[u8; 2]; 16];
    type Activations = [f32; 16];

    #[inline(always)]
    fn weights(s: S, w: &[[u8; 2]; 16], _: usize) -> S::F {
        s.load_f16(&bytemuck::cast(*w))
    }
    #[inline(always)]
    fn activations(s: S, x: &[f32; 16], _: usize) -> S::F {
        s.load(x)
    }
}

/// Tokens: each has one place, or two, whose results are added, if they are fine.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub data: &'a [u8],
    pub count: usize,
    pub fine: bool,
    /// Of a place.
    pub bytes: usize,
    /// From the beginning of a place to that of the next.
    pub stride: usize,
    /// What results are multiplied by.
    pub scale: f32,
}

/// The weights and the tokens of one product, and where its results go.
pub(super) struct Product<'a> {
    /// All rows of the matrix.
    pub weights: &'a [u8],
    pub rows: usize,
    pub row_bytes: usize,
    pub x: Places<'a>,
    /// Element `[token][row]` goes to `out + token * out_stride + row`.
    pub out: *mut f32,
    pub out_stride: usize,
}

impl Product<'_> {
    /// # Panics
    /// If rows or places are not there: what follows goes by this.
    fn check(&self) {
        let Places { data, count, bytes, stride, .. } = self.x;
        assert!(self.weights.len() == self.rows * self.row_bytes, "whole rows");
        assert!(count > 0 && data.len() >= (count - 1) * stride + bytes, "whole places");
    }

    /// Rows from `first` on.
    #[inline(always)]
    fn rows<const R: usize>(&self, first: usize) -> Lines<R> {
        debug_assert!(first + R <= self.rows);
        Lines::new(self.row_bytes, |r| self.weights.as_ptr().wrapping_add((first + r) * self.row_bytes))
    }

    /// Places from `first` on. Behind the last one, it is taken again.
    #[inline(always)]
    fn places<const T: usize>(&self, first: usize) -> Lines<T> {
        let place = |t: usize| (first + t).min(self.x.count - 1);
        Lines::new(self.x.bytes, |t| self.x.data.as_ptr().wrapping_add(place(t) * self.x.stride))
    }
}

/// Computes rows `first..last`, one at a time.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
pub(super) unsafe fn scalar<W: Float<Scalar>>(p: &Product, first: usize, last: usize, _tile: &mut Tile) {
    p.check();
    for place in 0..p.x.count {
        for row in first..last {
            // SAFETY: `check` has seen them.
            let [[sum]] = unsafe { chains::<_, W, 1, 1, false>(Scalar, p.rows(row), p.places(place)) };
            let sum = Scalar.sum(sum) * p.x.scale;
            let token = if p.x.fine { place / 2 } else { place };
            // SAFETY: the caller's contract.
            let out = unsafe { &mut *p.out.add(token * p.out_stride + row) };
            *out = if p.x.fine && place % 2 == 1 { *out + sum } else { sum };
        }
    }
}

/// Computes rows `first..last`.
///
/// # Safety
/// As for [`scalar`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, W: Float<S> + Float<Scalar>>(
    s: S,
    p: &Product,
    first: usize,
    last: usize,
    tile: &mut Tile,
) {
    if p.rows < 16 {
        // SAFETY: the caller's contract.
        return unsafe { scalar::<W>(p, first, last, tile) };
    }
    p.check();
    let tokens = if p.x.fine { p.x.count / 2 } else { p.x.count };
    let together = if tokens == 1 { 16 } else { 32 };
    for row in (first..last).step_by(together) {
        let sixteen = |from: usize| Store::new(p.out, p.out_stride, p.rows, from, last);
        let stores = [sixteen(row), sixteen(row + 16)];
        // SAFETY: the stores speak of those rows alone.
        unsafe {
            if tokens > 1 {
                let starts = stores.each_ref().map(|store| store.start);
                <W as Float<S>>::many(s, p, starts, tile);
                put_all(s, stores, tile, p.x.count, p.x.fine);
            } else if <W as Float<S>>::FINE && p.x.fine {
                stores[0].put(0, one::<S, W, 2>(s, p, stores[0].start));
            } else {
                stores[0].put(0, one::<S, W, 1>(s, p, stores[0].start));
            }
        }
    }
}

/// Rows that meet one token together: a single one would wait for its own chains.
const TWO: usize = 2;

/// Sixteen rows from `first` on times the one token's places. Meanwhile the rows behind are asked for, as in products with
/// quantized weights.
#[inline(always)]
fn one<S: Simd, W: Float<S>, const PLACES: usize>(s: S, p: &Product, first: usize) -> [f32; 16] {
    let mut results = [0.0; 16];
    for (i, results) in results.as_chunks_mut::<TWO>().0.iter_mut().enumerate() {
        // SAFETY: `Product::check` has seen them.
        let all = unsafe { chains::<S, W, TWO, PLACES, true>(s, p.rows(first + TWO * i), p.places(0)) };
        for (result, sums) in results.iter_mut().zip(all) {
            *result = s.sum(sums[0]) * p.x.scale;
            for place in 1..PLACES {
                *result += s.sum(sums[place]) * p.x.scale;
            }
        }
    }
    results
}

/// Bytes of the places that all rows meet before the next places do: they stay in the second-level cache.
const NEAR_PLACES: usize = 256 << 10;

/// All places times twice sixteen rows, which start at `starts`; `R` rows by `T` places at a time.
#[inline(always)]
pub(super) fn many<S: Simd, W: Float<S>, const R: usize, const T: usize>(
    s: S,
    p: &Product,
    starts: [usize; 2],
    tile: &mut Tile,
) {
    let sums = tile.sums(p.x.count);
    let row = |i: usize| p.weights.as_ptr().wrapping_add((starts[i / 16] + i % 16) * p.row_bytes);
    for places in near_places::<T>(p) {
        for i in (0..32).step_by(R) {
            let rows = Lines::of_32(i, p.row_bytes, row);
            // SAFETY: the rows are the product's.
            unsafe { meet::<S, W, R, T>(s, p, rows, i, places.clone(), sums) };
        }
    }
}

/// The places, as many at a time as stay near.
pub(super) fn near_places<const T: usize>(p: &Product) -> impl Iterator<Item = Range<usize>> {
    let (count, some) = (p.x.count, (NEAR_PLACES / p.x.bytes).max(1).next_multiple_of(T));
    (0..count).step_by(some).map(move |begin| begin..count.min(begin + some))
}

/// Some places times `R` rows, of which the first is row `row` of the thirty-two. What is behind the last one is dropped.
///
/// # Safety
/// The rows are still borrowed, aligned as their steps are, and as long as the places.
#[inline(always)]
pub(super) unsafe fn meet<S: Simd, W: Float<S>, const R: usize, const T: usize>(
    s: S,
    p: &Product,
    rows: Lines<R>,
    row: usize,
    places: Range<usize>,
    sums: &mut [Sums],
) {
    for place in places.step_by(T) {
        // SAFETY: the caller's contract, and `Product::check` has seen the places.
        let all = unsafe { chains::<S, W, R, T, false>(s, rows, p.places(place)) };
        for k in (0..R * T).step_by(4) {
            let at = |j: usize| ((k + j) % R, (k + j) / R % T);
            let four = s.sum4(std::array::from_fn(|j| all[at(j).0][at(j).1]));
            for j in 0..4.min(R * T - k) {
                let (row, t) = (row + at(j).0, place + at(j).1);
                if t < p.x.count && row < 32 {
                    sums[t / TOGETHER][row / 16][t % TOGETHER][row % 16] = four[j] * p.x.scale;
                }
            }
        }
    }
}

/// Rows or places: where each begins, and how long each is.
#[derive(Clone, Copy)]
pub(super) struct Lines<const N: usize> {
    pub starts: [*const u8; N],
    pub bytes: usize,
}

impl<const N: usize> Lines<N> {
    /// Lines of so many bytes, of which the `i`th begins at `start(i)`.
    #[inline(always)]
    fn new(bytes: usize, start: impl Fn(usize) -> *const u8) -> Self {
        let mut starts = [start(0); N];
        for i in 1..N {
            starts[i] = start(i);
        }
        Self { starts, bytes }
    }

    /// Of thirty-two lines, those from the `first` on. Behind the last one, it is taken again.
    #[inline(always)]
    pub(super) fn of_32(first: usize, bytes: usize, start: impl Fn(usize) -> *const u8) -> Self {
        Self::new(bytes, |i| start((first + i).min(31)))
    }

    /// # Safety
    /// In each line, the step is there and still borrowed, and begins where a `T` may.
    #[inline(always)]
    unsafe fn step<'a, T: Pod>(self, step: usize) -> [&'a T; N] {
        // SAFETY: the caller's contract; any bytes make a `T`.
        self.starts.map(|start| unsafe { &*start.add(step * size_of::<T>()).cast() })
    }

    /// The bytes that are left after so many steps, at most a step's, and zeros.
    ///
    /// # Safety
    /// The lines are still borrowed.
    #[cold]
    #[inline(never)]
    unsafe fn last<T: Pod>(self, step: usize, out: &mut [T; N]) {
        let before = step * size_of::<T>();
        for (start, out) in self.starts.iter().zip(out) {
            *out = T::zeroed();
            let count = size_of::<T>().min(self.bytes - before);
            // SAFETY: the line has those bytes, by the caller's contract.
            let rest = unsafe { std::slice::from_raw_parts(start.add(before), count) };
            bytes_of_mut(out)[..count].copy_from_slice(rest);
        }
    }
}

/// The chains of `R` rows and `T` places, `[row][place]`. Meanwhile as many bytes are asked for as are used here, which follow
/// the last row, if `AHEAD`.
///
/// # Safety
/// Rows and places are still borrowed, aligned as their steps are, and of as many steps; only the last may miss columns.
#[inline(always)]
unsafe fn chains<S: Simd, W: Float<S>, const R: usize, const T: usize, const AHEAD: bool>(
    s: S,
    rows: Lines<R>,
    x: Lines<T>,
) -> [[S::F; T]; R] {
    let mut chains = [[s.splat(0.0); T]; R];
    let (bytes, near) = (R * size_of::<W::Weights>(), AHEAD && S::weights_near());
    let ahead = rows.starts[R - 1].wrapping_add(rows.bytes);
    let (whole, mut rest) = (rows.bytes / size_of::<W::Weights>(), rows.bytes % size_of::<W::Weights>());
    let (mut last_rows, mut last_x) = ([W::Weights::zeroed(); R], [W::Activations::zeroed(); T]);
    let (mut row_steps, mut x_steps, mut steps) = (rows, x, whole);
    loop {
        for step in 0..steps {
            if AHEAD {
                let ahead = ahead.wrapping_add(step * bytes);
                s.prefetch_lines(ahead, bytes.div_ceil(64), near);
                if step * bytes % 512 == 0 {
                    s.prefetch(ahead.wrapping_add(MEMORY_PAGE)); // see [`super::quantized::fetch`]
                }
            }
            // SAFETY: they have these steps, by the caller's contract, or are whole ones made below.
            let (w, x) = unsafe { (row_steps.step(step), x_steps.step(step)) };
            chains = next::<S, W, R, T>(s, chains, w, x);
        }
        if rest == 0 {
            return chains;
        }
        // SAFETY: the caller's contract.
        unsafe {
            rows.last(whole, &mut last_rows);
            x.last(whole, &mut last_x);
        }
        row_steps.starts = last_rows.each_ref().map(|step| std::ptr::from_ref(step).cast());
        x_steps.starts = last_x.each_ref().map(|step| std::ptr::from_ref(step).cast());
        (steps, rest) = (1, 0);
    }
}

/// A step more.
#[inline(always)]
pub(super) fn next<S: Simd, W: Float<S>, const R: usize, const T: usize>(
    s: S,
    mut chains: [[S::F; T]; R],
    rows: [&W::Weights; R],
    x: [&W::Activations; T],
) -> [[S::F; T]; R] {
    for part in 0..W::PARTS {
        chains = s.part::<W, R, T>(chains, rows, x, part);
    }
    chains
}

/// A part of a step.
#[inline(always)]
pub(super) fn part<S: Simd, W: Float<S>, const R: usize, const T: usize>(
    s: S,
    mut chains: [[S::F; T]; R],
    rows: [&W::Weights; R],
    x: [&W::Activations; T],
    part: usize,
) -> [[S::F; T]; R] {
    let mut w = [W::weights(s, rows[0], part); R];
    for r in 1..R {
        w[r] = W::weights(s, rows[r], part);
    }
    for t in 0..T {
        let x = W::activations(s, x[t], part);
        for r in 0..R {
            chains[r][t] = W::fma(s, w[r], x, chains[r][t]);
        }
    }
    chains
}
