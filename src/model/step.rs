//! One forward step: some tokens of some sequences through all layers. The blocks that families are made of.
//!
//! Every block works on all tokens of the step at once: one token in decoding, hundreds in prefill, by the same code.
//! `x` is the residual stream; a block reads it through a norm and adds its result to it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::{Activations, Cols, Matrix, Room, Workspace, feed_forward, fuses, matmul};
use crate::pool::Team;
use crate::{Error, Gguf, Kernels, Result, Token};

use super::attention::{parts_len, queries};
use super::kv::{Layout, Sequence};
use super::outputs::Wanted;
use super::params::Params;
use super::rope::Rope;
use super::weights::{Linear, Norm};

/// Consecutive tokens of one sequence within a step.
pub(super) struct Run<'a> {
    /// The sequence, with room for the tokens' keys and values.
    pub sequence: &'a mut Sequence,
    /// The position of the first token.
    pub start: usize,
    pub tokens: &'a [Token],
}

/// What a model's steps need for each token, in elements.
#[derive(Debug)]
pub(super) struct Widths {
    /// The residual stream.
    pub embd: usize,
    /// Queries, keys and values, or gate and up.
    pub wide: usize,
    /// What attention gives, or the hidden layer.
    pub middle: usize,
    /// The hidden layer where it is made quantized.
    pub hidden: usize,
    /// Pairs of dimensions that are rotated.
    pub turns: usize,
    /// Parts of attention, of all tokens together.
    pub parts: usize,
    /// Queries of a token that share a head of keys and values, and dimensions of the head.
    pub group: usize,
    pub head_dim: usize,
    /// Whether there are matrices of BF16, which is for the model to say, who sees all of them.
    pub bf16: bool,
}

impl Widths {
    /// What attention without rotation and a feed-forward block without gate need.
    pub fn plain(p: &Params) -> Self {
        Self {
            embd: p.n_embd,
            wide: p.n_q() + 2 * p.n_kv(),
            middle: p.n_q().max(p.n_ff),
            hidden: 0,
            turns: 0,
            parts: parts_len(p.n_head, p.head_dim),
            group: p.n_head / p.n_head_kv,
            head_dim: p.head_dim,
            bf16: false,
        }
    }

    /// What attention with rotation needs, and feed-forward blocks with a gate, some or all of which are [fused](fused).
    pub fn gated(p: &Params, fused: impl Iterator<Item = bool>) -> Self {
        let (mut any, mut all) = (false, true);
        fused.for_each(|fused| (any, all) = (any || fused, all && fused));
        let plain = Self { turns: p.head_dim / 2, hidden: if any { p.n_ff } else { 0 }, ..Self::plain(p) };
        if all { Self { middle: p.n_q(), ..plain } } else { Self { wide: plain.wide.max(2 * p.n_ff), ..plain } }
    }

    /// The most columns of products.
    fn cols(&self) -> Cols {
        let any = self.middle.max(self.embd);
        Cols { any, fine: self.embd, hidden: self.hidden, bf16: if self.bf16 { any } else { 0 } }
    }

    /// Bytes that each token of a step takes, about: what the choice of a chunk goes by.
    pub fn bytes_per_token(&self) -> usize {
        4 * (2 * self.embd + self.wide + self.middle) + 2 * (self.middle.max(self.embd) + self.hidden)
    }
}

/// Whether a feed-forward block with a gate is computed without storing its hidden layer as numbers.
pub(super) fn fused([gate, up]: &[Linear; 2], down: &Linear) -> bool {
    let biased = [gate, up, down].iter().any(|linear| linear.bias.is_some());
    !biased && fuses(gate.ty(), up.ty(), down.ty())
}

