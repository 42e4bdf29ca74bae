//! What one call decodes: runs of tokens of several sequences.

use crate::Token;

/// Which tokens of a run to compute logits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Outputs {
    /// None: the run only extends its sequence.
    None,
    /// The last one: what generation needs.
    #[default]
    Last,
    /// Each: what scoring a text needs. The logits take `n_vocab` f32 a token.
    All,
}

/// Runs of tokens, each of which extends a sequence. A sequence may occur more than once; its runs follow each other.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) runs: Vec<(usize, Vec<Token>, Outputs)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds tokens at the end of a sequence. Sequences are numbered from 0 by the caller; a new number starts one.
    pub fn add(&mut self, sequence: usize, tokens: &[Token], outputs: Outputs) {
        self.runs.push((sequence, tokens.to_vec(), outputs));
    }

    /// Takes all runs out.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// All tokens.
    pub fn tokens(&self) -> usize {
        self.runs.iter().map(|(_, tokens, _)| tokens.len()).sum()
    }
}
