//! Attention of some queries over the pages of one key-value head.
//!
//! A page holds [`PAGE`] positions. Its keys lie head_dim-major in tiles of sixteen positions, `[tile][dim][16]`, so
//! that a score is one chain over head_dim with the keys in the lanes; its values lie `[position][dim]`, the
//! dimensions padded to a multiple of 16, so that an output is one chain over positions with the dimensions in the
//! lanes. No horizontal sum is needed.
//!
//! The softmax of a page is computed on its own: m = max score, p = exp(score - m), l = sum of p, o = sum of p * value;
//! pages are then merged in order (Milakov and Gimelshein, 2018, arXiv:1805.02867):
//!
//! ```text
//! M' = max(M, m)    a = exp(M - M')    b = exp(m - M')    L' = fma(L, a, l * b)    O' = fma(O, a, o * b)
//! ```
//!
//! so a query's result does not depend on who else is computed with it, nor on who computes which page.

use std::ops::Range;

use super::math::exp;
use super::vector::Simd;

/// Positions in a page.
pub const PAGE: usize = 128;

/// What the cache holds keys and values as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KvType {
    /// Half precision: what is lost is small beside what quantized weights lose.
    #[default]
    F16,
    /// As they are computed, in twice the memory.
    F32,
}

impl KvType {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::F16, Self::F32];

    /// "f16" or "f32".
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// An element of the cache: f16 bits, or f32.
pub(super) trait Element: Copy {
    /// Whether there is code for four queries and for one only: each number of them takes twenty kilobytes, and who keeps
    /// f32 is after the last bit, not speed.
    const FEW: bool;

    fn load<S: Simd>(s: S, x: &[Self; 16]) -> S::F;
    fn round<S: Simd>(s: S, x: S::F) -> [Self; 16];
}

impl Element for u16 {
    const FEW: bool = false;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[u16; 16]) -> S::F {
        s.load_f16(x)
    }
    #[inline(always)]
    fn round<S: Simd>(s: S, x: S::F) -> [u16; 16] {
        s.to_f16(x)
    }
}

impl Element for f32 {
    const FEW: bool = true;

    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32; 16]) -> S::F {
        s.load(x)
    }
    #[inline(always)]
    fn round<S: Simd>(s: S, x: S::F) -> [f32; 16] {
        s.to_array(x)
    }
}

/// Where one key-value head's keys and values lie in each page of a sequence.
pub struct HeadPages<'a, E> {
    /// The pages, in the order of their positions.
    pub pages: &'a [&'a [E]],
    /// Where the head's keys begin in every page; its values follow them.
    pub at: usize,
    /// Elements of a key and of a value.
    pub head_dim: usize,
}

/// A head's dimensions as they are stored with its values: padded to whole registers.
pub const fn padded_dim(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// The elements that one head's keys and values take in a page.
pub const fn head_page_len(head_dim: usize) -> usize {
    PAGE * (head_dim + padded_dim(head_dim))
}

/// Where in a head's part an element of the key of a position lies.
pub const fn key_at(head_dim: usize, position: usize, dim: usize) -> usize {
    let slot = position % PAGE;
    (slot / 16 * head_dim + dim) * 16 + slot % 16
}

/// Where in a head's part an element of the value of a position lies.
pub const fn value_at(head_dim: usize, position: usize, dim: usize) -> usize {
    PAGE * head_dim + position % PAGE * padded_dim(head_dim) + dim
}

impl<'a, E> HeadPages<'a, E> {
    fn keys(&self, page: usize) -> &'a [[E; 16]] {
        self.pages[page][self.at..][..PAGE * self.head_dim].as_chunks().0
    }

    fn values(&self, page: usize) -> &'a [[E; 16]] {
        let len = PAGE * padded_dim(self.head_dim);
        self.pages[page][self.at + PAGE * self.head_dim..][..len].as_chunks().0
    }
}

/// Writes one position's key and value (`head_dim` each) into a page's part for one head.
#[inline(always)]
pub(super) fn store<S: Simd, E: Element>(s: S, head: &mut [E], position: usize, key: &[f32], value: &[f32]) {
    let (dim, slot) = (key.len(), position % PAGE);
    let (keys, values) = head.split_at_mut(PAGE * dim);
    for (chunk, d) in (0..dim).step_by(16).enumerate() {
        let n = 16.min(dim - d);
        let key = E::round(s, s.load(&super::math::padded(&key[d..d + n])));
        for i in 0..n {
            keys[key_at(dim, position, d + i)] = key[i];
        }
        let value = E::round(s, s.load(&super::math::padded(&value[d..d + n])));
        values[slot * padded_dim(dim) + 16 * chunk..][..16].copy_from_slice(&value);
    }
}

