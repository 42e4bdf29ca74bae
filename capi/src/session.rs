//! Sessions: feeding tokens, reading logits.

use std::ffi::c_char;
use std::ops::{Deref, DerefMut};

use pumice::sample::top_logprobs;
use pumice::{Batch, Session};

use crate::abi::*;
use crate::call::{Fail, fail, guard, guard_free, guard_new, guard_value, int};
use crate::handle::Body;
use crate::keys::Vectors;
use crate::model::Shared;

/// A session, how it makes vectors of texts, and the process that its threads are in.
pub struct Owned {
    session: Session,
    pub vectors: Vectors,
    process: u32,
}

impl Deref for Owned {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Body for Owned {
    type Opaque = pumice_session;
    const KIND: u32 = u32::from_ne_bytes(*b"pSes");
    const NAME: &'static str = "session";

    fn check(&self) -> Result<(), Fail> {
        match self.must_leak() {
            false => Ok(()),
            true => {
                Err(fail(PUMICE_ERR_POISONED, "this session's threads did not survive a fork: it can only be freed"))
            }
        }
    }

    /// After a fork its threads do not exist here, and must not be waited for.
    fn must_leak(&self) -> bool {
        self.process != std::process::id()
    }
}

/// Makes a session without any sequence. Reads PUMICE_KEY_SESSION_* of `opts` (NULL: the defaults). The caller frees it
/// with pumice_session_free; it keeps the model alive by itself. After a fork, the sessions of the parent process return
/// PUMICE_ERR_POISONED in the child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_new(
    model: *const pumice_model,
    opts: *const pumice_options,
    out: *mut *mut pumice_session,
    err: *mut pumice_error,
) -> pumice_status {
    guard_new!(out, err, |call| {
        let (model, options) = (call.shared::<Shared>(model)?, call.options(opts)?);
        let session = Session::new(model, &options.session)?;
        let canceller = session.canceller();
        Ok((Owned { session, vectors: options.vectors, process: std::process::id() }, Some(canceller)))
    })
}

/// Changes how a session runs from the next call on, by those of PUMICE_KEY_SESSION_* that have been set in `opts` (and
/// not unset again): "session.threads", "session.chunk", "session.kernels", "session.memory_limit", "session.pooling" and
/// "session.normalize". The others may be set, but only to what they are. PUMICE_ERR_INVALID otherwise; nothing has changed
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_configure(
    session: *mut pumice_session,
    opts: *const pumice_options,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, options) = (call.exclusive::<Owned>(session)?, call.options(opts)?);
        let changed = options.change(session.options(), session.vectors);
        let (changed, vectors) = changed.map_err(|text| fail(PUMICE_ERR_INVALID, text))?;
        session.configure(&changed)?;
        session.vectors = vectors;
        Ok(())
    })
}

/// Forgets all sequences and outputs, and frees their memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_reset(session: *mut pumice_session, err: *mut pumice_error) -> pumice_status {
    guard!(err, |call| {
        call.exclusive::<Owned>(session)?.reset();
        Ok(())
    })
}

/// Makes the call that the session is in return PUMICE_ERR_CANCELLED soon; does nothing if it is in none. May be called
/// from any thread and from a signal handler, as long as the session is not freed at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_cancel(session: *mut pumice_session) {
    guard_value!((), |call| {
        call.head::<Owned>(session)?.cancel();
        Ok(())
    })
}

/// Frees a session. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_free(session: *mut pumice_session) {
    guard_free!(Owned, session)
}

/// Feeds `count` tokens (1 or more) to sequence 0; afterwards output 0 belongs to the last of them. A call that fails
/// or is cancelled leaves the sequence as it was, without outputs. PUMICE_ERR_INVALID for a token that the model does
/// not have, PUMICE_ERR_CONTEXT_FULL, PUMICE_ERR_NO_MEMORY (if it is because of "session.memory_limit", the outputs stay
/// too), PUMICE_ERR_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_decode(
    session: *mut pumice_session,
    tokens: *const pumice_token,
    count: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, tokens) = (call.exclusive::<Owned>(session)?, call.tokens("tokens", tokens, count)?);
        Ok(session.decode(tokens)?)
    })
}

/// Feeds all runs of a batch to their sequences at once; afterwards the outputs that they ask for can be read, in the
/// order of the batch. A call that fails or is cancelled leaves all sequences as they were, without outputs. Statuses
/// as for pumice_session_decode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_decode_batch(
    session: *mut pumice_session,
    batch: *const pumice_batch,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, batch) = (call.exclusive::<Owned>(session)?, call.shared::<Batch>(batch)?);
        Ok(session.decode_batch(batch)?)
    })
}

/// How many outputs the last call that fed tokens has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_output_count(
    session: *mut pumice_session,
    out: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, out) = (call.exclusive::<Owned>(session)?, call.out("out", out)?);
        out.set(session.outputs());
        Ok(())
    })
}

