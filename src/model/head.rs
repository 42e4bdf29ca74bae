//! Classification heads: what makes scores of classes of a text's hidden state, as llama.cpp's files have them. A model's
//! file may bring one (classifiers, reward models), or it is in a file of its own and attached to a model.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::Model;
use super::embed::Pooling;
use super::params::{Keys, Params};
use super::weights::{Linear, Loader};
use crate::gguf::Load;
use crate::{Error, Gguf, Level, Log, Result};

/// In a head's own file, the fingerprint of the model that it was made for.
const FINGERPRINT: &str = "adapter.head.fingerprint";

/// A linear map, perhaps with a dense layer before it, from a pooled hidden state to one score for each class.
#[derive(Debug)]
pub struct Head {
    /// The model's file, or the head's own.
    gguf: Arc<Gguf>,
    pooling: Pooling,
    /// `[n_dense, n_embd]`, followed by tanh.
    dense: Option<Linear>,
    /// `[n_classes, n_dense]`; without it, the dense layer's results are the scores.
    output: Option<Linear>,
    labels: Vec<String>,
}

/// What a file says about pooling.
pub(super) struct Poolings {
    /// How embeddings are meant to be made.
    pub of_text: Option<Pooling>,
    /// What the head reads.
    of_head: Pooling,
}

impl Poolings {
    /// From `pooling_type` and `classifier.pooling_type`. A model that ranks (4) pools for its head; where nothing else is
    /// said, causal models do so by their last token, which has seen all others.
    pub fn read(keys: &Keys) -> Result<Self> {
        let number = |key: &str| match keys.gguf.get_u64(&keys.name(key))? {
            Some(other @ 5..) => Err(keys.bad(key, other.to_string(), "0 to 4".to_owned())),
            number => Ok(number),
        };
        let (text, head) = (number("pooling_type")?, number("classifier.pooling_type")?);
        let of_head = match (text, head) {
            (_, Some(1)) | (Some(1), None) => Pooling::Mean,
            (Some(2), None) => Pooling::First,
            _ => Pooling::Last,
        };
        let of_text = text.map(|number| match number {
            0 => Pooling::None,
            1 => Pooling::Mean,
            2 => Pooling::First,
            3 => Pooling::Last,
            _ => of_head,
        });
        Ok(Self { of_text, of_head })
    }
}

impl Head {
    /// The head that a file has, if it has one.
    pub(super) fn load(
        keys: &Keys,
        poolings: &Poolings,
        n_embd: usize,
        gguf: &Arc<Gguf>,
        loader: &Loader,
    ) -> Result<Option<Self>> {
        let linear = |name: &str, cols| {
            let rows = gguf.tensor(&format!("{name}.weight")).map_or(0, |tensor| tensor.dims.rows());
            loader.linear_if(name, rows, cols)
        };
        let dense = linear("cls", n_embd)?;
        let output = linear("cls.output", dense.as_ref().map_or(n_embd, |dense| dense.rows))?;
        let Some(n_classes) = output.as_ref().or(dense.as_ref()).map(|last| last.rows) else { return Ok(None) };
        if gguf.tensor("cls.norm.weight").is_some() {
            return Err(Error::Unsupported {
                file: gguf.name().to_owned(),
                what: "classification head",
                found: "cls.norm".to_owned(),
                supported: "cls, cls.output".to_owned(),
            });
        }
        let labels = labels(keys, n_classes)?;
        Ok(Some(Self { gguf: gguf.clone(), pooling: poolings.of_head, dense, output, labels }))
    }

    /// Opens a file for models of this shape.
    pub(super) fn open(path: &Path, load: Load, p: &Params) -> Result<Self> {
        let gguf = Arc::new(Gguf::load(path, load, &mut |_, _| ControlFlow::Continue(()))?);
        let keys = Keys { gguf: &gguf, arch: gguf.need_str("general.architecture")? };
        let mismatch = |what, found: String, expected: String| match found == expected {
            true => Ok(()),
            false => Err(Error::HeadMismatch { file: gguf.name().to_owned(), what, found, expected }),
        };
        mismatch("architecture", keys.arch.to_owned(), p.arch.clone())?;
        if let Some(width) = gguf.get_u64(&keys.name("embedding_length"))? {
            mismatch("width", width.to_string(), p.n_embd.to_string())?;
        }
        let loader = Loader { gguf: &gguf, data: gguf.has_data(), used: Default::default() };
        let head = Self::load(&keys, &Poolings::read(&keys)?, p.n_embd, &gguf, &loader)?;
        head.ok_or_else(|| Error::MissingTensor { file: gguf.name().to_owned(), name: "cls.output.weight".to_owned() })
    }

