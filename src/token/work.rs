//! Counts the steps of encoding and decoding, for the test that they grow as the text does. (Time differs from machine to
//! machine.)

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

/// So many steps are done: characters looked at, bytes hashed, pairs weighed.
#[inline(always)]
pub(super) fn add(_steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + _steps);
}

/// The steps that something takes on this thread.
#[cfg(test)]
pub(super) fn steps(run: impl FnOnce()) -> usize {
    let before = STEPS.get();
    run();
    STEPS.get() - before
}
