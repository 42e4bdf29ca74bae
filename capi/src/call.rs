//! The guard around every exported function, and what its body checks and converts arguments with.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use pumice::{Canceller, Error, Token};

use crate::abi::*;
use crate::error;
use crate::handle::{self, Body, Head};

/// Why a call failed.
pub struct Fail {
    pub status: pumice_status,
    text: Text,
}

/// Nothing is formatted before it is written into the error's own memory: there may be no other.
enum Text {
    Own(Cow<'static, str>),
    Null(&'static str),
    Core(Error),
}

/// A failure with this text.
pub fn fail(status: pumice_status, text: impl Into<Cow<'static, str>>) -> Fail {
    Fail { status, text: Text::Own(text.into()) }
}

impl Fail {
    /// The argument is NULL.
    pub fn null(name: &'static str) -> Self {
        Self { status: PUMICE_ERR_NULL, text: Text::Null(name) }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self { status: status(error.kind()), text: Text::Core(error) }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Text::Own(text) => f.write_str(text),
            Text::Null(name) => write!(f, "{name} is NULL"),
            Text::Core(error) => error.fmt(f),
        }
    }
}

/// The body of an exported function that returns a status: `guard!(err, |call| ...)`.
macro_rules! guard {
    ($err:expr, |$call:ident| $body:expr) => {{
        let body = move |$call: &$crate::call::Call| -> Result<(), $crate::call::Fail> { $body };
        // SAFETY: this is all of an exported function, whose caller keeps to the header: pointers are NULL or good for
        // what they are declared as, and handles came from this library.
        unsafe { $crate::call::run($err, body) }
    }};
}

/// The same for a function that makes a handle: the body gives what is behind it.
macro_rules! guard_new {
    ($out:expr, $err:expr, |$call:ident| $body:expr) => {{
        let body = move |$call: &$crate::call::Call| -> Result<_, $crate::call::Fail> { $body };
        // SAFETY: as in `guard!`.
        unsafe { $crate::call::create($out, $err, body) }
    }};
}

/// The same for a function that returns a value, and `$otherwise` if it fails.
macro_rules! guard_value {
    ($otherwise:expr, |$call:ident| $body:expr) => {{
        let body = move |$call: &$crate::call::Call| -> Result<_, $crate::call::Fail> { $body };
        // SAFETY: as in `guard!`.
        unsafe { $crate::call::value($otherwise, body) }
    }};
}

/// The same for a function that frees a handle.
macro_rules! guard_free {
    ($body:ty, $handle:expr) => {
        // SAFETY: as in `guard!`.
        unsafe { $crate::call::free::<$body>($handle) }
    };
}

pub(crate) use {guard, guard_free, guard_new, guard_value};

/// # Safety
/// The pointers that `body` gives to [`Call`]'s methods, and `err`, are NULL or what the header says.
pub unsafe fn run(err: *mut pumice_error, body: impl FnOnce(&Call) -> Result<(), Fail>) -> pumice_status {
    silence();
    // SAFETY: the contract.
    if let Err(bad) = unsafe { error::reset(err) } {
        return bad.status;
    }
    let result = protect(body);
    let status = result.as_ref().err().map_or(PUMICE_OK, |fail| fail.status);
    // Once more, since callbacks may have used the same error. Texts are written and freed under guard too.
    let told = catch_unwind(AssertUnwindSafe(move || {
        // SAFETY: the contract. If a callback freed the error or another thread uses it, nobody is there to be told.
        let _nobody = unsafe {
            match result {
                Ok(()) => error::reset(err),
                Err(fail) => error::set(err, &fail),
            }
        };
    }));
    std::mem::forget(told);
    status
}

/// # Safety
/// As for [`run`]; `out` is NULL or a place for a handle.
pub unsafe fn create<T: Body>(
    out: *mut *mut T::Opaque,
    err: *mut pumice_error,
    body: impl FnOnce(&Call) -> Result<(T, Option<Canceller>), Fail>,
) -> pumice_status {
    let good = !out.is_null() && out.is_aligned();
    if good {
        // SAFETY: the contract.
        unsafe { out.write(std::ptr::null_mut()) };
    }
    let body = move |call: &Call| {
        let out = call.out("out", out)?;
        let (body, canceller) = body(call)?;
        out.set(handle::new(body, canceller));
        Ok(())
    };
    // SAFETY: the contract.
    unsafe { run(err, body) }
}

/// # Safety
/// As for [`run`].
pub unsafe fn value<T>(otherwise: T, body: impl FnOnce(&Call) -> Result<T, Fail>) -> T {
    silence();
    protect(body).unwrap_or(otherwise)
}

/// # Safety
/// As for [`handle::head`].
pub unsafe fn free<T: Body>(handle: *const T::Opaque) {
    silence();
    // Nothing to do for what is NULL, freed or foreign.
    // SAFETY: the contract.
    if let Ok(head) = unsafe { handle::head::<T>(handle) } {
        head.free();
    }
}

/// Runs the body, and leaves all handles that it entered.
fn protect<T>(body: impl FnOnce(&Call) -> Result<T, Fail>) -> Result<T, Fail> {
    let call = Call::default();
    let result = catch_unwind(AssertUnwindSafe(|| body(&call)))
        .unwrap_or_else(|payload| Err(fail(PUMICE_ERR_INTERNAL, format!("internal error: {}", message(payload)))));
    let poison = result.as_ref().is_err_and(|fail| fail.status == PUMICE_ERR_INTERNAL);
    for entered in call.entered {
        if let Some((head, exclusive)) = entered.take() {
            // SAFETY: entered by this call, whose body is over; what it borrowed could not leave it.
            unsafe { (*head).leave(exclusive, poison && exclusive) };
        }
    }
    result
}

/// A panic's own words.
fn message(payload: Box<dyn Any + Send>) -> Cow<'static, str> {
    match payload.downcast::<&'static str>() {
        Ok(text) => Cow::Borrowed(*text),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => Cow::Owned(*text),
            Err(other) => {
                std::mem::forget(other); // dropping a stranger may panic again
                Cow::Borrowed("a panic without a message")
            }
        },
    }
}

