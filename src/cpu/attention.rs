//! Attention of some queries over the pages of one key-value head.
//!
//! A score is one chain over head_dim with the keys in the lanes, an output one chain over positions with the dimensions
//! in the lanes, for which pages are laid out as [`super::kv`] says. No horizontal sum is needed.
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

use super::kv::{Cache, FEW, KvType, MAX_HEAD_DIM, PAGE, Panels, Values, fetch};
use super::math::exp;
use super::panel::Panel;
use super::vector::Simd;

/// One key-value head in the pages of a sequence.
pub struct HeadPages<'a> {
    /// What keys and values are kept as.
    pub ty: KvType,
    /// The pages, in the order of their positions.
    pub pages: &'a [&'a [u8]],
    /// Where the head's part begins in every page, in bytes.
    pub at: usize,
    /// Elements of a key and of a value.
    pub head_dim: usize,
}

impl<'a> HeadPages<'a> {
    /// The head's part of a page.
    fn part(&self, page: usize) -> &'a [u8] {
        &self.pages[page][self.at..][..self.ty.part_bytes(self.head_dim)]
    }
}

/// One query and where its result goes.
pub struct Query<'a> {
    /// `head_dim` values, already scaled.
    pub q: &'a [f32],
    /// Positions it sees, at least one.
    pub sees: Range<usize>,
    /// `head_dim` values; or a [`part`](PART) of them, if `sees` is within one page.
    pub out: &'a mut [f32],
}

/// What a query makes of some of its positions takes so many values more than its result: behind the weighted sum of the
/// values the greatest score and the sum of the weights. Parts, one for each page, are put together by `Kernels::merge`.
pub const PART: usize = 2;

/// Registers' worth of a head's output.
const CHUNKS: usize = MAX_HEAD_DIM / 16;

/// The weights of a page's positions.
type Weights = [[f32; 16]; PAGE / 16];

