//! The one error type. A variant is something a caller can act on; it carries the names and numbers that
//! tell which file, key or tensor, what was found and what was expected.

use std::path::PathBuf;

mod gguf;
mod shown;
mod state;

pub use gguf::{GgufDefect, GgufPlace};
use shown::shown;
pub use state::{StateDefect, StateMismatch};

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Messages are one line of English for people; match on the variant instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, map, read or write a file.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a verb: "open", "map", "read".
        action: &'static str,
        /// The system's own answer.
        source: std::io::Error,
    },
    /// The bytes of a file are not a GGUF file that this library reads.
    #[error("{file}: {defect}")]
    Gguf {
        /// The file, or the name the caller gave to a buffer.
        file: String,
        /// What is wrong, and where.
        defect: GgufDefect,
    },
    /// A metadata key that the model or its tokenizer needs is not there.
    #[error("{file}: the metadata key `{key}` is missing", key = shown(key))]
    MissingKey {
        /// The file.
        file: String,
        /// The key, as GGUF spells it.
        key: String,
    },
    /// A metadata key is there with a type or a value that makes no sense.
    #[error("{file}: the metadata key `{key}` is {found}, expected {expected}", key = shown(key))]
    BadKey {
        /// The file.
        file: String,
        /// The key, as GGUF spells it.
        key: String,
        /// What the file says.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{file}: the tensor `{name}` is missing", name = shown(name))]
    MissingTensor {
        /// The file.
        file: String,
        /// The tensor, as GGUF spells it.
        name: String,
    },
    /// A tensor is there with a shape or a type that does not fit the model.
    #[error("{file}: the tensor `{name}` is {found}, expected {expected}", name = shown(name))]
    BadTensor {
        /// The file.
        file: String,
        /// The tensor, as GGUF spells it.
        name: String,
        /// What the file says.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The file is sound, but asks for something this version does not have.
    #[error("{file}: {what} `{found}` is not supported; supported: {supported}", found = shown(found))]
    Unsupported {
        /// The file.
        file: String,
        /// The kind of thing: "architecture", "tokenizer", "pre-tokenizer", "tensor type".
        what: &'static str,
        /// What the file asks for.
        found: String,
        /// What this version has.
        supported: String,
    },
    /// The file has no vocabulary, so text can be neither encoded nor decoded.
    #[error("{file}: the file has no tokenizer (`tokenizer.ggml.model` is missing or `none`)")]
    NoTokenizer {
        /// The file.
        file: String,
    },
    /// The file has no chat template, or none of this name.
    #[error("{file}: the file has no chat template (`{key}` is missing)", key = shown(key))]
    NoChatTemplate {
        /// The file.
        file: String,
        /// The metadata key.
        key: String,
    },
    /// The model has no classification head.
    #[error(
        "{file}: the model has no classification head (the tensor `cls.output.weight` is missing), and none was given"
    )]
    NoHead {
        /// The model's file.
        file: String,
    },
    /// A file with a classification head that was made for another kind of model.
    #[error("{file}: the head is for a model whose {what} is {found}, this one's is {expected}", found = shown(found))]
    HeadMismatch {
        /// The head's file.
        file: String,
        /// What does not fit: "architecture", "width".
        what: &'static str,
        /// What the head's file says.
        found: String,
        /// What the model has.
        expected: String,
    },
    /// A chat template cannot be parsed.
    #[error("chat template, line {line}: {what}", what = shown(what))]
    TemplateSyntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A chat template does not take these messages, and says so itself.
    #[error("the chat template refused the messages: {message}", message = shown(message))]
    TemplateRefused {
        /// The template's own words.
        message: String,
    },
    /// A chat template cannot be run to its end with these messages.
    #[error("chat template, line {line}: {what}", what = shown(what))]
    TemplateFailed {
        /// The line, from 1.
        line: usize,
        /// What went wrong there.
        what: String,
    },
    /// Text is not JSON.
    #[error("the JSON is wrong at byte {at}: expected {expected}")]
    JsonSyntax {
        /// The byte, from 0.
        at: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// The bytes are not a sound saved state.
    #[error("{file}: {defect}")]
    State {
        /// The file, or "the state" if it was in memory.
        file: String,
        /// What is wrong, and where.
        defect: StateDefect,
    },
    /// A saved state that does not belong here.
    #[error("{file}: {mismatch}")]
    StateMismatch {
        /// The file, or "the state" if it was in memory.
        file: String,
        /// What does not fit.
        mismatch: StateMismatch,
    },
    /// A token id that the vocabulary does not have.
    #[error("token {token} is outside the vocabulary of {n_vocab} tokens")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Ids are below this.
        n_vocab: usize,
    },
    /// An argument or an option is outside its range.
    #[error("{name} is {found}, expected {expected}")]
    InvalidArgument {
        /// The argument or option.
        name: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Every logit is negative infinity or NaN, perhaps because a bias forbids all tokens.
    #[error("there is no token to choose: every logit is -inf or NaN")]
    NoCandidates,
    /// The sequence would outgrow the session's context.
    #[error("the context is full: {needed} positions are needed, the session has {n_ctx}")]
    ContextFull {
        /// Positions the call would have needed.
        needed: usize,
        /// Positions the session has.
        n_ctx: usize,
    },
    /// Memory could not be had.
    #[error("cannot allocate {bytes} bytes for {what}")]
    NoMemory {
        /// Bytes asked for.
        bytes: usize,
        /// What they were for.
        what: &'static str,
    },
    /// A session would take more than its options allow; nothing has changed.
    #[error("the session would need {needed} bytes, its limit is {limit}")]
    MemoryLimit {
        /// Bytes of the KV cache, a step's buffers and the outputs that the call would have needed.
        needed: usize,
        /// Bytes that the session may take.
        limit: usize,
    },
    /// The caller cancelled the work; sequences are as they were before the call.
    #[error("cancelled")]
    Cancelled,
    /// A defect of this library, caught before it could do harm.
    #[error("internal error: {what}")]
    Internal {
        /// The panic's message.
        what: String,
    },
}