/// Panics must not write to the host's stderr. The hook belongs to this library's own copy of the standard library.
fn silence() {
    static ONCE: Once = Once::new();
    // Unit tests share this copy with their harness, whose messages should be seen.
    #[cfg(test)]
    if std::env::var_os("PUMICE_TEST_SILENCE").is_none() {
        return;
    }
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| ())));
}

/// One call from C: the handles that it uses, and conversions of its arguments.
///
/// Its methods follow raw pointers and are safe all the same, since there is no `Call` without the promise that
/// [`run`] asks for.
#[derive(Default)]
pub struct Call {
    entered: [Cell<Option<(*const Head, bool)>>; 4],
}

impl Call {
    /// What is behind a handle, for reading.
    pub fn shared<T: Body>(&self, handle: *const T::Opaque) -> Result<&T, Fail> {
        let head = self.enter::<T>(handle, false)?;
        // SAFETY: the kind was checked, and this call is a user now, until its body is over.
        let body = unsafe { head.body::<T>().as_ref() };
        body.check().map(|()| body)
    }

    /// What is behind a handle, for changing it.
    #[allow(clippy::mut_from_ref)] // each body is handed out once: a second time is BUSY
    pub fn exclusive<T: Body>(&self, handle: *mut T::Opaque) -> Result<&mut T, Fail> {
        let head = self.enter::<T>(handle, true)?;
        // SAFETY: the kind was checked, and this call is the only user now, until its body is over.
        let body = unsafe { head.body::<T>().as_mut() };
        body.check().map(|()| body)
    }

    fn enter<T: Body>(&self, handle: *const T::Opaque, exclusive: bool) -> Result<&Head, Fail> {
        let free = self.entered.iter().find(|slot| slot.get().is_none());
        let slot = free.ok_or_else(|| fail(PUMICE_ERR_INTERNAL, "a call with more than four handles"))?;
        // SAFETY: the promise behind every `Call`.
        let head = unsafe { handle::head::<T>(handle) }?;
        head.enter(exclusive, T::NAME)?;
        slot.set(Some((head, exclusive)));
        Ok(head)
    }

    /// A handle's head without becoming a user.
    pub fn head<T: Body>(&self, handle: *const T::Opaque) -> Result<&Head, Fail> {
        // SAFETY: the promise behind every `Call`.
        unsafe { handle::head::<T>(handle) }
    }

    /// A place for a result.
    pub fn out<T>(&self, name: &'static str, place: *mut T) -> Result<Out<T>, Fail> {
        if place.is_null() {
            return Err(Fail::null(name));
        }
        aligned(name, place)?;
        Ok(Out(place))
    }

    /// `len` values. NULL is good for none.
    pub fn slice<T: Copy>(&self, name: &'static str, data: *const T, len: usize) -> Result<&[T], Fail> {
        if len == 0 {
            return Ok(&[]);
        }
        if data.is_null() {
            return Err(Fail::null(name));
        }
        aligned(name, data)?;
        in_memory::<T>(name, len)?;
        // SAFETY: the promise behind every `Call`; the size fits into memory.
        Ok(unsafe { std::slice::from_raw_parts(data, len) })
    }

