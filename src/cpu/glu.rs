//! The first half of a gated feed-forward block, from quantized tokens to its hidden layer, SiLU(gate) * up (Shazeer, 2020,
//! arXiv:2002.05202), quantized for the product that comes next.
//!
//! Thirty-two elements of the hidden layer, which share a scale once they are quantized, are made from as many rows of
//! both matrices, by the same chains as any product's. So the hidden layer is never stored as numbers: of a prompt's
//! chunk, that would be most of the memory.

use std::ops::Range;

use super::math::swiglu_lanes;
use super::panel::{BLOCK, Panel, Panels, Places, round};
use super::quantized::{Format, Lanes, Product};
use super::scalar::Scalar;
use super::stream::{Pair, Streamed};
use super::tile::{TOGETHER, Tile};
use super::unpack::Rows;
use super::vector::{Simd, Task, prefetch_write};

/// The weights and the tokens, and where the hidden layer goes.
pub(super) struct Glu<'a> {
    /// All rows of the two matrices, as many as the hidden layer is long: a multiple of thirty-two.
    pub gate: &'a [u8],
    pub up: &'a [u8],
    pub row_bytes: usize,
    pub format: &'static Format,
    /// Not fine.
    pub x: Places<'a>,
    /// One place or two, arranged for the format, if it has lanes.
    pub one: &'a [Pair<1>],
    pub two: &'a [Pair<2>],
    pub out: Hidden,
}

/// Panels that several threads fill in, each other columns.
#[derive(Clone, Copy)]
pub(super) struct Hidden {
    fours: *mut Panel<4>,
    two: *mut Panel<2>,
    one: *mut Panel<1>,
    blocks: usize,
    places: usize,
}

// SAFETY: the pointers are only written through in `set`, whose contract keeps the writes apart.
unsafe impl Sync for Hidden {}

impl Hidden {
    /// Panels that have their size, not fine. As long as this is used, nobody else may use them.
    pub(super) fn new(panels: &mut Panels) -> Self {
        let Panels { fours, two, one, .. } = panels;
        let (fours, two, one) = (fours.as_mut_ptr(), two.as_mut_ptr(), one.as_mut_ptr());
        Self { fours, two, one, blocks: panels.cols / BLOCK, places: panels.places }
    }

    /// Some tokens of them: whole groups of four, or all that are left.
    pub(super) fn tokens(self, tokens: Range<usize>) -> Self {
        let fours = self.fours.wrapping_add(tokens.start / TOGETHER * self.blocks);
        Self { fours, places: tokens.len(), ..self }
    }

    /// Quantizes thirty-two elements of the `group`th `N` places, all that share a panel.
    ///
    /// # Safety
    /// Nobody else uses these columns meanwhile.
    #[inline(always)]
    unsafe fn set<S: Simd, const N: usize>(&self, s: S, group: usize, block: usize, mut x: [[S::F; 2]; N]) {
        assert!(N == if self.places <= 2 { self.places } else { TOGETHER }, "places that share a panel");
        assert!(N * group < self.places && block < self.blocks);
        // SAFETY: `panels.resize` made the panels of all places and blocks, of that kind; the caller has these alone.
        let panel = unsafe {
            let panels: *mut Panel<N> = match N {
                1 => self.one.cast(),
                2 => self.two.cast(),
                _ => self.fours.cast(),
            };
            if N * (group + 2) < self.places {
                prefetch_write(panels.add((group + 2) * self.blocks + block));
            }
            &mut *panels.add(group * self.blocks + block)
        };
        *panel = round(s, &mut x);
    }
}

/// Computes elements `first..last` of the hidden layer, whole blocks of thirty-two, one at a time.
///
/// # Safety
/// Nobody else uses these columns of the hidden layer.
pub(super) unsafe fn plain(p: &Glu, first: usize, last: usize, _tile: &mut Tile) {
    let places = p.x.places;
    let (mut gate, mut up) = (vec![0.0; places * BLOCK], vec![0.0; places * BLOCK]);
    for row in (first..last).step_by(BLOCK) {
        for (weights, out) in [(p.gate, &mut gate), (p.up, &mut up)] {
            let out = out.as_mut_ptr().wrapping_sub(row);
            let rows = weights.len() / p.row_bytes;
            let (row_bytes, format) = (p.row_bytes, p.format);
            let product =
                Product { weights, row_bytes, rows, format, x: p.x, one: &[], two: &[], out, out_stride: BLOCK };
            // SAFETY: there is room for these rows of every place, and it is nobody else's.
            unsafe { (format.scalar)(&product, row, row + BLOCK) };
        }
        let rows = [gate.as_chunks().0.as_chunks().0, up.as_chunks().0.as_chunks().0];
        match places {
            1 => gated::<1>(p, row, rows),
            2 => gated::<2>(p, row, rows),
            _ => gated::<TOGETHER>(p, row, rows),
        }
    }
}

