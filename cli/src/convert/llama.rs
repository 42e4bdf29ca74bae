//! Llama 1, 2, 3 and 3.1, `LlamaForCausalLM`, as llama.cpp's architecture `llama`.

use serde_json::Value;

use super::Keys;
use super::json::{Json, shown};
use super::tensors::{Plan, Rows};
use crate::failure::Failure;

pub fn plan(config: &Json, plan: &mut Plan, keys: &mut Keys) -> Result<(), Failure> {
    config.one_of("hidden_act", &["silu", "swish"])?;
    for key in ["partial_rotary_factor", "rope_parameters.partial_rotary_factor"] {
        if let Some(part) = config.positive_if(key)?.filter(|part| *part != 1.0) {
            return Err(config.bad(key, part, 1));
        }
    }
    let (n_vocab, n_embd, n_ff) =
        (config.size("vocab_size")?, config.size("hidden_size")?, config.size("intermediate_size")?);
    let (n_layer, n_head) = (config.size("num_hidden_layers")?, config.size("num_attention_heads")?);
    let n_head_kv = config.size_if("num_key_value_heads")?.unwrap_or(n_head);
    if !n_head.is_multiple_of(n_head_kv) {
        return Err(config.bad("num_key_value_heads", n_head_kv, format!("a divisor of the {n_head} heads")));
    }
    let head_dim = head_dim(config, n_embd, n_head)?;
    let rope = Rope::read(config)?;

    keys.size("block_count", n_layer);
    keys.size("context_length", config.size_if("max_position_embeddings")?.unwrap_or(2048));
    keys.size("embedding_length", n_embd);
    keys.size("feed_forward_length", n_ff);
    keys.size("attention.head_count", n_head);
    keys.size("attention.head_count_kv", n_head_kv);
    if let Scaling::Linear(factor) = rope.scaling {
        keys.set("rope.scaling.type", "linear");
        keys.set("rope.scaling.factor", factor as f32);
    }
    keys.set("rope.freq_base", rope.base as f32);
    keys.set("attention.layer_norm_rms_epsilon", config.positive_if("rms_norm_eps")?.unwrap_or(1e-6) as f32);
    keys.size("attention.key_length", head_dim);
    keys.size("attention.value_length", head_dim);
    keys.file_type();
    keys.size("vocab_size", n_vocab);
    keys.size("rope.dimension_count", head_dim);

    let (attention_bias, mlp_bias) =
        (config.flag("attention_bias")? == Some(true), config.flag("mlp_bias")? == Some(true));
    let (n_q, n_kv) = (n_head * head_dim, n_head_kv * head_dim);
    plan.prefix("model.", "embed_tokens.weight");
    plan.ignore(&[".rotary_emb.inv_freq"]); // the rotary frequencies, which follow from the base
    if let Some(divisors) = rope.divisors(head_dim) {
        plan.values("rope_freqs.weight", divisors);
    }
    plan.matrix("embed_tokens", "token_embd", n_vocab, n_embd, Rows::Same)?;
    for i in 0..n_layer {
        let from = |part: &str| format!("layers.{i}.{part}");
        let to = |part: &str| format!("blk.{i}.{part}");
        plan.vector(&from("input_layernorm.weight"), &to("attn_norm.weight"), n_embd, Rows::Same)?;
        plan.vector(&from("post_attention_layernorm.weight"), &to("ffn_norm.weight"), n_embd, Rows::Same)?;
        for (part, name, outputs, inputs, rows, bias) in [
            ("self_attn.q_proj", "attn_q", n_q, n_embd, Rows::Paired(n_head), attention_bias),
            ("self_attn.k_proj", "attn_k", n_kv, n_embd, Rows::Paired(n_head_kv), attention_bias),
            ("self_attn.v_proj", "attn_v", n_kv, n_embd, Rows::Same, attention_bias),
            ("self_attn.o_proj", "attn_output", n_embd, n_q, Rows::Same, attention_bias),
            ("mlp.gate_proj", "ffn_gate", n_ff, n_embd, Rows::Same, mlp_bias),
            ("mlp.up_proj", "ffn_up", n_ff, n_embd, Rows::Same, mlp_bias),
            ("mlp.down_proj", "ffn_down", n_embd, n_ff, Rows::Same, mlp_bias),
        ] {
            let add = if bias { Plan::biased } else { Plan::matrix };
            add(plan, &from(part), &to(name), outputs, inputs, rows)?;
        }
    }
    plan.vector("norm.weight", "output_norm.weight", n_embd, Rows::Same)?;
    plan.output(config, false, "embed_tokens", n_vocab)
}

