//! Models, and sessions that run them.
//!
//! A family (`gpt1`, `gpt2`, `llama`) names its weights and puts its forward pass together from the blocks in `step`;
//! the rest is shared. Adding one is a file and a line in `Family`.

mod attention;
mod batch;
#[cfg(feature = "chat")]
mod chat;
mod embed;
mod gpt1;
mod gpt2;
mod head;
mod kv;
mod llama;
mod memory;
mod oddities;
mod options;
mod outputs;
mod params;
mod perf;
mod rope;
mod session;
mod state;
mod step;
mod weights;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub use batch::{Batch, Outputs};
pub use embed::Pooling;
pub use head::Head;
pub use memory::Memory;
pub use options::SessionOptions;
pub use params::Params;
pub use perf::Counters;
pub use session::{Canceller, Session};

#[cfg(feature = "chat")]
use crate::chat::ChatTemplate;
use crate::gguf::Load;
use crate::quant::GgmlType;
use crate::token::Tokenizer;
use crate::{Bytes, Error, Gguf, Level, Log, Result};
use outputs::Wanted;
use params::Keys;
use step::{Step, Widths};
use weights::Loader;

/// Sequences from this number on are taken for what a call feeds and forgets: nobody else numbers theirs so.
pub(crate) const SCRATCH: usize = usize::MAX / 2;

/// How a model file is opened.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Map the file (the default): nothing is read until it is used, and processes share the pages. A mapped file that
    /// somebody truncates ends the process with SIGBUS; without mapping it is read into memory first.
    pub mmap: bool,
    /// Read the header only: metadata, vocabulary and the tensor table. Such a model says what it is and what it would
    /// take ([`Model::memory`]), but no session can be made of it.
    pub metadata_only: bool,
    /// Bring the whole mapped file into memory before the model is opened, instead of when it is used.
    pub preload: bool,
    /// A file with a classification head for [`Session::classify`], in place of the model's own if it has one.
    pub head: Option<PathBuf>,
    /// Who hears of what is opened and of what is odd about it.
    pub log: Log,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { mmap: true, metadata_only: false, preload: false, head: None, log: Log::default() }
    }
}

impl ModelOptions {
    fn load(&self) -> Load {
        match (self.metadata_only, self.mmap) {
            (true, _) => Load::Header,
            (_, true) => Load::Map,
            (_, false) => Load::Read,
        }
    }
}

/// A model: weights, hyper-parameters and vocabulary. Immutable; clones share it, also across threads.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    gguf: Arc<Gguf>,
    params: Params,
    /// What a step's buffers must have room for.
    widths: Widths,
    /// How the file says that hidden states are pooled.
    pooling: Option<Pooling>,
    head: Option<Head>,
    /// `None` without the weights.
    family: Option<Family>,
    /// Built when it is first asked for.
    tokenizer: OnceLock<Result<Tokenizer>>,
    /// Read when it is first asked for.
    #[cfg(feature = "chat")]
    chat: OnceLock<Result<ChatTemplate>>,
    /// Whoever gave it is told when the model is gone.
    _log: Log,
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
    fn widths(&self, p: &Params) -> Widths {
        match self {
            Self::Llama(model) => model.widths(p),
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
        Self::open_with(path, options, |_, _| ControlFlow::Continue(()))
    }

    /// The same, telling `progress` how many bytes of all files are done and how many there are, while they are read
    /// (without [`ModelOptions::mmap`]) or preloaded. If it breaks off, the result is [`Error::Cancelled`].
    ///
    /// # Errors
    /// As for [`Model::open`], and [`Error::Cancelled`].
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &ModelOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let load = options.load();
        Self::make(options, || {
            let gguf = Gguf::load(path.as_ref(), load, &mut progress)?;
            if options.preload && load == Load::Map {
                gguf.preload(&mut progress)?;
            }
            Ok(gguf)
        })
    }

    /// Opens a model of `len` bytes that `read` gets from anywhere: it fills the buffer with the bytes from an offset on.
    /// Each byte is asked for once, at most 4 MiB at a time behind the header; with [`ModelOptions::metadata_only`], only
    /// those of the header, rounded up to 4 KiB. `name` stands for the file in error messages; `progress` as for
    /// [`Model::open_with`].
    ///
    /// # Errors
    /// As for [`Model::open_with`], and what `read` says.
    pub fn from_reader(
        name: &str,
        len: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
        options: &ModelOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        Self::make(options, || Gguf::read(name, len, options.metadata_only, &mut read, &mut progress))
    }

    /// Opens a model whose bytes are in memory, by options and with `progress` as for [`Model::open_with`].
    ///
    /// # Errors
    /// As for [`Model::open_with`].
    pub fn from_bytes_with(
        name: &str,
        bytes: Bytes,
        options: &ModelOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        Self::make(options, || {
            let gguf = Gguf::parse(name, bytes)?;
            if options.preload && !options.metadata_only {
                gguf.preload(&mut progress)?;
            }
            Ok(gguf)
        })
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
        Self::from_gguf_with(gguf, &ModelOptions::default())
    }

    /// The same with those options that are not about reading the file.
    ///
    /// # Errors
    /// As for [`Model::open`].
    pub fn from_gguf_with(gguf: Gguf, options: &ModelOptions) -> Result<Self> {
        Self::make(options, || Ok(gguf))
    }

    fn make(options: &ModelOptions, open: impl FnOnce() -> Result<Gguf>) -> Result<Self> {
        let begin = Instant::now();
        let gguf = Arc::new(open()?);
        let keys = Keys { gguf: &gguf, arch: gguf.need_str("general.architecture")? };
        if !Self::architectures().any(|arch| arch == keys.arch) {
            return Err(unsupported(&keys));
        }
        let mut params = Params::read(&keys)?;
        let loader = Loader { gguf: &gguf, data: gguf.has_data(), used: Default::default() };
        let family = Family::load(&keys, &mut params, &loader)?;
        let bf16 = gguf.tensors().iter().any(|tensor| tensor.ty == GgmlType::BF16);
        let widths = Widths { bf16, ..family.widths(&params) };
        let family = (loader.data && !options.metadata_only).then_some(family);
        let poolings = head::Poolings::read(&keys)?;
        let own = Head::load(&keys, &poolings, params.n_embd, &gguf, &loader)?;
        let attached = options.head.as_deref().map(|path| Head::open(path, options.load(), &params)).transpose()?;
        oddities::warn(&options.log, &gguf, &loader.used.take());
        options.log.write(Level::Info, || {
            let (name, arch, tensors, bytes) = (gguf.name(), &params.arch, gguf.tensors().len(), gguf.file_bytes());
            let how = if family.is_some() { "" } else { ", metadata only" };
            let took = begin.elapsed().as_secs_f64() * 1e3;
            format!("{name}: opened{how}: {arch}, {tensors} tensors, {bytes} bytes, {took:.1} ms")
        });
        let model = Self(Arc::new(Inner {
            gguf,
            params,
            widths,
            pooling: poolings.of_text,
            head: attached.or(own),
            family,
            tokenizer: OnceLock::new(),
            #[cfg(feature = "chat")]
            chat: OnceLock::new(),
            _log: options.log.clone(),
        }));
        model.check_head(&options.log);
        Ok(model)
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
