//! `pumice inspect`: what a GGUF file holds, and what running it takes.

mod metadata;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use pumice::quant::GgmlType;
use pumice::{Error, Gguf, Model, ModelOptions, Tokenizer};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::show::{self, grouped, visible};
use crate::source;

/// Show what a GGUF file holds and how much memory it needs
///
/// Also for files that hold only a vocabulary, and for models that this program cannot run.
#[derive(clap::Args)]
pub struct Args {
    /// The file, or the first of a split model; without it, the small model inside this program
    model: Option<PathBuf>,
    /// Print one JSON object. Sizes are in bytes; arrays of more than 16 values are an object with their type, their
    /// count and the first values
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let summary = Summary::new(source::open_gguf(args.model.as_deref())?, || match &args.model {
        Some(path) => Model::open(path, &ModelOptions::default()),
        None => source::embedded().and_then(Model::from_gguf),
    });
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary.json()).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        summary.print(&mut out)?;
    }
    Ok(out.flush()?)
}

/// What there is to say about a file. Its own words may be missing or wrong; those are `None`.
struct Summary {
    gguf: Arc<Gguf>,
    /// The model, or why it cannot be run.
    model: Result<Model, Error>,
    /// The number of tokens, or why text cannot be cut into them.
    vocabulary: Result<usize, Error>,
    /// Of each type: how many tensors, how many bytes.
    types: BTreeMap<GgmlType, (u64, u64)>,
    parameters: u64,
}

/// Positions that the KV cache's size is told for.
const KV_POSITIONS: usize = 1024;

impl Summary {
    fn new(gguf: Arc<Gguf>, model: impl FnOnce() -> Result<Model, Error>) -> Self {
        let mut types = BTreeMap::<_, (u64, u64)>::new();
        let mut parameters = 0u64;
        for tensor in gguf.tensors() {
            let (count, bytes) = types.entry(tensor.ty).or_default();
            (*count, *bytes) = (*count + 1, bytes.saturating_add(tensor.byte_len() as u64));
            parameters = parameters.saturating_add(tensor.dims.elements() as u64);
        }
        let vocabulary = Tokenizer::from_gguf(&gguf).map(|tokenizer| tokenizer.n_vocab());
        Self { model: model(), vocabulary, types, parameters, gguf }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.gguf.get_str(key).ok().flatten()
    }

    /// A number under the architecture's own prefix; of an array with one for each layer, the first.
    fn number(&self, key: &str) -> Option<u64> {
        let value = self.gguf.get(&format!("{}.{key}", self.text("general.architecture")?))?;
        value.as_u64().or_else(|| value.as_array()?.iter_u64()?.next())
    }

