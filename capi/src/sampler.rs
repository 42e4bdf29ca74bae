//! Samplers: from logits to a token.

use pumice::{Model, Sampler, Token};

use crate::abi::*;
use crate::call::{Fail, fail, guard, guard_free, guard_new};
use crate::handle::Body;
use crate::model::Shared;
use crate::session::Owned;

/// A sampler, and the model whose tokens it chooses.
#[derive(Clone)]
pub struct ForModel {
    pub sampler: Sampler,
    model: Model,
}

impl Body for ForModel {
    type Opaque = pumice_sampler;
    const KIND: u32 = u32::from_ne_bytes(*b"pSam");
    const NAME: &'static str = "sampler";
}

impl ForModel {
    fn n_vocab(&self) -> usize {
        self.model.params().n_vocab
    }

    /// The token, if the model has it.
    fn existing(&self, token: Token) -> Result<Token, Fail> {
        match (token as usize) < self.n_vocab() {
            true => Ok(token),
            false => {
                let text = format!("token {} is not one of the model's {}", token.cast_signed(), self.n_vocab());
                Err(fail(PUMICE_ERR_INVALID, text))
            }
        }
    }

    /// The session can be sampled from if it has the same tokens.
    pub fn check_session(&self, session: &Owned) -> Result<(), Fail> {
        match (self.n_vocab(), session.model().params().n_vocab) {
            (mine, its) if mine == its => Ok(()),
            (mine, its) => {
                let text = format!("the sampler's model has {mine} tokens, the session's has {its}");
                Err(fail(PUMICE_ERR_MISMATCH, text))
            }
        }
    }
}

/// Makes a sampler for the tokens of a model. Reads PUMICE_KEY_SAMPLER_* of `opts` (NULL: the defaults). The caller frees
/// it with pumice_sampler_free; it keeps the model alive by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_new(
    model: *const pumice_model,
    opts: *const pumice_options,
    out: *mut *mut pumice_sampler,
    err: *mut pumice_error,
) -> pumice_status {
    guard_new!(out, err, |call| {
        let (model, options) = (call.shared::<Shared>(model)?, call.options(opts)?);
        Ok((ForModel { sampler: Sampler::new(&options.sampler)?, model: model.model.clone() }, None))
    })
}

/// Copies a sampler with its history and the state of its random numbers: both go on alike. The caller frees the copy
/// with pumice_sampler_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_clone(
    sampler: *const pumice_sampler,
    out: *mut *mut pumice_sampler,
    err: *mut pumice_error,
) -> pumice_status {
    guard_new!(out, err, |call| Ok((call.shared::<ForModel>(sampler)?.clone(), None)))
}

/// Replaces the biases: `bias[i]` will be added to the logit of `tokens[i]`, for `count` tokens; negative infinity
/// forbids a token; 0 tokens take all biases away. PUMICE_ERR_INVALID if a bias is NaN or the model does not have a
/// token; the biases are then as they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_set_bias(
    sampler: *mut pumice_sampler,
    tokens: *const pumice_token,
    bias: *const f32,
    count: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let sampler = call.exclusive::<ForModel>(sampler)?;
        let (tokens, bias) = (call.tokens("tokens", tokens, count)?, call.slice("bias", bias, count)?);
        for token in tokens {
            sampler.existing(*token)?;
        }
        Ok(sampler.sampler.set_logit_bias(tokens.iter().copied().zip(bias.iter().copied()).collect())?)
    })
}

/// Chooses a token by the logits of a session's output number `index` (see pumice_session_logits). The choice has no
/// effect by itself: feed it to the session, and tell the sampler with pumice_sampler_accept. PUMICE_ERR_NOT_FOUND if
/// there is no such output, PUMICE_ERR_MISMATCH if the session is of another model, PUMICE_ERR_INVALID if the biases
/// forbid every token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_sample(
    sampler: *mut pumice_sampler,
    session: *mut pumice_session,
    index: usize,
    out: *mut pumice_token,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (sampler, session) = (call.exclusive::<ForModel>(sampler)?, call.exclusive::<Owned>(session)?);
        let out = call.out("out", out)?;
        sampler.check_session(session)?;
        out.set(sampler.sampler.sample(session.output(index)?)?.cast_signed());
        Ok(())
    })
}

/// Chooses a token by `count` logits of the caller's own, one for each token of the model. PUMICE_ERR_MISMATCH if there
/// are more or fewer; otherwise as pumice_sampler_sample.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_sample_logits(
    sampler: *mut pumice_sampler,
    logits: *const f32,
    count: usize,
    out: *mut pumice_token,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (sampler, logits) = (call.exclusive::<ForModel>(sampler)?, call.slice("logits", logits, count)?);
        let out = call.out("out", out)?;
        if count != sampler.n_vocab() {
            let text = format!("there are {count} logits for the model's {} tokens", sampler.n_vocab());
            return Err(fail(PUMICE_ERR_MISMATCH, text));
        }
        out.set(sampler.sampler.sample(logits)?.cast_signed());
        Ok(())
    })
}

/// Tells the penalties that the text goes on with this token, whether it was sampled or is part of a prompt.
/// PUMICE_ERR_INVALID for a token that the model does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_accept(
    sampler: *mut pumice_sampler,
    token: pumice_token,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let sampler = call.exclusive::<ForModel>(sampler)?;
        let token = sampler.existing(token.cast_unsigned())?;
        sampler.sampler.accept(token);
        Ok(())
    })
}

/// Forgets the accepted tokens and goes back to the start of the random numbers, as if just made. Biases stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_reset(sampler: *mut pumice_sampler, err: *mut pumice_error) -> pumice_status {
    guard!(err, |call| {
        call.exclusive::<ForModel>(sampler)?.sampler.reset();
        Ok(())
    })
}

/// Frees a sampler. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_sampler_free(sampler: *mut pumice_sampler) {
    guard_free!(ForModel, sampler)
}
