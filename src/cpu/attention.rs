//! Attention of some queries over the pages of one key-value head.
//!
//! A score is one chain over head_dim with the keys in the lanes, an output one chain over positions with the dimensions
//! in the lanes, for which pages are laid out as [`super::kv`] says. No horizontal sum is needed.
//!
//! The softmax of a page is computed on its own, with powers of two, since queries come multiplied with log2(e): m =
//! max score, p = 2^(score - m), l = sum of p, o = sum of p * value; pages are then merged in order (Milakov and
//! Gimelshein, 2018, arXiv:1805.02867):
//!
//! ```text
//! M' = max(M, m)    a = 2^(M - M')    b = 2^(m - M')    L' = fma(L, a, l * b)    O' = fma(O, a, o * b)
//! ```
//!
//! so a query's result does not depend on who else is computed with it, nor on who computes which page.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::kv::{Cache, FEW, KvType, MAX_HEAD_DIM, PAGE, Panels, Values, chains, fetch};
use super::math::exp2;
use super::panel::Panel;
use super::room;
use super::vector::{Simd, Task};

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
    /// `head_dim` values, already multiplied with the scale of scores and log2(e).
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

/// The weights of a page's positions. Aligned, as all that is loaded a register at a time: half of the others cross lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Weights([[f32; 16]; PAGE / 16]);

impl Weights {
    const NOTHING: Self = Self([[0.0; 16]; PAGE / 16]);

    #[inline(always)]
    fn load<S: Simd>(&self, s: S) -> [S::F; PAGE / 16] {
        let mut all = [s.splat(0.0); PAGE / 16];
        for (all, weights) in all.iter_mut().zip(&self.0) {
            *all = s.load(weights);
        }
        all
    }
}

/// Sixteen numbers that were widened.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Wide([f32; 16]);

/// Room for many queries that go through a head's pages together; made once, used again and again.
#[derive(Default)]
pub struct Room {
    running: Vec<Running>,
    weights: Vec<Weights>,
    wide: Vec<Wide>,
    /// For scores of integers.
    panels: Vec<Panels<2>>,
}

/// Queries that go through a page together at most: what they have on their way stays in the second cache.
const SHARING: usize = 96;

impl Room {
    /// How many of each part so many queries of a head need.
    fn lengths(queries: usize, head_dim: usize) -> [usize; 4] {
        let queries = queries.min(SHARING);
        [queries, queries, 2 * PAGE.max(head_dim), queries / 2]
    }

    /// Takes the memory for so many queries of a head, or says how many bytes could not be had.
    pub fn reserve(&mut self, queries: usize, head_dim: usize) -> Result<(), usize> {
        let no_memory = |_| Self::bytes(queries, head_dim);
        let [running, weights, wide, panels] = Self::lengths(queries, head_dim);
        room(&mut self.running, running).map_err(no_memory)?;
        room(&mut self.weights, weights).map_err(no_memory)?;
        room(&mut self.wide, wide).map_err(no_memory)?;
        room(&mut self.panels, panels).map_err(no_memory)
    }

    /// Bytes of that.
    pub fn bytes(queries: usize, head_dim: usize) -> usize {
        Self::sum(Self::lengths(queries, head_dim))
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        Self::sum([self.running.capacity(), self.weights.capacity(), self.wide.capacity(), self.panels.capacity()])
    }

    fn sum([running, weights, wide, panels]: [usize; 4]) -> usize {
        running * size_of::<Running>()
            + weights * size_of::<Weights>()
            + wide * size_of::<Wide>()
            + panels * size_of::<Panels<2>>()
    }
}

