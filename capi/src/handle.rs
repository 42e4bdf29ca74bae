//! What a handle points to: a small head that says what it is and who uses it, and outlives its body for a while.
//!
//! A freed handle's body is dropped at once; its head goes into a bounded quarantine, so that a stale handle is
//! recognised instead of followed, for as long as the last [`QUARANTINE`] frees reach back. That is best effort: using
//! a freed handle stays the caller's mistake.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pumice::Canceller;

use crate::abi::*;
use crate::call::{Fail, fail};

/// What can be behind a handle.
pub trait Body: Sized {
    /// The marker type in the header.
    type Opaque;
    /// The first word of the head.
    const KIND: u32;
    /// For messages: "model", "session".
    const NAME: &'static str;

    /// Whether the body can be used in this process.
    fn check(&self) -> Result<(), Fail> {
        Ok(())
    }

    /// Whether dropping the body does harm here, so that it must be leaked.
    fn must_leak(&self) -> bool {
        false
    }
}

/// What a handle points to.
#[repr(C)]
pub struct Head {
    kind: u32,
    /// Users in the low half, flags in the high one.
    state: AtomicU32,
    /// Handles that the caller has: more than one only for models.
    references: AtomicUsize,
    /// A `Box<T>` of the kind's type; only touched by users, and by whoever sets [`DEAD`].
    body: NonNull<()>,
    /// Drops the body.
    drop_body: unsafe fn(NonNull<()>),
    /// Here and not in the body, so that it can be reached at any time, by any thread.
    canceller: Option<Canceller>,
}

// SAFETY: `body` is the only field that other threads may not touch at will; `state` keeps them apart. Bodies may move
// between threads: `Call::shared` and `Call::exclusive` hand them out to whichever thread made the call.
unsafe impl Send for Head {}

/// In place of a number of users: one who may change the body.
const EXCLUSIVE: u32 = 0xffff;
/// The caller has freed it; whoever is the last user drops the body.
const FREED: u32 = 1 << 16;
/// An internal error happened while it was being changed.
const POISONED: u32 = 1 << 17;
/// The body is gone.
const DEAD: u32 = 1 << 18;

/// Freed heads that are remembered.
const QUARANTINE: usize = 1024;
/// How often their lock is asked for.
const TRIES: usize = 1000;
static FREED_HEADS: Mutex<VecDeque<Freed>> = Mutex::new(VecDeque::new());

/// A dead head. Not a `Box` yet: stale handles still point to it.
struct Freed(NonNull<Head>);

// SAFETY: the pointer is only followed to free the head.
unsafe impl Send for Freed {}

/// Makes a handle, which its `free` function takes back.
pub fn new<T: Body>(body: T, canceller: Option<Canceller>) -> *mut T::Opaque {
    unsafe fn drop_body<T: Body>(body: NonNull<()>) {
        // SAFETY: `new` made it of a `Box<T>`, and it is dropped once.
        let body = unsafe { Box::from_raw(body.cast::<T>().as_ptr()) };
        if body.must_leak() {
            std::mem::forget(body);
        }
    }
    Box::into_raw(Box::new(Head {
        kind: T::KIND,
        state: AtomicU32::new(0),
        references: AtomicUsize::new(1),
        body: NonNull::from(Box::leak(Box::new(body))).cast(),
        drop_body: drop_body::<T>,
        canceller,
    }))
    .cast()
}

/// The head of a handle from C.
///
/// # Safety
/// The handle is NULL, came from [`new`], or at least points to four readable bytes.
pub unsafe fn head<'a, T: Body>(handle: *const T::Opaque) -> Result<&'a Head, Fail> {
    let head = handle.cast::<Head>();
    if head.is_null() {
        return Err(Fail::null(T::NAME));
    }
    // SAFETY: readable by contract, and aligned; not yet a reference, since it may be no head at all.
    if !head.is_aligned() || unsafe { (&raw const (*head).kind).read() } != T::KIND {
        return Err(fail(PUMICE_ERR_BAD_HANDLE, format!("this is not the handle of a {}", T::NAME)));
    }
    // SAFETY: it begins as only heads do.
    let head = unsafe { &*head };
    match head.state.load(Ordering::Acquire) & (DEAD | FREED) {
        0 => Ok(head),
        _ => Err(fail(PUMICE_ERR_BAD_HANDLE, format!("this {} has been freed", T::NAME))),
    }
}