/// Thirty-two elements from `row` on of all places, `N` of which share a panel, from the results of gate and up by
/// place. Free places have the last one's, which nobody asks for.
fn gated<const N: usize>(p: &Glu, row: usize, results: [&[[[f32; 16]; 2]]; 2]) {
    for group in 0..p.x.places.div_ceil(N) {
        let rows =
            results.map(|of| [0, 1].map(|half| std::array::from_fn(|t| &of[(N * group + t).min(of.len() - 1)][half])));
        Scalar.call(Gated::<N> { out: &p.out, group, block: row / BLOCK, rows });
    }
}

/// Computes elements `first..last` of the hidden layer, whole blocks of thirty-two.
///
/// # Safety
/// As for [`plain`].
#[inline(always)]
pub(super) unsafe fn simd<S: Simd>(s: S, p: &Glu, first: usize, last: usize, tile: &mut Tile) {
    let Some(lanes) = &p.format.lanes else {
        // SAFETY: the caller's contract.
        return unsafe { plain(p, first, last, tile) };
    };
    for row in (first..last).step_by(BLOCK) {
        // SAFETY: the caller's contract.
        unsafe {
            match p.x.places {
                1 => few(s, p, row, lanes, lanes.one, p.x.one, p.one),
                2 => few(s, p, row, lanes, lanes.two, p.x.two, p.two),
                _ => many(s, p, row, lanes, tile),
            }
        }
    }
}

/// What is done once thirty-two rows of both matrices were multiplied with the places of a panel: the same code for all
/// formats.
struct Gated<'a, const N: usize> {
    out: &'a Hidden,
    group: usize,
    block: usize,
    /// Of gate and up, by sixteen rows, then place.
    rows: [[[&'a [f32; 16]; N]; 2]; 2],
}

impl<S: Simd, const N: usize> Task<S> for Gated<'_, N> {
    #[inline(always)]
    fn run(self, s: S) {
        let [gate, up] = self.rows;
        let mut hidden = [[s.splat(0.0); 2]; N];
        for t in 0..N {
            for i in 0..2 {
                hidden[t][i] = swiglu_lanes(s, s.load(gate[i][t]), s.load(up[i][t]));
            }
        }
        // SAFETY: whoever makes a `Gated` has these columns.
        unsafe { self.out.set(s, self.group, self.block, hidden) };
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
unsafe fn few<S: Simd, const NT: usize>(
    s: S,
    p: &Glu,
    row: usize,
    lanes: &Lanes,
    streamed: unsafe fn(Streamed<NT>),
    panels: &[Panel<NT>],
    pairs: &[Pair<NT>],
) {
    let blocks = p.row_bytes / lanes.block_bytes;
    let mut sums = [[[[0.0; 16]; NT]; 2]; 2];
    for (m, weights) in [p.gate, p.up].into_iter().enumerate() {
        for half in 0..2 {
            let (rows, mut ahead) = sixteen(p, weights, row + 16 * half);
            if half == 1 {
                // What is next is in the other matrix.
                let next = [&p.up[row * p.row_bytes..], &p.gate[(row + BLOCK) * p.row_bytes..]][m];
                ahead = next.as_ptr();
            }
            // SAFETY: every row has `blocks` blocks.
            unsafe { streamed(Streamed { rows, blocks, ahead, panels, pairs, sums: &mut sums[m][half] }) };
        }
    }
    let rows = sums.each_ref().map(|sums| sums.each_ref().map(|sums| sums.each_ref()));
    s.call(Gated { out: &p.out, group: 0, block: row / BLOCK, rows });
}

/// Thirty-two elements from `row` on, of all places.
///
/// # Safety
/// As for [`plain`].
#[inline(always)]
unsafe fn many<S: Simd>(s: S, p: &Glu, row: usize, lanes: &Lanes, tile: &mut Tile) {
    let blocks = p.row_bytes / lanes.block_bytes;
    for half in 0..2 {
        let (gate, up) = (sixteen(p, p.gate, row + 16 * half), sixteen(p, p.up, row + 16 * half));
        // SAFETY: every row has `blocks` blocks.
        unsafe { tile.multiply(s, lanes, [gate.0, up.0], blocks, [gate.1, up.1], p.x) };
        if half == 0 {
            tile.keep_first_half();
        }
    }
    let (first, second) = tile.both_halves();
    for (group, (first, second)) in first.iter().zip(second).enumerate() {
        let [gate, up] = [0, 1].map(|m| [first[m].each_ref(), second[m].each_ref()]);
        s.call(Gated { out: &p.out, group, block: row / BLOCK, rows: [gate, up] });
    }
}