/// Computes attention for all queries, a few at a time so that they share what is loaded. Many go through each page
/// together, and share the widening of numbers, too: on Intel's CPUs, that takes a fifth of the time of eight, since it
/// goes to the ports of multiply-adds.
#[inline(always)]
pub(super) fn attend<S: Simd, K: Cache>(s: S, head: &HeadPages, queries: &mut [Query], room: &mut Room) {
    let mut rest = queries;
    // So many queries share what is widened. Of integers these are the values, and where two queries share what is loaded, that
    // is little enough for widening to be half of the work; two gain nothing by it, but need no code of their own then.
    let many = match S::QUERIES {
        2 if K::SCALED => 2,
        n if K::WIDENED => 2 * n,
        _ => usize::MAX,
    };
    while rest.len() >= many {
        let (queries, after) = rest.split_at_mut(rest.len().min(SHARING) / S::QUERIES * S::QUERIES);
        let Room { running, weights, wide, panels } = room;
        running.clear();
        running.resize(queries.len(), Running::NOTHING);
        weights.resize(queries.len(), Weights::NOTHING);
        wide.resize(2 * PAGE.max(head.head_dim), Wide([0.0; 16]));
        let wide = bytemuck::cast_slice_mut(wide);
        match S::QUERIES {
            8 => through::<S, K, 8, true>(s, head, queries, State { running, weights, wide, panels: &mut [] }),
            2 => {
                panels.resize(if K::SCALED { queries.len() / 2 } else { 0 }, [Panel::ZERO; _]);
                through::<S, K, 2, true>(s, head, queries, State { running, weights, wide, panels });
            }
            _ => through::<S, K, 1, true>(s, head, queries, State { running, weights, wide, panels: &mut [] }),
        }
        rest = after;
    }
    while !rest.is_empty() {
        let n = match rest.len().min(S::QUERIES).min(many - 1) {
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

/// `N` queries by themselves.
#[inline(always)]
fn some<S: Simd, K: Cache, const N: usize>(s: S, head: &HeadPages, queries: &mut [Query]) {
    let (mut running, mut weights) = ([Running::NOTHING; N], [Weights::NOTHING; N]);
    let panels = &mut [[Panel::ZERO; _]];
    let state = State { running: &mut running, weights: &mut weights, wide: &mut [], panels };
    through::<S, K, N, false>(s, head, queries, state);
}

/// Which of a page's positions a query sees: none if it ends before the page, or begins behind it.
#[derive(Clone, Copy)]
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

    /// Fills in what is not seen.
    #[inline(always)]
    fn hide(self, weights: &mut Weights, with: f32) {
        let weights = weights.0.as_flattened_mut();
        weights[..self.start].fill(with);
        weights[self.end..].fill(with);
    }
}

/// A query's softmax over the pages so far, and what it sees of the page at hand.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Running {
    out: [[f32; 16]; CHUNKS],
    soft: Soft,
    /// What the output so far and the page's own are multiplied with.
    factors: [f32; 2],
    seen: Seen,
}

/// The greatest score, and the sum of the weights that are relative to it.
#[derive(Clone, Copy)]
struct Soft {
    max: f32,
    sum: f32,
}

impl Running {
    const NOTHING: Self = Self {
        out: [[0.0; 16]; CHUNKS],
        soft: Soft { max: f32::NEG_INFINITY, sum: 0.0 },
        factors: [0.0; 2],
        seen: Seen { start: 0, end: 0 },
    };
}

/// What queries have on their way through a head's pages.
struct State<'a, const N: usize> {
    running: &'a mut [Running],
    /// By query, of the page at hand.
    weights: &'a mut [Weights],
    /// What is widened for all of them.
    wide: &'a mut [[f32; 16]],
    /// By group, if scores are of integers.
    panels: &'a mut [Panels<N>],
}

/// Groups of `N` queries go through all pages: one group, or any number that share what is widened.
#[inline(always)]
fn through<S: Simd, K: Cache, const N: usize, const WIDE: bool>(
    s: S,
    head: &HeadPages,
    queries: &mut [Query],
    state: State<N>,
) {
    let State { running, weights, wide, panels } = state;
    let first = queries.iter().map(|q| q.sees.start).min().unwrap_or(0);
    let end = queries.iter().map(|q| q.sees.end).max().unwrap_or(0);
    let groups = || queries.as_chunks::<N>().0.iter();
    for (queries, panels) in groups().zip(&mut *panels) {
        K::panels(s, numbers(queries), panels);
    }
    // Keys that are integers meet queries as they are.
    let wide_keys = WIDE && !K::SCALED;
    for page in first / PAGE..end.div_ceil(PAGE) {
        let part = head.part(page);
        let next = if (page + 1) * PAGE < end { head.part(page + 1) } else { part }.as_ptr();
        let reach = Seen::of(&(first..end), page);
        for tile in (reach.start / 32 * 2..reach.end.div_ceil(16)).step_by(2) {
            if wide_keys {
                widen::<S, K>(s, K::keys(part, head.head_dim, tile), wide);
            }
            if WIDE {
                let bytes = part.len() / (PAGE / 32);
                fetch(s, next.wrapping_add(tile / 2 * bytes), bytes);
            }
            for (g, (queries, weights)) in groups().zip(weights.as_chunks_mut::<N>().0).enumerate() {
                let scores = match wide_keys {
                    true => chains(s, wide, numbers(queries), None),
                    false => K::scores(s, part, tile, numbers(queries), &panels[g]),
                };
                for i in 0..N {
                    weights[i].0[tile] = s.to_array(scores[i][0]);
                    weights[i].0[tile + 1] = s.to_array(scores[i][1]);
                }
            }
        }
        let rest = running.as_chunks_mut::<N>().0.iter_mut().zip(weights.as_chunks_mut::<N>().0);
        for (queries, (running, weights)) in groups().zip(rest) {
            for i in 0..N {
                running[i].seen = Seen::of(&queries[i].sees, page);
            }
            s.call(Soften { queries: running, weights });
        }
        let mut values = K::values(part, head.head_dim);
        let mut scaled = [Weights::NOTHING; N];
        while values.first < values.registers {
            let at = values.first;
            let some = match values.registers - at {
                4.. if N <= 4 && !K::SCALED && !WIDE => 4,
                2.. => 2,
                _ => 1,
            };
            if WIDE {
                let wide = wide[some * reach.start..].chunks_exact_mut(some);
                for (j, wide) in (reach.start..reach.end).zip(wide) {
                    widen::<S, K>(s, values.of(j), wide);
                }
            }
            for (running, weights) in running.as_chunks_mut::<N>().0.iter_mut().zip(weights.as_chunks::<N>().0) {
                if K::SCALED {
                    scale::<S, K, N>(s, part, head.head_dim, at / 2, weights, &mut scaled);
                }
                let weights = if K::SCALED { &scaled } else { weights };
                let wide = Values { all: &*wide, registers: some, first: 0 };
                match some {
                    4 => add::<S, K, N, 4>(s, weights, values, Some(next), at, running),
                    2 if WIDE => add::<S, f32, N, 2>(s, weights, wide, None, at, running),
                    2 => add::<S, K, N, 2>(s, weights, values, Some(next), at, running),
                    _ if WIDE => add::<S, f32, N, 1>(s, weights, wide, None, at, running),
                    _ => add::<S, K, N, 1>(s, weights, values, Some(next), at, running),
                }
            }
            values.first += some;
        }
    }
    for (query, running) in queries.iter_mut().zip(running) {
        let (out, part) = query.out.split_at_mut(head.head_dim);
        match part {
            [max, sum] => {
                (*max, *sum) = (running.soft.max, running.soft.sum);
                out.copy_from_slice(&running.out.as_flattened()[..head.head_dim]);
            }
            _ => {
                let inverse = 1.0 / running.soft.sum;
                for (out, o) in out.iter_mut().zip(running.out.as_flattened()) {
                    *out = o * inverse;
                }
            }
        }
    }
}

