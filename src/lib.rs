//! pumice maps a quantized GGUF file and runs it on CPU threads.
//!
//! The parts, from the bottom up; each uses only those above it in this list:
//!
//! - [`error`]: the one error type
//! - [`map`]: immutable bytes, mapped or in memory
//! - [`quant`]: the quantized block formats, scalar: the specification of every kernel
//! - [`gguf`]: bytes to typed metadata and a tensor table
//! - [`cpu`]: the kernel tables, one per instruction set, all bit-equal to the scalar one
//! - [`token`]: vocabularies and tokenizers
//! - [`model`]: the forward pass, the KV cache, sessions
//! - [`sample`]: logits to a token

pub mod error;
pub mod gguf;
pub mod map;
pub mod quant;
pub mod token;

pub use error::{Error, GgufDefect, GgufPlace, Result};
pub use gguf::Gguf;
pub use map::Bytes;
pub use token::{Token, Tokenizer};