    /// What the head reads: never [`Pooling::None`].
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The classes' names, in the order of their scores; "LABEL_0", "LABEL_1", … if the file has none.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The file's metadata and tensors.
    pub fn gguf(&self) -> &Arc<Gguf> {
        &self.gguf
    }

    /// A score for each class of a hidden state that has been pooled as [`Head::pooling`] says, and not normalized. Each sum
    /// is in f64 and in the order of its terms.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if these are not as many values as the model is wide, or the file was opened for its
    /// metadata only.
    pub fn scores(&self, pooled: &[f32]) -> Result<Vec<f32>> {
        let refused =
            |found: String, expected: String| Err(Error::InvalidArgument { name: "the hidden state", found, expected });
        let n_embd = self.dense.as_ref().or(self.output.as_ref()).map_or(0, |first| first.cols);
        if pooled.len() != n_embd {
            return refused(format!("{} values", pooled.len()), format!("{n_embd}"));
        }
        if !self.gguf.has_data() {
            return refused("for a head opened for its metadata only".to_owned(), "one with its weights".to_owned());
        }
        let mut values: Vec<f64> = pooled.iter().map(|x| f64::from(*x)).collect();
        if let Some(dense) = &self.dense {
            values = apply(dense, &self.gguf, &values).map(libm::tanh).collect();
        }
        if let Some(output) = &self.output {
            values = apply(output, &self.gguf, &values).collect();
        }
        Ok(values.into_iter().map(|score| score as f32).collect())
    }
}

/// W x + b, a row at a time: the weights are few and stay where they are in the file.
fn apply(linear: &Linear, gguf: &Gguf, x: &[f64]) -> impl Iterator<Item = f64> {
    let mut weights = vec![0.0; linear.cols];
    (0..linear.rows).map(move |row| {
        linear.row(gguf, row, &mut weights);
        let sum = weights.iter().zip(x).fold(0.0, |sum, (w, x)| sum + f64::from(*w) * x);
        sum + linear.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]))
    })
}

fn labels(keys: &Keys, n_classes: usize) -> Result<Vec<String>> {
    const KEY: &str = "classifier.output_labels";
    let Some(array) = keys.gguf.get_array(&keys.name(KEY))?.filter(|array| !array.is_empty()) else {
        return Ok((0..n_classes).map(|class| format!("LABEL_{class}")).collect());
    };
    let texts = array.iter_strs().filter(|_| array.len() == n_classes);
    let texts = texts.and_then(|texts| texts.map(|text| String::from_utf8(text.to_vec()).ok()).collect());
    let found = || format!("an array of {} {}", array.len(), array.elem_type().name());
    texts.ok_or_else(|| keys.bad(KEY, found(), format!("{n_classes} texts, one for each class")))
}

impl Model {
    /// The head that was attached, or the model's own.
    pub fn head(&self) -> Option<&Head> {
        self.0.head.as_ref()
    }

    /// The names of the head's classes; none without a head.
    pub fn labels(&self) -> &[String] {
        self.head().map_or(&[], Head::labels)
    }

    /// The name of a class; `None` beyond the last.
    pub fn label(&self, class: usize) -> Option<&str> {
        self.labels().get(class).map(String::as_str)
    }

    /// How the file says that [`super::Session::embed`] is to pool; the mean, if it says nothing.
    pub fn pooling(&self) -> Pooling {
        self.0.pooling.unwrap_or_default()
    }

    /// Warns of a head that was made for another model of this shape.
    pub(super) fn check_head(&self, log: &Log) {
        let Some(head) = self.head().filter(|_| log.takes(Level::Warn) && self.gguf().has_data()) else { return };
        let made_for = head.gguf.get_str(FINGERPRINT).ok().flatten();
        if made_for.is_some_and(|made_for| made_for != format!("{:032x}", self.fingerprint())) {
            let (head, model) = (head.gguf.name(), self.gguf().name());
            log.write(Level::Warn, || format!("{head}: the head was trained with another model than {model}"));
        }
    }
}
