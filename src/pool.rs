//! Worker threads for one forward step at a time.
//!
//! Inside [`Pool::run`], the calling thread runs ordinary sequential code and hands loops to the [`Team`]; between
//! loops the workers spin for a moment, so that a loop costs about as much as a barrier, then park. Nobody ever yields:
//! beside a process that keeps the core busy, that gives away all of a time slice.
//!
//! Iterations ("pieces") are dealt out as one contiguous range to each thread, so that what a thread prefetches is what it
//! uses next; whoever is done takes pieces of the others. So a slow core does fewer, and a worker that the system has not
//! scheduled yet is not waited for: only one that is in the middle of a piece is. With one thread there is no other, and no
//! atomic operation at all.
#![allow(unsafe_code)] // a loop's body is lent to threads that the borrow checker cannot see

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::{Error, Result};

/// Some threads, one of them the caller's.
pub struct Pool {
    shared: Arc<Shared>,
    /// All but the caller's, to be waited for at the end.
    workers: Vec<JoinHandle<()>>,
}

/// The most threads that a pool takes.
pub const MAX_THREADS: usize = 1024;

/// How many threads to start if so many are asked for, or for 0: no more than the system lets this process use. Others would
/// only be waited for: a loop ends when the last thread in it has had its turn on a core.
pub fn worthwhile(threads: usize) -> Result<usize> {
    check(threads.max(1))?;
    Ok(match (threads, std::thread::available_parallelism()) {
        (0, most) => most.map_or(1, usize::from).min(MAX_THREADS),
        (threads, Ok(most)) => threads.min(most.get()),
        (threads, Err(_)) => threads,
    })
}

fn check(threads: usize) -> Result<()> {
    if (1..=MAX_THREADS).contains(&threads) {
        return Ok(());
    }
    let (found, expected) = (threads.to_string(), format!("1 to {MAX_THREADS}"));
    Err(Error::InvalidArgument { name: "threads", found, expected })
}

impl Pool {
    /// Starts `threads - 1` threads; the caller of [`Pool::run`] is the last one. At least 1, at most [`MAX_THREADS`].
    pub fn new(threads: usize) -> Result<Self> {
        check(threads)?;
        let shared = Shared { seats: (0..threads).map(|_| Seat::default()).collect(), ..Shared::default() };
        let mut pool = Self { shared: Arc::new(shared), workers: Vec::new() };
        for thread in 1..threads {
            let shared = pool.shared.clone();
            let worker = Builder::new().name(format!("pumice-{thread}")).spawn(move || shared.work(thread));
            let what = |e| Error::Internal { what: format!("cannot start {threads} threads: {e}") };
            pool.workers.push(worker.map_err(what)?);
        }
        Ok(pool)
    }

    /// The number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.shared.seats.len()
    }

    /// Runs `step` on the calling thread, with the pool's threads at hand for its loops.
    ///
    /// # Panics
    /// If the step or one of its loops does; the pool can be used again.
    pub fn run<R>(&mut self, step: impl FnOnce(&Team) -> R) -> R {
        step(&Team { shared: &self.shared })
    }
}

impl Drop for Pool {
    /// Waits for the threads to end, so that a host may unload this library next.
    fn drop(&mut self) {
        self.shared.stop();
        for worker in self.workers.drain(..) {
            // A panic of a thread has reached the caller of `run` long ago.
            let _ = worker.join();
        }
    }
}

/// The threads inside [`Pool::run`].
pub struct Team<'a> {
    shared: &'a Shared,
}

/// A loop's body: takes the thread's number and the piece's.
type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

impl Team<'_> {
    /// The number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.shared.seats.len()
    }

    /// Calls `body(thread, piece)` for every piece below `pieces`, on all threads, and returns when all are done.
    ///
    /// `thread` is below [`Team::threads`] and differs between calls that run at the same time.
    ///
    /// # Panics
    /// If the body does, once no thread runs it any more.
    pub fn for_each(&self, pieces: usize, body: impl Fn(usize, usize) + Sync) {
        if self.threads() == 1 || pieces <= 1 {
            return (0..pieces).for_each(|piece| body(0, piece));
        }
        self.shared.run(&body, pieces);
    }

    /// Calls `body(i, chunk)` for every `len` elements of `data` (the last chunk may be shorter), on all threads.
    ///
    /// # Panics
    /// If `len` is 0 and `data` is not empty, and as [`Team::for_each`].
    pub fn for_each_chunk<T: Send>(&self, data: &mut [T], len: usize, body: impl Fn(usize, &mut [T]) + Sync) {
        self.for_each_chunk_with(&mut vec![(); self.threads()], data, len, |(), i, chunk| body(i, chunk));
    }

    /// The same, and each thread has one of `own` for itself, whichever chunks it gets.
    ///
    /// # Panics
    /// As [`Team::for_each_chunk`], and if threads are more than `own`.
    pub fn for_each_chunk_with<R: Send, T: Send>(
        &self,
        own: &mut [R],
        data: &mut [T],
        len: usize,
        body: impl Fn(&mut R, usize, &mut [T]) + Sync,
    ) {
        assert!(own.len() >= self.threads(), "one for each thread");
        if data.is_empty() {
            return;
        }
        let total = data.len();
        let (own, base) = (Pointer(own.as_mut_ptr()), Pointer(data.as_mut_ptr()));
        self.for_each(total.div_ceil(len), |thread, i| {
            let at = i * len;
            // SAFETY: chunk `i` lies within `data`, which is borrowed until all pieces are done, and only this call
            // has it, because every piece is run once.
            let chunk = unsafe { std::slice::from_raw_parts_mut(base.get().add(at), len.min(total - at)) };
            // SAFETY: `own` is borrowed likewise and has one for each thread, and no other call that runs now is this
            // thread's.
            body(unsafe { &mut *own.get().add(thread) }, i, chunk);
        });
    }
}

