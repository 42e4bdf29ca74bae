//! One forward step: some tokens of some sequences through all layers. The blocks that families are made of.
//!
//! Every block works on all tokens of the step at once: one token in decoding, hundreds in prefill, by the same code.
//! `x` is the residual stream; a block reads it through a norm and adds its result to it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::{Matrix, PAGE, Query, Workspace, matmul};
use crate::pool::Team;
use crate::{Error, Gguf, Kernels, Result, Token};

use super::kv::{Layout, Sequence};
use super::params::Params;
use super::rope::{Rope, rotate};
use super::weights::{Linear, Loader, Norm};

/// Consecutive tokens of one sequence within a step.
pub(super) struct Run<'a> {
    /// The sequence, with room for the tokens' keys and values.
    pub sequence: &'a mut Sequence,
    /// The position of the first token.
    pub start: usize,
    pub tokens: &'a [Token],
}

/// Query, key and value projections, whichever way the file holds them; results side by side.
#[derive(Debug)]
pub(super) struct Qkv {
    /// One matrix of all, or three.
    parts: Vec<Linear>,
}

impl Qkv {
    /// `blk.<layer>.attn_qkv`, or `attn_q`, `attn_k` and `attn_v`.
    pub fn load(loader: &Loader, layer: usize, p: &Params) -> Result<Self> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        if let Some(all) = loader.linear_if(&name("attn_qkv"), p.n_q() + 2 * p.n_kv(), p.n_embd)? {
            return Ok(Self { parts: vec![all] });
        }
        let part = |part: &str, rows| loader.linear(&name(part), rows, p.n_embd);
        Ok(Self { parts: vec![part("attn_q", p.n_q())?, part("attn_k", p.n_kv())?, part("attn_v", p.n_kv())?] })
    }
}

/// Buffers of a step, kept from one to the next.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[token][n_embd]`: the residual stream.
    x: Vec<f32>,
    /// `[token][n_embd]`: what a block reads, then what it gives.
    h: Vec<f32>,
    /// `[token][query, key, value]` or `[token][gate, up]`.
    wide: Vec<f32>,
    /// `[token][n_q]` or `[token][n_ff]`.
    middle: Vec<f32>,
    /// `[token][pair]`: cosine and sine.
    turns: Vec<[f32; 2]>,
    work: Workspace,
}

impl Buffers {
    /// Elements of a token in `wide` and in `middle`.
    fn widths(p: &Params) -> (usize, usize) {
        ((p.n_q() + 2 * p.n_kv()).max(2 * p.n_ff), p.n_q().max(p.n_ff))
    }

    /// Bytes that each token of a step takes, about: the buffers above and the quantized activations.
    pub fn bytes_per_token(p: &Params) -> usize {
        let (wide, middle) = Self::widths(p);
        4 * (2 * p.n_embd + wide + middle) + 2 * middle.max(p.n_embd)
    }

    /// Takes the memory that a step of so many tokens needs, so that a file whose sizes are absurd, or a system that
    /// has no more, ends in an error.
    pub fn reserve(&mut self, p: &Params, tokens: usize) -> Result<()> {
        let (wide, middle) = Self::widths(p);
        for (buffer, width) in
            [(&mut self.x, p.n_embd), (&mut self.h, p.n_embd), (&mut self.wide, wide), (&mut self.middle, middle)]
        {
            let len = tokens.saturating_mul(width);
            let bytes = len.saturating_mul(size_of::<f32>());
            let more = len.saturating_sub(buffer.len());
            buffer.try_reserve_exact(more).map_err(|_| Error::NoMemory { bytes, what: "a step's buffers" })?;
        }
        self.work.reserve(tokens, middle.max(p.n_embd))
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
    pub runs: Vec<Run<'a>>,
    pub buffers: &'a mut Buffers,
}

impl Step<'_> {
    /// All tokens with their positions, in order.
    fn places(&self) -> impl Iterator<Item = (Token, usize)> {
        self.runs.iter().flat_map(|run| run.tokens.iter().zip(run.start..).map(|(token, position)| (*token, position)))
    }

    /// x = the tokens' embeddings, plus their positions' where those are learned.
    pub fn embed(&mut self, tokens: &Linear, positions: Option<&Linear>) {
        let (places, gguf, n_embd) = (self.places().collect::<Vec<_>>(), self.gguf, self.params.n_embd);
        let Buffers { x, h, turns, .. } = &mut *self.buffers;
        turns.clear();
        resize(x, places.len() * n_embd);
        self.team.for_each_chunk(x, n_embd, |t, x| tokens.row(gguf, places[t].0 as usize, x));
        if let Some(positions) = positions {
            resize(h, places.len() * n_embd);
            self.team.for_each_chunk(h, n_embd, |t, h| positions.row(gguf, places[t].1, h));
            add(self.team, x, h, n_embd);
        }
    }