/// Computes attention for all queries, a few at a time so that they share what is loaded.
#[inline(always)]
pub(super) fn attend<S: Simd, K: Cache>(s: S, head: &HeadPages, queries: &mut [Query]) {
    let mut rest = queries;
    while !rest.is_empty() {
        let n = match rest.len().min(S::QUERIES) {
            8.. if !K::FEW => 8,
            4.. => 4,
            _ if K::FEW => 1,
            n => n,
        };
        let (queries, after) = rest.split_at_mut(n);
        match n {
            8 if !K::FEW => some::<S, K, 8>(s, head, queries),
            4 => some::<S, K, 4>(s, head, queries),
            3 if !K::FEW => some::<S, K, 3>(s, head, queries),
            2 if !K::FEW => some::<S, K, 2>(s, head, queries),
            _ => some::<S, K, 1>(s, head, queries),
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
fn some<S: Simd, K: Cache, const N: usize>(s: S, head: &HeadPages, queries: &mut [Query]) {
    let mut running = [Running { max: f32::NEG_INFINITY, sum: 0.0, out: [[0.0; 16]; CHUNKS] }; N];
    let first = queries.iter().map(|q| q.sees.start).min().unwrap_or(0);
    let end = queries.iter().map(|q| q.sees.end).max().unwrap_or(0);
    let mut q: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        q[i] = queries[i].q;
    }
    let mut panels: Panels<N> = [Panel::ZERO; _];
    K::panels(s, q, &mut panels);
    for page in first / PAGE..end.div_ceil(PAGE) {
        let part = head.part(page);
        let next = if (page + 1) * PAGE < end { head.part(page + 1) } else { part }.as_ptr();
        let mut weights = [[[0.0f32; 16]; PAGE / 16]; N];
        let reach = Seen::of(&(first..end), page);
        for tile in (reach.start / 32 * 2..reach.end.div_ceil(16)).step_by(2) {
            let scores = K::scores(s, part, tile, q, &panels);
            for i in 0..N {
                weights[i][tile] = s.to_array(scores[i][0]);
                weights[i][tile + 1] = s.to_array(scores[i][1]);
            }
        }
        let mut seen = [Seen::default(); N];
        let mut factors = [[0.0; 2]; N];
        for i in 0..N {
            seen[i] = Seen::of(&queries[i].sees, page);
            let max = soften(s, &mut weights[i], seen[i]);
            let Running { max: so_far, sum, .. } = &mut running[i];
            factors[i] = self::factors(s, so_far, sum, max, total(s, &weights[i]));
        }
        let values = K::values(part, head.head_dim);
        let mut scaled = weights;
        let mut at = 0;
        while at < values.registers {
            if K::SCALED {
                scale::<S, K, N>(s, part, head.head_dim, at / 2, &weights, &mut scaled);
            }
            let page = Page { weights: if K::SCALED { &scaled } else { &weights }, seen, values, factors, next };
            at += match values.registers - at {
                4.. if N <= 4 && !K::SCALED => add::<S, K, N, 4>(s, &page, at, &mut running),
                2.. => add::<S, K, N, 2>(s, &page, at, &mut running),
                _ => add::<S, K, N, 1>(s, &page, at, &mut running),
            };
        }
    }
    for (query, running) in queries.iter_mut().zip(&running) {
        let (out, part) = query.out.split_at_mut(head.head_dim);
        match part {
            [max, sum] => {
                (*max, *sum) = (running.max, running.sum);
                out.copy_from_slice(&running.out.as_flattened()[..head.head_dim]);
            }
            _ => {
                let inverse = 1.0 / running.sum;
                for (out, o) in out.iter_mut().zip(running.out.as_flattened()) {
                    *out = o * inverse;
                }
            }
        }
    }
}

/// Merges a part into the part of all pages before it.
#[inline(always)]
pub(super) fn merge_part<S: Simd>(s: S, so_far: &mut [f32], part: &[f32]) {
    let (out, [max, sum]) = so_far.split_last_chunk_mut::<PART>().expect("a part");
    let (o, [m, l]) = part.split_last_chunk::<PART>().expect("a part");
    let [a, b] = factors(s, max, sum, *m, *l);
    for (out, o) in out.iter_mut().zip(o) {
        *out = out.mul_add(a, o * b);
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

/// Merges a page's maximum and sum with those so far; gives the factors of the output so far and of the page's own.
#[inline(always)]
fn factors<S: Simd>(s: S, so_far_max: &mut f32, so_far_sum: &mut f32, max: f32, sum: f32) -> [f32; 2] {
    let greatest = if *so_far_max > max { *so_far_max } else { max };
    let mut factors = [0.0; 16];
    (factors[0], factors[1]) = (*so_far_max - greatest, max - greatest);
    let factors = s.to_array(exp(s, s.load(&factors)));
    *so_far_sum = so_far_sum.mul_add(factors[0], sum * factors[1]);
    *so_far_max = greatest;
    [factors[0], factors[1]]
}

/// The weights as they apply to block `block` of the values: times the scale that each position has there.
#[inline(always)]
fn scale<S: Simd, K: Cache, const N: usize>(
    s: S,
    part: &[u8],
    head_dim: usize,
    block: usize,
    weights: &[Weights; N],
    scaled: &mut [Weights; N],
) {
    for tile in 0..PAGE / 16 {
        let scale = K::value_scales(s, part, head_dim, block, tile);
        for i in 0..N {
            scaled[i][tile] = s.to_array(s.mul(s.load(&weights[i][tile]), scale));
        }
    }
}

/// A page's values, and how they count.
struct Page<'a, V, const N: usize> {
    weights: &'a [Weights; N],
    seen: [Seen; N],
    values: Values<'a, V>,
    /// What is asked for meanwhile: the keys of the next page.
    next: *const u8,
    factors: [[f32; 2]; N],
}

/// Adds a page's values to `R` registers of the outputs, from register `at` on; gives `R`.
#[inline(always)]
fn add<S: Simd, K: Cache, const N: usize, const R: usize>(
    s: S,
    page: &Page<K::Value, N>,
    at: usize,
    running: &mut [Running; N],
) -> usize {
    let Page { weights, seen, values, factors, next } = *page;
    let mut acc = [[s.splat(0.0); R]; N];
    // What all see, they see together; each chain still walks its own positions in order.
    let start = seen.iter().map(|seen| seen.start).max().unwrap_or(0);
    let end = seen.iter().map(|seen| seen.end).min().unwrap_or(0);
    let (start, end) = if start < end { (start, end) } else { (PAGE, PAGE) };
    for i in 0..N {
        let before = seen[i].start..seen[i].end.min(start);
        acc[i] = weigh::<S, K, R>(s, acc[i], &weights[i], values, at, before);
    }
    for j in start..end {
        if N <= FEW && at == 0 {
            let bytes = values.registers * 16 * size_of::<K::Value>();
            fetch(s, next.wrapping_add(j * bytes), bytes);
        }
        let v: &[[K::Value; 16]; R] = values.of(j)[at..][..R].try_into().expect("R registers");
        let mut wide = [s.splat(0.0); R];
        for r in 0..R {
            wide[r] = K::load(s, &v[r]);
        }
        for i in 0..N {
            let w = s.splat(weights[i][j / 16][j % 16]);
            for r in 0..R {
                acc[i][r] = s.fma(w, wide[r], acc[i][r]);
            }
        }
    }
    for i in 0..N {
        let after = seen[i].start.max(end)..seen[i].end;
        acc[i] = weigh::<S, K, R>(s, acc[i], &weights[i], values, at, after);
        if seen[i].start < seen[i].end {
            let (so_far, own) = (s.splat(factors[i][0]), s.splat(factors[i][1]));
            for r in 0..R {
                let out = &mut running[i].out[at + r];
                *out = s.to_array(s.fma(s.load(out), so_far, s.mul(acc[i][r], own)));
            }
        }
    }
    R
}

/// Adds some positions' values, by their weights, to `R` registers of one query's output.
#[inline(always)]
fn weigh<S: Simd, K: Cache, const R: usize>(
    s: S,
    mut acc: [S::F; R],
    weights: &Weights,
    values: Values<K::Value>,
    at: usize,
    positions: Range<usize>,
) -> [S::F; R] {
    for j in positions {
        let w = s.splat(weights[j / 16][j % 16]);
        for r in 0..R {
            acc[r] = s.fma(w, K::load(s, &values.of(j)[at + r]), acc[r]);
        }
    }
    acc
}