/// Buffers of a step, kept from one to the next.
#[derive(Default)]
pub(super) struct Buffers {
    /// The tokens and their positions.
    places: Vec<(Token, usize)>,
    /// `[token][n_embd]`: the residual stream.
    pub x: Vec<f32>,
    /// `[token][n_embd]`: what a block reads, then what it gives.
    pub h: Vec<f32>,
    /// `[token][query, key, value]` or `[token][gate, up]`.
    pub wide: Vec<f32>,
    /// `[token][n_q]` or `[token][n_ff]`.
    pub middle: Vec<f32>,
    /// `[token][pair]`: cosine and sine.
    pub turns: Vec<[f32; 2]>,
    /// What attention of single pages gives.
    pub parts: Vec<f32>,
    /// Each thread's, for attention.
    pub rooms: Vec<Room>,
    pub work: Workspace,
}

impl Buffers {
    /// Bytes that steps of up to so many tokens take: what [`Buffers::reserve`] reserves.
    pub fn bytes(w: &Widths, tokens: usize, threads: usize) -> usize {
        let floats = 2 * w.embd + w.wide + w.middle + 2 * w.turns;
        let token = size_of::<(Token, usize)>().saturating_add(floats.saturating_mul(size_of::<f32>()));
        let parts = if threads > 1 { w.parts.saturating_mul(size_of::<f32>()) } else { 0 };
        let room = size_of::<Room>() + Room::bytes(queries(tokens, w.group), w.head_dim);
        let work = Workspace::bytes(tokens, w.cols(), threads).saturating_add(threads.saturating_mul(room));
        tokens.saturating_mul(token).saturating_add(parts).saturating_add(work)
    }

    /// Bytes taken.
    pub fn taken(&self) -> usize {
        let floats: usize =
            [&self.x, &self.h, &self.wide, &self.middle, &self.parts].iter().map(|b| b.capacity()).sum();
        self.places.capacity() * size_of::<(Token, usize)>()
            + (floats + 2 * self.turns.capacity()) * size_of::<f32>()
            + self.rooms.capacity() * size_of::<Room>()
            + self.rooms.iter().map(Room::taken).sum::<usize>()
            + self.work.taken()
    }

    /// Takes the memory that a step of so many tokens needs, so that a file whose sizes are absurd, or a system that
    /// has no more, ends in an error.
    pub fn reserve(&mut self, w: &Widths, tokens: usize, threads: usize) -> Result<()> {
        fn room<T>(buffer: &mut Vec<T>, len: usize) -> Result<()> {
            let bytes = len.saturating_mul(size_of::<T>());
            crate::cpu::room(buffer, len).map_err(|_| Error::NoMemory { bytes, what: "a step's buffers" })
        }
        let len = |width: usize| tokens.saturating_mul(width);
        room(&mut self.places, tokens)?;
        room(&mut self.x, len(w.embd))?;
        room(&mut self.h, len(w.embd))?;
        room(&mut self.wide, len(w.wide))?;
        room(&mut self.middle, len(w.middle))?;
        room(&mut self.turns, len(w.turns))?;
        room(&mut self.parts, if threads > 1 { w.parts } else { 0 })?;
        room(&mut self.rooms, threads)?;
        self.rooms.resize_with(threads, Room::default);
        for room in &mut self.rooms {
            let no_memory = |bytes| Error::NoMemory { bytes, what: "attention" };
            room.reserve(queries(tokens, w.group), w.head_dim).map_err(no_memory)?;
        }
        self.work.reserve(tokens, w.cols(), threads)
    }
}

/// A step on its way through the layers.
pub(super) struct Step<'a> {
    pub params: &'a Params,
    pub gguf: &'a Gguf,
    pub kernels: &'static Kernels,
    pub team: &'a Team<'a>,
    pub cancelled: &'a AtomicBool,
    pub layout: Layout,
    pub activations: Activations,
    pub runs: Vec<Run<'a>>,
    pub buffers: &'a mut Buffers,
    /// Hears of each layer that is done; nobody, if they are not worth telling.
    pub layers: Option<&'a mut dyn FnMut(usize) -> ControlFlow<()>>,
}

