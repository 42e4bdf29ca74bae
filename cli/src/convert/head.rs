//! Classifiers and reward models, `…ForSequenceClassification`: in place of the output matrix they have one of a row for each
//! class, which reads the last token. In GGUF that is llama.cpp's classification head of a model that ranks.

use pumice::gguf::Encoded;

use super::Keys;
use super::json::{Json, shown};
use crate::failure::Failure;

/// The matrix, under the one name that it has in all of these.
pub const SCORE: &str = "score.weight";

/// `pooling_type` of a model whose result is its head's; a causal one reads the last token.
const RANK: u32 = 4;

/// Whether the checkpoint is of such a model.
pub fn is_there(config: &Json) -> bool {
    let classes = config.get("architectures").and_then(|value| value.as_array()).into_iter().flatten();
    classes.filter_map(|class| class.as_str()).any(|class| class.ends_with("ForSequenceClassification"))
}

/// The keys of a head of so many classes.
pub fn describe(config: &Json, n_classes: usize, keys: &mut Keys) -> Result<(), Failure> {
    keys.set("pooling_type", RANK);
    let labels = labels(config, n_classes)?;
    keys.set("classifier.output_labels", Encoded::array(labels.iter().map(String::as_str)));
    Ok(())
}

/// The names that config.json has for the classes, or those that `transformers` gives to classes without.
fn labels(config: &Json, n_classes: usize) -> Result<Vec<String>, Failure> {
    const KEY: &str = "id2label";
    let Some(found) = config.get(KEY) else {
        return Ok((0..n_classes).map(|class| format!("LABEL_{class}")).collect());
    };
    let names = found.as_object().filter(|names| names.len() == n_classes);
    let name = |class: usize| Some(names?.get(&class.to_string())?.as_str()?.to_owned());
    let all: Option<Vec<String>> = (0..n_classes).map(name).collect();
    all.ok_or_else(|| config.bad(KEY, shown(found), format!("names for 0 to {}", n_classes - 1)))
}
