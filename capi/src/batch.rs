//! Batches: runs of tokens of several sequences.

use pumice::{Batch, Outputs};

use crate::abi::*;
use crate::call::{fail, from_zero, guard, guard_free, guard_new};
use crate::handle::Body;

impl Body for Batch {
    type Opaque = pumice_batch;
    const KIND: u32 = u32::from_ne_bytes(*b"pBat");
    const NAME: &'static str = "batch";
}

/// Makes an empty batch, for pumice_session_decode_batch. The caller frees it with pumice_batch_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_batch_new(out: *mut *mut pumice_batch, err: *mut pumice_error) -> pumice_status {
    guard_new!(out, err, |_call| Ok((Batch::new(), None)))
}

/// Adds a run: `count` tokens, copied, that extend sequence `seq`. A sequence may have several runs, which follow each
/// other. `outputs` says which of the tokens get an output: PUMICE_OUTPUTS_NONE, PUMICE_OUTPUTS_LAST or
/// PUMICE_OUTPUTS_ALL. PUMICE_ERR_INVALID for other values, for a negative sequence and for negative tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_batch_add(
    batch: *mut pumice_batch,
    seq: pumice_seq,
    tokens: *const pumice_token,
    count: usize,
    outputs: i32,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let (batch, tokens) = (call.exclusive::<Batch>(batch)?, call.tokens("tokens", tokens, count)?);
        let seq = from_zero("seq", seq)?;
        let outputs = match outputs {
            PUMICE_OUTPUTS_NONE => Outputs::None,
            PUMICE_OUTPUTS_LAST => Outputs::Last,
            PUMICE_OUTPUTS_ALL => Outputs::All,
            _ => {
                let text = format!("outputs is {outputs}, expected one of PUMICE_OUTPUTS_*");
                return Err(fail(PUMICE_ERR_INVALID, text));
            }
        };
        Ok(batch.try_add(seq, tokens, outputs)?)
    })
}

/// Takes all runs out of a batch, to fill it anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_batch_clear(batch: *mut pumice_batch, err: *mut pumice_error) -> pumice_status {
    guard!(err, |call| {
        call.exclusive::<Batch>(batch)?.clear();
        Ok(())
    })
}

/// Frees a batch. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_batch_free(batch: *mut pumice_batch) {
    guard_free!(Batch, batch)
}
