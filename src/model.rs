//! Models, and sessions that run them.
//!
//! A family (`gpt1`, `gpt2`, `llama`) names its weights and puts its forward pass together from the blocks in `step`; the rest
//! is shared. Adding one is a file and a line in `Family`.

mod attention;
mod batch;
#[cfg(feature = "chat")]
mod chat;
mod gpt1;
mod gpt2;
mod kv;
mod llama;
mod memory;
mod options;
mod outputs;
mod params;
mod perf;
mod rope;
mod session;
mod state;
mod step;
mod weights;

use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use batch::{Batch, Outputs};
pub use memory::Memory;
pub use options::SessionOptions;
pub use params::Params;
pub use perf::Counters;
pub use session::{Canceller, Session};

#[cfg(feature = "chat")]
use crate::chat::ChatTemplate;
use crate::token::Tokenizer;
use crate::{Bytes, Error, Gguf, Result};
use outputs::Wanted;
use params::Keys;
use step::{Step, Widths};
use weights::Loader;

/// How a model file is opened.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Map the file (the default): nothing is read until it is used, and processes share the pages. A mapped file that
    /// somebody truncates ends the process with SIGBUS; without mapping it is read into memory first.
    pub mmap: bool,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { mmap: true }
    }
}

/// A model: weights, hyper-parameters and vocabulary. Immutable; clones share it, also across threads.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    gguf: Arc<Gguf>,
    params: Params,
    family: Family,
    /// Built when it is first asked for.
    tokenizer: OnceLock<Result<Tokenizer>>,
    /// Read when it is first asked for.
    #[cfg(feature = "chat")]
    chat: OnceLock<Result<ChatTemplate>>,
}

#[derive(Debug)]
enum Family {
    Gpt1(gpt1::Gpt1),
    Gpt2(gpt2::Gpt2),
    Llama(llama::Llama),
}

impl Family {
    /// The architectures that GGUF files may name.
    const SUPPORTED: &'static str = "gpt1, gpt2, gptneo, llama";

    fn load(keys: &Keys, params: &mut Params, loader: &Loader) -> Result<Self> {
        match keys.arch {
            "gpt1" => gpt1::Gpt1::load(keys, params, loader).map(Self::Gpt1),
            "gpt2" | "gptneo" => gpt2::Gpt2::load(keys, params, loader).map(Self::Gpt2),
            "llama" => llama::Llama::load(keys, params, loader).map(Self::Llama),
            _ => Err(unsupported(keys)),
        }
    }

    fn forward(&self, step: &mut Step, wanted: Wanted) -> Result<()> {
        match self {
            Self::Gpt1(model) => model.forward(step, wanted),
            Self::Gpt2(model) => model.forward(step, wanted),
            Self::Llama(model) => model.forward(step, wanted),
        }
    }

    /// What a step's buffers must have room for.
    fn widths(p: &Params) -> Widths {
        match &*p.arch {
            "llama" => llama::Llama::widths(p),
            _ => Widths::plain(p),
        }
    }
}

fn unsupported(keys: &Keys) -> Error {
    Error::Unsupported {
        file: keys.gguf.name().to_owned(),
        what: "architecture",
        found: keys.arch.to_owned(),
        supported: Family::SUPPORTED.to_owned(),
    }
}

impl Model {
    /// Opens a GGUF file, or the first of a split one, and checks that it holds a whole model.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Gguf`] if it is not a sound file; [`Error::Unsupported`], [`Error::MissingKey`],
    /// [`Error::BadKey`], [`Error::MissingTensor`] and [`Error::BadTensor`] if it is not a model that can be run.
    pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self> {
        Self::from_gguf(Gguf::open(path.as_ref(), options.mmap)?)
    }

    /// Opens a model whose bytes are in memory; `name` stands for the file in error messages.
    ///
    /// # Errors
    /// As for [`Model::open`].
    pub fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        Self::from_gguf(Gguf::parse(name, bytes)?)
    }

    /// Makes a model of a file that has been read.
    ///
    /// # Errors
    /// As for [`Model::open`].
    pub fn from_gguf(gguf: Gguf) -> Result<Self> {
        let keys = Keys { gguf: &gguf, arch: gguf.need_str("general.architecture")? };
        if !Self::architectures().any(|arch| arch == keys.arch) {
            return Err(unsupported(&keys));
        }
        let mut params = Params::read(&keys)?;
        let family = Family::load(&keys, &mut params, &Loader { gguf: &gguf })?;
        Ok(Self(Arc::new(Inner {
            gguf: Arc::new(gguf),
            params,
            family,
            tokenizer: OnceLock::new(),
            #[cfg(feature = "chat")]
            chat: OnceLock::new(),
        })))
    }

    /// The architectures that can be run, as GGUF files name them.
    pub fn architectures() -> impl Iterator<Item = &'static str> {
        Family::SUPPORTED.split(", ")
    }

    /// The file's metadata and tensors.
    pub fn gguf(&self) -> &Arc<Gguf> {
        &self.0.gguf
    }

    /// The model's shape.
    pub fn params(&self) -> &Params {
        &self.0.params
    }

    /// The file's tokenizer, built on the first call.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if the file has none, [`Error::Unsupported`] or another if it cannot be used; the same
    /// one on every call.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        match self.0.tokenizer.get_or_init(|| Tokenizer::from_gguf(&self.0.gguf)) {
            Ok(tokenizer) => Ok(tokenizer),
            // Errors are not cloned (an I/O error cannot be): build again to say it again.
            Err(_) => Tokenizer::from_gguf(&self.0.gguf).and_then(|_| {
                Err(Error::Internal { what: "the tokenizer failed to load once, and not again".to_owned() })
            }),
        }
    }
}
