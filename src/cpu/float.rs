//! Matrix products with float weights: F32, F16 and BF16 rows against f32 activations.
//!
//! Sixteen lanes by column mod 16, one fused multiply-add a column (the last ones padded with zeros), then the fixed
//! tree. Weights are widened exactly; nothing is rounded but the sums.

use std::marker::PhantomData;

use super::vector::Simd;

/// A float element type as it lies in the file.
pub(super) trait Float {
    const BYTES: usize;

    /// Sixteen elements, widened; `bytes` holds `16 * BYTES`.
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Float for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.load(&bytemuck::pod_read_unaligned(bytes))
    }
}

impl Float for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.load_f16(&bytemuck::pod_read_unaligned(bytes))
    }
}

impl Float for BF16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn load<S: Simd>(s: S, bytes: &[u8]) -> S::F {
        s.as_f32(s.shl::<16>(s.load_u16(&bytemuck::pod_read_unaligned(bytes))))
    }
}

/// The weights and the tokens of one product, and where its results go.
pub(super) struct Product<'a> {
    /// All rows of the matrix.
    pub weights: &'a [u8],
    pub cols: usize,
    /// The tokens, `[token][col]`.
    pub x: &'a [f32],
    /// Element `[token][row]` goes to `out + token * out_stride + row`.
    pub out: *mut f32,
    pub out_stride: usize,
}

/// Rows and tokens that are walked along together.
const ROWS: usize = 4;
const TOKENS: usize = 4;

/// Computes rows `first..last`.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, W: Float>(s: S, p: &Product, first: usize, last: usize) {
    let tokens = p.x.len() / p.cols;
    // All these rows for a few tokens at a time: the tokens stay in the nearest cache, the rows in the next one. The
    // other way round, hundreds of tokens would stream by for every four rows.
    for t in (0..tokens).step_by(TOKENS) {
        let some = TOKENS.min(tokens - t);
        for row in (first..last).step_by(ROWS) {
            let rows = ROWS.min(last - row);
            // SAFETY: the caller's contract; these are some of those rows and tokens.
            unsafe {
                match (rows, some) {
                    (ROWS, TOKENS) => micro::<S, W, ROWS, TOKENS>(s, p, row, t),
                    (ROWS, _) => {
                        for t in t..t + some {
                            micro::<S, W, ROWS, 1>(s, p, row, t);
                        }
                    }
                    _ => {
                        for (t, row) in (t..t + some).flat_map(|t| (row..row + rows).map(move |row| (t, row))) {
                            micro::<S, W, 1, 1>(s, p, row, t);
                        }
                    }
                }
            }
        }
    }
}

/// `R` rows from `row` and `T` tokens from `t`.
///
/// # Safety
/// As for [`simd`], for these rows and tokens.
#[inline(always)]
unsafe fn micro<S: Simd, W: Float, const R: usize, const T: usize>(s: S, p: &Product, row: usize, t: usize) {
    let row_bytes = p.cols * W::BYTES;
    let weights: [&[u8]; R] = std::array::from_fn(|r| &p.weights[(row + r) * row_bytes..][..row_bytes]);
    let x: [&[f32]; T] = std::array::from_fn(|i| &p.x[(t + i) * p.cols..][..p.cols]);
    let mut acc = [[s.splat(0.0); T]; R];
    let whole = p.cols / 16;
    for k in 0..whole {
        let mut column = Columns::<S, W, T> { x: [s.splat(0.0); T], weight: PhantomData };
        for i in 0..T {
            column.x[i] = s.load(x[i][16 * k..][..16].try_into().expect("sixteen elements"));
        }
        for r in 0..R {
            column.fma(s, &mut acc[r], &weights[r][16 * k * W::BYTES..][..16 * W::BYTES]);
        }
    }
    if whole * 16 < p.cols {
        let mut column = Columns::<S, W, T> { x: [s.splat(0.0); T], weight: PhantomData };
        for i in 0..T {
            column.x[i] = s.load(&super::math::padded(&x[i][16 * whole..]));
        }
        for r in 0..R {
            let mut bytes = [0; 64];
            let rest = &weights[r][16 * whole * W::BYTES..];
            bytes[..rest.len()].copy_from_slice(rest);
            column.fma(s, &mut acc[r], &bytes[..16 * W::BYTES]);
        }
    }
    for r in 0..R {
        for i in 0..T {
            // SAFETY: the caller's contract.
            unsafe { p.out.add((t + i) * p.out_stride + row + r).write(s.sum(acc[r][i])) };
        }
    }
}

/// Sixteen columns of some tokens.
struct Columns<S: Simd, W, const T: usize> {
    x: [S::F; T],
    weight: PhantomData<W>,
}

impl<S: Simd, W: Float, const T: usize> Columns<S, W, T> {
    #[inline(always)]
    fn fma(&self, s: S, acc: &mut [S::F; T], weights: &[u8]) {
        let w = W::load(s, weights);
        for i in 0..T {
            acc[i] = s.fma(w, self.x[i], acc[i]);
        }
    }
}
