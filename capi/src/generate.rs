//! The generation loop.

use std::ffi::c_void;
use std::ops::ControlFlow;

use pumice::generate::Progress as News;
use pumice::{Error, Finish, generate};

use crate::abi::*;
use crate::call::guard;
use crate::keys::flow;
use crate::sampler::ForModel;
use crate::session::Owned;

/// Feeds `count` tokens (1 or more) of a prompt to sequence 0 of a session, then chooses tokens with the sampler and
/// feeds them in turn, until the text ends. The sampler is told of the prompt's tokens too. New text goes to `fn` as soon
/// as it is complete (NULL: nowhere). Reads PUMICE_KEY_GENERATE_* and the progress callback of `opts` (NULL: the
/// defaults). Stores why the text ended in `finish`: PUMICE_FINISH_* (NULL: nowhere).
///
/// Afterwards sequence 0 holds the prompt and all generated tokens but the last one. If the prompt fails or is
/// cancelled, the sequence is as it was; later, what has been fed stays. Statuses as for pumice_session_decode and
/// pumice_sampler_sample; PUMICE_ERR_CANCELLED also if a callback stops; PUMICE_ERR_NOT_FOUND if the model has no
/// vocabulary. Callbacks must not use the session (but for pumice_session_cancel), the sampler or the options: that
/// returns PUMICE_ERR_BUSY; if they free one of them, that takes effect when this call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_generate(
    session: *mut pumice_session,
    sampler: *mut pumice_sampler,
    prompt: *const pumice_token,
    count: usize,
    opts: *const pumice_options,
    r#fn: pumice_text_fn,
    user_data: *mut c_void,
    finish: *mut i32,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, sampler) = (call.exclusive::<Owned>(session)?, call.exclusive::<ForModel>(sampler)?);
        let (prompt, options) = (call.tokens("prompt", prompt, count)?, call.options(opts)?);
        let finish = if finish.is_null() { None } else { Some(call.out("finish", finish)?) };
        sampler.check_session(session)?;
        let mut reader = Reader { function: r#fn, user_data, tokens: Vec::new() };
        let done = generate(session, &mut sampler.sampler, prompt, &options.generate, |news| match news {
            News::Prompt { done, total } => options.progress.tell(done as u64, total as u64),
            News::Token(token) => {
                reader.tokens.push(token.cast_signed());
                ControlFlow::Continue(())
            }
            News::Text(text) => reader.tell(text),
            _ => ControlFlow::Continue(()),
        })?;
        if !reader.tokens.is_empty() && reader.tell("").is_break() {
            return Err(Error::Cancelled.into());
        }
        if let Some(finish) = finish {
            finish.set(code(done.finish));
        }
        Ok(())
    })
}

fn code(finish: Finish) -> i32 {
    match finish {
        Finish::End => PUMICE_FINISH_END,
        Finish::Stop => PUMICE_FINISH_STOP,
        _ => PUMICE_FINISH_LENGTH,
    }
}

/// Whom the text goes to.
struct Reader {
    function: pumice_text_fn,
    user_data: *mut c_void,
    /// Chosen since the last text.
    tokens: Vec<pumice_token>,
}

impl Reader {
    fn tell(&mut self, text: &str) -> ControlFlow<()> {
        let Some(function) = self.function else { return ControlFlow::Continue(()) };
        let tokens = std::mem::take(&mut self.tokens);
        // SAFETY: the caller's own function and data; text and tokens live until it returns.
        let answer =
            unsafe { function(self.user_data, text.as_ptr().cast(), text.len(), tokens.as_ptr(), tokens.len()) };
        flow(answer)
    }
}
