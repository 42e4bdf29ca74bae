//! Messages for whoever embeds this library: what was opened, what is odd about it, what a session does.
//!
//! There is no global logger: a host may use this library in two places that do not know of each other. Models and
//! sessions carry the [`Log`] that their options name, and the default says nothing. A facade such as the `log` crate
//! would be that global place, so none is used; a host that has one passes a closure that forwards to it.

use std::fmt;
use std::sync::Arc;

/// How much a message matters. Later ones are less important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Something failed that cannot be told in another way.
    Error,
    /// Something is odd and may not be what was meant.
    Warn,
    /// What was opened and made, with its numbers.
    Info,
    /// Each step.
    Debug,
}

/// Takes messages of up to a level. Clones share the function; it is dropped with the last of them.
///
/// The function is called on the thread that makes a call, never on a worker.
#[derive(Clone, Default)]
pub struct Log(Option<(Level, Arc<Function>)>);

type Function = dyn Fn(Level, &str) + Send + Sync;

impl Log {
    /// Sends messages as important as `level`, or more, to `function`: one line each, without the newline.
    pub fn new(level: Level, function: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Some((level, Arc::new(function))))
    }

    /// Whether messages of this level are taken.
    pub fn takes(&self, level: Level) -> bool {
        self.0.as_ref().is_some_and(|(most, _)| level <= *most)
    }

    /// Sends a message, which is only made if it is taken.
    pub fn write(&self, level: Level, message: impl FnOnce() -> String) {
        if let Some((_, function)) = self.0.as_ref().filter(|(most, _)| level <= *most) {
            function(level, &message());
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.0.as_ref().map(|(level, _)| level)).finish()
    }
}
