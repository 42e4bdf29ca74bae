//! Matrix products with float weights: F32, F16 and BF16 rows against f32 activations.
//!
//! Sixteen chains for every output element, on every CPU, as for all sums of floats: column `c` belongs to chain `c mod 16`,
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
//! rows by three tokens.
//!
//! A product takes a fused multiply-add for every sixteen weights, so that two a cycle are the limit: a prompt reaches
//! more than eight tenths of it.

use std::marker::PhantomData;

use super::math::padded;
use super::quantized::{MEMORY_PAGE, Store, put_all};
use super::scalar::Scalar;
use super::tile::{Sums, TOGETHER, Tile};
use super::vector::{Simd, Task};

/// A float element type as it lies in the file.
pub(super) trait Float {
    /// The bytes of one, which need not be aligned.
    type Element: bytemuck::Pod + Default;

    /// Sixteen of them.
    fn load<S: Simd>(s: S, x: &[Self::Element; 16]) -> S::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Float for F32 {
    type Element = [u8; 4];
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[[u8; 4]; 16]) -> S::F {
        s.load(&bytemuck::cast(*x))
    }
}

impl Float for F16 {
    type Element = [u8; 2];
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[[u8; 2]; 16]) -> S::F {
        s.load_f16(&bytemuck::cast(*x))
    }
}

impl Float for BF16 {
    type Element = [u8; 2];
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[[u8; 2]; 16]) -> S::F {
        s.load_bf16(&bytemuck::cast(*x))
    }
}

/// The weights and the tokens of one product, and where its results go.
pub(super) struct Product<'a> {
    /// All rows of the matrix.
    pub weights: &'a [u8],
    pub rows: usize,
    pub cols: usize,
    /// The tokens, `[token][col]`.
    pub x: &'a [f32],
    /// Element `[token][row]` goes to `out + token * out_stride + row`.
    pub out: *mut f32,
    pub out_stride: usize,
}

impl Product<'_> {
    fn row<W: Float>(&self, row: usize) -> &[W::Element] {
        &bytemuck::cast_slice(self.weights)[row * self.cols..][..self.cols]
    }

    fn token(&self, token: usize) -> &[f32] {
        &self.x[token * self.cols..][..self.cols]
    }
}

/// Computes rows `first..last`, one at a time.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
pub(super) unsafe fn scalar<W: Float>(p: &Product, first: usize, last: usize, _tile: &mut Tile) {
    for t in 0..p.x.len() / p.cols {
        for row in first..last {
            let mut chains = [0.0f32; 16];
            for (w, x) in p.row::<W>(row).chunks(16).zip(p.token(t).chunks(16)) {
                let (w, x) = (W::load(Scalar, &padded(w)), padded(x));
                for lane in 0..16 {
                    chains[lane] = w[lane].mul_add(x[lane], chains[lane]);
                }
            }
            // SAFETY: the caller's contract.
            unsafe { p.out.add(t * p.out_stride + row).write(Scalar.sum(chains)) };
        }
    }
}

/// Computes rows `first..last`.
///
/// # Safety
/// As for [`scalar`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, W: Float>(s: S, p: &Product, first: usize, last: usize, tile: &mut Tile) {
    let tokens = p.x.len() / p.cols;
    if p.rows < 16 {
        // SAFETY: the caller's contract.
        return unsafe { scalar::<W>(p, first, last, tile) };
    }
    let together = if tokens == 1 { 16 } else { 32 };
    for row in (first..last).step_by(together) {
        let sixteen = |from: usize| Store::new(p.out, p.out_stride, p.rows, from, last);
        let stores = [sixteen(row), sixteen(row + 16)];
        // SAFETY: the stores speak of those rows alone.
        unsafe {
            if tokens == 1 {
                stores[0].put(0, one::<S, W>(s, p, stores[0].start));
            } else {
                let starts = stores.each_ref().map(|store| store.start);
                s.call(Many::<W> { p, starts, sums: tile.sums(tokens), float: PhantomData });
                put_all(s, stores, tile, tokens, false);
            }
        }
    }
}

/// Rows that meet one token together: a single one would wait for its own chains.
const TWO: usize = 2;

/// Sixteen rows from `first` on times the one token. Meanwhile the rows behind are asked for, as in products with quantized
/// weights.
#[inline(always)]
fn one<S: Simd, W: Float>(s: S, p: &Product, first: usize) -> [f32; 16] {
    let mut results = [0.0; 16];
    for (i, results) in results.as_chunks_mut::<TWO>().0.iter_mut().enumerate() {
        let rows: [_; TWO] = std::array::from_fn(|r| p.row::<W>(first + TWO * i + r));
        let ahead = rows[TWO - 1].as_ptr_range().end.cast::<u8>();
        let sums = chains::<S, W, TWO, 1>(s, rows, [p.x], Some(ahead));
        for (result, [sum]) in results.iter_mut().zip(sums) {
            *result = s.sum(sum);
        }
    }
    results
}