/// One query and where its result goes.
pub struct Query<'a> {
    /// `head_dim` values, already scaled.
    pub q: &'a [f32],
    /// Positions it sees, at least one.
    pub sees: Range<usize>,
    /// `head_dim` values.
    pub out: &'a mut [f32],
}

/// The greatest head_dim that the kernels take.
pub const MAX_HEAD_DIM: usize = 256;

/// Registers' worth of a head's output.
const CHUNKS: usize = MAX_HEAD_DIM / 16;

/// The weights of a page's positions.
type Weights = [[f32; 16]; PAGE / 16];

/// Computes attention for all queries, a few at a time so that they share what is loaded.
#[inline(always)]
pub(super) fn attend<S: Simd, E: Element>(s: S, head: &HeadPages<E>, queries: &mut [Query]) {
    let mut rest = queries;
    while !rest.is_empty() {
        let n = match rest.len().min(S::QUERIES) {
            8.. if !E::FEW => 8,
            4.. => 4,
            _ if E::FEW => 1,
            n => n,
        };
        let (queries, after) = rest.split_at_mut(n);
        match n {
            8 if !E::FEW => some::<S, E, 8>(s, head, queries),
            4 => some::<S, E, 4>(s, head, queries),
            3 if !E::FEW => some::<S, E, 3>(s, head, queries),
            2 if !E::FEW => some::<S, E, 2>(s, head, queries),
            _ => some::<S, E, 1>(s, head, queries),
        }
        rest = after;
    }
}

/// Which of a page's positions a query sees: none if it ends before the page, or begins behind it.
#[derive(Clone, Copy, Default)]
struct Seen {
    start: usize,
    end: usize,
}

impl Seen {
    #[inline(always)]
    fn of(sees: &Range<usize>, page: usize) -> Self {
        let within = |position: usize| position.saturating_sub(page * PAGE).min(PAGE);
        Self { start: within(sees.start), end: within(sees.end) }
    }
}

/// A query's softmax over the pages so far.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
    out: [[f32; 16]; CHUNKS],
}

#[inline(always)]
fn some<S: Simd, E: Element, const N: usize>(s: S, head: &HeadPages<E>, queries: &mut [Query]) {
    let mut running = [Running { max: f32::NEG_INFINITY, sum: 0.0, out: [[0.0; 16]; CHUNKS] }; N];
    let first = queries.iter().map(|q| q.sees.start).min().unwrap_or(0);
    let end = queries.iter().map(|q| q.sees.end).max().unwrap_or(0);
    for page in first / PAGE..end.div_ceil(PAGE) {
        let mut weights = [[[0.0f32; 16]; PAGE / 16]; N];
        scores::<S, E, N>(s, head, page, queries, first..end, &mut weights);
        let mut seen = [Seen::default(); N];
        let mut factors = [[0.0; 2]; N];
        for i in 0..N {
            seen[i] = Seen::of(&queries[i].sees, page);
            let max = soften(s, &mut weights[i], seen[i]);
            factors[i] = merge_sums(s, &mut running[i], max, total(s, &weights[i]));
        }
        let mut chunk = 0;
        let chunks = padded_dim(head.head_dim) / 16;
        while chunk < chunks {
            chunk += match chunks - chunk {
                4.. if N <= 4 => values::<S, E, N, 4>(s, head, page, &weights, seen, chunk, &mut running, factors),
                2.. => values::<S, E, N, 2>(s, head, page, &weights, seen, chunk, &mut running, factors),
                _ => values::<S, E, N, 1>(s, head, page, &weights, seen, chunk, &mut running, factors),
            };
        }
    }
    for (query, running) in queries.iter_mut().zip(&running) {
        let inverse = 1.0 / running.sum;
        for (out, o) in query.out.iter_mut().zip(running.out.as_flattened()) {
            *out = o * inverse;
        }
    }
}

/// Scores of the page's positions among `positions`, in whole tiles.
#[inline(always)]
fn scores<S: Simd, E: Element, const N: usize>(
    s: S,
    head: &HeadPages<E>,
    page: usize,
    queries: &[Query],
    positions: Range<usize>,
    weights: &mut [Weights; N],
) {
    const TILES: usize = 2;
    let dim = head.head_dim;
    let keys = head.keys(page);
    let mut q: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        q[i] = &queries[i].q[..dim];
    }
    let Seen { start, end } = Seen::of(&positions, page);
    for tile in (start / (16 * TILES) * TILES..end.div_ceil(16)).step_by(TILES) {
        let (a, b) = (&keys[tile * dim..][..dim], &keys[(tile + 1) * dim..][..dim]);
        let mut acc = [[s.splat(0.0); TILES]; N];
        for d in 0..dim {
            let (a, b) = (E::load(s, &a[d]), E::load(s, &b[d]));
            for i in 0..N {
                let q = s.splat(q[i][d]);
                acc[i][0] = s.fma(q, a, acc[i][0]);
                acc[i][1] = s.fma(q, b, acc[i][1]);
            }
        }
        for i in 0..N {
            for j in 0..TILES {
                weights[i][tile + j] = s.to_array(acc[i][j]);
            }
        }
    }
}

