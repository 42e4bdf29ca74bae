//! GPT-2 (Radford et al., 2019): pre-norm layers of multi-head attention and a GELU feed-forward block, with learned
//! positions, LayerNorm and biases throughout. And GPT-3 (Brown et al., 2020, arXiv:2005.14165), whose layers see all
//! positions before and only the last few in turn, as its public twin GPT-Neo has it (Black et al., 2021).

use super::attention::Attention;
use super::outputs::Wanted;
use super::params::{Keys, Params};
use super::step::Step;
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
    attention: Attention,
    ffn_norm: Norm,
    /// `[n_ff, n_embd]`
    up: Linear,
    /// `[n_embd, n_ff]`
    down: Linear,
}

impl Gpt2 {
    pub fn load(keys: &Keys, p: &mut Params, loader: &Loader) -> Result<Self> {
        let eps = keys.float("attention.layer_norm_epsilon")?;
        let position_embd = loader.positions(p)?;
        let banded = if keys.arch == "gptneo" { Banded::read(keys, p)? } else { Banded::default() };
        let mut layers = Vec::new();
        for i in 0..p.n_layer {
            let name = |part: &str| format!("blk.{i}.{part}");
            layers.push(Layer {
                attn_norm: loader.norm(&name("attn_norm"), p.n_embd, eps, true)?,
                attention: banded.apply(i, Attention::load(loader, i, p)?),
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

    pub fn forward(&self, step: &mut Step, wanted: Wanted) -> Result<()> {
        step.embed(&self.token_embd, Some(&self.position_embd));
        for (i, layer) in self.layers.iter().enumerate() {
            step.norm(&layer.attn_norm)?;
            step.attention(i, &layer.attention);
            step.norm(&layer.ffn_norm)?;
            step.gelu(&layer.up, &layer.down);
            step.tell(i + 1)?;
        }
        step.outputs(wanted, Some(&self.output_norm), self.output.as_ref().unwrap_or(&self.token_embd));
        Ok(())
    }
}

/// What sets GPT-Neo's attention apart from GPT-2's.
#[derive(Default)]
struct Banded {
    scale: Option<f32>,
    /// The positions that a layer sees, by layer; `None` for all.
    windows: Vec<Option<usize>>,
}

impl Banded {
    fn read(keys: &Keys, p: &Params) -> Result<Self> {
        let key = "attention.sliding_window_pattern";
        let scale = Some(keys.positive_or("attention.scale", 1.0)?);
        let Some(pattern) = keys.gguf.get_array(&keys.name(key))? else {
            return Ok(Self { scale, windows: Vec::new() });
        };
        let local = pattern.iter_bool().filter(|_| pattern.len() == p.n_layer);
        let found = || format!("an array of {} {}", pattern.len(), pattern.elem_type().name());
        let local = local.ok_or_else(|| keys.bad(key, found(), format!("{} truth values", p.n_layer)))?;
        let window = keys.size("attention.sliding_window")?;
        Ok(Self { scale, windows: local.map(|local| local.then_some(window)).collect() })
    }

    fn apply(&self, layer: usize, attention: Attention) -> Attention {
        let attention = match self.scale {
            Some(scale) => attention.scale(scale),
            None => attention,
        };
        match self.windows.get(layer) {
            Some(Some(window)) => attention.window(*window),
            _ => attention,
        }
    }
}