/// Bytes of the tokens that all rows meet before the next tokens do: they stay in the second-level cache.
const NEAR_TOKENS: usize = 256 << 10;

/// All tokens times twice sixteen rows.
struct Many<'a, W> {
    p: &'a Product<'a>,
    /// The first row of each sixteen.
    starts: [usize; 2],
    sums: &'a mut [Sums],
    float: PhantomData<W>,
}

impl<S: Simd, W: Float> Task<S> for Many<'_, W> {
    #[inline(always)]
    fn run(self, s: S) {
        if S::PAIRS { self.by::<S, 4, 4>(s) } else { self.by::<S, 2, 3>(s) }
    }
}

impl<W: Float> Many<'_, W> {
    /// `R` rows by `T` tokens at a time.
    #[inline(always)]
    fn by<S: Simd, const R: usize, const T: usize>(self, s: S) {
        let Self { p, starts, sums, .. } = self;
        let tokens = p.x.len() / p.cols;
        let some = (NEAR_TOKENS / (p.cols * size_of::<f32>())).max(1).next_multiple_of(T);
        for begin in (0..tokens).step_by(some) {
            for i in 0..32 / R {
                let first = starts[i * R / 16] + i * R % 16;
                let rows: [_; R] = std::array::from_fn(|r| p.row::<W>(first + r));
                for token in (begin..tokens.min(begin + some)).step_by(T) {
                    // Behind the last token, it is taken again.
                    let x: [_; T] = std::array::from_fn(|t| p.token((token + t).min(tokens - 1)));
                    let all = chains::<S, W, R, T>(s, rows, x, None);
                    for k in (0..R * T).step_by(4) {
                        let place = |j: usize| ((k + j) % R, (k + j) / R % T);
                        let four = s.sum4(std::array::from_fn(|j| all[place(j).0][place(j).1]));
                        for j in 0..4.min(R * T - k) {
                            let (row, t) = (i * R + place(j).0, token + place(j).1);
                            if t < tokens {
                                sums[t / TOGETHER][row / 16][t % TOGETHER][row % 16] = four[j];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The chains of `R` rows and `T` tokens, `[row][token]`. Meanwhile the bytes at `ahead` are asked for, as many
/// as are used here.
#[inline(always)]
fn chains<S: Simd, W: Float, const R: usize, const T: usize>(
    s: S,
    rows: [&[W::Element]; R],
    x: [&[f32]; T],
    ahead: Option<*const u8>,
) -> [[S::F; T]; R] {
    let mut chains = [[s.splat(0.0); T]; R];
    let whole = x[0].len() / 16;
    let (row_steps, token_steps) = (rows.map(|row| &row.as_chunks().0[..whole]), x.map(|x| &x.as_chunks().0[..whole]));
    let (bytes, near) = (16 * R * size_of::<W::Element>(), S::weights_near());
    for step in 0..whole {
        if let Some(ahead) = ahead {
            let ahead = ahead.wrapping_add(step * bytes);
            s.prefetch_lines(ahead, bytes.div_ceil(64), near);
            if step % 8 == 0 {
                s.prefetch(ahead.wrapping_add(MEMORY_PAGE)); // see [`super::quantized::fetch`]
            }
        }
        chains = next::<S, W, R, T>(s, chains, row_steps.map(|row| &row[step]), token_steps.map(|x| &x[step]));
    }
    if x[0].len() > 16 * whole {
        let (rows, x) = (rows.map(|row| padded(&row[16 * whole..])), x.map(|x| padded(&x[16 * whole..])));
        chains = next::<S, W, R, T>(s, chains, rows.each_ref(), x.each_ref());
    }
    chains
}

/// Sixteen columns more.
#[inline(always)]
fn next<S: Simd, W: Float, const R: usize, const T: usize>(
    s: S,
    mut chains: [[S::F; T]; R],
    rows: [&[W::Element; 16]; R],
    x: [&[f32; 16]; T],
) -> [[S::F; T]; R] {
    let mut w = [s.splat(0.0); R];
    for r in 0..R {
        w[r] = W::load(s, rows[r]);
    }
    for t in 0..T {
        let x = s.load(x[t]);
        for r in 0..R {
            chains[r][t] = s.fma(w[r], x, chains[r][t]);
        }
    }
    chains
}
