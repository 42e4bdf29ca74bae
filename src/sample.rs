//! Logits to a token.
//!
//! "The same seed, the same text, everywhere": the arithmetic is fixed (software `expf`, sums in a fixed order, an own
//! random generator) and ties go to the lower id, so equal logits give equal tokens on every CPU.

mod candidates;
mod options;
mod penalties;
mod random;
mod top;

pub use options::SamplerOptions;
pub use top::{LogProbs, top_logprobs};

use candidates::Candidate;
use penalties::Penalties;
use random::Random;

use crate::{Error, Result, Token};

/// Chooses tokens from logits; one for each sequence that is generated.
///
/// The steps, in llama.cpp's default order:
///
/// 1. `logit_bias` is added.
/// 2. Penalties, for each token that is `count > 0` times among the last `penalty_last_n` accepted ones:
///    `logit = logit > 0 ? logit / repeat_penalty : logit * repeat_penalty`, then
///    `logit -= count * frequency_penalty + presence_penalty`.
/// 3. A temperature of 0 takes the largest logit and ends here.
/// 4. `top_k`, `top_p` and `min_p` leave some candidates; probabilities are the softmax over those that the step
///    before left, at temperature 1.
/// 5. One of them is drawn with the softmax of `logit / temperature`.
///
/// A NaN logit counts as negative infinity: never chosen. Each draw takes exactly one random number, even with one
/// candidate, so the number of tokens tells where the generator stands. Cloning copies that state and the history:
/// both go on alike.
///
/// ```
/// use pumice::sample::{Sampler, SamplerOptions};
///
/// let mut sampler = Sampler::new(&SamplerOptions { seed: 7, ..SamplerOptions::default() })?;
/// let token = sampler.sample(&[0.5, 3.0, -1.0])?;
/// sampler.accept(token); // the penalties know it from here on
/// # Ok::<(), pumice::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    penalties: Option<Penalties>,
    random: Random,
    /// The logits with bias and penalties; kept for its memory.
    adjusted: Vec<f32>,
    /// Kept for its memory.
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler with no history.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] names the option that is outside its range.
    pub fn new(options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self {
            options: options.clone(),
            penalties: Penalties::new(options),
            random: Random::new(options.seed),
            adjusted: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// The token that follows, by the logits of the whole vocabulary (one for each id from 0).
    ///
    /// The choice is not accepted by itself: call [`Self::accept`] with what the sequence really goes on with.
    /// Allocates nothing once it has seen logits of this length, apart from the growth of the candidates.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `logits` is empty, [`Error::TokenOutOfRange`] if a token of `logit_bias` has no
    /// logit, [`Error::NoCandidates`] if all logits are negative infinity or NaN. The sampler is then as it was.
    pub fn sample(&mut self, logits: &[f32]) -> Result<Token> {
        if logits.is_empty() {
            return Err(Error::InvalidArgument {
                name: "logits",
                found: "empty".to_owned(),
                expected: "one for each token of the vocabulary".to_owned(),
            });
        }
        let Self { options, penalties, random, adjusted, candidates } = self;
        let logits = adjust(logits, &options.logit_bias, penalties.as_ref(), adjusted)?;
        if options.temperature == 0.0 {
            return candidates::argmax(logits).ok_or(Error::NoCandidates);
        }
        candidates::top_k(logits, options.top_k, candidates);
        if candidates.is_empty() {
            return Err(Error::NoCandidates);
        }
        candidates::top_p_min_p(candidates, options.top_p, options.min_p);
        candidates::draw(candidates, options.temperature, random.uniform()).ok_or(Error::NoCandidates)
    }

    /// Tells the penalties that the sequence goes on with this token, sampled or from a prompt. Tokens that no logits
    /// have are remembered and have no effect.
    pub fn accept(&mut self, token: Token) {
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
    }

    /// Forgets the accepted tokens and goes back to the start of the random numbers: as if just made.
    pub fn reset(&mut self) {
        if let Some(penalties) = &mut self.penalties {
            penalties.reset();
        }
        self.random = Random::new(self.options.seed);
    }

    /// Replaces [`SamplerOptions::logit_bias`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if a bias is NaN; the sampler is then as it was.
    pub fn set_logit_bias(&mut self, bias: Vec<(Token, f32)>) -> Result<()> {
        let before = std::mem::replace(&mut self.options.logit_bias, bias);
        self.options.check().inspect_err(|_| self.options.logit_bias = before)
    }

    /// What this sampler was made with.
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }
}

/// The logits with bias and penalties, in `memory` if there are any.
fn adjust<'a>(
    logits: &'a [f32],
    bias: &[(Token, f32)],
    penalties: Option<&Penalties>,
    memory: &'a mut Vec<f32>,
) -> Result<&'a [f32]> {
    if bias.is_empty() && penalties.is_none() {
        return Ok(logits);
    }
    memory.clear();
    memory.extend_from_slice(logits);
    for (token, bias) in bias {
        let logit =
            memory.get_mut(*token as usize).ok_or(Error::TokenOutOfRange { token: *token, n_vocab: logits.len() })?;
        *logit += bias;
    }
    if let Some(penalties) = penalties {
        penalties.apply(memory);
    }
    Ok(memory)
}

#[cfg(test)]
mod tests;