impl Head {
    /// Becomes a user of the body, or its only one.
    pub fn enter(&self, exclusive: bool, name: &str) -> Result<(), Fail> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & (DEAD | FREED) != 0 {
                return Err(fail(PUMICE_ERR_BAD_HANDLE, format!("this {name} has been freed")));
            }
            if state & POISONED != 0 {
                let text = format!("an internal error left this {name} unusable: it can only be freed");
                return Err(fail(PUMICE_ERR_POISONED, text));
            }
            let next = match (state & 0xffff, exclusive) {
                (0, true) => state | EXCLUSIVE,
                (users, false) if users < EXCLUSIVE - 1 => state + 1,
                _ => return Err(fail(PUMICE_ERR_BUSY, format!("another call is using this {name}"))),
            };
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }

    /// Ends what [`Head::enter`] began, and drops the body if it was freed meanwhile.
    ///
    /// # Safety
    /// The caller entered with the same `exclusive`, and no longer uses the body or the head.
    pub unsafe fn leave(&self, exclusive: bool, poison: bool) {
        if poison {
            self.state.fetch_or(POISONED, Ordering::Relaxed);
        }
        let users = if exclusive { EXCLUSIVE } else { 1 };
        self.state.fetch_sub(users, Ordering::Release);
        self.bury();
    }

    /// One handle more.
    pub fn add_reference(&self) {
        self.references.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less; with the last one the body is dropped, at once or by its last user.
    pub fn free(&self) {
        let one_less = |n: usize| n.checked_sub(1);
        if self.references.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less) == Ok(1) {
            self.state.fetch_or(FREED, Ordering::AcqRel);
            self.bury();
        }
    }

    /// Stops the call in progress; does nothing that a signal handler may not do.
    pub fn cancel(&self) {
        if let Some(canceller) = &self.canceller {
            canceller.cancel();
        }
    }

    /// The body.
    ///
    /// # Safety
    /// The kind is that of `T`, and the caller has entered.
    pub unsafe fn body<T: Body>(&self) -> NonNull<T> {
        self.body.cast()
    }

    /// Drops the body if it was freed and has no users, and puts the head aside.
    fn bury(&self) {
        let mut state = self.state.load(Ordering::Acquire);
        while state & FREED != 0 && state & (DEAD | 0xffff) == 0 {
            match self.state.compare_exchange_weak(state, state | DEAD, Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => state = now,
                Ok(_) => {
                    // SAFETY: only one thread gets to set DEAD, and there are no users any more.
                    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { (self.drop_body)(self.body) }));
                    std::mem::forget(dropped); // a panic's payload may panic in turn
                    quarantine(Freed(NonNull::from(self)));
                    return;
                }
            }
        }
    }
}

/// Keeps a dead head for a while.
fn quarantine(head: Freed) {
    // Gives others the time for their push, but does not wait for ever: after a fork the lock may belong to a thread that
    // does not exist here. Then the head is leaked.
    let lock = |_| FREED_HEADS.try_lock().inspect_err(|_| std::thread::yield_now()).ok();
    let Some(mut heads) = (0..TRIES).find_map(lock) else { return };
    let oldest = if heads.len() == QUARANTINE { heads.pop_front() } else { None };
    heads.push_back(head);
    drop(heads);
    if let Some(Freed(head)) = oldest {
        // SAFETY: `new` made it of a Box, and this is its end.
        drop(unsafe { Box::from_raw(head.as_ptr()) });
    }
}
