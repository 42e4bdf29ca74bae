//! Errors: the text behind a status.

use std::ffi::c_char;
use std::fmt::{self, Write};

use crate::abi::*;
use crate::call::{Fail, guard_free, guard_value};
use crate::handle::{self, Body, Head, head};

/// Room for a message and its NUL; what does not fit is cut off.
const ROOM: usize = 1024;

/// A status and a text, whose memory is there from the start.
pub struct Report {
    status: pumice_status,
    len: usize,
    /// NUL-terminated after `len` bytes.
    text: [u8; ROOM],
}

impl Body for Report {
    type Opaque = pumice_error;
    const KIND: u32 = u32::from_ne_bytes(*b"pErr");
    const NAME: &'static str = "error";
}

/// One line, whatever is written to it.
impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let c = if c.is_control() { ' ' } else { c };
            let Some(room) = self.text[..ROOM - 1].get_mut(self.len..self.len + c.len_utf8()) else {
                return Err(fmt::Error);
            };
            c.encode_utf8(room);
            self.len += c.len_utf8();
        }
        Ok(())
    }
}

/// Changes what is behind an error, if there is one. The error is only in use for this moment, so that callbacks may
/// use the one of the call around them.
///
/// # Safety
/// As for [`head`].
unsafe fn change(err: *mut pumice_error, change: impl FnOnce(&mut Report)) -> Result<(), Fail> {
    if err.is_null() {
        return Ok(());
    }
    // SAFETY: the contract.
    let head = unsafe { head::<Report>(err) }?;
    head.enter(true, Report::NAME)?;
    let _leave = Leave(head);
    // SAFETY: entered as the only user, until `_leave` is dropped.
    change(unsafe { head.body().as_mut() });
    Ok(())
}

/// Leaves a head that was entered as the only user.
struct Leave<'a>(&'a Head);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        // SAFETY: entered, and what was borrowed is gone.
        unsafe { self.0.leave(true, false) };
    }
}

/// A call begins.
///
/// # Safety
/// As for [`head`].
pub unsafe fn reset(err: *mut pumice_error) -> Result<(), Fail> {
    let clear = |report: &mut Report| (report.status, report.len, report.text[0]) = (PUMICE_OK, 0, 0);
    // SAFETY: the contract.
    unsafe { change(err, clear) }
}

/// A call has failed.
///
/// # Safety
/// As for [`head`].
pub unsafe fn set(err: *mut pumice_error, fail: &Fail) -> Result<(), Fail> {
    let write = |report: &mut Report| {
        (report.status, report.len) = (fail.status, 0);
        let _cut_off = write!(report, "{fail}");
        report.text[report.len] = 0;
    };
    // SAFETY: the contract.
    unsafe { change(err, write) }
}

/// Makes an error for the last parameter of other functions: each call that is given one resets it, and a call that
/// fails leaves its status and a message there. Make one for each thread, or each binding, and use it again and again.
/// All functions also take NULL, for no details. Returns NULL if there is no memory. The caller frees it with
/// pumice_error_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_error_new() -> *mut pumice_error {
    guard_value!(std::ptr::null_mut(), |_call| {
        Ok(handle::new(Report { status: PUMICE_OK, len: 0, text: [0; ROOM] }, None))
    })
}

/// The status of the last call that was given this error. PUMICE_ERR_NULL or PUMICE_ERR_BAD_HANDLE if it is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_error_status(err: *const pumice_error) -> pumice_status {
    guard_value!(PUMICE_ERR_INTERNAL, |call| {
        Ok(call.shared::<Report>(err).map_or_else(|fail| fail.status, |report| report.status))
    })
}

/// What went wrong in the last call that was given this error: one line of English in UTF-8, NUL-terminated, for
/// people; the text may change between versions. Empty after a success. Never NULL. Borrowed from the error: valid
/// until the error is used again or freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_error_message(err: *const pumice_error) -> *const c_char {
    guard_value!(c"".as_ptr(), |call| call.shared::<Report>(err).map(|report| report.text.as_ptr().cast()))
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_error_free(err: *mut pumice_error) {
    guard_free!(Report, err)
}