    /// From here on, queries and keys are rotated by their positions.
    pub fn rope(&mut self, rope: &Rope) {
        let turns = self.places().flat_map(|(_, position)| rope.turns(position)).collect();
        self.buffers.turns = turns;
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

    /// x += output(attention(qkv(h))): causal self-attention with grouped queries, rotated if [`Step::rope`] was called.
    pub fn attention(&mut self, layer: usize, qkv: &Qkv, output: &Linear) {
        let (params, gguf, kernels, team, layout) = (self.params, self.gguf, self.kernels, self.team, self.layout);
        let (n_q, n_kv, head_dim) = (params.n_q(), params.n_kv(), params.head_dim);
        let width = n_q + 2 * n_kv;
        let tokens = self.places().count();
        let Buffers { x, h, wide, middle, turns, work } = &mut *self.buffers;

        linear(kernels, team, work, gguf, &qkv.parts, h, wide);

        let pairs = turns.len() / tokens;
        let scale = 1.0 / (head_dim as f32).sqrt();
        team.for_each_chunk(wide, width, |t, row| {
            for head in row[..n_q + n_kv].chunks_exact_mut(head_dim) {
                rotate(head, &turns[t * pairs..][..pairs]);
            }
            row[..n_q].iter_mut().for_each(|q| *q *= scale);
        });

        let mut first = 0;
        for run in &mut self.runs {
            let (start, len, rows) = (run.start, run.tokens.len(), &wide[first * width..]);
            let first_page = start / PAGE;
            team.for_each_chunk(&mut run.sequence.pages[first_page..(start + len).div_ceil(PAGE)], 1, |i, page| {
                let page_start = (first_page + i) * PAGE;
                for position in start.max(page_start)..(start + len).min(page_start + PAGE) {
                    let row = &rows[(position - start) * width..][..width];
                    for head in 0..params.n_head_kv {
                        let part = layout.part(&mut page[0], layer, head);
                        let key = &row[n_q + head * head_dim..][..head_dim];
                        let value = &row[n_q + n_kv + head * head_dim..][..head_dim];
                        kernels.store(part, position, key, value);
                    }
                }
            });
            first += len;
        }

        resize(middle, tokens * n_q);
        let mut rest = &mut middle[..];
        let mut first = 0;
        for run in &self.runs {
            let len = run.tokens.len();
            let (out, after) = rest.split_at_mut(len * n_q);
            let queries = &wide[first * width..];
            let pages: Vec<&[u16]> = run.sequence.pages.iter().map(|page| &page[..]).collect();
            attend(kernels, team, &layout, layer, params, &pages, run.start, queries, out);
            rest = after;
            first += len;
        }

        linear(kernels, team, work, gguf, std::slice::from_ref(output), middle, h);
        add(team, x, h, params.n_embd);
    }

    /// x += down(SiLU(gate(h)) * up(h)) (Shazeer, 2020, arXiv:2002.05202). `gate_up` are the two, in this order.
    pub fn swiglu(&mut self, gate_up: &[Linear; 2], down: &Linear) {
        let (gguf, kernels, team, n_ff) = (self.gguf, self.kernels, self.team, self.params.n_ff);
        let Buffers { x, h, wide, middle, work, .. } = &mut *self.buffers;
        linear(kernels, team, work, gguf, gate_up, h, wide);
        resize(middle, wide.len() / 2);
        team.for_each_chunk(middle, n_ff, |t, out| {
            let (gate, up) = wide[2 * t * n_ff..][..2 * n_ff].split_at(n_ff);
            kernels.swiglu(gate, up, out);
        });
        linear(kernels, team, work, gguf, std::slice::from_ref(down), middle, h);
        add(team, x, h, self.params.n_embd);
    }

    /// x += down(GELU(up(h))).
    pub fn gelu(&mut self, up: &Linear, down: &Linear) {
        let (gguf, kernels, team, n_ff) = (self.gguf, self.kernels, self.team, self.params.n_ff);
        let Buffers { x, h, middle, work, .. } = &mut *self.buffers;
        linear(kernels, team, work, gguf, std::slice::from_ref(up), h, middle);
        team.for_each_chunk(middle, n_ff, |_, row| kernels.gelu(row));
        linear(kernels, team, work, gguf, std::slice::from_ref(down), middle, h);
        add(team, x, h, self.params.n_embd);
    }

    /// logits = output(norm(x)) for the step's tokens that `wanted` names, in that order.
    pub fn logits(&mut self, wanted: &[usize], norm: &Norm, output: &Linear, logits: &mut [f32]) {
        let (gguf, kernels, n_embd) = (self.gguf, self.kernels, self.params.n_embd);
        let Buffers { x, h, work, .. } = &mut *self.buffers;
        resize(h, wanted.len() * n_embd);
        self.team.for_each_chunk(h, n_embd, |i, h| apply_norm(kernels, norm, &x[wanted[i] * n_embd..][..n_embd], h));
        product(kernels, self.team, work, gguf, std::slice::from_ref(output), h, logits);
    }
}

/// Attention of one run's tokens. `rows` starts with the first one's queries, keys and values; `out` is
/// `[token][n_q]`.
#[allow(clippy::too_many_arguments)] // one call, split off for its length
fn attend(
    kernels: &'static Kernels,
    team: &Team,
    layout: &Layout,
    layer: usize,
    params: &Params,
    pages: &[&[u16]],
    start: usize,
    rows: &[f32],
    out: &mut [f32],
) {
    let (n_q, head_dim, group) = (params.n_q(), params.head_dim, params.n_head / params.n_head_kv);
    let width = n_q + 2 * params.n_kv();
    let query = |t: usize, head: usize| &rows[t * width + head * head_dim..][..head_dim];
    // Tokens that share the loads of keys and values; where there are few, threads share one token's heads instead.
    const TOGETHER: usize = 8;
    if out.len() < TOGETHER * n_q {
        team.for_each_chunk(out, group * head_dim, |i, out| {
            let (t, head) = (i / params.n_head_kv, i % params.n_head_kv);
            let mut queries: Vec<_> = (out.chunks_exact_mut(head_dim).enumerate())
                .map(|(i, out)| Query { q: query(t, head * group + i), visible: start + t + 1, out })
                .collect();
            kernels.attend(layout.head(pages, layer, head), &mut queries);
        });
        return;
    }
    team.for_each_chunk(out, TOGETHER * n_q, |i, out| {
        let mut outs: Vec<_> = out.chunks_exact_mut(head_dim).map(Some).collect();
        for head in 0..params.n_head_kv {
            let mut queries = Vec::with_capacity(TOGETHER * group);
            for t in 0..outs.len() / params.n_head {
                let visible = start + i * TOGETHER + t + 1;
                for q in head * group..(head + 1) * group {
                    let out = outs[t * params.n_head + q].take().expect("each head of each token once");
                    queries.push(Query { q: query(i * TOGETHER + t, q), visible, out });
                }
            }
            kernels.attend(layout.head(pages, layer, head), &mut queries);
        }
    });
}

fn apply_norm(kernels: &Kernels, norm: &Norm, x: &[f32], out: &mut [f32]) {
    match &norm.bias {
        Some(bias) => kernels.layer_norm(x, &norm.weight, bias, norm.eps, out),
        None => kernels.rms_norm(x, &norm.weight, norm.eps, out),
    }
}

/// out = `[token][results of all parts side by side]`, made as long as that takes.
fn linear(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    gguf: &Gguf,
    parts: &[Linear],
    x: &[f32],
    out: &mut Vec<f32>,
) {
    resize(out, x.len() / parts[0].cols * parts.iter().map(|part| part.rows).sum::<usize>());
    product(kernels, team, work, gguf, parts, x, out);
}

fn product(
    kernels: &'static Kernels,
    team: &Team,
    work: &mut Workspace,
    gguf: &Gguf,
    parts: &[Linear],
    x: &[f32],
    out: &mut [f32],
) {
    let matrices: Vec<Matrix> = parts.iter().map(|part| part.matrix(gguf)).collect();
    matmul(kernels, team, work, &matrices, x, out);
    if parts.iter().any(|part| part.bias.is_some()) {
        team.for_each_chunk(out, parts.iter().map(|part| part.rows).sum(), |_, row| {
            let mut at = 0;
            for part in parts {
                for (y, b) in row[at..].iter_mut().zip(part.bias.iter().flatten()) {
                    *y += b;
                }
                at += part.rows;
            }
        });
    }
}

/// x += y, both `[token][width]`.
fn add(team: &Team, x: &mut [f32], y: &[f32], width: usize) {
    team.for_each_chunk(x, width, |t, x| {
        for (x, y) in x.iter_mut().zip(&y[t * width..][..width]) {
            *x += y;
        }
    });
}

/// A buffer of this length, whatever it holds: it is written before it is read.
fn resize(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}
