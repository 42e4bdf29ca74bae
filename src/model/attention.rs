//! Self-attention with a KV cache: the block that every family has.

use std::ops::Range;

use crate::cpu::{Activations, HeadPages, KvType, Matrix, PAGE, PART, Query, Room};
use crate::pool::Team;
use crate::{Kernels, Result};

use super::kv::Layout;
use super::params::Params;
use super::rope::rotate;
use super::step::{Buffers, Step, add, add_biases, linear, resize};
use super::weights::{Linear, Loader};

/// One layer's attention: grouped queries (Ainslie et al., 2023, arXiv:2305.13245), over all positions before or over
/// the last few.
#[derive(Debug)]
pub(super) struct Attention {
    /// Of queries `[n_q, n_embd]`, of keys and of values `[n_kv, n_embd]`.
    qkv: [Linear; 3],
    /// `[n_embd, n_q]`
    output: Linear,
    /// What scores are multiplied with.
    scale: f32,
    /// Positions that a query sees at most: the last so many, its own among them.
    window: usize,
}

impl Attention {
    /// `blk.<layer>.attn_qkv`, or `attn_q`, `attn_k` and `attn_v`; and `attn_output`. Scores are divided by the square
    /// root of head_dim, and all positions are seen.
    pub fn load(loader: &Loader, layer: usize, p: &Params) -> Result<Self> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let part = |part: &str, rows| loader.linear(&name(part), rows, p.n_embd);
        let qkv = match loader.linear_if(&name("attn_qkv"), p.n_q() + 2 * p.n_kv(), p.n_embd)? {
            Some(all) => {
                let [q, kv] = all.split(p.n_q());
                let [k, v] = kv.split(p.n_kv());
                [q, k, v]
            }
            None => [part("attn_q", p.n_q())?, part("attn_k", p.n_kv())?, part("attn_v", p.n_kv())?],
        };
        let output = loader.linear(&name("attn_output"), p.n_embd, p.n_q())?;
        Ok(Self { qkv, output, scale: 1.0 / (p.head_dim as f32).sqrt(), window: usize::MAX })
    }

    /// Scores are multiplied with this instead.
    pub fn scale(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    /// Only the last so many positions are seen.
    pub fn window(self, window: usize) -> Self {
        Self { window, ..self }
    }
}

