//! Where models and texts come from: files, stdin, or this program itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pumice::{Bytes, Error, Gguf, Model, ModelOptions, Token};

use crate::failure::Failure;
use crate::show;

/// Which model.
#[derive(clap::Args, Default)]
pub struct ModelArgs {
    /// A GGUF file, or the first of a split model; without it, the small model inside this program
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Read the file into memory instead of mapping it (for network drives and files that may change meanwhile)
    #[arg(long)]
    pub no_mmap: bool,
}

impl ModelArgs {
    /// Opens the model to be run.
    pub fn open(&self) -> Result<Model, Failure> {
        self.open_with(None)
    }

    /// The same with a classification head, if one is given.
    pub fn open_with(&self, head: Option<PathBuf>) -> Result<Model, Failure> {
        let _spinner = show::spinner("loading the model");
        let options = ModelOptions { mmap: !self.no_mmap, head, ..ModelOptions::default() };
        Ok(match &self.model {
            Some(path) => Model::open(path, &options)?,
            None => Model::from_gguf_with(embedded()?, &options)?,
        })
    }
}

/// Opens a file, or the embedded model, to be looked at.
pub fn open_gguf(path: Option<&Path>) -> Result<Arc<Gguf>, Failure> {
    Ok(Arc::new(match path {
        Some(path) => Gguf::open(path, true)?,
        None => embedded()?,
    }))
}

/// Puts the bytes where tensors can be read in place, which is at a cache line at best.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!("../model/austen.gguf"));

/// The model inside this program.
pub fn embedded() -> pumice::Result<Gguf> {
    Gguf::parse("the embedded model", Bytes::from_static(&EMBEDDED.0))
}

/// The text given as an argument; from stdin if that is `-`, or if it is missing and stdin is not a terminal. `None`
/// if there is neither.
pub fn text(argument: Option<&str>) -> Result<Option<String>, Failure> {
    match argument {
        Some("-") => stdin().map(Some),
        Some(text) => Ok(Some(text.to_owned())),
        None if !io::stdin().is_terminal() => stdin().map(Some),
        None => Ok(None),
    }
}

/// The lines of a file, or of stdin, but for empty ones.
pub fn lines(path: Option<&Path>) -> Result<Vec<String>, Failure> {
    let name = path.map_or("stdin".into(), Path::to_string_lossy);
    let failed = |error: io::Error| Failure::Input(format!("{name}: cannot read: {error}"));
    let input: Box<dyn BufRead> = match path {
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
        None => Box::new(io::stdin().lock()),
    };
    let lines: io::Result<Vec<String>> =
        input.lines().filter(|line| !matches!(line, Ok(text) if text.trim().is_empty())).collect();
    lines.map_err(failed)
}

/// The tokens of one of several texts, with what the model wants around each.
pub fn text_tokens(model: &Model, text: &str) -> Result<Vec<Token>, Failure> {
    Ok(model.tokenizer()?.encode(text.trim(), Default::default())?)
}

/// What the library says about one of several texts.
pub fn about(text: &str, error: Error) -> Failure {
    let begin: String = text.chars().take(30).collect();
    Failure::Input(format!("the text {begin:?}…: {error}"))
}

/// All of stdin but the line break at its end, which `echo` and editors add.
fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::Input("the text on stdin is not UTF-8; convert it first".to_owned()),
        _ => Failure::Input(format!("cannot read stdin: {error}; give the text as an argument")),
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
