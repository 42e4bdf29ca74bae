//! `pumice convert`: a Hugging Face checkpoint to a GGUF file.
//!
//! A family's file says which keys and which tensors the GGUF file has and what they are made of; nothing is read but
//! headers until that is settled. Then the tensors are converted one after the other, rows at a time, so a checkpoint may
//! be larger than memory.

mod checkpoint;
mod general;
mod gpt1;
mod gpt2;
mod gptneo;
mod head;
mod json;
mod llama;
mod tensors;
mod tokenizer;

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use pumice::gguf::{Encoded, Header};
use pumice::quant::GgmlType;
use pumice::replace::Replacement;

use crate::failure::Failure;
use crate::show;
use checkpoint::Checkpoint;
use json::Json;
use tensors::Plan;

/// Converts a Hugging Face checkpoint to a GGUF file.
///
/// HF_DIR is a folder with config.json, the weights as safetensors in one or several files, and the tokenizer's files
/// (tokenizer.json, or tokenizer.model, or vocab.json and merges.txt). Families: openai-gpt, gpt2, gpt_neo and llama. For
/// gpt2 and llama the result is what llama.cpp's converter writes. What cannot be converted faithfully is refused, with the
/// name of the file and of the key or tensor.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint's folder
    #[arg(value_name = "HF_DIR")]
    checkpoint: PathBuf,
    /// The file to write. One that exists is replaced when the new one is whole
    #[arg(value_name = "OUT.gguf")]
    out: PathBuf,
    /// The type of the matrices. Norms, biases and positions stay f32; with q8_0, a matrix whose rows are no multiple of 32
    /// becomes f16
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t = Type::F16)]
    ty: Type,
    /// Write the weights alone, without a vocabulary
    #[arg(long)]
    no_tokenizer: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl Type {
    /// As a tensor's type, and as `general.file_type` numbers it.
    fn ids(self) -> (GgmlType, u32) {
        match self {
            Self::F32 => (GgmlType::F32, 0),
            Self::F16 => (GgmlType::F16, 1),
            Self::Q8_0 => (GgmlType::Q8_0, 7),
            Self::Bf16 => (GgmlType::BF16, 32),
        }
    }
}

/// The metadata under an architecture's own prefix.
struct Keys {
    arch: &'static str,
    file_type: u32,
    keys: Vec<(String, Encoded)>,
}

impl Keys {
    /// Sets `arch.key`.
    fn set(&mut self, key: &str, value: impl Into<Encoded>) {
        self.keys.push((format!("{}.{key}", self.arch), value.into()));
    }

    /// Sets `arch.key` to a size, which [`Json::size`] has found to be below 2^32.
    fn size(&mut self, key: &str, value: usize) {
        self.set(key, u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// The encoding that most tensors have; where the other converter has it among the keys.
    fn file_type(&mut self) {
        self.keys.push(("general.file_type".to_owned(), self.file_type.into()));
    }
}

/// A family of models: its `model_type` in config.json, the architecture in GGUF, and how the one becomes the other.
struct Family {
    model_type: &'static str,
    arch: &'static str,
    plan: fn(&Json, &mut Plan, &mut Keys) -> Result<(), Failure>,
    tokenizer: tokenizer::Read,
}

const FAMILIES: [Family; 4] = [
    Family { model_type: "openai-gpt", arch: "gpt1", plan: gpt1::plan, tokenizer: tokenizer::gpt1 },
    Family { model_type: "gpt2", arch: "gpt2", plan: gpt2::plan, tokenizer: tokenizer::byte_level },
    Family { model_type: "gpt_neo", arch: "gptneo", plan: gptneo::plan, tokenizer: tokenizer::byte_level },
    Family { model_type: "llama", arch: "llama", plan: llama::plan, tokenizer: tokenizer::llama },
];

impl Family {
    fn of(config: &Json) -> Result<&'static Family, Failure> {
        let found = config.need_text("model_type")?;
        FAMILIES.iter().find(|family| family.model_type == found).ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().map(|family| family.model_type).collect();
            config.bad("model_type", found, format!("one of {}", known.join(", ")))
        })
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = Json::need(&args.checkpoint.join("config.json"))?;
    let family = Family::of(&config)?;
    if let Some(quantized) = config.get("quantization_config") {
        return Err(config.bad(
            "quantization_config",
            json::shown(quantized),
            "none: quantized weights are not converted",
        ));
    }
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let (ty, file_type) = args.ty.ids();
    let mut plan = Plan::new(&checkpoint, ty);
    let mut keys = Keys { arch: family.arch, file_type, keys: Vec::new() };
    (family.plan)(&config, &mut plan, &mut keys)?;
    plan.check_nothing_is_left()?;
    if let Some(n_classes) = plan.n_classes() {
        head::describe(&config, n_classes, &mut keys)?;
    }

    let mut header = Header::new();
    header.set("general.architecture", family.arch);
    header.set("general.type", "model");
    general::describe(&args.checkpoint, &config, plan.parameters(), &mut header)?;
    for (key, value) in keys.keys {
        header.set(key, value);
    }
    header.set("general.quantization_version", 2u32);
    if args.no_tokenizer {
        header.set("tokenizer.ggml.model", "none");
    } else {
        let folder = tokenizer::Folder { path: &args.checkpoint, config: &config, n_vocab: config.size("vocab_size")? };
        (family.tokenizer)(&folder, &mut header)?;
    }
    write(&args.out, &mut header, &plan)
}

/// Writes the file, with a progress bar.
fn write(out: &Path, header: &mut Header, plan: &Plan) -> Result<(), Failure> {
    plan.enter(header)?;
    let bar = show::bytes_bar(header.data_len(), "converting");
    let file = Replacement::create(out)?;
    let failed = |source| Failure::Library(pumice::Error::Io { path: out.to_owned(), action: "write", source });
    let mut data = header.write(BufWriter::with_capacity(1 << 20, file)).map_err(failed)?;
    for tensor in plan.tensors() {
        tensor.convert(|bytes| {
            data.write(bytes).map_err(failed)?;
            bar.inc(bytes.len() as u64);
            Ok(())
        })?;
    }
    let file = data.finish().map_err(failed)?;
    file.into_inner().map_err(|error| failed(error.into_error()))?.commit()?;
    Ok(())
}
