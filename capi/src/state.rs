//! Saved state of sequences.

use std::ffi::{c_char, c_void};

use pumice::Error;

use crate::abi::*;
use crate::call::{Fail, fail, from_zero, guard};
use crate::session::Owned;

/// One sequence, or all.
fn which(seq: pumice_seq) -> Result<Option<usize>, Fail> {
    if seq == PUMICE_SEQ_ALL { Ok(None) } else { from_zero("seq", seq).map(Some) }
}

/// Saves sequence `seq`, or all with PUMICE_SEQ_ALL: tokens, keys and values, for pumice_session_state_load. Stores the
/// number of bytes in `len`, and the state in `buf` if it has room for it (`cap` bytes); NULL and 0 just ask for the
/// number, which takes no time. A sequence that does not exist is saved as one without tokens. What sequences share is
/// saved once. PUMICE_ERR_BUFFER_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_state_save(
    session: *mut pumice_session,
    seq: pumice_seq,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, which(seq)?);
        let size = usize::try_from(session.state_len(seq));
        let size = size.map_err(|_| fail(PUMICE_ERR_NO_MEMORY, "the state is larger than any memory"))?;
        if let Some(room) = call.space(size, "buf", buf.cast::<u8>(), cap, len)? {
            session
                .save_state(seq, room)
                .map_err(|e| Error::Internal { what: format!("a state of {size} bytes: {e}") })?;
        }
        Ok(())
    })
}

/// Loads a state that was saved with the same model, by any session, on any computer, and goes on from there with the
/// same logits to the last bit. With PUMICE_SEQ_ALL the sequences of the state replace all that the session has; a state
/// of one sequence can be loaded into any sequence `seq`, which it replaces. Afterwards there are no outputs: for logits,
/// truncate the sequence by its last token and feed that again.
///
/// PUMICE_ERR_FORMAT if the `len` bytes are no state or a damaged one; PUMICE_ERR_MISMATCH if it is one of another model
/// or of a later version of the library, or has not one sequence where one is asked for; PUMICE_ERR_CONTEXT_FULL if a
/// sequence is too long for the session; PUMICE_ERR_NO_MEMORY. The session is then as it was, outputs too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_state_load(
    session: *mut pumice_session,
    seq: pumice_seq,
    data: *const c_void,
    len: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, which(seq)?);
        Ok(session.load_state(seq, call.slice("data", data.cast::<u8>(), len)?)?)
    })
}

/// Saves to a file as pumice_session_state_save does to a buffer. A file that is there is replaced when the new one is
/// complete and on the disk, and stays as it is if that fails or the process ends before. PUMICE_ERR_IO if the file
/// cannot be written, PUMICE_ERR_UTF8 if `path` is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_state_save_file(
    session: *mut pumice_session,
    seq: pumice_seq,
    path: *const c_char,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, which(seq)?);
        Ok(session.save_state_file(seq, call.name("path", path)?)?)
    })
}

/// Loads from a file as pumice_session_state_load does from a buffer, without holding the whole file in memory. Statuses
/// as there; PUMICE_ERR_IO if the file cannot be read, PUMICE_ERR_UTF8 if `path` is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_state_load_file(
    session: *mut pumice_session,
    seq: pumice_seq,
    path: *const c_char,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, which(seq)?);
        Ok(session.load_state_file(seq, call.name("path", path)?)?)
    })
}