impl Step<'_> {
    /// x += output(attention(qkv(h))), causal; queries and keys are rotated if [`Step::rope`] was called.
    pub fn attention(&mut self, layer: usize, attention: &Attention) {
        let (params, gguf, kernels, team, layout) = (self.params, self.gguf, self.kernels, self.team, self.layout);
        let (n_q, n_kv, head_dim) = (params.n_q(), params.n_kv(), params.head_dim);
        let width = n_q + 2 * n_kv;
        let fine = self.activations == Activations::Mixed;
        let [q, k, v] = attention.qkv.each_ref().map(|part| part.matrix(gguf));
        let tokens = self.places().count();
        let Buffers { x, h, wide, middle, turns, parts, rooms, work, .. } = &mut *self.buffers;

        // Of the three, queries cost most and would gain least by being fine: docs/performance.md has the figures.
        linear(kernels, team, work, &[q, Matrix { fine, ..k }, Matrix { fine, ..v }], h, wide);

        // The kernels' softmax is one of powers of two.
        let (pairs, scale) = (turns.len() / tokens, attention.scale * std::f32::consts::LOG2_E);
        team.for_each_chunk(wide, width, |t, row| {
            add_biases(&attention.qkv, row);
            for head in row[..n_q + n_kv].chunks_exact_mut(head_dim) {
                rotate(head, &turns[t * pairs..][..pairs]);
                if layout.ty == KvType::Q8_0 {
                    hadamard(head);
                }
            }
            row[..n_q].iter_mut().for_each(|q| *q *= scale);
        });

        // Each page that has new positions, of all sequences.
        let mut pages = Vec::new();
        let mut first = 0;
        for run in &mut self.runs {
            let (start, end) = (run.start, run.start + run.tokens.len());
            let numbers = start / PAGE..end.div_ceil(PAGE);
            for (number, page) in numbers.clone().zip(&mut run.sequence.pages[numbers]) {
                let positions = start.max(number * PAGE)..end.min((number + 1) * PAGE);
                let row = first + positions.start - start;
                pages.push((page, positions, row));
            }
            first += run.tokens.len();
        }
        team.for_each_chunk(&mut pages, 1, |_, page| {
            let (page, positions, row) = &mut page[0];
            let page = page.bytes_mut();
            for (position, row) in positions.clone().zip(wide[*row * width..].chunks_exact(width)) {
                for head in 0..params.n_head_kv {
                    let part = layout.part(page, layer, head);
                    let key = &row[n_q + head * head_dim..][..head_dim];
                    let value = &row[n_q + n_kv + head * head_dim..][..head_dim];
                    kernels.store(layout.ty, part, position, key, value);
                }
            }
        });

        resize(middle, tokens * n_q);
        let few: usize = self.runs.iter().map(|run| run.tokens.len()).filter(|tokens| *tokens < TOGETHER).sum();
        let too_few = team.threads() > 1 && few * params.n_head_kv < 4 * team.threads();
        // Runs of which each token's heads are dealt out, of all sequences.
        let mut single = Vec::new();
        let mut rest = &mut middle[..];
        let mut first = 0;
        for run in &self.runs {
            let len = run.tokens.len();
            let (out, after) = rest.split_at_mut(len * n_q);
            let attended = Attended {
                params,
                layout: &layout,
                layer,
                pages: run.sequence.pages.iter().map(|page| page.bytes()).collect(),
                start: run.start,
                window: attention.window,
                rows: &wide[first * width..],
            };
            if len >= TOGETHER {
                attended.attend_many(kernels, team, rooms, out);
            } else if too_few && attended.pages.len() > 1 {
                for (t, out) in out.chunks_exact_mut(n_q).enumerate() {
                    attended.attend_by_page(kernels, team, rooms, t, parts, out);
                }
            } else {
                single.push((attended, out));
            }
            rest = after;
            first += len;
        }
        let group_len = n_q / params.n_head_kv;
        let mut heads = Vec::new();
        for (attended, out) in &mut single {
            heads.extend(out.chunks_exact_mut(group_len).enumerate().map(|(i, out)| (&*attended, i, out)));
        }
        team.for_each_chunk_with(rooms, &mut heads, 1, |room, _, head| {
            let (attended, i, out) = &mut head[0];
            let (t, head) = (*i / params.n_head_kv, *i % params.n_head_kv);
            attended.attend_head(kernels, room, t, head, attended.sees(t), out);
        });

        linear(kernels, team, work, &[attention.output.matrix(gguf)], middle, h);
        add(team, x, h, params.n_embd, attention.output.bias.as_deref());
    }
}

/// Turns a head by a Hadamard matrix, in blocks of the greatest power of two that divides it. Scores stay what they are
/// when queries and keys are both turned; but what was in a few great elements is now spread over all, and loses half as
/// much when it is rounded to integers (Ashkboos et al., 2024, arXiv:2404.00456).
fn hadamard(head: &mut [f32]) {
    let n = 1 << head.len().trailing_zeros();
    let norm = 1.0 / (n as f32).sqrt();
    for block in head.chunks_exact_mut(n) {
        let mut half = 1;
        while half < n {
            for pair in block.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        block.iter_mut().for_each(|x| *x *= norm);
    }
}

/// Tokens that share the loads of keys and values: so many at least, or one.
const TOGETHER: usize = 8;

/// And at most. On Emerald Rapids, twenty-four are 2 % faster than sixteen.
const MANY: usize = 24;

/// Pages of one token that are dealt out to the threads at once, at most: their parts need room.
const PAGES: usize = 32;

/// Queries that share a head of keys and values at most, of a step of so many tokens of which `group` queries do.
pub(super) fn queries(tokens: usize, group: usize) -> usize {
    tokens.min(MANY).saturating_mul(group)
}

/// Values that [`PAGES`] parts of each head take, and what they are merged into.
pub(super) fn parts_len(n_head: usize, head_dim: usize) -> usize {
    (PAGES + 1) * n_head * (head_dim + PART)
}

/// What the attention of one run's tokens is made from.
struct Attended<'a> {
    params: &'a Params,
    layout: &'a Layout,
    layer: usize,
    pages: Vec<&'a [u8]>,
    /// The position of the first token.
    start: usize,
    window: usize,
    /// Starts with the first token's queries, keys and values.
    rows: &'a [f32],
}