/// The logits of output number `index`: stores a pointer to `count` floats, one for each token of the vocabulary,
/// borrowed from the session: valid until tokens are fed to it again, or it is reset or freed. PUMICE_ERR_NOT_FOUND if
/// there is no such output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_logits(
    session: *mut pumice_session,
    index: usize,
    out: *mut *const f32,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        let (out, count) = (call.out("out", out)?, call.out("count", count)?);
        let logits = session.output(index)?;
        out.set(logits.as_ptr());
        count.set(logits.len());
        Ok(())
    })
}

/// The final hidden state of output number `index`, after the model's last norm and before the output matrix, if the
/// session was made with "session.embeddings": stores a pointer to `count` floats ("n_embd" of them), borrowed from the
/// session: valid until tokens are fed to it again, or it is reset or freed. PUMICE_ERR_INVALID if the option was not
/// set, PUMICE_ERR_NOT_FOUND if there is no such output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_embedding(
    session: *mut pumice_session,
    index: usize,
    out: *mut *const f32,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        let (out, count) = (call.out("out", out)?, call.out("count", count)?);
        if !session.options().embeddings {
            return Err(fail(PUMICE_ERR_INVALID, "the session was made without session.embeddings"));
        }
        let embedding = session.embedding(index).ok_or_else(|| session.no_output(index))?;
        out.set(embedding.as_ptr());
        count.set(embedding.len());
        Ok(())
    })
}

/// The most likely tokens of output number `index`: stores the lesser of `cap` and "n_vocab" of them in `tokens`, the most
/// likely first, the lower token first among equals, and the natural logarithms of their probabilities (the log-softmax
/// over all logits; negative infinity for a token that cannot be) in `logprobs`; and how many they are in `count`.
/// Both buffers have room for `cap`. PUMICE_ERR_NOT_FOUND if there is no such output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_top_logprobs(
    session: *mut pumice_session,
    index: usize,
    tokens: *mut pumice_token,
    logprobs: *mut f32,
    cap: usize,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        let tokens = call.buffer("tokens", tokens, cap)?;
        let (logprobs, count) = (call.buffer("logprobs", logprobs, cap)?, call.out("count", count)?);
        let top = top_logprobs(session.output(index)?, cap)?;
        tokens.write(top.iter().map(|(token, _)| token.cast_signed()));
        logprobs.write(top.iter().map(|(_, logprob)| *logprob));
        count.set(top.len());
        Ok(())
    })
}

impl Owned {
    /// The logits of an output that must be there.
    pub fn output(&self, index: usize) -> Result<&[f32], Fail> {
        self.logits(index).ok_or_else(|| self.no_output(index))
    }

    fn no_output(&self, index: usize) -> Fail {
        let text = format!("there is no output number {index}: there are {}", self.outputs());
        fail(PUMICE_ERR_NOT_FOUND, text)
    }
}

/// A number that describes the session:
///
/// - "n_ctx": positions that a sequence may have; "threads"; "chunk": tokens of a prompt that go through the model
///   together
/// - "memory.kv": bytes that the keys and values of all sequences take now, what they share counted once
/// - "memory.scratch": bytes that a step's buffers and the outputs take now; they are kept from one call to the next
/// - "memory.limit": what "session.memory_limit" says
/// - "perf.prompt_tokens", "perf.prompt_ns": tokens, and nanoseconds, of the steps in which some sequence had more than
///   one token, since the session was made or pumice_session_perf_reset was called
/// - "perf.decode_tokens", "perf.decode_ns": the same of the steps with one token of each sequence
///
/// Steps count when they are complete, also those of a call that fails later. PUMICE_ERR_NOT_FOUND for other names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_get_int(
    session: *mut pumice_session,
    name: *const c_char,
    out: *mut i64,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        let (name, out) = (call.name("name", name)?, call.out("out", out)?);
        let perf = session.counters();
        out.set(match name {
            "n_ctx" => int(session.n_ctx()),
            "threads" => int(session.threads()),
            "chunk" => int(session.chunk()),
            "memory.kv" => int(session.kv_bytes()),
            "memory.scratch" => int(session.scratch_bytes()),
            "memory.limit" => int(session.options().memory_limit),
            "perf.prompt_tokens" => int(perf.prompt_tokens),
            "perf.prompt_ns" => int(perf.prompt_time.as_nanos()),
            "perf.decode_tokens" => int(perf.decode_tokens),
            "perf.decode_ns" => int(perf.decode_time.as_nanos()),
            _ => return Err(fail(PUMICE_ERR_NOT_FOUND, format!("sessions have no `{name}`"))),
        });
        Ok(())
    })
}

/// Sets the "perf." counters of pumice_session_get_int to 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_perf_reset(
    session: *mut pumice_session,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        call.exclusive::<Owned>(session)?.reset_counters();
        Ok(())
    })
}