    /// Bytes of the tensors' data.
    fn weights(&self) -> u64 {
        self.types.values().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Bytes of the KV cache for some positions, and for all that the model was trained on.
    fn kv_bytes(&self) -> Option<(usize, usize)> {
        let model = self.model.as_ref().ok()?;
        Some((model.kv_bytes(KV_POSITIONS), model.kv_bytes(model.params().n_ctx_train)))
    }

    /// Why the model cannot be run, in one line.
    fn obstacle(&self) -> Option<String> {
        match &self.model {
            Ok(_) => None,
            Err(_) if self.gguf.tensors().is_empty() => Some("the file holds no tensors".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn json(&self) -> Value {
        let gguf = &self.gguf;
        let types =
            self.types.iter().map(|(ty, (count, bytes))| json!({"type": ty.name(), "tensors": count, "bytes": bytes}));
        let kv = self.kv_bytes();
        json!({
            "file": gguf.name(),
            "file_bytes": gguf.file_bytes(),
            "files": gguf.n_parts(),
            "gguf_version": gguf.version(),
            "alignment": gguf.alignment(),
            "architecture": self.text("general.architecture"),
            "name": self.text("general.name"),
            "parameters": self.parameters,
            "context": self.number("context_length"),
            "layers": self.number("block_count"),
            "width": self.number("embedding_length"),
            "feed_forward": self.number("feed_forward_length"),
            "heads": self.number("attention.head_count"),
            "heads_kv": self.number("attention.head_count_kv").or_else(|| self.number("attention.head_count")),
            "vocabulary": self.vocabulary.as_ref().ok(),
            "tokenizer": self.text("tokenizer.ggml.model"),
            "pre_tokenizer": self.text("tokenizer.ggml.pre"),
            "tokenizer_obstacle": self.vocabulary.as_ref().err().map(Error::to_string),
            "runs": self.model.is_ok(),
            "obstacle": self.obstacle(),
            "tensors": gguf.tensors().len(),
            "types": types.collect::<Vec<_>>(),
            "memory": {
                "weights": self.weights(),
                "kv_cache_per_1024_tokens": kv.map(|kv| kv.0),
                "kv_cache_whole_context": kv.map(|kv| kv.1),
            },
            "metadata": gguf.keys().map(|(key, value)| (key.to_owned(), metadata::json(value))).collect::<Map<_, _>>(),
        })
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let gguf = &self.gguf;
        let parts = if gguf.n_parts() > 1 { format!(", {} files", gguf.n_parts()) } else { String::new() };
        let size = show::bytes(gguf.file_bytes());
        writeln!(out, "file          {} ({size}, GGUF version {}{parts})", visible(gguf.name()), gguf.version())?;
        let unknown = "not said";
        writeln!(out, "architecture  {}", visible(self.text("general.architecture").unwrap_or(unknown)))?;
        writeln!(out, "name          {}", visible(self.text("general.name").unwrap_or(unknown)))?;
        writeln!(out, "parameters    {} ({})", show::count(self.parameters), grouped(self.parameters))?;
        let number = |key| self.number(key).map_or(unknown.to_owned(), grouped);
        writeln!(out, "context       {}", number("context_length"))?;
        writeln!(out, "layers        {}", number("block_count"))?;
        writeln!(out, "width         {}", number("embedding_length"))?;
        let shared =
            self.number("attention.head_count_kv").map_or(String::new(), |n| format!(" ({n} for keys and values)"));
        writeln!(out, "heads         {}{shared}", number("attention.head_count"))?;
        match &self.vocabulary {
            Ok(n) => {
                let kind = self.text("tokenizer.ggml.model").unwrap_or(unknown);
                let pre = self.text("tokenizer.ggml.pre").map_or(String::new(), |pre| format!(", {pre}"));
                let kind = format!("{kind}{pre}");
                writeln!(out, "vocabulary    {} tokens ({})", grouped(*n as u64), visible(&kind))?;
            }
            Err(error) => writeln!(out, "vocabulary    cannot be used: {}", visible(&error.to_string()))?,
        }
        match self.obstacle() {
            Some(obstacle) => writeln!(out, "runs          no: {}", visible(&obstacle))?,
            None => writeln!(out, "runs          yes")?,
        }

        writeln!(out, "\n{} tensors", gguf.tensors().len())?;
        for (ty, (count, bytes)) in &self.types {
            writeln!(out, "  {:10}{count:>6}{:>12}", ty.name(), show::bytes(*bytes))?;
        }

        writeln!(out, "\nmemory")?;
        writeln!(out, "  weights   {}, mapped and not copied", show::bytes(self.weights()))?;
        if let (Some((some, all)), Ok(model)) = (self.kv_bytes(), &self.model) {
            let n_ctx = grouped(model.params().n_ctx_train as u64);
            let [some, all] = [some, all].map(|bytes| show::bytes(bytes as u64));
            writeln!(out, "  KV cache  {some} per 1,024 tokens, {all} for the whole context of {n_ctx}")?;
        }

        writeln!(out, "\nmetadata")?;
        for (key, value) in gguf.keys() {
            writeln!(out, "  {} = {}", visible(key), metadata::text(value))?;
        }
        Ok(())
    }
}
