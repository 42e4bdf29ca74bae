//! What the tensors of the new file are made of, and the making.

use std::collections::HashSet;

use pumice::gguf::Header;
use pumice::quant::{GgmlType, dequantize, quantize};

use super::checkpoint::{Checkpoint, Source};
use super::head;
use super::json::Json;
use crate::failure::Failure;

/// How rows are found in the checkpoint's tensor.
#[derive(Clone, Copy, PartialEq)]
pub enum Rows {
    /// They are its rows.
    Same,
    /// They are its columns: GPT-1 and GPT-2 keep weights as `[inputs, outputs]`.
    Columns,
    /// Of each of these many heads, dimension `i` and `i + head_dim / 2` become neighbours. Hugging Face turns dimensions
    /// that far apart together, GGUF's `llama` neighbours.
    Paired(usize),
}

/// All tensors of the file to be, in its order.
pub struct Plan<'a> {
    checkpoint: &'a Checkpoint,
    ty: GgmlType,
    /// What stands before the names of most of the checkpoint's tensors.
    prefix: &'static str,
    taken: HashSet<String>,
    tensors: Vec<Tensor<'a>>,
    /// Classes of a classification head, if there is one.
    n_classes: Option<usize>,
}

/// A tensor of the file to be.
pub struct Tensor<'a> {
    name: String,
    /// Innermost first.
    dims: Vec<usize>,
    ty: GgmlType,
    content: Content<'a>,
}

enum Content<'a> {
    Values(Vec<f32>),
    Taken(Source<'a>, Rows),
}

impl<'a> Plan<'a> {
    /// For matrices of type `ty`.
    pub fn new(checkpoint: &'a Checkpoint, ty: GgmlType) -> Self {
        Plan { checkpoint, ty, prefix: "", taken: HashSet::new(), tensors: Vec::new(), n_classes: None }
    }

    /// Names of tensors start with `prefix` from here on, if `probe` is there under it; models are saved with and without.
    pub fn prefix(&mut self, prefix: &'static str, probe: &str) {
        self.prefix = if self.checkpoint.has(&format!("{prefix}{probe}")) { prefix } else { "" };
    }

    /// A matrix `to.weight` from `from.weight` of the checkpoint.
    pub fn matrix(&mut self, from: &str, to: &str, outputs: usize, inputs: usize, rows: Rows) -> Result<(), Failure> {
        let shape = if rows == Rows::Columns { [inputs, outputs] } else { [outputs, inputs] };
        let from = format!("{}{from}.weight", self.prefix);
        self.take(&from, format!("{to}.weight"), &shape, vec![inputs, outputs], rows)
    }

    /// A vector, both names in full but for the prefix.
    pub fn vector(&mut self, from: &str, to: &str, len: usize, rows: Rows) -> Result<(), Failure> {
        let from = format!("{}{from}", self.prefix);
        self.take(&from, to.to_owned(), &[len], vec![len], rows)
    }

    /// A matrix and its bias.
    pub fn biased(&mut self, from: &str, to: &str, outputs: usize, inputs: usize, rows: Rows) -> Result<(), Failure> {
        self.matrix(from, to, outputs, inputs, rows)?;
        // the vector has no columns to be its rows
        let rows = if rows == Rows::Columns { Rows::Same } else { rows };
        self.vector(&format!("{from}.bias"), &format!("{to}.bias"), outputs, rows)
    }

    /// LayerNorm's weight and bias.
    pub fn layer_norm(&mut self, from: &str, to: &str, len: usize) -> Result<(), Failure> {
        self.vector(&format!("{from}.weight"), &format!("{to}.weight"), len, Rows::Same)?;
        self.vector(&format!("{from}.bias"), &format!("{to}.bias"), len, Rows::Same)
    }

    /// The output matrix, unless it is the embedding `embedding`, as `tie_word_embeddings` says; of a classifier, its head.
    pub fn output(&mut self, config: &Json, tied: bool, embedding: &str, n_vocab: usize) -> Result<(), Failure> {
        const OUTPUT: &str = "lm_head.weight";
        let embedding = self.checkpoint.get(&format!("{}{embedding}.weight", self.prefix))?;
        let n_embd = embedding.shape.get(1).copied().unwrap_or(0);
        let shape = [n_vocab, n_embd];
        if head::is_there(config) {
            return self.head(n_embd);
        }
        if !config.flag("tie_word_embeddings")?.unwrap_or(tied) {
            return self.take(OUTPUT, "output.weight".to_owned(), &shape, vec![n_embd, n_vocab], Rows::Same);
        }
        if self.checkpoint.has(OUTPUT) {
            let output = self.checkpoint.get(OUTPUT)?;
            if (output.ty, output.shape, output.data) != (embedding.ty, embedding.shape, embedding.data) {
                let expected = "the embedding, as `tie_word_embeddings` of config.json says";
                return Err(self.checkpoint.bad(OUTPUT, "another matrix", expected));
            }
            self.taken.insert(OUTPUT.to_owned());
        }
        Ok(())
    }

    fn head(&mut self, n_embd: usize) -> Result<(), Failure> {
        let found = self.checkpoint.get(head::SCORE)?;
        let &[n_classes @ 1..=usize::MAX, _] = found.shape else {
            let found = format!("of shape {:?}", found.shape);
            return Err(self.checkpoint.bad(head::SCORE, found, format!("[classes, {n_embd}]")));
        };
        self.n_classes = Some(n_classes);
        let (shape, dims) = ([n_classes, n_embd], vec![n_embd, n_classes]);
        self.take(head::SCORE, "cls.output.weight".to_owned(), &shape, dims, Rows::Same)
    }

