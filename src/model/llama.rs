//! Llama 1, 2, 3 and 3.1 (Touvron et al., 2023, arXiv:2302.13971; Llama team, 2024, arXiv:2407.21783): pre-norm
//! layers of grouped-query attention with rotary positions and a SwiGLU feed-forward block.

use super::attention::Attention;
use super::outputs::Wanted;
use super::params::{Keys, Params};
use super::rope::Rope;
use super::step::{Step, Widths, fused};
use super::weights::{Linear, Loader, Norm};
use crate::{Error, Result};

/// The weights, shapes as `[outputs, inputs]`.
#[derive(Debug)]
pub(super) struct Llama {
    /// `[n_vocab, n_embd]`
    token_embd: Linear,
    layers: Vec<Layer>,
    output_norm: Norm,
    /// `[n_vocab, n_embd]`; without it, `token_embd` is used.
    output: Option<Linear>,
    rope: Rope,
}

#[derive(Debug)]
struct Layer {
    attn_norm: Norm,
    attention: Attention,
    ffn_norm: Norm,
    /// `[n_ff, n_embd]` each
    gate_up: [Linear; 2],
    /// `[n_embd, n_ff]`
    down: Linear,
}

impl Llama {
    pub fn load(keys: &Keys, p: &Params, loader: &Loader) -> Result<Self> {
        if let Some(experts) = keys.gguf.get_u64(&keys.name("expert_count"))?.filter(|n| *n > 0) {
            return Err(Error::Unsupported {
                file: keys.gguf.name().to_owned(),
                what: "mixture of experts",
                found: format!("{experts} experts"),
                supported: "dense feed-forward blocks".to_owned(),
            });
        }
        let eps = keys.float("attention.layer_norm_rms_epsilon")?;
        let mut layers = Vec::new();
        for i in 0..p.n_layer {
            let name = |part: &str| format!("blk.{i}.{part}");
            layers.push(Layer {
                attn_norm: loader.norm(&name("attn_norm"), p.n_embd, eps, false)?,
                attention: Attention::load(loader, i, p)?,
                ffn_norm: loader.norm(&name("ffn_norm"), p.n_embd, eps, false)?,
                gate_up: [
                    loader.linear(&name("ffn_gate"), p.n_ff, p.n_embd)?,
                    loader.linear(&name("ffn_up"), p.n_ff, p.n_embd)?,
                ],
                down: loader.linear(&name("ffn_down"), p.n_embd, p.n_ff)?,
            });
        }
        Ok(Self {
            token_embd: loader.linear("token_embd", p.n_vocab, p.n_embd)?,
            layers,
            output_norm: loader.norm("output_norm", p.n_embd, eps, false)?,
            output: loader.linear_if("output", p.n_vocab, p.n_embd)?,
            rope: Rope::read(keys, loader, p.head_dim)?,
        })
    }

    pub fn widths(&self, p: &Params) -> Widths {
        Widths::gated(p, self.layers.iter().map(|layer| fused(&layer.gate_up, &layer.down)))
    }

    pub fn forward(&self, step: &mut Step, wanted: Wanted) -> Result<()> {
        step.embed(&self.token_embd, None);
        step.rope(&self.rope);
        for (i, layer) in self.layers.iter().enumerate() {
            step.norm(&layer.attn_norm)?;
            step.attention(i, &layer.attention);
            step.norm(&layer.ffn_norm)?;
            step.swiglu(&layer.gate_up, &layer.down);
            step.tell(i + 1)?;
        }
        step.outputs(wanted, Some(&self.output_norm), self.output.as_ref().unwrap_or(&self.token_embd));
        Ok(())
    }
}
