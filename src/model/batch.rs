//! What one call decodes: runs of tokens of several sequences.

use crate::{Error, Result, Token};

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

    /// The same for tokens from elsewhere, whose number is not to be trusted.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; the batch is then as it was.
    pub fn try_add(&mut self, sequence: usize, tokens: &[Token], outputs: Outputs) -> Result<()> {
        let mut copy = Vec::new();
        let no_memory = |_| Error::NoMemory { bytes: size_of_val(tokens), what: "a batch" };
        copy.try_reserve_exact(tokens.len()).map_err(no_memory)?;
        self.runs.try_reserve(1).map_err(no_memory)?;
        copy.extend_from_slice(tokens);
        self.runs.push((sequence, copy, outputs));
        Ok(())
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
