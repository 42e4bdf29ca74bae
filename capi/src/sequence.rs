//! Sequences of a session: what they hold, cutting and sharing them.

use pumice::Token;

use crate::abi::*;
use crate::call::{from_zero, guard};
use crate::session::Owned;

/// The tokens that sequence `seq` has been fed; none for a sequence that does not exist. Stores their number in `count`,
/// and the tokens in `out` if it has room for them (`cap` tokens); NULL and 0 just ask for the number.
/// PUMICE_ERR_BUFFER_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_seq_tokens(
    session: *mut pumice_session,
    seq: pumice_seq,
    out: *mut pumice_token,
    cap: usize,
    count: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, from_zero("seq", seq)?);
        let tokens: Vec<pumice_token> = session.tokens(seq).iter().copied().map(Token::cast_signed).collect();
        call.fill(&tokens, "out", out, cap, count)
    })
}

/// Forgets all but the first `keep` tokens of sequence `seq`, if it has more. What the other tokens led to is as if
/// they had never been fed; outputs stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_seq_truncate(
    session: *mut pumice_session,
    seq: pumice_seq,
    keep: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (session, seq) = (call.exclusive::<Owned>(session)?, from_zero("seq", seq)?);
        session.truncate(seq, keep);
        Ok(())
    })
}

/// Makes sequence `to` one of the first `prefix` tokens of sequence `from`; what `to` held is forgotten. The two share the
/// keys and values of these tokens: nothing is copied and no memory is taken, until one of them is fed more. It then gets
/// a copy of its own of the last page of them, unless that is full. Both may be fed, truncated, forked again and forgotten
/// in any order. With `from` equal to `to` the sequence is truncated. Outputs stay.
/// PUMICE_ERR_INVALID if `from` has fewer than `prefix` tokens and for negative sequences; PUMICE_ERR_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_session_seq_fork(
    session: *mut pumice_session,
    from: pumice_seq,
    to: pumice_seq,
    prefix: usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let session = call.exclusive::<Owned>(session)?;
        Ok(session.fork(from_zero("from", from)?, from_zero("to", to)?, prefix)?)
    })
}
