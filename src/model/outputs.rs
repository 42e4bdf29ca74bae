//! What a call leaves: logits, and final hidden states if they are wanted, of the tokens that were asked for.

use crate::{Error, Result};

use super::params::Params;

/// The outputs of the last call.
pub(super) struct Kept {
    /// How many there are.
    count: usize,
    /// 0 if logits are not computed.
    n_vocab: usize,
    /// 0 if hidden states are not kept.
    n_embd: usize,
    /// `[output][n_vocab]`
    logits: Vec<f32>,
    /// `[output][n_embd]`
    embeddings: Vec<f32>,
}

/// The tokens of a step that have outputs, and where these go.
pub(super) struct Wanted<'a> {
    /// Their numbers within the step.
    pub tokens: &'a [usize],
    /// `[output][n_vocab]`, or nothing.
    pub logits: &'a mut [f32],
    /// `[output][n_embd]`, or nothing.
    pub embeddings: &'a mut [f32],
}

impl Kept {
    /// Nothing yet.
    pub fn new(p: &Params, embeddings: bool) -> Self {
        let n_embd = if embeddings { p.n_embd } else { 0 };
        Self { count: 0, n_vocab: p.n_vocab, n_embd, logits: Vec::new(), embeddings: Vec::new() }
    }

    /// Nothing yet, and hidden states only.
    pub fn hidden(p: &Params) -> Self {
        Self { count: 0, n_vocab: 0, n_embd: p.n_embd, logits: Vec::new(), embeddings: Vec::new() }
    }

    /// All hidden states, `[output][n_embd]`; none are left.
    pub fn take_embeddings(&mut self) -> Vec<f32> {
        let embeddings = std::mem::take(&mut self.embeddings);
        self.clear();
        embeddings
    }

    /// Bytes of so many outputs.
    pub fn bytes(&self, outputs: usize) -> usize {
        outputs.saturating_mul((self.n_vocab + self.n_embd) * size_of::<f32>())
    }

    /// Bytes taken, for outputs that are there and that may come.
    pub fn taken(&self) -> usize {
        (self.logits.capacity() + self.embeddings.capacity()) * size_of::<f32>()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn logits(&self, output: usize) -> Option<&[f32]> {
        self.logits.chunks_exact(self.n_vocab.max(1)).nth(output)
    }

    pub fn embedding(&self, output: usize) -> Option<&[f32]> {
        self.embeddings.chunks_exact(self.n_embd.max(1)).nth(output)
    }

    /// Forgets all outputs, but not their memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.logits.clear();
        self.embeddings.clear();
    }

    /// Forgets all outputs and frees their memory.
    pub fn release(&mut self) {
        (self.count, self.logits, self.embeddings) = (0, Vec::new(), Vec::new());
    }

    /// Takes the memory for so many outputs, of which there are none yet.
    pub fn reserve(&mut self, outputs: usize) -> Result<()> {
        let no_memory = Error::NoMemory { bytes: self.bytes(outputs), what: "outputs" };
        let logits = self.logits.try_reserve_exact(outputs.saturating_mul(self.n_vocab));
        let embeddings = self.embeddings.try_reserve_exact(outputs.saturating_mul(self.n_embd));
        logits.and(embeddings).map_err(|_| no_memory)
    }

    /// Room for the outputs of a step's `tokens` behind those that are there.
    pub fn extend<'a>(&'a mut self, tokens: &'a [usize]) -> Wanted<'a> {
        let end = self.count;
        self.count += tokens.len();
        self.logits.resize(self.count * self.n_vocab, 0.0);
        self.embeddings.resize(self.count * self.n_embd, 0.0);
        Wanted {
            tokens,
            logits: &mut self.logits[end * self.n_vocab..],
            embeddings: &mut self.embeddings[end * self.n_embd..],
        }
    }
}