    /// Tokens, none of them negative.
    pub fn tokens(&self, name: &'static str, data: *const pumice_token, len: usize) -> Result<&[Token], Fail> {
        let tokens = self.slice(name, data, len)?;
        if let Some(bad) = tokens.iter().find(|token| **token < 0) {
            return Err(fail(PUMICE_ERR_INVALID, format!("{name} has {bad}, expected tokens from 0 on")));
        }
        // SAFETY: the same bits, none negative.
        Ok(unsafe { std::slice::from_raw_parts(tokens.as_ptr().cast(), tokens.len()) })
    }

    /// `len` bytes of UTF-8.
    pub fn text(&self, name: &'static str, text: *const c_char, len: usize) -> Result<&str, Fail> {
        let bytes: &[u8] = self.slice(name, text.cast(), len)?;
        utf8(name, bytes)
    }

    /// A name or a path: NUL-terminated UTF-8.
    pub fn name(&self, name: &'static str, text: *const c_char) -> Result<&str, Fail> {
        if text.is_null() {
            return Err(Fail::null(name));
        }
        // SAFETY: the promise behind every `Call`.
        utf8(name, unsafe { CStr::from_ptr(text) }.to_bytes())
    }

    /// The caller's buffer for `cap` results. NULL is good for none.
    pub fn buffer<T>(&self, name: &'static str, buffer: *mut T, cap: usize) -> Result<Buffer<T>, Fail> {
        if buffer.is_null() && cap > 0 {
            return Err(Fail::null(name));
        }
        aligned(name, buffer)?;
        Ok(Buffer(buffer, cap))
    }

    /// Copies `data` into the caller's buffer, or tells how much room it needs.
    pub fn fill<T: Copy>(
        &self,
        data: &[T],
        name: &'static str,
        buffer: *mut T,
        cap: usize,
        len: *mut usize,
    ) -> Result<(), Fail> {
        if let Some(mut room) = self.space(data.len(), name, buffer, cap, len)? {
            room.put(data);
        }
        Ok(())
    }

    /// The same for `needed` values that are not there yet: the room for them, or nothing if only their number is asked
    /// for.
    pub fn space<T: Copy>(
        &self,
        needed: usize,
        name: &'static str,
        buffer: *mut T,
        cap: usize,
        len: *mut usize,
    ) -> Result<Option<Room<'_, T>>, Fail> {
        let len = self.out("the place for the size", len)?;
        if buffer.is_null() && cap > 0 {
            return Err(Fail::null(name));
        }
        aligned(name, buffer)?;
        len.set(needed);
        if buffer.is_null() {
            return Ok(None);
        }
        if cap < needed {
            let text = format!("{name} has room for {cap}, {needed} are needed");
            return Err(fail(PUMICE_ERR_BUFFER_TOO_SMALL, text));
        }
        Ok(Some(Room { at: buffer, left: needed, call: PhantomData }))
    }

    /// Checks where [`Self::fill`] and [`Self::fill_text`] write, for calls that have work to do before.
    pub fn room<T>(&self, name: &'static str, buffer: *mut T, cap: usize, len: *mut usize) -> Result<(), Fail> {
        self.out("the place for the size", len)?;
        self.buffer(name, buffer, cap).map(drop)
    }

    /// As [`Self::fill`] for text, with a NUL behind it if there is room.
    pub fn fill_text(&self, text: &[u8], buffer: *mut c_char, cap: usize, len: *mut usize) -> Result<(), Fail> {
        self.fill(text, "buf", buffer.cast(), cap, len)?;
        if !buffer.is_null() && text.len() < cap {
            // SAFETY: within the `cap` bytes of the caller's buffer.
            unsafe { buffer.add(text.len()).write(0) };
        }
        Ok(())
    }
}

/// A place for a result, which stays untouched unless the call succeeds.
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Stores the result.
    pub fn set(self, value: T) {
        // SAFETY: `Call::out` was given a place for a result that is not NULL.
        unsafe { self.0.write(value) };
    }
}

/// A buffer for results, which stays untouched unless the call succeeds.
pub struct Buffer<T>(*mut T, usize);

impl<T> Buffer<T> {
    /// Stores the results, as far as there is room.
    pub fn write(self, values: impl Iterator<Item = T>) {
        for (i, value) in values.take(self.1).enumerate() {
            // SAFETY: `Call::buffer` was given room for as many, and no NULL if that is any.
            unsafe { self.0.add(i).write(value) };
        }
    }
}

/// Room in the caller's buffer.
pub struct Room<'a, T> {
    at: *mut T,
    left: usize,
    call: PhantomData<&'a Call>,
}