/// Turns the scores that are seen into exp(score - max), the others into zeros, and gives the maximum.
#[inline(always)]
fn soften<S: Simd>(s: S, p: &mut Weights, seen: Seen) -> f32 {
    let tiles = seen.start / 16..seen.end.div_ceil(16);
    p.as_flattened_mut()[..seen.start].fill(f32::NEG_INFINITY);
    p.as_flattened_mut()[seen.end..].fill(f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for p in &p[tiles.clone()] {
        max = s.max(s.load(p), max);
    }
    let max = s.greatest(max);
    for p in &mut p[tiles] {
        *p = s.to_array(exp(s, s.sub(s.load(p), s.splat(max))));
    }
    p.as_flattened_mut()[..seen.start].fill(0.0);
    p.as_flattened_mut()[seen.end..].fill(0.0);
    max
}

/// The sum of a page's weights: sixteen lanes by position mod 16, then the fixed tree.
#[inline(always)]
fn total<S: Simd>(s: S, p: &Weights) -> f32 {
    let mut sum = s.splat(0.0);
    for p in p {
        sum = s.add(sum, s.load(p));
    }
    s.sum(sum)
}

/// Merges a page's maximum and sum; gives the factors of the output so far and of the page's own.
#[inline(always)]
fn merge_sums<S: Simd>(s: S, running: &mut Running, max: f32, sum: f32) -> [f32; 2] {
    let greatest = if running.max > max { running.max } else { max };
    let mut factors = [0.0; 16];
    (factors[0], factors[1]) = (running.max - greatest, max - greatest);
    let factors = s.to_array(exp(s, s.load(&factors)));
    running.sum = running.sum.mul_add(factors[0], sum * factors[1]);
    running.max = greatest;
    [factors[0], factors[1]]
}

/// Merges a page's values into `C` registers of the outputs, from register `chunk` on; gives `C`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the locals of one loop body, which exists for three sizes
fn values<S: Simd, E: Element, const N: usize, const C: usize>(
    s: S,
    head: &HeadPages<E>,
    page: usize,
    weights: &[Weights; N],
    seen: [Seen; N],
    chunk: usize,
    running: &mut [Running; N],
    factors: [[f32; 2]; N],
) -> usize {
    let chunks = padded_dim(head.head_dim) / 16;
    let values = head.values(page);
    let mut acc = [[s.splat(0.0); C]; N];
    // What all see, they see together; each chain still walks its own positions in order.
    let start = seen.iter().map(|seen| seen.start).max().unwrap_or(0);
    let end = seen.iter().map(|seen| seen.end).min().unwrap_or(0);
    let (start, end) = if start < end { (start, end) } else { (PAGE, PAGE) };
    for i in 0..N {
        let before = seen[i].start..seen[i].end.min(start);
        acc[i] = weigh(s, acc[i], &weights[i], values, chunks, chunk, before);
    }
    for j in start..end {
        let v: &[[E; 16]; C] = values[j * chunks + chunk..][..C].try_into().expect("C registers");
        let mut wide = [s.splat(0.0); C];
        for c in 0..C {
            wide[c] = E::load(s, &v[c]);
        }
        for i in 0..N {
            let w = s.splat(weights[i][j / 16][j % 16]);
            for c in 0..C {
                acc[i][c] = s.fma(w, wide[c], acc[i][c]);
            }
        }
    }
    for i in 0..N {
        acc[i] = weigh(s, acc[i], &weights[i], values, chunks, chunk, seen[i].start.max(end)..seen[i].end);
        if seen[i].start < seen[i].end {
            let (so_far, own) = (s.splat(factors[i][0]), s.splat(factors[i][1]));
            for c in 0..C {
                let out = &mut running[i].out[chunk + c];
                *out = s.to_array(s.fma(s.load(out), so_far, s.mul(acc[i][c], own)));
            }
        }
    }
    C
}

/// Adds some positions' values, by their weights, to `C` registers of one query's output.
#[inline(always)]
fn weigh<S: Simd, E: Element, const C: usize>(
    s: S,
    mut acc: [S::F; C],
    weights: &Weights,
    values: &[[E; 16]],
    chunks: usize,
    chunk: usize,
    positions: Range<usize>,
) -> [S::F; C] {
    for j in positions {
        let w = s.splat(weights[j / 16][j % 16]);
        for c in 0..C {
            acc[c] = s.fma(w, E::load(s, &values[j * chunks + chunk + c]), acc[c]);
        }
    }
    acc
}
