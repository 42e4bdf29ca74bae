//! Where models and texts come from: files, stdin, or this program itself.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pumice::{Bytes, Gguf, Model, ModelOptions};

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
        let _spinner = show::spinner("loading the model");
        Ok(match &self.model {
            Some(path) => Model::open(path, &ModelOptions { mmap: !self.no_mmap, ..ModelOptions::default() })?,
            None => Model::from_gguf(embedded()?)?,
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
