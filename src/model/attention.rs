//! Self-attention with a KV cache: the block that every family has.

use crate::cpu::{KvElement, KvType, PAGE, Query};
use crate::pool::Team;
use crate::{Kernels, Result};

use super::kv::Layout;
use super::params::Params;
use super::rope::rotate;
use super::step::{Buffers, Step, add, linear, resize};
use super::weights::{Linear, Loader};

/// One layer's attention: grouped queries (Ainslie et al., 2023, arXiv:2305.13245), over all positions before or over
/// the last few.
#[derive(Debug)]
pub(super) struct Attention {
    /// One matrix of queries, keys and values, `[n_q + 2 n_kv, n_embd]`, or three.
    qkv: Vec<Linear>,
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
            Some(all) => vec![all],
            None => vec![part("attn_q", p.n_q())?, part("attn_k", p.n_kv())?, part("attn_v", p.n_kv())?],
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
        match self.layout.ty {
            KvType::F16 => self.attention_in::<u16>(layer, attention),
            KvType::F32 => self.attention_in::<f32>(layer, attention),
        }
    }

    /// The same with a cache of such elements.
    fn attention_in<E: KvElement>(&mut self, layer: usize, attention: &Attention) {
        let (params, gguf, kernels, team, layout) = (self.params, self.gguf, self.kernels, self.team, self.layout);
        let (n_q, n_kv, head_dim) = (params.n_q(), params.n_kv(), params.head_dim);
        let width = n_q + 2 * n_kv;
        let tokens = self.places().count();
        let Buffers { x, h, wide, middle, turns, work, .. } = &mut *self.buffers;

        linear(kernels, team, work, gguf, &attention.qkv, h, wide);

        let pairs = turns.len() / tokens;
        team.for_each_chunk(wide, width, |t, row| {
            for head in row[..n_q + n_kv].chunks_exact_mut(head_dim) {
                rotate(head, &turns[t * pairs..][..pairs]);
            }
            row[..n_q].iter_mut().for_each(|q| *q *= attention.scale);
        });

        let mut first = 0;
        for run in &mut self.runs {
            let (start, len, rows) = (run.start, run.tokens.len(), &wide[first * width..]);
            let first_page = start / PAGE;
            team.for_each_chunk(&mut run.sequence.pages[first_page..(start + len).div_ceil(PAGE)], 1, |i, page| {
                let (page, page_start) = (page[0].elements_mut::<E>(), (first_page + i) * PAGE);
                for position in start.max(page_start)..(start + len).min(page_start + PAGE) {
                    let row = &rows[(position - start) * width..][..width];
                    for head in 0..params.n_head_kv {
                        let part = layout.part(page, layer, head);
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
            let pages: Vec<&[E]> = run.sequence.pages.iter().map(|page| page.elements()).collect();
            attend(kernels, team, &layout, layer, params, &pages, run.start, attention.window, queries, out);
            rest = after;
            first += len;
        }

        linear(kernels, team, work, gguf, std::slice::from_ref(&attention.output), middle, h);
        add(team, x, h, params.n_embd);
    }
}

/// Attention of one run's tokens. `rows` starts with the first one's queries, keys and values; `out` is
/// `[token][n_q]`.
#[allow(clippy::too_many_arguments)] // one call, split off for its length
fn attend<E: KvElement>(
    kernels: &'static Kernels,
    team: &Team,
    layout: &Layout,
    layer: usize,
    params: &Params,
    pages: &[&[E]],
    start: usize,
    window: usize,
    rows: &[f32],
    out: &mut [f32],
) {
    let (n_q, head_dim, group) = (params.n_q(), params.head_dim, params.n_head / params.n_head_kv);
    let width = n_q + 2 * params.n_kv();
    let sees = |t: usize| (start + t + 1).saturating_sub(window)..start + t + 1;
    let query = |t: usize, head: usize| &rows[t * width + head * head_dim..][..head_dim];
    // Tokens that share the loads of keys and values; where there are few, threads share one token's heads instead.
    const TOGETHER: usize = 8;
    if out.len() < TOGETHER * n_q {
        team.for_each_chunk(out, group * head_dim, |i, out| {
            let (t, head) = (i / params.n_head_kv, i % params.n_head_kv);
            let mut queries: Vec<_> = (out.chunks_exact_mut(head_dim).enumerate())
                .map(|(i, out)| Query { q: query(t, head * group + i), sees: sees(t), out })
                .collect();
            kernels.attend(&layout.head(pages, layer, head), &mut queries);
        });
        return;
    }
    team.for_each_chunk(out, TOGETHER * n_q, |i, out| {
        let mut outs: Vec<_> = out.chunks_exact_mut(head_dim).map(Some).collect();
        for head in 0..params.n_head_kv {
            let mut queries = Vec::with_capacity(TOGETHER * group);
            for at in 0..outs.len() / params.n_head {
                let t = i * TOGETHER + at;
                for q in head * group..(head + 1) * group {
                    let out = outs[at * params.n_head + q].take().expect("each head of each token once");
                    queries.push(Query { q: query(t, q), sees: sees(t), out });
                }
            }
            kernels.attend(&layout.head(pages, layer, head), &mut queries);
        }
    });
}
