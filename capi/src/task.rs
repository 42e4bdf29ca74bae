//! What models are good for besides text.

use std::ffi::c_char;

use pumice::{Error, Pooling, score};

use crate::abi::*;
use crate::call::{fail, guard};
use crate::keys::Vectors;
use crate::model::Shared;
use crate::session::Owned;

/// How likely a prompt goes on in each of `count` ways: stores in `logprobs`, which has room for `count`, the natural
/// logarithm of the probability of each continuation after the prompt, the sum over its tokens (0 for one without any).
/// `prompt_count` is 1 or more; continuation `i` has `counts[i]` tokens from `continuations[i]` on (NULL is good for none).
///
/// The prompt is fed to sequence 0, which afterwards holds it and nothing else; the tokens that the sequence has in common
/// with it already are not computed again, so that prompts which share a beginning cost what sets them apart. Other
/// sequences stay. Continuations are fed many at once, with room in memory for 64 at a time. Afterwards there are no
/// outputs.
///
/// The text of a prompt and its continuation is best tokenized as a whole, and cut where it stops being that of the prompt
/// alone: a token may reach across. PUMICE_ERR_INVALID for a token that the model does not have, PUMICE_ERR_CONTEXT_FULL
/// if there is no room for the prompt and the longest continuation: the session is then as it was. PUMICE_ERR_NO_MEMORY and
/// PUMICE_ERR_CANCELLED: sequence 0 then holds the prompt, or what it had in common with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_score(
    session: *mut pumice_session,
    prompt: *const pumice_token,
    prompt_count: usize,
    continuations: *const *const pumice_token,
    counts: *const usize,
    count: usize,
    logprobs: *mut f64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        let prompt = call.tokens("prompt", prompt, prompt_count)?;
        let continuations = call.slice("continuations", continuations, count)?;
        let counts = call.slice("counts", counts, count)?;
        let logprobs = call.buffer("logprobs", logprobs, count)?;
        let mut tokens = Vec::new();
        for (continuation, count) in continuations.iter().zip(counts) {
            tokens.push(call.tokens("a continuation", *continuation, *count)?);
        }
        logprobs.write(score(session, prompt, &tokens)?.into_iter());
        Ok(())
    })
}

/// A text as a vector: the final hidden states of `count` tokens (1 or more), those that the output matrix would make logits
/// of, pooled and normalized as "session.pooling" and "session.normalize" say. Stores the number of floats in `len`,
/// "n_embd" (see pumice_model_get_int), or with the pooling "none" `count` times as many, token by token; and the floats in
/// `out` if it has room for them (`cap` floats). NULL and 0 just ask for the number, which takes no time and no notice of
/// what the tokens are.
///
/// No logits are computed, and "session.embeddings" makes no difference. The text is fed to a sequence that is forgotten, all
/// others stay as they are; afterwards there are no outputs, also if the call fails. Statuses as for pumice_session_decode;
/// PUMICE_ERR_BUFFER_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_embed(
    session: *mut pumice_session,
    tokens: *const pumice_token,
    count: usize,
    out: *mut f32,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, tokens) = (call.exclusive::<Owned>(session)?, call.tokens("tokens", tokens, count)?);
        call.room("out", out, cap, len)?;
        let Vectors { pooling, normalize } = session.vectors;
        let pooling = pooling.unwrap_or(session.model().pooling());
        let vectors = if pooling == Pooling::None { tokens.len() } else { 1 };
        let needed = session.model().params().n_embd.saturating_mul(vectors);
        if out.is_null() || cap < needed {
            return call.space(needed, "out", out, cap, len).map(drop);
        }
        call.fill(&session.embed(tokens, pooling, normalize)?, "out", out, cap, len)
    })
}

/// What the model's classification head (its own, or that of "model.head") makes of `count` tokens: a score for each class,
/// "n_labels" of them (see pumice_model_get_int), named by pumice_model_label. They are logits: the greatest decides, and
/// their softmax are the probabilities. Stores their number in `len`, and the scores in `scores` if it has room for them (`cap`
/// floats); NULL and 0 just ask for the number. How the hidden states are pooled for it, the head itself says.
/// PUMICE_ERR_INVALID if there is no head; otherwise as pumice_session_embed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_classify(
    session: *mut pumice_session,
    tokens: *const pumice_token,
    count: usize,
    scores: *mut f32,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, tokens) = (call.exclusive::<Owned>(session)?, call.tokens("tokens", tokens, count)?);
        call.room("scores", scores, cap, len)?;
        let model = session.model();
        let head = model.head().ok_or_else(|| Error::NoHead { file: model.gguf().name().to_owned() })?;
        let needed = head.labels().len();
        if scores.is_null() || cap < needed {
            return call.space(needed, "scores", scores, cap, len).map(drop);
        }
        call.fill(&session.classify(tokens)?, "scores", scores, cap, len)
    })
}

/// The name of a class of the model's classification head: stores a pointer to its `len` bytes of UTF-8, not NUL-terminated,
/// borrowed from the model. `index` is that of its score; without names of its own, a head's classes are "LABEL_0",
/// "LABEL_1" and so on. PUMICE_ERR_NOT_FOUND beyond the last, and if there is no head.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_label(
    model: *const pumice_model,
    index: usize,
    text: *mut *const c_char,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (model, text) = (call.shared::<Shared>(model)?, call.out("text", text)?);
        let (len, count) = (call.out("len", len)?, model.labels().len());
        let no_such = || fail(PUMICE_ERR_NOT_FOUND, format!("there is no class number {index}: there are {count}"));
        let label = model.label(index).ok_or_else(no_such)?;
        text.set(label.as_ptr().cast());
        len.set(label.len());
        Ok(())
    })
}
