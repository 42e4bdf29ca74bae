//! GPT-2 (Radford et al., 2019): pre-norm layers of multi-head attention and a GELU feed-forward block, with learned
//! positions, LayerNorm and biases throughout.

use super::params::{Keys, Params};
use super::step::{Qkv, Step};
use super::weights::{Linear, Loader, Norm};
use crate::Result;

/// The weights, shapes as `[outputs, inputs]`.
#[derive(Debug)]
pub(super) struct Gpt2 {
    /// `[n_vocab, n_embd]`
    token_embd: Linear,
    /// `[n_ctx_train, n_embd]`
    position_embd: Linear,
    layers: Vec<Layer>,
    output_norm: Norm,
    /// `[n_vocab, n_embd]`; without it, `token_embd` is used.
    output: Option<Linear>,
}

#[derive(Debug)]
struct Layer {
    attn_norm: Norm,
    /// `[3 n_embd, n_embd]`
    qkv: Qkv,
    /// `[n_embd, n_embd]`
    attn_output: Linear,
    ffn_norm: Norm,
    /// `[n_ff, n_embd]`
    up: Linear,
    /// `[n_embd, n_ff]`
    down: Linear,
}

impl Gpt2 {
    pub fn load(keys: &Keys, p: &mut Params, loader: &Loader) -> Result<Self> {
        let eps = keys.float("attention.layer_norm_epsilon")?;
        // The table is what there is, whatever the metadata says.
        let rows = keys.gguf.tensor("position_embd.weight").map_or(p.n_ctx_train, |t| t.dims.rows());
        let position_embd = loader.linear("position_embd", rows, p.n_embd)?;
        p.n_ctx_train = p.n_ctx_train.min(rows);
        let mut layers = Vec::new();
        for i in 0..p.n_layer {
            let name = |part: &str| format!("blk.{i}.{part}");
            layers.push(Layer {
                attn_norm: loader.norm(&name("attn_norm"), p.n_embd, eps, true)?,
                qkv: Qkv::load(loader, i, p)?,
                attn_output: loader.linear(&name("attn_output"), p.n_embd, p.n_q())?,
                ffn_norm: loader.norm(&name("ffn_norm"), p.n_embd, eps, true)?,
                up: loader.linear(&name("ffn_up"), p.n_ff, p.n_embd)?,
                down: loader.linear(&name("ffn_down"), p.n_embd, p.n_ff)?,
            });
        }
        Ok(Self {
            token_embd: loader.linear("token_embd", p.n_vocab, p.n_embd)?,
            position_embd,
            layers,
            output_norm: loader.norm("output_norm", p.n_embd, eps, true)?,
            output: loader.linear_if("output", p.n_vocab, p.n_embd)?,
        })
    }

    pub fn forward(&self, step: &mut Step, wanted: &[usize], logits: &mut [f32]) -> Result<()> {
        step.embed(&self.token_embd, Some(&self.position_embd));
        for (i, layer) in self.layers.iter().enumerate() {
            step.norm(&layer.attn_norm)?;
            step.attention(i, &layer.qkv, &layer.attn_output);
            step.norm(&layer.ffn_norm)?;
            step.gelu(&layer.up, &layer.down);
        }
        step.logits(wanted, &self.output_norm, self.output.as_ref().unwrap_or(&self.token_embd), logits);
        Ok(())
    }
}
