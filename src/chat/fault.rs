//! Why rendering stops.

use crate::error::Error;

/// What went wrong, before it is known where.
pub(super) enum Fault {
    /// The template's own `raise_exception`.
    Refused(String),
    Failed(String),
}

pub(super) type Outcome<T> = Result<T, Fault>;

pub(super) fn failed(what: impl Into<String>) -> Fault {
    Fault::Failed(what.into())
}

impl Fault {
    /// The error, at this line of the template.
    pub fn at(self, line: usize) -> Error {
        match self {
            Self::Refused(message) => Error::TemplateRefused { message },
            Self::Failed(what) => Error::TemplateFailed { line, what },
        }
    }
}
