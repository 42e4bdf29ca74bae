//! GPT-1, `OpenAIGPTLMHeadModel`, as architecture `gpt1`, which is pumice's own: docs/formats.md.

use super::Keys;
use super::gpt2::heads;
use super::json::Json;
use super::tensors::{Plan, Rows};
use crate::failure::Failure;

pub fn plan(config: &Json, plan: &mut Plan, keys: &mut Keys) -> Result<(), Failure> {
    config.one_of("afn", &["gelu"])?; // by that name, this one model means the tanh form
    let (n_vocab, n_embd, n_layer) = (config.size("vocab_size")?, config.size("n_embd")?, config.size("n_layer")?);
    let (n_ctx, n_ff) = (config.size("n_positions")?, 4 * n_embd);

    keys.size("block_count", n_layer);
    keys.size("context_length", n_ctx);
    keys.size("embedding_length", n_embd);
    keys.size("feed_forward_length", n_ff);
    keys.size("attention.head_count", heads(config, "n_head", n_embd)?);
    keys.set("attention.layer_norm_epsilon", config.positive_if("layer_norm_epsilon")?.unwrap_or(1e-5) as f32);
    keys.file_type();

    plan.prefix("transformer.", "tokens_embed.weight");
    plan.ignore(&[".attn.bias", "position_ids"]); // the causal mask, and 0, 1, 2…
    plan.matrix("tokens_embed", "token_embd", n_vocab, n_embd, Rows::Same)?;
    plan.matrix("positions_embed", "position_embd", n_ctx, n_embd, Rows::Same)?;
    for i in 0..n_layer {
        let from = |part: &str| format!("h.{i}.{part}");
        let to = |part: &str| format!("blk.{i}.{part}");
        plan.biased(&from("attn.c_attn"), &to("attn_qkv"), 3 * n_embd, n_embd, Rows::Columns)?;
        plan.biased(&from("attn.c_proj"), &to("attn_output"), n_embd, n_embd, Rows::Columns)?;
        plan.layer_norm(&from("ln_1"), &to("attn_output_norm"), n_embd)?;
        plan.biased(&from("mlp.c_fc"), &to("ffn_up"), n_ff, n_embd, Rows::Columns)?;
        plan.biased(&from("mlp.c_proj"), &to("ffn_down"), n_embd, n_ff, Rows::Columns)?;
        plan.layer_norm(&from("ln_2"), &to("layer_output_norm"), n_embd)?;
    }
    plan.output(config, true, "tokens_embed", n_vocab)
}