impl Attended<'_> {
    fn sees(&self, t: usize) -> Range<usize> {
        let end = self.start + t + 1;
        end.saturating_sub(self.window)..end
    }

    fn query(&self, t: usize, head: usize) -> &[f32] {
        let (width, head_dim) = (self.params.n_q() + 2 * self.params.n_kv(), self.params.head_dim);
        &self.rows[t * width + head * head_dim..][..head_dim]
    }

    fn head(&self, head: usize) -> HeadPages<'_> {
        self.layout.head(&self.pages, self.layer, head)
    }

    /// Many tokens: `out` is `[token][n_q]`.
    fn attend_many(&self, kernels: &'static Kernels, team: &Team, rooms: &mut [Room], out: &mut [f32]) {
        let n_q = self.params.n_q();
        // Several pieces for each thread, since those behind take longer.
        let some = (out.len() / n_q / (8 * team.threads())).clamp(TOGETHER, MANY) / TOGETHER * TOGETHER;
        team.for_each_chunk_with(rooms, out, some * n_q, |room, i, out| self.attend_some(kernels, room, i * some, out));
    }

    /// The queries of one token that share a head of keys and values. Each has as much of `out` as the others.
    fn attend_head(
        &self,
        kernels: &Kernels,
        room: &mut Room,
        t: usize,
        head: usize,
        sees: Range<usize>,
        out: &mut [f32],
    ) {
        let group = self.params.n_head / self.params.n_head_kv;
        let len = out.len() / group;
        let mut queries: Vec<_> = (out.chunks_exact_mut(len).enumerate())
            .map(|(i, out)| Query { q: self.query(t, head * group + i), sees: sees.clone(), out })
            .collect();
        kernels.attend(&self.head(head), &mut queries, room);
    }

    /// Some tokens from `first` on, all their heads.
    fn attend_some(&self, kernels: &Kernels, room: &mut Room, first: usize, out: &mut [f32]) {
        let Params { n_head, n_head_kv, head_dim, .. } = *self.params;
        let group = n_head / n_head_kv;
        let mut outs: Vec<_> = out.chunks_exact_mut(head_dim).map(Some).collect();
        for head in 0..n_head_kv {
            let mut queries = Vec::with_capacity(outs.len() / n_head * group);
            for at in 0..outs.len() / n_head {
                let t = first + at;
                for q in head * group..(head + 1) * group {
                    let out = outs[at * n_head + q].take().expect("each head of each token once");
                    queries.push(Query { q: self.query(t, q), sees: self.sees(t), out });
                }
            }
            kernels.attend(&self.head(head), &mut queries, room);
        }
    }

    /// One token, where there are too few heads for the threads: its pages are dealt out, too.
    fn attend_by_page(
        &self,
        kernels: &'static Kernels,
        team: &Team,
        rooms: &mut [Room],
        t: usize,
        parts: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let Params { n_head, n_head_kv, head_dim, .. } = *self.params;
        let (group, part) = (n_head / n_head_kv, head_dim + PART);
        resize(parts, parts_len(n_head, head_dim));
        let (merged, parts) = parts.split_at_mut(n_head * part);
        for merged in merged.chunks_exact_mut(part) {
            merged.fill(0.0);
            merged[head_dim] = f32::NEG_INFINITY;
        }
        let sees = self.sees(t);
        let pages = sees.start / PAGE..sees.end.div_ceil(PAGE);
        for first in pages.clone().step_by(PAGES) {
            let n = PAGES.min(pages.end - first);
            let parts = &mut parts[..n_head_kv * n * group * part];
            team.for_each_chunk_with(rooms, parts, group * part, |room, i, parts| {
                let (head, page) = (i / n, first + i % n);
                let sees = sees.start.max(page * PAGE)..sees.end.min((page + 1) * PAGE);
                self.attend_head(kernels, room, t, head, sees, parts);
            });
            for (head, merged) in merged.chunks_exact_mut(part).enumerate() {
                let parts = &parts[head / group * n * group * part..][..n * group * part];
                kernels.merge(merged, parts.chunks_exact(part).skip(head % group).step_by(group));
            }
        }
        for (out, merged) in out.chunks_exact_mut(head_dim).zip(merged.chunks_exact(part)) {
            let inverse = 1.0 / merged[head_dim + 1];
            for (out, o) in out.iter_mut().zip(merged) {
                *out = o * inverse;
            }
        }
    }
}
