//! A head's own file: docs/formats.md says what is in it.

use std::io::BufWriter;
use std::path::Path;

use pumice::gguf::{Encoded, Header};
use pumice::quant::GgmlType;
use pumice::replace::Replacement;
use pumice::{Error, Model, Pooling};

use super::regression::Linear;
use crate::failure::Failure;

/// `pooling_type` of a model whose result is its head's.
const RANK: u32 = 4;

/// Writes the file beside its place, and renames it when it is whole.
pub fn write(path: &Path, model: &Model, pooling: Pooling, labels: &[String], linear: &Linear) -> Result<(), Failure> {
    let (arch, n_embd) = (&model.params().arch, model.params().n_embd);
    let mut header = Header::new();
    header.set("general.architecture", arch.as_str());
    header.set("general.type", "adapter");
    header.set("adapter.type", "head");
    header.set("adapter.head.fingerprint", format!("{:032x}", model.fingerprint()).as_str());
    if let Some(name) = model.gguf().get_str("general.name").ok().flatten() {
        header.set("general.base_model.count", 1u32);
        header.set("general.base_model.0.name", name);
    }
    header.set(format!("{arch}.embedding_length"), u32::try_from(n_embd).unwrap_or(u32::MAX));
    header.set(format!("{arch}.pooling_type"), RANK);
    header.set(format!("{arch}.classifier.pooling_type"), if pooling == Pooling::Mean { 1u32 } else { 3 });
    header.set(format!("{arch}.classifier.output_labels"), Encoded::array(labels.iter().map(String::as_str)));
    header.tensor("cls.output.weight", &[n_embd, labels.len()], GgmlType::F32)?;
    header.tensor("cls.output.bias", &[labels.len()], GgmlType::F32)?;

    let failed = |source| Failure::Library(Error::Io { path: path.to_owned(), action: "write", source });
    let mut data = header.write(BufWriter::new(Replacement::create(path)?)).map_err(failed)?;
    for values in [&linear.weights, &linear.bias] {
        let bytes: Vec<u8> = values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
        data.write(&bytes).map_err(failed)?;
    }
    let file = data.finish().map_err(failed)?;
    file.into_inner().map_err(|error| failed(error.into_error()))?.commit()?;
    Ok(())
}
