//! pumice maps a quantized GGUF file and runs it on CPU threads.
//!
//! The parts, from the bottom up; each uses only those above it in this list:
//!
//! - [`error`]: the one error type
//! - [`log`]: messages for whoever embeds this library
//! - [`map`]: immutable bytes, mapped or in memory
//! - [`replace`]: files written beside their place, then renamed
//! - [`quant`]: the quantized block formats, scalar: the specification of every kernel
//! - [`gguf`]: bytes to typed metadata and a tensor table
//! - [`pool`]: the worker threads of a forward step
//! - [`cpu`]: the kernel tables, one per instruction set, all bit-equal to the scalar one
//! - [`token`]: vocabularies and tokenizers
//! - `chat`: chat templates (feature `chat`, on by default)
//! - [`model`]: the forward pass, the KV cache, sessions, pooled hidden states and heads
//! - [`sample`]: logits to a token
//! - [`generate`](mod@generate): the loop around them all
//! - [`score`](mod@score): how likely texts are

#[cfg(feature = "chat")]
pub mod chat;
pub mod cpu;
pub mod error;
pub mod generate;
pub mod gguf;
pub mod log;
pub mod map;
pub mod model;
mod order;
pub mod pool;
pub mod quant;
pub mod replace;
pub mod sample;
pub mod score;
pub mod token;

#[cfg(feature = "chat")]
pub use chat::{ChatMessage, ChatOptions, ChatTemplate};
pub use cpu::{Activations, Kernels, KvType};
pub use error::{Error, ErrorKind, GgufDefect, GgufPlace, Result, StateDefect, StateMismatch};
pub use generate::{Finish, GenerateOptions, Generated, Progress, generate};
pub use gguf::Gguf;
pub use log::{Level, Log};
pub use map::Bytes;
pub use model::{
    Batch, Canceller, Counters, Head, Memory, Model, ModelOptions, Outputs, Pooling, Session, SessionOptions,
};
pub use sample::{Sampler, SamplerOptions};
pub use score::score;
pub use token::{Token, Tokenizer};

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
