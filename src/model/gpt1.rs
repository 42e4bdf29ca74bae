//! GPT-1 (Radford et al., 2018): layers of multi-head attention and a GELU feed-forward block, each followed by a
//! LayerNorm, with learned positions, biases throughout and the embedding as the output matrix.

use super::attention::Attention;
use super::outputs::Wanted;
use super::params::{Keys, Params};
use super::step::Step;
use super::weights::{Linear, Loader, Norm};
use crate::Result;

/// The weights, shapes as `[outputs, inputs]`.
#[derive(Debug)]
pub(super) struct Gpt1 {
    /// `[n_vocab, n_embd]`
    token_embd: Linear,
    /// `[n_ctx_train, n_embd]`
    position_embd: Linear,
    layers: Vec<Layer>,
    /// `[n_vocab, n_embd]`; without it, `token_embd` is used.
    output: Option<Linear>,
}

#[derive(Debug)]
struct Layer {
    attention: Attention,
    attn_output_norm: Norm,
    /// `[n_ff, n_embd]`
    up: Linear,
    /// `[n_embd, n_ff]`
    down: Linear,
    layer_output_norm: Norm,
}

impl Gpt1 {
    pub fn load(keys: &Keys, p: &mut Params, loader: &Loader) -> Result<Self> {
        let eps = keys.float("attention.layer_norm_epsilon")?;
        let position_embd = loader.positions(p)?;
        let mut layers = Vec::new();
        for i in 0..p.n_layer {
            let name = |part: &str| format!("blk.{i}.{part}");
            layers.push(Layer {
                attention: Attention::load(loader, i, p)?,
                attn_output_norm: loader.norm(&name("attn_output_norm"), p.n_embd, eps, true)?,
                up: loader.linear(&name("ffn_up"), p.n_ff, p.n_embd)?,
                down: loader.linear(&name("ffn_down"), p.n_embd, p.n_ff)?,
                layer_output_norm: loader.norm(&name("layer_output_norm"), p.n_embd, eps, true)?,
            });
        }
        let token_embd = loader.linear("token_embd", p.n_vocab, p.n_embd)?;
        let output = loader.linear_if("output", p.n_vocab, p.n_embd)?;
        Ok(Self { token_embd, position_embd, layers, output })
    }

    pub fn forward(&self, step: &mut Step, wanted: Wanted) -> Result<()> {
        step.embed(&self.token_embd, Some(&self.position_embd));
        step.read();
        for (i, layer) in self.layers.iter().enumerate() {
            step.attention(i, &layer.attention);
            step.norm_after(&layer.attn_output_norm)?;
            step.gelu(&layer.up, &layer.down);
            step.norm_after(&layer.layer_output_norm)?;
            step.tell(i + 1)?;
        }
        step.outputs(wanted, None, self.output.as_ref().unwrap_or(&self.token_embd));
        Ok(())
    }
}
