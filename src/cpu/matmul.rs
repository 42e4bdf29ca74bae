//! Matrix products on all threads: quantizing the tokens, dealing out rows.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use bytemuck::cast_slice;

use super::bf16::{self, Piece, Rounded};
use super::glu::Hidden;
use super::panel::{BLOCK, Panels, Places, Round, quantize_few};
use super::room;
use super::stream::Pairs;
use super::table::Kernels;
use super::tile::{TOGETHER, Tile};
use super::{float, glu, quantized};
use crate::pool::Team;
use crate::quant::{GgmlType, is_supported};
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
    /// Whether its tokens are rounded to sixteen bits, or to eight, if the weights are quantized or BF16.
    pub fine: bool,
}

impl Matrix<'_> {
    /// Bytes of a row.
    ///
    /// # Panics
    /// If the data is not as long as the type and the shape say.
    fn check(&self) -> usize {
        let row_bytes = self.ty.row_bytes(self.cols).expect("whole blocks");
        assert!(self.data.len() == self.rows * row_bytes, "the matrix's own size");
        row_bytes
    }
}

/// The most columns of a step's products.
#[derive(Debug, Clone, Copy)]
pub struct Cols {
    /// Of any product.
    pub any: usize,
    /// Of products with matrices that are fine.
    pub fine: usize,
    /// Of [`feed_forward`]'s hidden layer.
    pub hidden: usize,
    /// Of products with BF16: none if there are no such matrices.
    pub bf16: usize,
}

impl Cols {
    /// Of the places of a token, all together, for products with BF16.
    fn rounded(self) -> usize {
        self.bf16.max(2 * self.fine.min(self.bf16))
    }
}

/// What products need besides their operands; made once, used again and again.
#[derive(Default)]
pub struct Workspace {
    panels: Panels,
    /// The same tokens, fine.
    fine: Panels,
    /// The hidden layer of a gated feed-forward block.
    hidden: Panels,
    /// The tokens for BF16.
    bf16: Rounded,
    pairs: Pairs,
    /// One for every thread.
    tiles: Vec<Mutex<Tile>>,
}

impl Workspace {
    /// Takes the memory for products of up to `tokens` tokens on so many threads.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn reserve(&mut self, tokens: usize, cols: Cols, threads: usize) -> Result<()> {
        let no_memory = |bytes| Error::NoMemory { bytes, what: "quantized activations" };
        self.panels.reserve(tokens, cols.any).map_err(no_memory)?;
        self.fine.reserve(tokens.saturating_mul(2), cols.fine).map_err(no_memory)?;
        self.hidden.reserve(tokens, cols.hidden).map_err(no_memory)?;
        self.bf16.reserve(tokens, cols.rounded()).map_err(no_memory)?;
        self.pairs.reserve(tokens, cols).map_err(no_memory)?;
        room(&mut self.tiles, threads).map_err(|_| no_memory(threads * size_of::<Mutex<Tile>>()))?;
        self.tiles.resize_with(threads, Mutex::default);
        for tile in self.tiles.iter_mut().filter(|_| tokens > 1) {
            let tile = tile.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            tile.reserve(tokens.saturating_mul(2), cols.any.max(cols.hidden), cols.bf16).map_err(no_memory)?;
        }
        Ok(())
    }

    /// Bytes that [`Workspace::reserve`] reserves, if nothing was before.
    pub fn bytes(tokens: usize, cols: Cols, threads: usize) -> usize {
        let places = tokens.saturating_mul(2);
        let tile = if tokens > 1 { Tile::bytes(places, cols.any.max(cols.hidden), cols.bf16) } else { 0 };
        let tile = tile.saturating_add(size_of::<Mutex<Tile>>());
        let panels = Panels::bytes(tokens, cols.any).saturating_add(Panels::bytes(tokens, cols.hidden));
        let panels = panels.saturating_add(Panels::bytes(places, cols.fine));
        let panels = panels.saturating_add(Rounded::bytes(tokens, cols.rounded()));
        panels.saturating_add(Pairs::bytes(tokens, cols)).saturating_add(threads.saturating_mul(tile))
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        let tiles: usize = self.tiles.iter().map(|tile| lock(tile).taken()).sum();
        self.panels.taken()
            + self.fine.taken()
            + self.hidden.taken()
            + self.bf16.taken()
            + self.pairs.taken()
            + self.tiles.capacity() * size_of::<Mutex<Tile>>()
            + tiles
    }
}

