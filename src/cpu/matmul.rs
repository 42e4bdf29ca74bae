//! Matrix products on all threads: quantizing the tokens, dealing out rows.

use std::ops::Range;
use std::sync::Mutex;

use super::panel::{BLOCK, Panels};
use super::table::Kernels;
use super::tile::{TOGETHER, Tile};
use super::{float, quantized};
use crate::pool::Team;
use crate::quant::GgmlType;
use crate::{Error, Result};

/// A weight matrix as it lies in the file.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The element type: one of those that [`crate::quant::is_supported`] accepts.
    pub ty: GgmlType,
    /// The rows, one after the other.
    pub data: &'a [u8],
    /// Results: the length of an output.
    pub rows: usize,
    /// The length of an input.
    pub cols: usize,
}

/// What products need besides their operands; made once, used again and again.
#[derive(Default)]
pub struct Workspace {
    panels: Panels,
    /// One for every thread.
    tiles: Vec<Mutex<Tile>>,
}

impl Workspace {
    /// Takes the memory for products of up to `tokens` tokens of up to `cols` columns, or fine ones of up to `fine_cols`,
    /// on so many threads.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn reserve(&mut self, tokens: usize, cols: usize, fine_cols: usize, threads: usize) -> Result<()> {
        let no_memory = |bytes| Error::NoMemory { bytes, what: "quantized activations" };
        self.panels.reserve([(tokens, cols), (tokens.saturating_mul(2), fine_cols)]).map_err(no_memory)?;
        let more = threads.saturating_sub(self.tiles.len());
        self.tiles.try_reserve_exact(more).map_err(|_| no_memory(threads * size_of::<Mutex<Tile>>()))?;
        self.tiles.resize_with(threads, Mutex::default);
        for tile in self.tiles.iter_mut().filter(|_| tokens > 1) {
            let tile = tile.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            tile.reserve(tokens.saturating_mul(2)).map_err(no_memory)?;
        }
        Ok(())
    }

    /// Bytes that [`Workspace::reserve`] reserves, if nothing was before.
    pub fn bytes(tokens: usize, cols: usize, fine_cols: usize, threads: usize) -> usize {
        let tile = if tokens > 1 { Tile::bytes(tokens.saturating_mul(2)) } else { 0 };
        let tile = tile.saturating_add(size_of::<Mutex<Tile>>());
        let panels = Panels::bytes([(tokens, cols), (tokens.saturating_mul(2), fine_cols)]);
        panels.saturating_add(threads.saturating_mul(tile))
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        let tile = |tile: &Mutex<Tile>| tile.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).taken();
        let tiles: usize = self.tiles.iter().map(tile).sum();
        self.panels.taken() + self.tiles.capacity() * size_of::<Mutex<Tile>>() + tiles
    }
}

