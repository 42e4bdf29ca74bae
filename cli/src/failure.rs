//! How a run ends when it cannot go on: one line on stderr that says what is wrong and what to do, and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use pumice::Error;

use crate::show;

/// Why a run ended early.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that cannot be. Exit code 2.
    Usage(String),
    /// What was given cannot be used. Exit code 1.
    Input(String),
    /// What the library says. Exit code 1, or 2 if it is about an option.
    Library(Error),
    /// Text to print on stdout, after all no failure: `--help`, `--version`.
    Print(String),
    /// Whoever read our stdout has had enough. Exit code 0, quietly: so ends `pumice | head`.
    ClosedPipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// Errors of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Input(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        if !error.use_stderr() {
            return Self::Print(text);
        }
        // clap's paragraphs: the error, perhaps tips, the usage and a pointer to the help. The first ones, in one line.
        let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        let telling = paragraphs.filter(|p| !p.starts_with("Usage:") && !p.starts_with("For more information"));
        let line = telling.collect::<Vec<_>>().join("; ");
        Self::Usage(format!("{}; see `pumice --help`", line.strip_prefix("error: ").unwrap_or(&line)))
    }
}

impl Failure {
    /// Says what there is to say, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Usage(message) => (message, 2),
            Self::Input(message) => (message, 1),
            Self::Library(Error::InvalidArgument { name, found, expected }) => {
                (format!("{} is {found}, expected {expected}", option(name)), 2)
            }
            Self::Library(error) => (format!("{error}{}", advice(&error)), 1),
            Self::Print(text) => {
                return match io::stdout().write_all(text.as_bytes()).map_err(Self::from) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(failure) => failure.report(),
                };
            }
            Self::ClosedPipe => return ExitCode::SUCCESS,
        };
        // Names of files and what a file says may hold anything.
        let _ = writeln!(io::stderr(), "pumice: {}", show::visible(&message)); // if stderr is closed, nobody listens
        ExitCode::from(code)
    }
}

/// The option that the library knows by another name.
fn option(name: &str) -> String {
    match name {
        "temperature" => "--temp".to_owned(),
        "n_ctx" => "--ctx".to_owned(),
        "text" => "the text".to_owned(),
        name => format!("--{}", name.replace('_', "-")),
    }
}

/// What to do about an error whose message does not say it.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "; check the path",
        Error::Gguf { .. } => "; give another file, or download it again",
        Error::MissingKey { .. } | Error::BadKey { .. } | Error::MissingTensor { .. } | Error::BadTensor { .. } => {
            "; `pumice inspect` shows what the file holds"
        }
        Error::NoTokenizer { .. } => "; use a file that has one",
        Error::TokenOutOfRange { .. } => "; `pumice tokenize` shows the ids of a text",
        Error::ContextFull { .. } => "; shorten the prompt or give more with --ctx",
        Error::NoMemory { .. } => "; a shorter context (--ctx) or a smaller model needs less",
        Error::NoCandidates => "; check --logit-bias, or the file",
        Error::Internal { .. } => "; please report it with the command line and the model's name",
        _ => "",
    }
}