/// The first queries' numbers.
#[inline(always)]
fn numbers<'a, const N: usize>(queries: &[Query<'a>]) -> [&'a [f32]; N] {
    let mut numbers: [&[f32]; N] = [&[]; N];
    for (numbers, query) in numbers.iter_mut().zip(queries) {
        *numbers = query.q;
    }
    numbers
}

/// Widens numbers for all that share them.
#[inline(always)]
fn widen<S: Simd, K: Cache>(s: S, numbers: &[[K::Value; 16]], wide: &mut [[f32; 16]]) {
    for (wide, numbers) in wide.iter_mut().zip(numbers) {
        *wide = s.to_array(K::load(s, numbers));
    }
}

/// Merges a part into the part of all pages before it.
#[inline(always)]
pub(super) fn merge_part<S: Simd>(s: S, so_far: &mut [f32], part: &[f32]) {
    let (out, [max, sum]) = so_far.split_last_chunk_mut::<PART>().expect("a part");
    let (o, [m, l]) = part.split_last_chunk::<PART>().expect("a part");
    let mut soft = [Soft { max: *max, sum: *sum }];
    let [[a, b]] = merge(s, &mut soft, [Soft { max: *m, sum: *l }]);
    [Soft { max: *max, sum: *sum }] = soft;
    for (out, o) in out.iter_mut().zip(o) {
        *out = out.mul_add(a, o * b);
    }
}

/// Turns the scores that queries see into 2^(score - max), the others into zeros, and merges what that gives. One step for
/// all queries, then the next, and without a branch on what is seen, so that none of them waits for the step before it.
struct Soften<'a, 'b, const N: usize> {
    queries: &'a mut [Running; N],
    weights: &'b mut [Weights; N],
}

impl<S: Simd, const N: usize> Task<S> for Soften<'_, '_, N> {
    #[inline(always)]
    fn run(self, s: S) {
        let Self { queries, weights } = self;
        let mut soft = [Soft { max: 0.0, sum: 0.0 }; N];
        for i in 0..N {
            queries[i].seen.hide(&mut weights[i], f32::NEG_INFINITY);
            soft[i].max = s.greatest(pairwise(weights[i].load(s), |a, b| s.max(a, b)));
        }
        for i in 0..N {
            let (all, max) = (weights[i].load(s), s.splat(soft[i].max));
            for (p, x) in weights[i].0.iter_mut().zip(all) {
                *p = s.to_array(exp2(s, s.sub(x, max)));
            }
        }
        for i in 0..N {
            queries[i].seen.hide(&mut weights[i], 0.0);
            soft[i].sum = s.sum(pairwise(weights[i].load(s), |a, b| s.add(a, b)));
        }
        let mut so_far = soft;
        for i in 0..N {
            so_far[i] = queries[i].soft;
        }
        let factors = merge(s, &mut so_far, soft);
        for i in 0..N {
            (queries[i].soft, queries[i].factors) = (so_far[i], factors[i]);
        }
    }
}

