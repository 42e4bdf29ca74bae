//! What a model and its sessions take, said beforehand and kept to.
//!
//! Counted are the file, the pages of the KV cache, a step's buffers (activations as they are and quantized, tiles of
//! unpacked weights for every thread) and the outputs. Not counted are the threads' stacks, the vocabulary's tables, the
//! lists of tokens (4 bytes for each position) and lists of a few kilobytes that a step makes and drops.

use std::collections::BTreeMap;

use crate::cpu::{KvType, PAGE};
use crate::{Error, Result, Token};

use super::batch::Outputs;
use super::outputs::Kept;
use super::session::{Session, layout, wanted};
use super::step::Buffers;
use super::{Model, SessionOptions};

/// What a session takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The model's file, or all files of a split one. All sessions share them.
    pub weights: u64,
    /// The KV cache of one sequence that fills its context. Memory is taken a page of 128 positions at a time, so this is
    /// more than a shorter sequence takes.
    pub kv: u64,
    /// The buffers of a step of a whole chunk, and one output.
    pub scratch: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.scratch)
    }
}

impl Model {
    /// What a session with these options will take once a sequence has filled its context. Works without the weights
    /// ([`super::ModelOptions::metadata_only`]).
    ///
    /// [`Session::kv_bytes`] then is exactly `kv`, and [`Session::scratch_bytes`] exactly `scratch`, if the prompt had at
    /// least a chunk of tokens and one output was asked for; a shorter prompt takes less, each further output adds
    /// itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of range.
    pub fn memory(&self, options: &SessionOptions) -> Result<Memory> {
        let p = self.params();
        let options = options.resolve(self)?;
        let step = Buffers::bytes(&self.0.widths, options.chunk.min(options.n_ctx), options.threads);
        let output = Kept::new(p, options.embeddings).bytes(1);
        Ok(Memory {
            weights: self.gguf().file_bytes(),
            kv: layout(p, options.kv_type).bytes(options.n_ctx) as u64,
            scratch: step.saturating_add(output) as u64,
        })
    }

    /// Bytes that the KV cache of a sequence of `positions` takes, as f16.
    pub fn kv_bytes(&self, positions: usize) -> usize {
        layout(self.params(), KvType::F16).bytes(positions)
    }
}

impl Session {
    /// Bytes that the buffers of a step and the outputs take now. They are kept from one call to the next.
    pub fn scratch_bytes(&self) -> usize {
        self.buffers.taken() + self.outputs.taken()
    }

    /// Refuses a call that would take more than the limit, and otherwise makes sure that what earlier calls have left
    /// behind is not in its way.
    pub(super) fn check_limit(&mut self, runs: &[(usize, &[Token], Outputs)]) -> Result<()> {
        let limit = self.options.memory_limit;
        if limit == 0 {
            return Ok(());
        }
        let mut lengths = BTreeMap::new();
        for (sequence, tokens, _) in runs {
            *lengths.entry(*sequence).or_insert(0) += tokens.len();
        }
        let pages = lengths.into_iter().map(|(number, more)| self.more_pages(number, more)).sum();
        let tokens = runs.iter().map(|(_, tokens, _)| tokens.len()).sum::<usize>().min(self.options.chunk);
        let outputs = runs.iter().map(|(_, tokens, kind)| wanted(*kind, 0..tokens.len(), tokens.len()).len()).sum();
        let step = Buffers::bytes(&self.model().0.widths, tokens, self.threads());
        self.check_pages(pages, step, self.outputs.bytes(outputs))
    }

    /// The same for so many more pages of the KV cache, the bytes of a step's buffers and those of outputs.
    pub(super) fn check_pages(&mut self, pages: usize, step: usize, outputs: usize) -> Result<()> {
        let limit = self.options.memory_limit;
        let kv = self.kv_bytes().saturating_add(self.layout.bytes(pages.saturating_mul(PAGE)));
        let needed = kv.saturating_add(step).saturating_add(outputs);
        if limit != 0 && needed > limit {
            return Err(Error::MemoryLimit { needed, limit });
        }
        // What is kept from larger calls may be in the way. Then all of it goes: this call takes what it needs.
        let kept = step.max(self.buffers.taken()).saturating_add(outputs.max(self.outputs.taken()));
        if limit != 0 && kv.saturating_add(kept) > limit {
            self.buffers = Buffers::default();
            self.outputs.release();
        }
        Ok(())
    }
}
