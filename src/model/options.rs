//! How a session runs: what is asked for, what that comes to for a model, and what can be changed later.

use crate::cpu::{Activations, KvType};
use crate::pool::{self, Pool};
use crate::{Error, Kernels, Log, Result};

use super::Model;
use super::session::Session;
use super::step::Buffers;

/// How a session runs. Results do not depend on any of it but [`SessionOptions::kv_type`] and
/// [`SessionOptions::activations`].
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Positions that a sequence may have; 0 for as many as the model was trained on. Memory is taken as it is needed.
    pub n_ctx: usize,
    /// Threads, the caller's included; 0, or more than that, for as many as the system lets this process use
    /// ([`std::thread::available_parallelism`], which knows affinity and container quotas).
    pub threads: usize,
    /// Tokens of a prompt that go through the layers together; 0 to choose by the model's size (32 to 512).
    pub chunk: usize,
    /// Which kernels; `None` for the fastest.
    pub kernels: Option<&'static Kernels>,
    /// What keys and values are kept as.
    pub kv_type: KvType,
    /// How activations are rounded that meet quantized weights, or BF16.
    pub activations: Activations,
    /// Bytes that the KV cache, a step's buffers and the outputs may take together; 0 for as many as there are. A call
    /// that would exceed it fails before it changes anything.
    pub memory_limit: usize,
    /// Keep the final hidden state of each output too, for [`Session::embedding`].
    pub embeddings: bool,
    /// Who hears of what the session does.
    pub log: Log,
}

/// The bytes that [`SessionOptions::chunk`] 0 allows for a chunk's buffers.
const CHUNK_BYTES: usize = 32 << 20;

impl SessionOptions {
    /// The same with a choice in place of every 0 and `None`, but for the limit.
    pub(super) fn resolve(&self, model: &Model) -> Result<Self> {
        let p = model.params();
        let n_ctx = if self.n_ctx == 0 { p.n_ctx_train.min(p.n_ctx_max) } else { self.n_ctx };
        if n_ctx > p.n_ctx_max {
            let expected = format!("at most {} positions", p.n_ctx_max);
            return Err(Error::InvalidArgument { name: "n_ctx", found: n_ctx.to_string(), expected });
        }
        let threads = pool::worthwhile(self.threads)?;
        let chunk = match self.chunk {
            0 => (CHUNK_BYTES / model.0.widths.bytes_per_token()).clamp(32, 512) / 8 * 8,
            chunk => chunk,
        };
        let kernels = Some(self.kernels.unwrap_or_else(Kernels::best));
        Ok(Self { n_ctx, threads, chunk, kernels, ..self.clone() })
    }
}

impl Session {
    /// What the session runs with; every choice that was left to it has been made.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Changes how the session runs from the next call on: everything but `n_ctx`, `kv_type` and `embeddings`, which
    /// must stay as they are. Start from [`Session::options`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of range or cannot change. Nothing has changed then.
    pub fn configure(&mut self, options: &SessionOptions) -> Result<()> {
        let options = options.resolve(self.model())?;
        let fixed = |name, now: String, wanted: String| match now == wanted {
            true => Ok(()),
            false => Err(Error::InvalidArgument { name, found: wanted, expected: format!("{now}, as it was made") }),
        };
        fixed("n_ctx", self.options.n_ctx.to_string(), options.n_ctx.to_string())?;
        fixed("kv_type", self.options.kv_type.name().to_owned(), options.kv_type.name().to_owned())?;
        fixed("embeddings", self.options.embeddings.to_string(), options.embeddings.to_string())?;
        if options.threads != self.options.threads {
            self.pool = Pool::new(options.threads)?;
        }
        if (options.threads, options.chunk) != (self.options.threads, self.options.chunk) {
            self.buffers = Buffers::default(); // the next step takes what it needs
        }
        self.options = options;
        Ok(())
    }
}
