//! GPT-2, `GPT2LMHeadModel`, as llama.cpp's architecture `gpt2`.

use super::Keys;
use super::json::Json;
use super::tensors::{Plan, Rows};
use crate::failure::Failure;

/// The names under which transformers knows GELU's tanh form, which is what the engine computes.
pub const GELU_TANH: [&str; 3] = ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"];

pub fn plan(config: &Json, plan: &mut Plan, keys: &mut Keys) -> Result<(), Failure> {
    config.one_of("activation_function", &GELU_TANH)?;
    config.only("scale_attn_weights", true)?;
    config.only("scale_attn_by_inverse_layer_idx", false)?;
    config.only("add_cross_attention", false)?;
    let (n_vocab, n_embd, n_layer) = (config.size("vocab_size")?, config.size("n_embd")?, config.size("n_layer")?);
    let n_ctx = match config.size_if("n_positions")? {
        Some(n_ctx) => n_ctx,
        None => config.size("n_ctx")?, // its name of old
    };
    let n_ff = config.size_if("n_inner")?.unwrap_or(4 * n_embd);

    keys.size("block_count", n_layer);
    keys.size("context_length", n_ctx);
    keys.size("embedding_length", n_embd);
    keys.size("feed_forward_length", n_ff);
    keys.size("attention.head_count", heads(config, "n_head", n_embd)?);
    keys.set("attention.layer_norm_epsilon", config.positive_if("layer_norm_epsilon")?.unwrap_or(1e-5) as f32);
    keys.file_type();

    plan.prefix("transformer.", "wte.weight");
    plan.ignore(&[".attn.bias", ".attn.masked_bias"]); // the causal mask
    plan.matrix("wte", "token_embd", n_vocab, n_embd, Rows::Same)?;
    plan.matrix("wpe", "position_embd", n_ctx, n_embd, Rows::Same)?;
    for i in 0..n_layer {
        let from = |part: &str| format!("h.{i}.{part}");
        let to = |part: &str| format!("blk.{i}.{part}");
        plan.layer_norm(&from("ln_1"), &to("attn_norm"), n_embd)?;
        plan.biased(&from("attn.c_attn"), &to("attn_qkv"), 3 * n_embd, n_embd, Rows::Columns)?;
        plan.biased(&from("attn.c_proj"), &to("attn_output"), n_embd, n_embd, Rows::Columns)?;
        plan.layer_norm(&from("ln_2"), &to("ffn_norm"), n_embd)?;
        plan.biased(&from("mlp.c_fc"), &to("ffn_up"), n_ff, n_embd, Rows::Columns)?;
        plan.biased(&from("mlp.c_proj"), &to("ffn_down"), n_embd, n_ff, Rows::Columns)?;
    }
    plan.layer_norm("ln_f", "output_norm", n_embd)?;
    plan.output(config, true, "wte", n_vocab)
}

/// The number of heads, which divide the width.
pub fn heads(config: &Json, key: &str, n_embd: usize) -> Result<usize, Failure> {
    let n_head = config.size(key)?;
    if !n_embd.is_multiple_of(n_head) {
        return Err(config.bad(key, n_head, format!("a divisor of the width {n_embd}")));
    }
    Ok(n_head)
}
