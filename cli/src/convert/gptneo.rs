//! GPT-Neo, `GPTNeoForCausalLM`, the public twin of GPT-3's architecture, as architecture `gptneo`, which is pumice's own:
//! docs/formats.md.

use pumice::gguf::Encoded;
use serde_json::Value;

use super::Keys;
use super::gpt2::{GELU_TANH, heads};
use super::json::{Json, shown};
use super::tensors::{Plan, Rows};
use crate::failure::Failure;

pub fn plan(config: &Json, plan: &mut Plan, keys: &mut Keys) -> Result<(), Failure> {
    config.one_of("activation_function", &GELU_TANH)?;
    let (n_vocab, n_embd) = (config.size("vocab_size")?, config.size("hidden_size")?);
    let (n_layer, n_ctx) = (config.size("num_layers")?, config.size("max_position_embeddings")?);
    let n_ff = config.size_if("intermediate_size")?.unwrap_or(4 * n_embd);

    plan.prefix("transformer.", "wte.weight");
    plan.ignore(&[".attn.attention.bias", ".attn.attention.masked_bias"]); // the masks
    plan.matrix("wte", "token_embd", n_vocab, n_embd, Rows::Same)?;
    plan.matrix("wpe", "position_embd", n_ctx, n_embd, Rows::Same)?;
    for i in 0..n_layer {
        let from = |part: &str| format!("h.{i}.{part}");
        let to = |part: &str| format!("blk.{i}.{part}");
        plan.layer_norm(&from("ln_1"), &to("attn_norm"), n_embd)?;
        for part in ["q", "k", "v"] {
            let (from, to) = (from(&format!("attn.attention.{part}_proj")), to(&format!("attn_{part}")));
            plan.matrix(&from, &to, n_embd, n_embd, Rows::Same)?;
        }
        plan.biased(&from("attn.attention.out_proj"), &to("attn_output"), n_embd, n_embd, Rows::Same)?;
        plan.layer_norm(&from("ln_2"), &to("ffn_norm"), n_embd)?;
        plan.biased(&from("mlp.c_fc"), &to("ffn_up"), n_ff, n_embd, Rows::Same)?;
        plan.biased(&from("mlp.c_proj"), &to("ffn_down"), n_embd, n_ff, Rows::Same)?;
    }
    plan.layer_norm("ln_f", "output_norm", n_embd)?;
    plan.output(config, true, "wte", n_vocab)?;

    // Only now, when there are as many layers as config.json says.
    keys.size("block_count", n_layer);
    keys.size("context_length", n_ctx);
    keys.size("embedding_length", n_embd);
    keys.size("feed_forward_length", n_ff);
    keys.size("attention.head_count", heads(config, "num_heads", n_embd)?);
    keys.set("attention.layer_norm_epsilon", config.positive_if("layer_norm_epsilon")?.unwrap_or(1e-5) as f32);
    keys.set("attention.scale", 1f32); // scores are not divided by anything
    keys.size("attention.sliding_window", config.size_if("window_size")?.unwrap_or(256));
    keys.set("attention.sliding_window_pattern", Encoded::array(local_layers(config, n_layer)?));
    keys.file_type();
    Ok(())
}

/// For each layer, whether its attention is local: from `attention_layers`, or from `attention_types`, a list of lists of
/// kinds that take turns, each with how often.
fn local_layers(config: &Json, n_layer: usize) -> Result<Vec<bool>, Failure> {
    let key = if config.get("attention_layers").is_some() { "attention_layers" } else { "attention_types" };
    let found = config.get(key).ok_or_else(|| config.missing(key))?;
    let bad = || config.bad(key, shown(found), format!("global or local for each of the {n_layer} layers"));
    let local = |kind: &Value| match kind.as_str() {
        Some("global") => Ok(false),
        Some("local") => Ok(true),
        _ => Err(bad()),
    };
    let mut layers = Vec::new();
    for entry in found.as_array().ok_or_else(bad)? {
        let Some(entry) = entry.as_array() else {
            layers.push(local(entry)?);
            continue;
        };
        let [kinds, times] = &entry[..] else { return Err(bad()) };
        let kinds = kinds.as_array().ok_or_else(bad)?.iter().map(local).collect::<Result<Vec<_>, _>>()?;
        let times = times.as_u64().filter(|times| *times <= n_layer as u64 && !kinds.is_empty()).ok_or_else(bad)?;
        layers.extend((0..times).flat_map(|_| &kinds).take(n_layer + 1));
        if layers.len() > n_layer {
            return Err(bad());
        }
    }
    if layers.len() == n_layer { Ok(layers) } else { Err(bad()) }
}