/// Neighbours first, then neighbouring pairs, and so on.
#[inline(always)]
fn pairwise<F: Copy>(mut all: [F; PAGE / 16], f: impl Fn(F, F) -> F) -> F {
    let mut step = 1;
    while step < all.len() {
        for i in (0..all.len()).step_by(2 * step) {
            all[i] = f(all[i], all[i + step]);
        }
        step *= 2;
    }
    all[0]
}

/// Merges pages' maximums and sums with those so far; gives what outputs so far and the pages' own are multiplied with.
#[inline(always)]
fn merge<S: Simd, const N: usize>(s: S, so_far: &mut [Soft; N], own: [Soft; N]) -> [[f32; 2]; N] {
    const { assert!(2 * N <= 16) };
    let mut powers = [0.0; 16];
    let mut greatest = [0.0; N];
    for i in 0..N {
        greatest[i] = if so_far[i].max > own[i].max { so_far[i].max } else { own[i].max };
        powers[i] = so_far[i].max - greatest[i];
        powers[N + i] = own[i].max - greatest[i];
    }
    let powers = s.to_array(exp2(s, s.load(&powers)));
    let mut factors = [[0.0; 2]; N];
    for i in 0..N {
        let [a, b] = [powers[i], powers[N + i]];
        so_far[i] = Soft { max: greatest[i], sum: so_far[i].sum.mul_add(a, own[i].sum * b) };
        factors[i] = [a, b];
    }
    factors
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
            scaled[i].0[tile] = s.to_array(s.mul(s.load(&weights[i].0[tile]), scale));
        }
    }
}

/// Adds `R` registers of a page's values to those of the outputs from register `at` on. A few queries ask for what lies at
/// `next` meanwhile, which are the keys of the next page, when they begin; without it, the values are just these registers.
#[inline(always)]
fn add<S: Simd, K: Cache, const N: usize, const R: usize>(
    s: S,
    weights: &[Weights; N],
    values: Values<K::Value>,
    next: Option<*const u8>,
    at: usize,
    running: &mut [Running; N],
) {
    let mut acc = [[s.splat(0.0); R]; N];
    // What all see, they see together; each chain still walks its own positions in order.
    let start = running.iter().map(|query| query.seen.start).max().unwrap_or(0);
    let end = running.iter().map(|query| query.seen.end).min().unwrap_or(0);
    let (start, end) = if start < end { (start, end) } else { (PAGE, PAGE) };
    for i in 0..N {
        let Seen { start: from, end: to } = running[i].seen;
        acc[i] = weigh::<S, K, R>(s, acc[i], &weights[i], values, from..to.min(start));
    }
    let mut these: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        these[i] = &weights[i].0.as_flattened()[start..end];
    }
    // What was widened has just these registers: so nothing needs to be checked for each position.
    let all = if next.is_none() { &values.all.as_chunks::<R>().0[start..end] } else { &[] };
    for j in 0..end - start {
        if let (true, Some(next)) = (N <= FEW && at == 0, next) {
            let bytes = values.registers * 16 * size_of::<K::Value>();
            fetch(s, next.wrapping_add((start + j) * bytes), bytes);
        }
        let v: &[_; R] = match next {
            None => &all[j],
            Some(_) => values.of(start + j).first_chunk().expect("R registers"),
        };
        let mut wide = [s.splat(0.0); R];
        for r in 0..R {
            wide[r] = K::load(s, &v[r]);
        }
        for i in 0..N {
            let w = s.splat(these[i][j]);
            for r in 0..R {
                acc[i][r] = s.fma(w, wide[r], acc[i][r]);
            }
        }
    }
    for (i, query) in running.iter_mut().enumerate() {
        let Seen { start: from, end: to } = query.seen;
        acc[i] = weigh::<S, K, R>(s, acc[i], &weights[i], values, from.max(end)..to);
        if from < to {
            let (so_far, own) = (s.splat(query.factors[0]), s.splat(query.factors[1]));
            for r in 0..R {
                let out = &mut query.out[at + r];
                *out = s.to_array(s.fma(s.load(out), so_far, s.mul(acc[i][r], own)));
            }
        }
    }
}

/// Adds some positions' values, by their weights, to `R` registers of one query's output.
#[inline(always)]
fn weigh<S: Simd, K: Cache, const R: usize>(
    s: S,
    mut acc: [S::F; R],
    Weights(weights): &Weights,
    values: Values<K::Value>,
    positions: Range<usize>,
) -> [S::F; R] {
    for j in positions {
        let w = s.splat(weights[j / 16][j % 16]);
        for r in 0..R {
            acc[r] = s.fma(w, K::load(s, &values.of(j)[r]), acc[r]);
        }
    }
    acc
}