    /// How many classes the model's head tells apart, if it has one.
    pub fn n_classes(&self) -> Option<usize> {
        self.n_classes
    }

    /// A tensor that the checkpoint does not have.
    pub fn values(&mut self, name: &str, values: Vec<f32>) {
        let (name, dims) = (name.to_owned(), vec![values.len()]);
        self.tensors.push(Tensor { name, dims, ty: GgmlType::F32, content: Content::Values(values) });
    }

    fn take(&mut self, from: &str, to: String, shape: &[usize], dims: Vec<usize>, rows: Rows) -> Result<(), Failure> {
        let source = self.checkpoint.get(from)?;
        if source.shape != shape {
            return Err(self.checkpoint.bad(from, format!("of shape {:?}", source.shape), format!("{shape:?}")));
        }
        let ty = self.type_of(&to, &dims);
        self.taken.insert(from.to_owned());
        self.tensors.push(Tensor { name: to, dims, ty, content: Content::Taken(source, rows) });
        Ok(())
    }

    fn type_of(&self, name: &str, dims: &[usize]) -> GgmlType {
        if dims.len() < 2 || matches!(name, "position_embd.weight" | "cls.output.weight") {
            GgmlType::F32
        } else if self.ty.row_bytes(dims[0]).is_some() {
            self.ty
        } else {
            GgmlType::F16
        }
    }

    /// Takes note of tensors that no result depends on, such as masks that were saved along.
    pub fn ignore(&mut self, ends: &[&str]) {
        let names = self.checkpoint.names().into_iter().filter(|name| ends.iter().any(|end| name.ends_with(end)));
        self.taken.extend(names.map(str::to_owned));
    }

    /// Refuses a checkpoint with tensors that nothing has been made of.
    pub fn check_nothing_is_left(&self) -> Result<(), Failure> {
        match self.checkpoint.names().into_iter().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(self.checkpoint.bad(name, "there", "no such tensor in a model with this config.json")),
            None => Ok(()),
        }
    }

    /// The number of weights.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.dims.iter().map(|d| *d as u64).product::<u64>()).sum()
    }

    /// Puts the tensors into the new file's table.
    pub fn enter(&self, header: &mut Header) -> Result<(), Failure> {
        for Tensor { name, dims, ty, .. } in &self.tensors {
            header.tensor(name, dims, *ty)?;
        }
        Ok(())
    }

    /// The tensors, in the file's order.
    pub fn tensors(&self) -> &[Tensor<'a>] {
        &self.tensors
    }
}

/// Elements that are converted at once: a few megabytes of f32.
const AT_ONCE: usize = 1 << 20;

impl Tensor<'_> {
    /// Makes the tensor's bytes, which `write` gets in pieces.
    pub fn convert(&self, mut write: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        match &self.content {
            Content::Values(values) => {
                quantize(self.ty, values, &mut bytes)?;
                write(&bytes)
            }
            Content::Taken(source, Rows::Same) if source.ty == self.ty => {
                source.data.chunks(AT_ONCE * 4).try_for_each(write)
            }
            Content::Taken(source, rows) => {
                // A vector's elements are rows of one.
                let (cols, n_rows) = if self.dims.len() < 2 { (1, self.dims[0]) } else { (self.dims[0], self.dims[1]) };
                let at_once = (AT_ONCE / cols).max(1);
                let mut values = vec![0.0; at_once.min(n_rows) * cols];
                for start in (0..n_rows).step_by(at_once) {
                    let values = &mut values[..at_once.min(n_rows - start) * cols];
                    source.rows(*rows, n_rows, start, values)?;
                    bytes.clear();
                    quantize(self.ty, values, &mut bytes)?;
                    write(&bytes)?;
                }
                Ok(())
            }
        }
    }
}

impl Source<'_> {
    /// Reads the rows from `start` on, of `n_rows` in all, until `out` is full.
    fn rows(&self, rows: Rows, n_rows: usize, start: usize, out: &mut [f32]) -> pumice::Result<()> {
        let cols = self.shape.iter().product::<usize>() / n_rows;
        match rows {
            Rows::Same => self.read(start * cols, out),
            Rows::Paired(heads) => {
                let (head_dim, half) = (n_rows / heads, n_rows / heads / 2);
                out.chunks_exact_mut(cols).zip(start..).try_for_each(|(out, row)| {
                    let (head, i) = (row / head_dim, row % head_dim);
                    self.read((head * head_dim + i % 2 * half + i / 2) * cols, out)
                })
            }
            Rows::Columns => {
                let mut part = vec![0.0; out.len() / cols];
                for col in 0..cols {
                    self.read(col * n_rows + start, &mut part)?;
                    out[col..].iter_mut().step_by(cols).zip(&part).for_each(|(out, value)| *out = *value);
                }
                Ok(())
            }
        }
    }

    /// Reads elements from number `start` on until `out` is full.
    fn read(&self, start: usize, out: &mut [f32]) -> pumice::Result<()> {
        let size = self.ty.block_bytes();
        let bytes = self.data.get(start * size..(start + out.len()) * size);
        dequantize(self.ty, bytes.unwrap_or_default(), out)
    }
}