/// One matrix and its operands; for float weights, also the kernel of their type.
enum Job<'a> {
    Quantized(quantized::Product<'a>),
    Float(super::table::FloatFn, float::Product<'a>),
}

/// Rows that a thread takes at a time, at most; a multiple of every kernel's own group.
const PIECE: usize = 64;

/// From so many tokens on, thirty-two rows are work enough for a piece: the smaller they are, the less the others wait
/// for the last one.
const MANY: usize = 16;

/// Multiplies the same tokens, `x` as `[token][col]`, by several matrices of `cols` columns. Their results lie side by
/// side in `out`, `[token][row of the first, row of the second, …]`. What it held before is lost.
///
/// # Panics
/// If a length does not fit or a type is not supported: matrices come from a model, which checked both.
pub fn matmul(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    matrices: &[Matrix],
    x: &[f32],
    out: &mut [f32],
) {
    let Some(cols) = matrices.first().map(|m| m.cols) else { return };
    for (fine, panels) in [(false, &mut work.panels), (true, &mut work.fine)] {
        if matrices.iter().any(|m| is_quantized(m.ty) && m.fine == fine) {
            quantize(kernels, team, panels, x, cols, fine);
        }
    }
    let mut of_bf16 = matrices.iter().filter(|m| m.ty == GgmlType::BF16).map(|m| m.fine).peekable();
    if of_bf16.peek().is_some() {
        round_bf16(kernels, team, &mut work.bf16, x, cols, of_bf16.any(|fine| fine));
    }
    work.tiles.resize_with(team.threads(), Mutex::default);
    let tokens = Tokens { count: x.len() / cols, x, panels: &work.panels, fine: &work.fine, bf16: &work.bf16 };
    multiply(kernels, team, &work.tiles, &mut work.pairs, matrices, tokens, out);
}

/// Whether [`feed_forward`] takes matrices of these types.
pub fn fuses(gate: GgmlType, up: GgmlType, down: GgmlType) -> bool {
    gate == up && is_quantized(gate) && is_quantized(down)
}

fn is_quantized(ty: GgmlType) -> bool {
    is_supported(ty) && ty.block_len() > 1
}

/// x = down(SiLU(gate(x)) * up(x)), tokens as in [`matmul`], and the same bits as that called for gate and up, then
/// [`Kernels::swiglu`], then that called for down.
///
/// # Panics
/// If a length does not fit, [`fuses`] says no or a matrix is fine.
pub fn feed_forward(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    [gate, up, down]: [Matrix; 3],
    x: &mut [f32],
) {
    let (cols, hidden) = (gate.cols, gate.rows);
    let tokens = x.len() / cols;
    assert!(x.len() == tokens * cols, "whole tokens");
    assert!((up.cols, up.rows, down.cols, down.rows) == (cols, hidden, hidden, cols) && hidden.is_multiple_of(BLOCK));
    assert!(fuses(gate.ty, up.ty, down.ty), "types that are computed together");
    assert!(!gate.fine && !up.fine && !down.fine, "tokens of eight bits");
    let row_bytes = gate.check();
    up.check();
    quantize(kernels, team, &mut work.panels, x, cols, false);
    work.hidden.resize(tokens, hidden, false);
    work.tiles.resize_with(team.threads(), Mutex::default);
    if tokens > 0 {
        let format = kernels.format(gate.ty).expect("a supported type");
        let out = Hidden::new(&mut work.hidden);
        work.pairs.clear();
        let all = work.panels.tokens(0..tokens);
        let pairs = work.pairs.arrange(all, format);
        let (one, two) = work.pairs.of(all, pairs);
        let (gate, up) = (gate.data, up.data);
        let part = |part: Range<usize>| {
            let (x, out) = (work.panels.tokens(part.clone()), out.tokens(part));
            glu::Glu { gate, up, row_bytes, format, x, one, two, out }
        };
        let parts: Vec<_> = parts(team, tokens, hidden.min(cols)).map(part).collect();
        let blocks = hidden / BLOCK;
        team.for_each(parts.len() * blocks, |thread, index| {
            let (glu, row) = (&parts[index / blocks], index % blocks * BLOCK);
            let mut tile = lock(&work.tiles[thread]);
            // SAFETY: blocks are disjoint ranges of columns, and each is run once for each part of the tokens; the table that
            // the kernel came from was handed out by `available`.
            unsafe { (kernels.glu)(glu, row, row + BLOCK, &mut tile) };
        });
    }
    // Nobody reads the values: the type is quantized.
    let tokens = Tokens { count: tokens, x: &[], panels: &work.hidden, fine: &work.fine, bf16: &work.bf16 };
    multiply(kernels, team, &work.tiles, &mut work.pairs, &[down], tokens, x);
}

/// Tokens as the kernels take them: as numbers or rounded for float weights, quantized for others, as far as matrices need
/// them so.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    count: usize,
    x: &'a [f32],
    panels: &'a Panels,
    fine: &'a Panels,
    bf16: &'a Rounded,
}