/// One matrix, as a kernel and its operands.
enum Job<'a> {
    Quantized(super::table::QuantizedFn, quantized::Product<'a>),
    Float(super::table::FloatFn, float::Product<'a>),
}

/// Rows that a thread takes at a time, at most; a multiple of every kernel's own group.
const PIECE: usize = 64;

/// Multiplies the same tokens, `x` as `[token][col]`, by several matrices of `cols` columns. Their results lie side by
/// side in `out`, `[token][row of the first, row of the second, …]`. What it held before is lost. For quantized weights,
/// tokens are rounded: to sixteen bits if they are to be `fine`, else to eight.
///
/// # Panics
/// If a length does not fit or a type is not supported: matrices come from a model, which checked both.
#[allow(clippy::too_many_arguments)] // two of them are machinery
pub fn matmul(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    matrices: &[Matrix],
    x: &[f32],
    fine: bool,
    out: &mut [f32],
) {
    let Some(cols) = matrices.first().map(|m| m.cols) else { return };
    let (tokens, out_stride): (usize, usize) = (x.len() / cols, matrices.iter().map(|m| m.rows).sum());
    assert!(x.len() == tokens * cols && out.len() == tokens * out_stride, "whole tokens, and room for their results");
    work.tiles.resize_with(team.threads(), Mutex::default);
    if tokens == 0 {
        return;
    }
    if matrices.iter().any(|m| kernels.quantized(m.ty).is_some()) {
        quantize(kernels, team, &mut work.panels, x, cols, fine);
    }

    // Small matrices: still several pieces for each thread.
    let together = if tokens == 1 { 16 } else { 32 };
    let piece = (out_stride / (team.threads() * 4)).next_multiple_of(together).clamp(together, PIECE);
    let mut jobs = Vec::with_capacity(matrices.len());
    let base = out.as_mut_ptr();
    let mut before = 0;
    // The pieces of all jobs, one range after the other: where each range ends.
    let mut ends = Vec::with_capacity(matrices.len());
    let mut pieces = 0;
    for m in matrices {
        let row_bytes = m.ty.row_bytes(cols).expect("whole blocks");
        assert!(m.cols == cols && m.data.len() == m.rows * row_bytes, "the matrix's own size");
        // SAFETY: the rows before this matrix's are within the first token's results, as its own are.
        let (weights, rows, out) = (m.data, m.rows, unsafe { base.add(before) });
        jobs.push(if let Some(kernel) = kernels.quantized(m.ty) {
            let x = &work.panels;
            Job::Quantized(kernel, quantized::Product { weights, row_bytes, rows, x, out, out_stride })
        } else {
            let kernel = kernels.float(m.ty).expect("a supported type");
            Job::Float(kernel, float::Product { weights, cols, x, out, out_stride })
        });
        pieces += rows.div_ceil(piece);
        ends.push(pieces);
        before += rows;
    }
    let jobs = Jobs { jobs, tiles: &work.tiles };
    team.for_each(pieces, |thread, index| {
        let job = ends.partition_point(|end| *end <= index);
        let begin = if job == 0 { 0 } else { ends[job - 1] };
        let first = (index - begin) * piece;
        // SAFETY: pieces are disjoint ranges of rows, and each is run once.
        unsafe { jobs.run(thread, job, first..matrices[job].rows.min(first + piece)) };
    });
}

struct Jobs<'a> {
    jobs: Vec<Job<'a>>,
    tiles: &'a [Mutex<Tile>],
}

// SAFETY: the raw pointers inside are only written through, in `run`, whose contract keeps the writes apart.
unsafe impl Sync for Jobs<'_> {}

impl Jobs<'_> {
    /// # Safety
    /// No other call, now or before, has any of these rows of this job.
    unsafe fn run(&self, thread: usize, job: usize, rows: Range<usize>) {
        match &self.jobs[job] {
            Job::Quantized(kernel, product) => {
                let mut tile = self.tiles[thread].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // SAFETY: the output has a place for every token and row, nobody else has these rows, and the table
                // that the kernel came from was handed out by `available`.
                unsafe { kernel(product, rows.start, rows.end, &mut tile) }
            }
            // SAFETY: the same.
            Job::Float(kernel, product) => unsafe { kernel(product, rows.start, rows.end) },
        }
    }
}

/// Quantizes the tokens, a group at a time on each thread.
fn quantize(kernels: &'static Kernels, team: &Team, panels: &mut Panels, x: &[f32], cols: usize, fine: bool) {
    panels.resize(x.len() / cols, cols, fine);
    let together = if fine { TOGETHER / 2 } else { TOGETHER };
    team.for_each_chunk(&mut panels.fours, cols / BLOCK, |i, group| {
        let x = &x[together * i * cols..x.len().min(together * (i + 1) * cols)];
        // SAFETY: the table was handed out by `available`; the kernel itself is safe code.
        unsafe { (kernels.quantize_4)(x, cols, fine, group) };
    });
    // SAFETY: the same. At most one of them has panels.
    unsafe {
        (kernels.quantize_2)(x, cols, fine, &mut panels.two);
        (kernels.quantize_1)(x, cols, false, &mut panels.one);
    }
}
