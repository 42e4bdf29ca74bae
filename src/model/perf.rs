//! What a session has done, counted: for a host that shows speeds or plans its work.

use std::time::Duration;

use super::session::Session;

/// Tokens fed and the time it took, since the session was made or [`Session::reset_counters`] was called.
///
/// Steps are counted when they are complete, also those of a call that fails later. Only the time in steps counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Tokens of steps in which some sequence had more than one: prompts, in chunks.
    pub prompt_tokens: u64,
    /// The time of those steps.
    pub prompt_time: Duration,
    /// Tokens of steps in which each sequence had one: generation, of one sequence or several.
    pub decode_tokens: u64,
    /// The time of those steps.
    pub decode_time: Duration,
}

impl Counters {
    /// A step is complete. `together` says whether a sequence had several tokens in it.
    pub(super) fn add(&mut self, together: bool, tokens: usize, time: Duration) {
        let (count, sum) = match together {
            true => (&mut self.prompt_tokens, &mut self.prompt_time),
            false => (&mut self.decode_tokens, &mut self.decode_time),
        };
        *count = count.saturating_add(tokens as u64);
        *sum = sum.saturating_add(time);
    }
}

impl Session {
    /// What the session has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts from 0 again.
    pub fn reset_counters(&mut self) {
        self.counters = Counters::default();
    }
}