impl<'a> Tokens<'a> {
    /// Some of them, as a matrix takes them.
    fn places(&self, m: &Matrix, tokens: Range<usize>) -> Places<'a> {
        if m.fine { self.fine } else { self.panels }.tokens(tokens)
    }

    /// Those that a matrix of floats multiplies.
    fn floats(&self, m: &Matrix, tokens: Range<usize>) -> float::Places<'a> {
        let (all, [bytes, token_bytes], fine, scale): (&[u8], _, _, _) = match m.ty {
            GgmlType::BF16 => {
                let bytes = [self.bf16.place, self.bf16.token].map(|pieces| pieces * size_of::<Piece>());
                (cast_slice(&self.bf16.pieces), bytes, m.fine, 1.0 / bf16::SCALE)
            }
            _ => (cast_slice(self.x), [size_of::<f32>() * m.cols; 2], false, 1.0),
        };
        let data = &all[tokens.start * token_bytes..tokens.end * token_bytes];
        let (count, stride) = if fine { (2 * tokens.len(), bytes) } else { (tokens.len(), token_bytes) };
        float::Places { data, count, fine, bytes, stride, scale }
    }
}

/// Of matrices with so many rows or columns at most, each thread takes other tokens, and all rows. It unpacks all weights
/// for itself then; but what it makes of a token is in its own caches, whatever comes next. On Zen 4, prompts are 2 to 9 %
/// faster with 576 columns, 2 to 3 with 768, and with 2048 from 1 slower to 2 faster: most where the system runs the threads
/// on cores that share no cache.
const SMALL: usize = 1024;

/// So many tokens at least.
const PART: usize = 128;

/// Tokens that are taken together, parts of all, by matrices of which the smaller side is so long.
fn parts(team: &Team, tokens: usize, side: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = if side <= SMALL { (tokens / PART).clamp(1, team.threads()) } else { 1 };
    let start = move |part: usize| if part < parts { tokens * part / parts / TOGETHER * TOGETHER } else { tokens };
    (0..parts).map(move |part| start(part)..start(part + 1))
}

