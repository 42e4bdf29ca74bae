//! Hidden states as the result: one vector for each token, or one for a whole text.

use super::batch::Outputs;
use super::outputs::Kept;
use super::{SCRATCH, Session};
use crate::{Error, Result, Token};

/// How the final hidden states of a text's tokens become its embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooling {
    /// Not at all: they are kept one after the other.
    None,
    /// Their mean.
    #[default]
    Mean,
    /// The first token's, which in these models has seen nothing but itself.
    First,
    /// The last token's, which has seen all.
    Last,
}

impl Pooling {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Mean, Self::First, Self::Last];

    /// "none", "mean", "cls", "last": the names of llama.cpp, for which the first token is BERT's `[CLS]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mean => "mean",
            Self::First => "cls",
            Self::Last => "last",
        }
    }
}

impl Session {
    /// The final hidden states of a text, those that the output matrix would make logits of, pooled: `n_embd` values, or
    /// with [`Pooling::None`] `[token][n_embd]`. If `normalize` is set, each vector is divided by its length in the sense of
    /// Euclid; one of zeros stays.
    ///
    /// Nothing is computed of the logits, and [`super::SessionOptions::embeddings`] makes no difference. The session's
    /// sequences stay as they are, the text is fed to one that is forgotten; outputs of earlier calls are gone. Sums
    /// are in the order of the tokens and in f64, so the result is the same to the last bit for any chunk, threads and
    /// kernels.
    ///
    /// # Errors
    /// As for [`Session::decode`].
    pub fn embed(&mut self, tokens: &[Token], pooling: Pooling, normalize: bool) -> Result<Vec<f32>> {
        self.outputs = Kept::hidden(self.model.params());
        self.uncancel();
        let pooled = self.pooled(tokens, pooling);
        self.remove(SCRATCH);
        self.outputs = Kept::new(self.model.params(), self.options.embeddings);
        let mut pooled = pooled?;
        if normalize {
            pooled.chunks_exact_mut(self.model.params().n_embd).for_each(make_unit);
        }
        Ok(pooled)
    }

    /// What the model's head makes of a text's pooled hidden states: a score for each class, which is a logit, not a
    /// probability. [`super::Model::label`] names the classes. Otherwise as [`Session::embed`].
    ///
    /// # Errors
    /// As for [`Session::decode`], and [`Error::NoHead`].
    pub fn classify(&mut self, tokens: &[Token]) -> Result<Vec<f32>> {
        let model = self.model.clone();
        let head = model.head().ok_or_else(|| Error::NoHead { file: model.gguf().name().to_owned() })?;
        let pooled = self.embed(tokens, head.pooling(), false)?;
        head.scores(&pooled)
    }

    fn pooled(&mut self, tokens: &[Token], pooling: Pooling) -> Result<Vec<f32>> {
        // All of it first, as what follows sees parts.
        self.check(&[(SCRATCH, tokens, Outputs::None)])?;
        match pooling {
            Pooling::None => self.hidden(tokens, Outputs::All)?,
            Pooling::First => self.hidden(&tokens[..1], Outputs::All)?,
            Pooling::Last => self.hidden(tokens, Outputs::Last)?,
            Pooling::Mean => return self.mean(tokens),
        }
        Ok(self.outputs.take_embeddings())
    }

    /// The mean, with the hidden states of no more than a chunk at a time.
    fn mean(&mut self, tokens: &[Token]) -> Result<Vec<f32>> {
        let n_embd = self.model.params().n_embd;
        let mut sum = vec![0f64; n_embd];
        for part in tokens.chunks(self.chunk()) {
            self.hidden(part, Outputs::All)?;
            for hidden in (0..self.outputs()).filter_map(|i| self.outputs.embedding(i)) {
                sum.iter_mut().zip(hidden).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        Ok(sum.into_iter().map(|sum| (sum / tokens.len() as f64) as f32).collect())
    }

    fn hidden(&mut self, tokens: &[Token], outputs: Outputs) -> Result<()> {
        self.run(&[(SCRATCH, tokens, outputs)], |_, _| std::ops::ControlFlow::Continue(()))
    }
}

fn make_unit(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}
