//! What models are good for besides text.

use pumice::score;

use crate::abi::*;
use crate::call::guard;
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