impl<T: Copy> Room<'_, T> {
    /// Puts down as many values as there is room for, and gives their number.
    fn put(&mut self, data: &[T]) -> usize {
        let count = data.len().min(self.left);
        // SAFETY: `Call::space` found that the caller's buffer has this room, which is all written once; it cannot overlap
        // what this library has just made or holds privately.
        unsafe {
            self.at.copy_from_nonoverlapping(data.as_ptr(), count);
            self.at = self.at.add(count);
        }
        self.left -= count;
        count
    }
}

impl Write for Room<'_, u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.put(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn aligned<T>(name: &'static str, pointer: *const T) -> Result<(), Fail> {
    match pointer.is_aligned() {
        true => Ok(()),
        false => Err(fail(PUMICE_ERR_INVALID, format!("{name} is not aligned for its type"))),
    }
}

fn in_memory<T>(name: &'static str, len: usize) -> Result<(), Fail> {
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(fail(PUMICE_ERR_INVALID, format!("{name} cannot have {len} elements: no memory is that large"))),
    }
}

fn utf8<'a>(name: &'static str, bytes: &'a [u8]) -> Result<&'a str, Fail> {
    std::str::from_utf8(bytes)
        .map_err(|e| fail(PUMICE_ERR_UTF8, format!("{name} is not UTF-8 at byte {}", e.valid_up_to())))
}

/// A flag argument of which only the `known` bits are.
pub fn flags(value: i32, known: i32) -> Result<i32, Fail> {
    match value & !known {
        0 => Ok(value),
        unknown => Err(fail(PUMICE_ERR_INVALID, format!("flags has unknown bits {unknown:#x}"))),
    }
}

/// A number that must not be negative.
pub fn from_zero(name: &'static str, value: i32) -> Result<usize, Fail> {
    usize::try_from(value).map_err(|_| fail(PUMICE_ERR_INVALID, format!("{name} is {value}, expected 0 or more")))
}

/// A count or size for C.
pub fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use pumice::Batch;

    use super::*;
    use crate::batch::{pumice_batch_clear, pumice_batch_free, pumice_batch_new};
    use crate::error::{pumice_error_free, pumice_error_message, pumice_error_new, pumice_error_status};

    fn changes_and_panics(batch: *mut pumice_batch, other: *const pumice_batch, err: *mut pumice_error) -> i32 {
        guard!(err, |call| {
            let (_changed, _read) = (call.exclusive::<Batch>(batch)?, call.shared::<Batch>(other)?);
            panic!("on {}", "purpose")
        })
    }

    fn makes_nothing(out: *mut *mut pumice_batch, err: *mut pumice_error) -> i32 {
        fn nothing() -> Result<(Batch, Option<Canceller>), Fail> {
            panic!("static text")
        }
        guard_new!(out, err, |_call| nothing())
    }

    fn returns_seven() -> i32 {
        guard_value!(7, |_call| std::panic::panic_any(5))
    }

    /// A call that panics while it may change a batch, and the calls after it.
    #[test]
    fn a_panic_becomes_a_status_and_poisons_what_it_was_changing() {
        // SAFETY: as a C program would.
        unsafe {
            let err = pumice_error_new();
            let (mut batch, mut other) = (std::ptr::null_mut(), std::ptr::null_mut());
            assert_eq!(pumice_batch_new(&mut batch, err), PUMICE_OK);
            assert_eq!(pumice_batch_new(&mut other, err), PUMICE_OK);
            let status = changes_and_panics(batch, other, err);
            assert_eq!((status, pumice_error_status(err)), (PUMICE_ERR_INTERNAL, PUMICE_ERR_INTERNAL));
            let text = CStr::from_ptr(pumice_error_message(err)).to_str().unwrap();
            assert_eq!(text, "internal error: on purpose");
            assert_eq!(pumice_batch_clear(batch, err), PUMICE_ERR_POISONED);
            assert_eq!(pumice_batch_clear(other, err), PUMICE_OK);
            pumice_batch_free(batch);
            assert_eq!(pumice_batch_clear(batch, err), PUMICE_ERR_BAD_HANDLE);
            assert_eq!(returns_seven(), 7);
            let made = makes_nothing(&mut batch, err);
            assert_eq!((made, batch.is_null()), (PUMICE_ERR_INTERNAL, true));
            pumice_batch_free(other);
            pumice_error_free(err);
        }
    }

    #[test]
    fn a_panic_writes_nothing() {
        let test = "call::tests::a_panic_becomes_a_status_and_poisons_what_it_was_changing";
        let run = |silent: bool| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", test, "--nocapture"]).env_remove("PUMICE_TEST_SILENCE");
            if silent {
                command.env("PUMICE_TEST_SILENCE", "1");
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(run(false).contains("on purpose"), "the test sees what is written");
        assert_eq!(run(true), "");
    }
}
