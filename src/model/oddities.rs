//! What may not be meant as it stands in a file that can be run all the same.

use std::collections::BTreeSet;

use crate::{Gguf, Level, Log};

/// Warns of what is missing, or there and not used.
pub(super) fn warn(log: &Log, gguf: &Gguf, used: &BTreeSet<String>) {
    let name = gguf.name();
    let text = |key| gguf.get_str(key).ok().flatten();
    match text("tokenizer.ggml.model") {
        None | Some("none") => {
            log.write(Level::Warn, || format!("{name}: there is no vocabulary: text cannot be tokenized"));
        }
        Some("gpt2") if text("tokenizer.ggml.pre").is_none_or(str::is_empty) => {
            log.write(Level::Warn, || {
                format!(
                    "{name}: tokenizer.ggml.pre is missing: tokens may differ from those that the model was trained on"
                )
            });
        }
        Some(_) => {}
    }
    let mut unused = gguf.tensors().iter().map(|tensor| &tensor.name).filter(|name| !used.contains(*name));
    if let Some(first) = unused.next() {
        let more = unused.count();
        log.write(Level::Warn, || match more {
            0 => format!("{name}: the tensor `{first}` is not used"),
            _ => format!("{name}: {} tensors are not used, the first is `{first}`", more + 1),
        });
    }
}