/// The start of a slice whose chunks go to different threads.
struct Pointer<T>(*mut T);

// SAFETY: it is only used to make disjoint chunks of `T: Send`, one thread each.
unsafe impl<T: Send> Sync for Pointer<T> {}

impl<T> Pointer<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// The current loop, if any: `state` is its number (high half), whether it may be joined, and how many workers did.
#[derive(Default)]
struct Shared {
    state: AtomicU64,
    /// Written only while nobody has joined and nobody may.
    job: UnsafeCell<Option<(&'static Body<'static>, usize)>>,
    /// For each thread, the caller's first.
    seats: Box<[Seat]>,
    /// What the first panicking piece said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that is not Sync by itself; the protocol of `state` keeps writers from readers.
unsafe impl Sync for Shared {}

/// What others look at of a thread, on a cache line of its own (two, as some CPUs fetch them in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Seat {
    /// The next piece of its range that nobody has taken.
    next: AtomicUsize,
    /// Whether it is parked, or about to be, and nobody has woken it.
    parked: AtomicBool,
    gate: Mutex<()>,
    woken: Condvar,
}

const OPEN: u64 = 1 << 31;
const JOINED: u64 = OPEN - 1;
/// Loops are numbered below this.
const NUMBERS: u64 = 1 << 31;
/// In place of a loop's number: the pool ends.
const STOP: u64 = NUMBERS << 32;

/// Rounds of a busy wait before a thread parks: some tens of microseconds, the length of a small loop.
const SPINS: u32 = 4_000;

impl Shared {
    /// Runs a loop on the calling thread and all workers that come.
    fn run(&self, body: &Body<'_>, pieces: usize) {
        // SAFETY: the lifetime is a lie that ends with this function: it does not return, or unwind, before `close`
        // has seen every worker leave.
        let body: &'static Body<'static> = unsafe { std::mem::transmute(body) };
        // SAFETY: the state is closed with nobody joined: at first, and since the last `close`.
        unsafe { *self.job.get() = Some((body, pieces)) };
        for (i, seat) in self.seats.iter().enumerate() {
            seat.next.store(self.range_end(i, pieces), Relaxed);
        }
        let number = ((self.state.load(Relaxed) >> 32) + 1) % NUMBERS;
        self.state.store(number << 32 | OPEN, SeqCst);
        self.wake(&self.seats[1..]);
        {
            let _close = OnDrop(|| self.close());
            self.take_pieces(0, body, pieces);
        }
        let panicked = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }

    fn take_pieces(&self, thread: usize, body: &Body<'_>, pieces: usize) {
        let threads = self.seats.len();
        for owner in (thread..threads).chain(0..thread) {
            let end = self.range_end(owner + 1, pieces);
            loop {
                let piece = self.seats[owner].next.fetch_add(1, Relaxed);
                if piece >= end {
                    break;
                }
                body(thread, piece);
            }
        }
    }

    /// Where the ranges of the first `ranges` threads end.
    fn range_end(&self, ranges: usize, pieces: usize) -> usize {
        pieces * ranges / self.seats.len()
    }

    /// Leaves the pieces that nobody has taken undone.
    fn drop_pieces(&self) {
        self.seats.iter().for_each(|seat| seat.next.store(usize::MAX / 2, Relaxed));
    }

    /// Lets nobody in any more, and waits for those who are.
    fn close(&self) {
        // If the caller's own piece panicked, the others need not be run.
        if std::thread::panicking() {
            self.drop_pieces();
        }
        self.state.fetch_and(!OPEN, AcqRel);
        self.wait(0, |state| state & JOINED == 0);
    }

