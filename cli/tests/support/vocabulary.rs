//! A file with a vocabulary and no tensors, of an architecture that nobody knows.

use crate::gguf_bytes::{File, array, f32, i32, str, u32};

/// SentencePiece: `<unk>`, `<s>`, `</s>`, a token with an escape sequence, and what "hi" is made of.
pub fn file() -> File {
    let tokens = ["<unk>", "<s>", "</s>", "\u{1b}[31m", "\u{2581}", "h", "i", "hi", "\u{2581}hi"];
    let scores = [0.0, 0.0, 0.0, -9.0, -4.0, -5.0, -6.0, -2.0, -1.0];
    let kinds = [2, 3, 3, 4, 1, 1, 1, 1, 1];
    File::new(3)
        .key("general.architecture", str("nobody"))
        .key("general.name", str("evil \u{1b}]0;title\u{7} name\nsecond line"))
        .key("nobody.context_length", u32(77))
        .key("nobody.short", array(4, (0..16).map(u32).collect()))
        .key("nobody.long", array(4, (0..17).map(u32).collect()))
        .key("tokenizer.ggml.model", str("llama"))
        .key("tokenizer.ggml.tokens", array(8, tokens.map(str).to_vec()))
        .key("tokenizer.ggml.scores", array(6, scores.map(f32).to_vec()))
        .key("tokenizer.ggml.token_type", array(5, kinds.map(i32).to_vec()))
}