fn head_dim(config: &Json, n_embd: usize, n_head: usize) -> Result<usize, Failure> {
    let (key, head_dim) = match config.size_if("head_dim")? {
        Some(head_dim) => ("head_dim", head_dim),
        None if n_embd.is_multiple_of(n_head) => ("hidden_size", n_embd / n_head),
        None => return Err(config.bad("hidden_size", n_embd, format!("a multiple of the {n_head} heads"))),
    };
    // Also so that no product of sizes overflows.
    if !head_dim.is_multiple_of(2) || head_dim > 1 << 16 {
        return Err(config.bad(key, format!("{head_dim} dimensions a head"), "an even number of at most 65536"));
    }
    Ok(head_dim)
}

/// The angles of rotary positions.
struct Rope {
    base: f64,
    scaling: Scaling,
}

enum Scaling {
    None,
    /// Positions are divided by this.
    Linear(f64),
    /// Llama 3.1: low frequencies are divided by `factor`, high ones are not, those between by something between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        old_ctx: f64,
    },
}

impl Rope {
    /// From `rope_parameters`, or `rope_theta` and `rope_scaling` as they were called before.
    fn read(config: &Json) -> Result<Rope, Failure> {
        let group = if config.get("rope_parameters").is_some() { "rope_parameters" } else { "rope_scaling" };
        let key = |key: &str| format!("{group}.{key}");
        if let Some(found) = config.get(group) {
            let flat = found.as_object().is_some_and(|members| !members.values().any(Value::is_object));
            if !flat {
                return Err(config.bad(group, shown(found), "an object of numbers and names"));
            }
        }
        let base = match config.positive_if(&key("rope_theta"))? {
            Some(base) => base,
            None => config.positive_if("rope_theta")?.unwrap_or(10_000.0),
        };
        let kind = match config.text(&key("rope_type"))? {
            Some(kind) => Some(kind),
            None => config.text(&key("type"))?,
        };
        let scaling = match kind {
            None | Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear(config.positive(&key("factor"))?),
            Some("llama3") => {
                let [factor, low, high] = ["factor", "low_freq_factor", "high_freq_factor"].map(&key);
                let old_ctx = config.size(&key("original_max_position_embeddings"))? as f64;
                let (factor, low, high) = (config.positive(&factor)?, config.positive(&low)?, config.positive(&high)?);
                if high <= low {
                    return Err(config.bad(
                        &key("high_freq_factor"),
                        high,
                        format!("more than low_freq_factor, {low}"),
                    ));
                }
                Scaling::Llama3 { factor, low, high, old_ctx }
            }
            Some(other) => {
                return Err(config.bad(&key("rope_type"), format!("{other:?}"), "default, linear or llama3"));
            }
        };
        Ok(Rope { base, scaling })
    }

    /// What each frequency is divided by; in f32 step by step, as the reference computes them.
    fn divisors(&self, head_dim: usize) -> Option<Vec<f32>> {
        let Scaling::Llama3 { factor, low, high, old_ctx } = self.scaling else { return None };
        let (factor, low, high, old_ctx) = (factor as f32, low as f32, high as f32, old_ctx as f32);
        let divisor = |i: usize| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            let frequency = 1.0 / (self.base.powf(exponent.into()) as f32);
            let wavelength = std::f32::consts::TAU / frequency;
            if wavelength < old_ctx / high {
                1.0
            } else if wavelength > old_ctx / low {
                factor
            } else {
                let smooth = (old_ctx / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Some((0..head_dim / 2).map(divisor).collect())
    }
}