    /// A worker's life.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let state = self.wait(thread, |state| state >= STOP || (state >> 32 != seen && state & OPEN != 0));
            if state >= STOP {
                return;
            }
            if self.state.compare_exchange(state, state + 1, AcqRel, Relaxed).is_err() {
                continue;
            }
            seen = state >> 32;
            // SAFETY: joined, so the job stays until this worker leaves.
            if let Some((body, pieces)) = unsafe { *self.job.get() } {
                let taken = catch_unwind(AssertUnwindSafe(|| self.take_pieces(thread, body, pieces)));
                if let Err(payload) = taken {
                    self.drop_pieces();
                    self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
                }
            }
            if self.state.fetch_sub(1, SeqCst) & (JOINED | OPEN) == 1 {
                self.wake(&self.seats[..1]);
            }
        }
    }

    /// Tells the workers that the pool ends.
    fn stop(&self) {
        self.state.store(STOP, SeqCst);
        self.wake(&self.seats[1..]);
    }

    /// Waits, first busily, then parked, until the state is `enough`, and gives it.
    fn wait(&self, thread: usize, enough: impl Fn(u64) -> bool) -> u64 {
        for _ in 0..SPINS {
            let state = self.state.load(Acquire);
            if enough(state) {
                return state;
            }
            std::hint::spin_loop();
        }
        let seat = &self.seats[thread];
        let state = loop {
            seat.parked.store(true, SeqCst);
            let state = self.state.load(SeqCst);
            if enough(state) {
                break state;
            }
            let mut guard = seat.gate.lock().unwrap_or_else(PoisonError::into_inner);
            while seat.parked.load(SeqCst) {
                guard = seat.woken.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        };
        seat.parked.store(false, SeqCst);
        state
    }

    /// Wakes those of some threads that are parked. Called after each change of the state that they may wait for: either a
    /// thread sees the new state before it parks, or the sequentially consistent loads here see that it does.
    fn wake(&self, seats: &[Seat]) {
        for seat in seats {
            if seat.parked.load(SeqCst) && seat.parked.swap(false, SeqCst) {
                // Whoever is about to wait has the gate until it does. It is open again when the other wakes up.
                drop(seat.gate.lock().unwrap_or_else(PoisonError::into_inner));
                seat.woken.notify_one();
            }
        }
    }
}

/// Calls its function when it goes out of scope, also in a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            let mut data = vec![0u32; 1000];
            pool.run(|team| {
                for _ in 0..200 {
                    team.for_each_chunk(&mut data, 7, |i, chunk| {
                        assert!(chunk.len() == 7 || i == 142 && chunk.len() == 6);
                        chunk.iter_mut().for_each(|x| *x += 1);
                    });
                }
            });
            assert!(data.iter().all(|x| *x == 200));
        }
    }

    #[test]
    fn each_thread_has_one_of_its_own() {
        for threads in [1, 2, 5] {
            let mut pool = Pool::new(threads).unwrap();
            let (mut own, mut data) = (vec![Vec::new(); threads], vec![0; 100]);
            pool.run(|team| {
                team.for_each_chunk_with(&mut own, &mut data, 3, |own, i, chunk| own.push((i, chunk.len())));
            });
            let mut all = own.concat();
            all.sort_unstable();
            assert_eq!(all, (0..34).map(|i| (i, if i == 33 { 1 } else { 3 })).collect::<Vec<_>>());
        }
    }

    #[test]
    fn parked_workers_come_back() {
        let mut pool = Pool::new(2).unwrap();
        let both = pool.run(|team| {
            for _ in 0..20 {
                std::thread::sleep(std::time::Duration::from_millis(2));
                team.for_each(64, |thread, _| assert!(thread < 2));
            }
            // Two pieces that wait for each other need two threads.
            let barrier = std::sync::Barrier::new(2);
            let leaders = AtomicUsize::new(0);
            team.for_each(2, |_, _| {
                leaders.fetch_add(usize::from(barrier.wait().is_leader()), Relaxed);
            });
            leaders.into_inner()
        });
        assert_eq!(both, 1);
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(2).unwrap();
        for bad in 0..16 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|team| team.for_each(16, |_, i| assert_ne!(i, bad, "piece {bad}")));
            }));
            assert!(result.is_err());
        }
        assert_eq!(pool.run(|team| team.threads()), 2);
    }

    #[test]
    fn no_more_threads_than_cores_are_worthwhile() {
        let most = std::thread::available_parallelism().unwrap().get();
        assert_eq!([0, 1, most, MAX_THREADS].map(|n| worthwhile(n).unwrap()), [most, 1, most, most]);
        assert!(matches!(worthwhile(MAX_THREADS + 1), Err(Error::InvalidArgument { name: "threads", .. })));
    }

    #[test]
    fn threads_have_bounds() {
        assert!(matches!(Pool::new(0), Err(Error::InvalidArgument { name: "threads", .. })));
        assert!(matches!(Pool::new(MAX_THREADS + 1), Err(Error::InvalidArgument { .. })));
    }
}