impl Step<'_> {
    /// All tokens with their positions, in order.
    pub fn places(&self) -> impl Iterator<Item = (Token, usize)> {
        self.runs.iter().flat_map(|run| run.tokens.iter().zip(run.start..).map(|(token, position)| (*token, position)))
    }

    /// x = the tokens' embeddings, plus their positions' where those are learned.
    pub fn embed(&mut self, tokens: &Linear, positions: Option<&Linear>) {
        let mut places = std::mem::take(&mut self.buffers.places);
        places.clear();
        places.extend(self.places());
        let (gguf, n_embd) = (self.gguf, self.params.n_embd);
        let Buffers { x, h, turns, .. } = &mut *self.buffers;
        turns.clear();
        resize(x, places.len() * n_embd);
        self.team.for_each_chunk(x, n_embd, |t, x| tokens.row(gguf, places[t].0 as usize, x));
        if let Some(positions) = positions {
            resize(h, places.len() * n_embd);
            self.team.for_each_chunk(h, n_embd, |t, h| positions.row(gguf, places[t].1, h));
            add(self.team, x, h, n_embd, None);
        }
        self.buffers.places = places;
    }

    /// From here on, queries and keys are rotated by their positions.
    pub fn rope(&mut self, rope: &Rope) {
        let Buffers { places, turns, .. } = &mut *self.buffers;
        turns.clear();
        turns.extend(places.iter().flat_map(|(_, position)| rope.turns(*position)));
    }

    /// h = norm(x).
    pub fn norm(&mut self, norm: &Norm) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let (kernels, n_embd) = (self.kernels, self.params.n_embd);
        let Buffers { x, h, .. } = &mut *self.buffers;
        resize(h, x.len());
        self.team.for_each_chunk(h, n_embd, |t, h| apply_norm(kernels, norm, &x[t * n_embd..][..n_embd], h));
        Ok(())
    }

    /// h = x: what the first block reads in a family whose norms come after the blocks.
    pub fn read(&mut self) {
        let Buffers { x, h, .. } = &mut *self.buffers;
        h.clone_from(x);
    }

    /// x = h = norm(x): a norm after a block.
    pub fn norm_after(&mut self, norm: &Norm) -> Result<()> {
        self.norm(norm)?;
        let Buffers { x, h, .. } = &mut *self.buffers;
        x.copy_from_slice(h);
        Ok(())
    }

    /// x += down(SiLU(gate(h)) * up(h)) (Shazeer, 2020, arXiv:2002.05202). `gate_up` are the two, in this order.
    pub fn swiglu(&mut self, gate_up: &[Linear; 2], down: &Linear) {
        let (gguf, kernels, team, n_ff) = (self.gguf, self.kernels, self.team, self.params.n_ff);
        let Buffers { x, h, wide, middle, work, .. } = &mut *self.buffers;
        if fused(gate_up, down) {
            let [gate, up] = gate_up;
            feed_forward(kernels, team, work, [gate, up, down].map(|linear| linear.matrix(gguf)), h);
        } else {
            linear(kernels, team, work, &gate_up.each_ref().map(|part| part.matrix(gguf)), h, wide);
            add_all_biases(team, gate_up, wide);
            resize(middle, wide.len() / 2);
            team.for_each_chunk(middle, n_ff, |t, out| {
                let (gate, up) = wide[2 * t * n_ff..][..2 * n_ff].split_at(n_ff);
                kernels.swiglu(gate, up, out);
            });
            linear(kernels, team, work, &[down.matrix(gguf)], middle, h);
        }
        add(team, x, h, self.params.n_embd, down.bias.as_deref());
    }

    /// x += down(GELU(up(h))).
    pub fn gelu(&mut self, up: &Linear, down: &Linear) {
        let (gguf, kernels, team, n_ff) = (self.gguf, self.kernels, self.team, self.params.n_ff);
        let Buffers { x, h, middle, work, .. } = &mut *self.buffers;
        linear(kernels, team, work, &[up.matrix(gguf)], h, middle);
        team.for_each_chunk(middle, n_ff, |_, row| {
            add_biases(std::slice::from_ref(up), row);
            kernels.gelu(row);
        });
        linear(kernels, team, work, &[down.matrix(gguf)], middle, h);
        add(team, x, h, self.params.n_embd, down.bias.as_deref());
    }

    /// So many layers are done.
    pub fn tell(&mut self, layers: usize) -> Result<()> {
        match self.layers.as_mut().map(|hear| hear(layers)) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// embeddings = norm(x) and logits = output(norm(x)), whichever is wanted, for the step's tokens that are wanted,
    /// in that order; without a norm, x itself.
    pub fn outputs(&mut self, wanted: Wanted, norm: Option<&Norm>, output: &Linear) {
        let (gguf, kernels, n_embd) = (self.gguf, self.kernels, self.params.n_embd);
        let Buffers { x, h, work, .. } = &mut *self.buffers;
        let Wanted { tokens, logits, embeddings } = wanted;
        resize(h, tokens.len() * n_embd);
        self.team.for_each_chunk(h, n_embd, |i, h| {
            let x = &x[tokens[i] * n_embd..][..n_embd];
            match norm {
                Some(norm) => apply_norm(kernels, norm, x, h),
                None => h.copy_from_slice(x),
            }
        });
        if !embeddings.is_empty() {
            embeddings.copy_from_slice(h);
        }
        if !logits.is_empty() {
            let fine = self.activations == Activations::Mixed;
            matmul(kernels, self.team, work, &[Matrix { fine, ..output.matrix(gguf) }], h, logits);
            add_all_biases(self.team, std::slice::from_ref(output), logits);
        }
    }
}