/// What to do about an error: the coarse classes that every [`Error`] falls into, one status code each in the C ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A defect of this library.
    Internal,
    /// An argument or an option makes no sense.
    Invalid,
    /// Memory could not be had.
    NoMemory,
    /// The operating system refused.
    Io,
    /// The file is broken or incomplete.
    Format,
    /// The file is sound, but this version cannot use it.
    Unsupported,
    /// Two things do not belong together.
    Mismatch,
    /// The sequence would outgrow its context.
    ContextFull,
    /// The caller cancelled the work.
    Cancelled,
    /// A chat template or JSON cannot be parsed.
    Syntax,
    /// What was asked for does not exist.
    NotFound,
}

impl Error {
    /// The class of the error. No variant is left to a default here, so that each new one is thought about.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::Gguf { .. }
            | Self::MissingKey { .. }
            | Self::BadKey { .. }
            | Self::MissingTensor { .. }
            | Self::BadTensor { .. }
            | Self::State { .. } => ErrorKind::Format,
            Self::StateMismatch { .. } | Self::HeadMismatch { .. } => ErrorKind::Mismatch,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::NoTokenizer { .. } | Self::NoChatTemplate { .. } => ErrorKind::NotFound,
            Self::TemplateSyntax { .. } | Self::JsonSyntax { .. } => ErrorKind::Syntax,
            Self::TokenOutOfRange { .. }
            | Self::InvalidArgument { .. }
            | Self::NoCandidates
            | Self::NoHead { .. }
            | Self::TemplateRefused { .. }
            | Self::TemplateFailed { .. } => ErrorKind::Invalid,
            Self::ContextFull { .. } => ErrorKind::ContextFull,
            Self::NoMemory { .. } | Self::MemoryLimit { .. } => ErrorKind::NoMemory,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}