/// The products themselves, once the tokens are quantized.
fn multiply(
    kernels: &'static Kernels,
    team: &Team,
    tiles: &[Mutex<Tile>],
    pairs: &mut Pairs,
    matrices: &[Matrix],
    x: Tokens,
    out: &mut [f32],
) {
    let tokens = x.count;
    let (cols, out_stride): (usize, usize) = (matrices[0].cols, matrices.iter().map(|m| m.rows).sum());
    assert!(out.len() == tokens * out_stride, "room for the results of whole tokens");
    if tokens == 0 {
        return;
    }

    // Small matrices: still several pieces for each thread.
    let together = if tokens == 1 { 16 } else { 32 };
    let most = if tokens >= MANY { together } else { PIECE };
    let most = (out_stride / (team.threads() * 4)).next_multiple_of(together).clamp(together, most);
    // As many for each thread as can be: of nine pieces, one of two threads has five.
    let longest = |piece: &usize| {
        let pieces: usize = matrices.iter().map(|m| m.rows.div_ceil(*piece)).sum();
        pieces.div_ceil(team.threads()) * piece
    };
    let piece = (1..=most / together).rev().map(|n| n * together).min_by_key(longest).unwrap_or(most);
    pairs.clear();
    let mut arranged: Vec<Range<usize>> = Vec::with_capacity(matrices.len());
    for (i, m) in matrices.iter().enumerate() {
        let same = i > 0 && matrices[i - 1].ty == m.ty && matrices[i - 1].fine == m.fine;
        let again = arranged.last().filter(|_| same).cloned();
        let range = again.or_else(|| kernels.format(m.ty).map(|format| pairs.arrange(x.places(m, 0..tokens), format)));
        arranged.push(range.unwrap_or_default());
    }
    let mut jobs = Vec::new();
    let base = out.as_mut_ptr();
    // The pieces of all jobs, one range after the other: where each range ends.
    let mut ends = Vec::new();
    let mut pieces = 0;
    for part in parts(team, tokens, out_stride.min(cols)) {
        let mut before = part.start * out_stride;
        for (m, range) in matrices.iter().zip(&arranged) {
            assert!(m.cols == cols, "one length of input");
            let row_bytes = m.check();
            // SAFETY: the rows before this matrix's are within the part's first token's results, as its own are.
            let (weights, rows, out) = (m.data, m.rows, unsafe { base.add(before) });
            jobs.push(if let Some(format) = kernels.format(m.ty) {
                let x = x.places(m, part.clone());
                let (one, two) = pairs.of(x, range.clone());
                Job::Quantized(quantized::Product { weights, row_bytes, rows, format, x, one, two, out, out_stride })
            } else {
                assert!(x.x.len() == tokens * cols, "whole tokens");
                let kernel = kernels.float(m.ty).expect("a supported type");
                let x = x.floats(m, part.clone());
                Job::Float(kernel, float::Product { weights, row_bytes, rows, x, out, out_stride })
            });
            pieces += rows.div_ceil(piece);
            ends.push(pieces);
            before += rows;
        }
    }
    let jobs = Jobs { kernels, jobs, tiles };
    team.for_each(pieces, |thread, index| {
        let job = ends.partition_point(|end| *end <= index);
        let begin = if job == 0 { 0 } else { ends[job - 1] };
        let first = (index - begin) * piece;
        let rows = first..matrices[job % matrices.len()].rows.min(first + piece);
        // SAFETY: pieces are disjoint ranges of rows or of tokens, and each is run once.
        unsafe { jobs.run(thread, job, rows) };
    });
}

fn lock(tile: &Mutex<Tile>) -> MutexGuard<'_, Tile> {
    tile.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Jobs<'a> {
    kernels: &'static Kernels,
    jobs: Vec<Job<'a>>,
    tiles: &'a [Mutex<Tile>],
}

// SAFETY: the raw pointers inside are only written through, in `run`, whose contract keeps the writes apart.
unsafe impl Sync for Jobs<'_> {}

impl Jobs<'_> {
    /// # Safety
    /// No other call, now or before, has any of these rows of this job.
    unsafe fn run(&self, thread: usize, job: usize, rows: Range<usize>) {
        let mut tile = lock(&self.tiles[thread]);
        // SAFETY: the output has a place for every token and row, nobody else has these rows, and the table was handed
        // out by `available`.
        unsafe {
            match &self.jobs[job] {
                Job::Quantized(product) => (self.kernels.product)(product, rows.start, rows.end, &mut tile),
                Job::Float(kernel, product) => kernel(product, rows.start, rows.end, &mut tile),
            }
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
        unsafe { (kernels.quantize)(x, cols, fine, group) };
    });
    // SAFETY: the same.
    let round = |task: Round| unsafe { (kernels.round)(task) };
    // At most one of them has panels.
    quantize_few(x, cols, fine, &mut panels.two, round);
    quantize_few(x, cols, false, &mut panels.one, round);
}

/// Rounds the tokens to bfloat16.
fn round_bf16(kernels: &'static Kernels, team: &Team, rounded: &mut Rounded, x: &[f32], cols: usize, fine: bool) {
    rounded.resize(x.len() / cols, cols, kernels.bf16_pieces, fine);
    team.for_each_chunk(&mut rounded.pieces, rounded.token, |t, places| {
        // SAFETY: the table was handed out by `available`; the kernel itself is safe code.
        unsafe { (kernels.round_bf16)(&x[t * cols..][..cols], fine, places) };
    });
}