fn apply_norm(kernels: &Kernels, norm: &Norm, x: &[f32], out: &mut [f32]) {
    match &norm.bias {
        Some(bias) => kernels.layer_norm(x, &norm.weight, bias, norm.eps, out),
        None => kernels.rms_norm(x, &norm.weight, norm.eps, out),
    }
}

/// out = `[token][results of all matrices side by side]`, made as long as that takes, without biases: who reads the
/// results adds them, by [`add_biases`] or [`add`], while they are in the nearest cache.
pub(super) fn linear(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    matrices: &[Matrix],
    x: &[f32],
    out: &mut Vec<f32>,
) {
    resize(out, x.len() / matrices[0].cols * matrices.iter().map(|m| m.rows).sum::<usize>());
    matmul(kernels, team, work, matrices, x, out);
}

/// Adds the parts' biases, if there are any, to one token's results of all parts side by side.
pub(super) fn add_biases(parts: &[Linear], results: &mut [f32]) {
    let mut at = 0;
    for part in parts {
        for (y, b) in results[at..].iter_mut().zip(part.bias.iter().flatten()) {
            *y += b;
        }
        at += part.rows;
    }
}

/// The same for all tokens, where nobody reads the results soon who could do it.
fn add_all_biases(team: &Team, parts: &[Linear], results: &mut [f32]) {
    if parts.iter().any(|part| part.bias.is_some()) {
        let width = parts.iter().map(|part| part.rows).sum();
        team.for_each_chunk(results, width, |_, row| add_biases(parts, row));
    }
}

/// x += y + bias, if there is one; x and y are `[token][width]`.
pub(super) fn add(team: &Team, x: &mut [f32], y: &[f32], width: usize, bias: Option<&[f32]>) {
    team.for_each_chunk(x, width, |t, x| {
        let both = x.iter_mut().zip(&y[t * width..][..width]);
        match bias {
            Some(bias) => both.zip(bias).for_each(|((x, y), b)| *x += y + b),
            None => both.for_each(|(x, y)| *x += y),
        }
    });
}

/// A buffer of this length, whatever it holds: it is written before it is read.
pub(super) fn resize(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}
