//! The first half of a gated feed-forward block, from quantized tokens to its hidden layer, SiLU(gate) * up (Shazeer, 2020,
//! arXiv:2002.05202), quantized for the product that comes next.
//!
//! Thirty-two elements of the hidden layer, which share a scale once they are quantized, are made from as many rows of
//! both matrices, by the same chains as any product's. So the hidden layer is never stored as numbers: of a prompt's
//! chunk, that would be most of the memory.

use super::math::{swiglu, swiglu_lanes};
use super::panel::{BLOCK, Panel, Panels, load_block};
use super::quantized::{Product, scalar, streamed};
use super::scalar::Scalar;
use super::tile::Tile;
use super::unpack::{Rows, Unpack};
use super::vector::Simd;
use crate::quant::Block;

/// The weights and the tokens, and where the hidden layer goes.
pub(super) struct Glu<'a> {
    /// All rows of the two matrices, as many as the hidden layer is long: a multiple of thirty-two.
    pub gate: &'a [u8],
    pub up: &'a [u8],
    pub row_bytes: usize,
    /// Not fine.
    pub x: &'a Panels,
    pub out: Hidden,
}

/// Panels that several threads fill in, each other columns.
pub(super) struct Hidden {
    fours: *mut Panel<4>,
    two: *mut Panel<2>,
    one: *mut Panel<1>,
    blocks: usize,
    places: usize,
}

impl Hidden {
    /// Panels that have their size, not fine. As long as this is used, nobody else may use them.
    pub(super) fn new(panels: &mut Panels) -> Self {
        let Panels { fours, two, one, .. } = panels;
        let (fours, two, one) = (fours.as_mut_ptr(), two.as_mut_ptr(), one.as_mut_ptr());
        Self { fours, two, one, blocks: panels.cols / BLOCK, places: panels.places }
    }

    /// Quantizes thirty-two elements of a place.
    ///
    /// # Safety
    /// Nobody else uses these columns meanwhile.
    #[inline(always)]
    unsafe fn set<S: Simd>(&self, s: S, place: usize, block: usize, x: [S::F; 2]) {
        assert!(place < self.places && block < self.blocks);
        // SAFETY: `panels.resize` made the panels of all places and blocks; the caller has these alone.
        unsafe {
            match self.places {
                1 => (*self.one.add(block)).set(s, 0, x),
                2 => (*self.two.add(block)).set(s, place, x),
                _ => (*self.fours.add(place / 4 * self.blocks + block)).set(s, place % 4, x),
            };
        }
    }
}

/// Computes elements `first..last` of the hidden layer, whole blocks of thirty-two, one at a time.
///
/// # Safety
/// Nobody else uses these columns of the hidden layer.
pub(super) unsafe fn plain<B: Block>(p: &Glu, first: usize, last: usize, tile: &mut Tile) {
    let places = p.x.places;
    let (mut gate, mut up) = (vec![0.0; places * BLOCK], vec![0.0; places * BLOCK]);
    for row in (first..last).step_by(BLOCK) {
        for (weights, out) in [(p.gate, &mut gate), (p.up, &mut up)] {
            let out = out.as_mut_ptr().wrapping_sub(row);
            let rows = weights.len() / p.row_bytes;
            let product = Product { weights, row_bytes: p.row_bytes, rows, x: p.x, out, out_stride: BLOCK };
            // SAFETY: there is room for these rows of every place, and it is nobody else's.
            unsafe { scalar::<B>(&product, row, row + BLOCK, tile) };
        }
        for (place, (gate, up)) in gate.chunks(BLOCK).zip(up.chunks(BLOCK)).enumerate() {
            let mut hidden = [0.0; BLOCK];
            swiglu(Scalar, gate, up, &mut hidden);
            // SAFETY: the caller's contract.
            unsafe { p.out.set(Scalar, place, row / BLOCK, load_block(Scalar, &hidden)) };
        }
    }
}

/// Computes elements `first..last` of the hidden layer, whole blocks of thirty-two.
///
/// # Safety
/// As for [`plain`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd, U: Unpack>(s: S, p: &Glu, first: usize, last: usize, tile: &mut Tile) {
    for row in (first..last).step_by(BLOCK) {
        // SAFETY: the caller's contract.
        unsafe {
            match p.x.places {
                1 => few::<S, U, 1>(s, p, row, &p.x.one),
                2 => few::<S, U, 2>(s, p, row, &p.x.two),
                _ => many::<S, U>(s, p, row, tile),
            }
        }
    }
}

/// Sixteen rows, and where those behind them are.
#[inline(always)]
fn sixteen(p: &Glu, weights: &[u8], row: usize) -> (Rows, *const u8) {
    let rows = Rows::new(&weights[row * p.row_bytes..], p.row_bytes);
    (rows, weights.as_ptr().wrapping_add((row + 16) * p.row_bytes))
}

/// Thirty-two elements from `row` on, of one place or two.
///
/// # Safety
/// As for [`plain`].
#[inline(always)]
unsafe fn few<S: Simd, U: Unpack, const NT: usize>(s: S, p: &Glu, row: usize, panels: &[Panel<NT>]) {
    let blocks = p.row_bytes / size_of::<U>();
    let mut sums = [[[s.splat(0.0); NT]; 2]; 2];
    for (m, weights) in [p.gate, p.up].into_iter().enumerate() {
        for half in 0..2 {
            let (rows, mut ahead) = sixteen(p, weights, row + 16 * half);
            if half == 1 {
                // What is next is in the other matrix.
                let next = [&p.up[row * p.row_bytes..], &p.gate[(row + BLOCK) * p.row_bytes..]][m];
                ahead = next.as_ptr();
            }
            // SAFETY: every row has `blocks` blocks.
            sums[m][half] = unsafe { streamed::<S, U, NT>(s, rows, blocks, ahead, panels) };
        }
    }
    let [gate, up] = sums;
    for t in 0..NT {
        let hidden = [swiglu_lanes(s, gate[0][t], up[0][t]), swiglu_lanes(s, gate[1][t], up[1][t])];
        // SAFETY: the caller's contract.
        unsafe { p.out.set(s, t, row / BLOCK, hidden) };
    }
}

/// Thirty-two elements from `row` on, of all places.
///
/// # Safety
/// As for [`plain`].
#[inline(always)]
unsafe fn many<S: Simd, U: Unpack>(s: S, p: &Glu, row: usize, tile: &mut Tile) {
    let blocks = p.row_bytes / size_of::<U>();
    for half in 0..2 {
        let (gate, up) = (sixteen(p, p.gate, row + 16 * half), sixteen(p, p.up, row + 16 * half));
        // SAFETY: every row has `blocks` blocks.
        unsafe { tile.multiply::<S, U>(s, [gate.0, up.0], blocks, [gate.1, up.1], p.x) };
        for t in 0..p.x.places {
            let hidden = swiglu_lanes(s, s.load(tile.sum(0, t)), s.load(tile.sum(1, t)));
            if half == 0 {
                tile.first_half(p.x.places)[t] = s.to_array(hidden);
            } else {
                let first = s.load(&tile.first_half(p.x.places)[t]);
                // SAFETY: the caller's contract.
                unsafe { p.out.set(s, t, row / BLOCK, [first, hidden]) };
            }
        }
    }
}
