//! Matrix products with float weights: F32, F16 and BF16 rows against f32 activations.
//!
//! One chain for every output element, on every CPU: for each thirty-two columns, in order,
//!
//! ```text
//! part = fma(weight, activation, part)    for each of them, from 0
//! sum = sum + part
//! ```
//!
//! Weights are widened exactly, and missing columns are zeros. [`scalar`] is that, word for word. The SIMD code is built like
//! that for quantized weights: sixteen rows in the lanes; one token meets the weights as they are widened, several pass
//! over thirty-two rows in the nearest cache, four at a time.
//!
//! A product takes a fused multiply-add for every sixteen weights, so that two a cycle are the limit: a prompt reaches
//! nine tenths of it.

use super::quantized::{Store, put_all};
use super::tile::{Sums, TOGETHER, Tile};
use super::unpack::Rows;
use super::vector::{Simd, Task};

/// A float element type as it lies in the file.
pub(super) trait Float {
    const BYTES: usize;

    /// One element of `BYTES` bytes.
    fn widen(bytes: &[u8]) -> f32;

    /// Element `i` of those in each lane.
    fn lane<S: Simd>(s: S, lane: S::I, i: usize) -> S::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Float for F32 {
    const BYTES: usize = 4;
    fn widen(bytes: &[u8]) -> f32 {
        bytemuck::pod_read_unaligned(bytes)
    }
    #[inline(always)]
    fn lane<S: Simd>(s: S, lane: S::I, _: usize) -> S::F {
        s.as_f32(lane)
    }
}

impl Float for F16 {
    const BYTES: usize = 2;
    fn widen(bytes: &[u8]) -> f32 {
        half::f16::from_bits(bytemuck::pod_read_unaligned(bytes)).to_f32()
    }
    #[inline(always)]
    fn lane<S: Simd>(s: S, lane: S::I, i: usize) -> S::F {
        if i == 0 { s.low_f16(lane) } else { s.high_f16(lane) }
    }
}

impl Float for BF16 {
    const BYTES: usize = 2;
    fn widen(bytes: &[u8]) -> f32 {
        f32::from_bits(u32::from(bytemuck::pod_read_unaligned::<u16>(bytes)) << 16)
    }
    #[inline(always)]
    fn lane<S: Simd>(s: S, lane: S::I, i: usize) -> S::F {
        s.as_f32(if i == 0 { s.shl::<16>(lane) } else { s.and(lane, s.splat_i(!0xffff)) })
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

/// Columns of a part.
const PART: usize = 32;

/// Parts in a tile.
const PARTS: usize = 4;

/// One output element.
fn plain<W: Float>(weights: &[u8], x: &[f32]) -> f32 {
    let mut sum = 0.0;
    for (weights, x) in weights.chunks(PART * W::BYTES).zip(x.chunks(PART)) {
        let part = weights.chunks_exact(W::BYTES).zip(x).fold(0.0f32, |part, (w, x)| W::widen(w).mul_add(*x, part));
        sum += (x.len()..PART).fold(part, |part, _| part + 0.0);
    }
    sum
}

/// Computes rows `first..last`, one at a time.
///
/// # Safety
/// `p.out` may be written, and is not otherwise used, for those rows of every token.
pub(super) unsafe fn scalar<W: Float>(p: &Product, first: usize, last: usize, _tile: &mut Tile) {
    let row_bytes = p.cols * W::BYTES;
    for (t, x) in p.x.chunks_exact(p.cols).enumerate() {
        for row in first..last {
            let sum = plain::<W>(&p.weights[row * row_bytes..][..row_bytes], x);
            // SAFETY: the caller's contract.
            unsafe { p.out.add(t * p.out_stride + row).write(sum) };
        }
    }
}

/// Computes rows `first..last`.
///
/// # Safety
/// As for [`scalar`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, W: Float>(s: S, p: &Product, first: usize, last: usize, tile: &mut Tile) {
    let (row_bytes, tokens) = (p.cols * W::BYTES, p.x.len() / p.cols);
    if p.rows < 16 {
        // SAFETY: the caller's contract.
        return unsafe { scalar::<W>(p, first, last, tile) };
    }
    let together = if tokens == 1 { 16 } else { 32 };
    let near = S::weights_near();
    for row in (first..last).step_by(together) {
        let sixteen = |from: usize| Store::new(p.out, p.out_stride, p.rows, from, last);
        let weights = |store: &Store| &p.weights[store.start * row_bytes..][..16 * row_bytes];
        let stores = [sixteen(row), sixteen(row + 16)];
        let weights = [weights(&stores[0]), weights(&stores[1])];
        // SAFETY: the stores speak of those rows alone.
        unsafe {
            if tokens == 1 {
                let sums = match S::PAIRS && near && p.cols.is_multiple_of(4 * PART) {
                    true => four_rows::<S, W>(s, weights[0], p.x),
                    false => sixteen_rows::<S, W>(s, weights[0], p.x, near),
                };
                stores[0].put(0, sums);
            } else {
                s.call(Passes::<W> { weights, p, sums: tile.sums(tokens), float: std::marker::PhantomData });
                put_all(s, stores, tile, tokens, false);
            }
        }
    }
}

/// The columns behind the whole parts of sixteen rows, with zeros for those that are missing.
fn rest<W: Float>(weights: &[u8], whole: usize) -> [[u8; PART * 4]; 16] {
    let row_bytes = weights.len() / 16;
    let mut rest = [[0; PART * 4]; 16];
    for (rest, row) in rest.iter_mut().zip(weights.chunks_exact(row_bytes)) {
        let row = &row[whole * PART * W::BYTES..];
        rest[..row.len()].copy_from_slice(row);
    }
    rest
}

/// The first part of a token that is not whole, likewise.
fn rest_of(x: &[f32]) -> [f32; PART] {
    let mut rest = [0.0; PART];
    rest[..x.len()].copy_from_slice(x);
    rest
}

/// Sixteen rows times one token. Meanwhile the rows behind them are asked for, as in products with quantized weights.
#[inline(always)]
fn sixteen_rows<S: Simd, W: Float>(s: S, weights: &[u8], x: &[f32], near: bool) -> [f32; 16] {
    let row_bytes = weights.len() / 16;
    let rows = Rows::new(weights, row_bytes);
    let ahead = weights.as_ptr().wrapping_add(weights.len());
    let (parts, last) = x.as_chunks::<PART>();
    let mut sum = s.splat(0.0);
    for (i, x) in parts.iter().enumerate() {
        fetch::<S, W>(s, ahead, i, near);
        // SAFETY: there are as many whole parts in every row.
        sum = s.add(sum, unsafe { one_part::<S, W>(s, rows, i, x) });
    }
    if !last.is_empty() {
        let (weights, x) = (rest::<W>(weights, parts.len()), rest_of(last));
        let rows = Rows::new(weights.as_flattened(), PART * 4);
        // SAFETY: a part is there.
        sum = s.add(sum, unsafe { one_part::<S, W>(s, rows, 0, &x) });
    }
    s.to_array(sum)
}

/// The same, four rows by four parts of each at a time, if there are as many: see [`super::stream`]. On Zen 4, whose weights are
/// not asked for into the nearest cache, sixteen rows are a tenth faster.
#[inline(always)]
fn four_rows<S: Simd, W: Float>(s: S, weights: &[u8], x: &[f32]) -> [f32; 16] {
    let row_bytes = weights.len() / 16;
    let rows = Rows::new(weights, row_bytes);
    let (fours, _) = x.as_chunks::<{ 4 * PART }>();
    let mut sums = [0.0; 16];
    for first in [0, 4, 8, 12] {
        let (ahead, mut sum) = (rows.row(first + 4), s.splat(0.0));
        for (i, x) in fours.iter().enumerate() {
            fetch::<S, W>(s, ahead, i, true);
            // Of the first, every fourth lane counts, of the others, those behind.
            let mut part = [s.splat(0.0); 4];
            for at in (0..PART * W::BYTES).step_by(64) {
                // SAFETY: there are as many parts in every row.
                let lanes = unsafe { rows.four(first, 4 * i, PART * W::BYTES) }.load64(s, at);
                for (g, lane) in lanes.into_iter().enumerate() {
                    for j in 0..4 / W::BYTES {
                        let (w, column) = (W::lane(s, lane, j), column::<W>(at, g, j));
                        for k in 0..4 {
                            part[k] = s.fma(w, s.splat(x[k * PART + column]), part[k]);
                        }
                    }
                }
            }
            sum = s.add(s.add(sum, part[0]), s.turned::<1>(part[1]));
            sum = s.add(s.add(sum, s.turned::<2>(part[2])), s.turned::<3>(part[3]));
        }
        let sum = s.to_array(sum);
        for r in 0..4 {
            sums[first + r] = sum[4 * r];
        }
    }
    sums
}

/// Asks for as many bytes at `ahead` as a part of sixteen rows takes, or four of four, the `at`th of them.
#[inline(always)]
fn fetch<S: Simd, W: Float>(s: S, ahead: *const u8, at: usize, near: bool) {
    s.prefetch_lines(ahead.wrapping_add(16 * at * PART * W::BYTES), PART * W::BYTES / 4, near);
}

/// A part of sixteen rows times a token's.
///
/// # Safety
/// The rows have more than `index` parts, and are still borrowed.
#[inline(always)]
unsafe fn one_part<S: Simd, W: Float>(s: S, rows: Rows, index: usize, x: &[f32; PART]) -> S::F {
    let mut part = s.splat(0.0);
    for at in (0..PART * W::BYTES).step_by(64) {
        // SAFETY: the caller's contract.
        let lanes = unsafe { rows.block(index, PART * W::BYTES) }.load64(s, at);
        for (g, lane) in lanes.into_iter().enumerate() {
            for i in 0..4 / W::BYTES {
                part = s.fma(W::lane(s, lane, i), s.splat(x[column::<W>(at, g, i)]), part);
            }
        }
    }
    part
}

/// The column of a part that is element `i` of the `g`th four bytes from `at` on.
#[inline(always)]
fn column<W: Float>(at: usize, g: usize, i: usize) -> usize {
    at / W::BYTES + g * (4 / W::BYTES) + i
}

/// A part of thirty-two rows, widened: `[sixteen rows][column]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct TilePart([[[f32; 16]; PART]; 2]);

/// All tokens pass over thirty-two rows.
struct Passes<'a, W> {
    /// Twice sixteen rows.
    weights: [&'a [u8]; 2],
    p: &'a Product<'a>,
    sums: &'a mut [Sums],
    float: std::marker::PhantomData<W>,
}

impl<S: Simd, W: Float> Task<S> for Passes<'_, W> {
    #[inline(always)]
    fn run(self, s: S) {
        let Self { weights, p, sums, .. } = self;
        let (whole, tokens) = (p.cols / PART, p.x.len() / p.cols);
        let mut tile = [TilePart([[[0.0; 16]; PART]; 2]); PARTS];
        for first in (0..p.cols.div_ceil(PART)).step_by(PARTS) {
            let some = first..(first + PARTS).min(p.cols.div_ceil(PART));
            for (sixteen, weights) in weights.into_iter().enumerate() {
                let rest = if some.end > whole { rest::<W>(weights, whole) } else { [[0; PART * 4]; 16] };
                for (part, tile) in some.clone().zip(&mut tile) {
                    let (rows, index) = match part < whole {
                        true => (Rows::new(weights, weights.len() / 16), part),
                        false => (Rows::new(rest.as_flattened(), PART * 4), 0),
                    };
                    for at in (0..PART * W::BYTES).step_by(64) {
                        // SAFETY: the part is there.
                        let lanes = unsafe { rows.block(index, PART * W::BYTES) }.load64(s, at);
                        for (g, lane) in lanes.into_iter().enumerate() {
                            for i in 0..4 / W::BYTES {
                                tile.0[sixteen][column::<W>(at, g, i)] = s.to_array(W::lane(s, lane, i));
                            }
                        }
                    }
                }
            }
            let tile = &tile[..some.len()];
            for (group, sums) in sums.iter_mut().enumerate() {
                if first == 0 {
                    *sums = [[[0.0; 16]; TOGETHER]; 2];
                }
                let mut padded = [[0.0; PART]; TOGETHER];
                let mut x: [&[f32]; TOGETHER] = [&[]; TOGETHER];
                for t in 0..TOGETHER {
                    // Free places go along with the last token; nobody asks for what that gives.
                    let token = (group * TOGETHER + t).min(tokens - 1);
                    x[t] = &p.x[token * p.cols..][..p.cols];
                    if some.end > whole {
                        padded[t] = rest_of(&x[t][whole * PART..]);
                    }
                }
                let whole_parts = some.start..some.end.min(whole);
                for (parts, from, x) in [
                    (whole_parts.clone(), whole_parts.start * PART, x),
                    (whole_parts.end..some.end, 0, padded.each_ref().map(|x| &x[..])),
                ] {
                    let tile = &tile[parts.start - some.start..parts.end - some.start];
                    let x = x.map(|x| &x[from.min(x.len())..][..tile.len() * PART]);
                    if S::PAIRS {
                        pass::<S, 2>(s, tile, 0, x, sums);
                    } else {
                        pass::<S, 1>(s, tile, 0, x, sums);
                        pass::<S, 1>(s, tile, 1, x, sums);
                    }
                }
            }
        }
    }
}

/// Four tokens by `R` sixteens of rows, from the `i`th on.
#[inline(always)]
fn pass<S: Simd, const R: usize>(s: S, tile: &[TilePart], i: usize, x: [&[f32]; TOGETHER], sums: &mut Sums) {
    for (k, tile) in tile.iter().enumerate() {
        let mut columns: [&[f32; PART]; TOGETHER] = [&[0.0; PART]; TOGETHER];
        for t in 0..TOGETHER {
            columns[t] = x[t][k * PART..][..PART].try_into().expect("a part");
        }
        let mut part = [[s.splat(0.0); TOGETHER]; R];
        for c in 0..PART {
            let mut w = [s.splat(0.0); R];
            for r in 0..R {
                w[r] = s.load(&tile.0[i + r][c]);
            }
            for t in 0..TOGETHER {
                let x = s.splat(columns[t][c]);
                for r in 0..R {
                    part[r][t] = s.fma(w[r], x, part[r][t]);
                }
            }
        }
        for r in 0..R {
            for t in 0..TOGETHER {
                let sum = &mut sums[i + r][t];
                *sum = s.to_array(s.add(s.load(sum), part[r][t]));
            }
        }
    }
}
