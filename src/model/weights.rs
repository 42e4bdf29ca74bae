//! A model's tensors, found and checked once, read from the file's bytes ever after.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::cpu::Matrix;
use crate::gguf::TensorInfo;
use crate::quant::{GgmlType, dequantize, is_supported, supported_types};
use crate::{Error, Gguf, Result};

use super::params::Params;

/// y = W x + b. `W` stays where it is in the file.
#[derive(Debug)]
pub(super) struct Linear {
    /// The tensor's place in the file's table.
    tensor: TensorInfo,
    /// The first of its rows, and how many.
    start: usize,
    pub rows: usize,
    pub cols: usize,
    /// `rows` values.
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    pub fn ty(&self) -> GgmlType {
        self.tensor.ty
    }

    /// Fine or not is for the caller to say.
    pub fn matrix<'a>(&self, gguf: &'a Gguf) -> Matrix<'a> {
        let data = self.bytes(gguf, 0, self.rows);
        Matrix { ty: self.tensor.ty, data, rows: self.rows, cols: self.cols, fine: false }
    }

    /// Some of its rows.
    fn bytes<'a>(&self, gguf: &'a Gguf, first: usize, rows: usize) -> &'a [u8] {
        let row = self.tensor.ty.row_bytes(self.cols).expect("whole blocks, checked when the model was opened");
        &gguf.tensor_data(&self.tensor)[(self.start + first) * row..][..rows * row]
    }

    /// The first `rows` rows, and the others.
    pub fn split(self, rows: usize) -> [Self; 2] {
        let (mut first, mut rest) = (self.bias, None);
        if let Some(bias) = &mut first {
            // (Of a file without data, biases have no values.)
            rest = Some(bias.split_off(rows.min(bias.len())));
        }
        let (cols, start) = (self.cols, self.start + rows);
        [
            Self { tensor: self.tensor.clone(), start: self.start, rows, cols, bias: first },
            Self { tensor: self.tensor, start, rows: self.rows - rows, cols, bias: rest },
        ]
    }

    /// Row `row`, dequantized into `out`, which holds `cols` values.
    pub fn row(&self, gguf: &Gguf, row: usize, out: &mut [f32]) {
        let read = dequantize(self.tensor.ty, self.bytes(gguf, row, 1), out);
        debug_assert!(read.is_ok(), "the type and the lengths were checked when the model was opened");
    }
}

/// RMSNorm, or LayerNorm if there is a bias.
#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub eps: f32,
}

/// Finds tensors by name and checks their shapes.
pub(super) struct Loader<'a> {
    pub gguf: &'a Gguf,
    /// Whether there is anything to read besides names and shapes.
    pub data: bool,
    /// Tensors that the architecture has asked for.
    pub used: RefCell<BTreeSet<String>>,
}

impl Loader<'_> {
    /// The matrix `name.weight` of `rows` outputs and `cols` inputs, with `name.bias` if it is there.
    pub fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        let weight = format!("{name}.weight");
        let tensor = self.need(&weight)?;
        self.check_shape(tensor, &[cols, rows])?;
        let bias = format!("{name}.bias");
        let bias = self.gguf.tensor(&bias).map(|_| self.vector(&bias, rows)).transpose()?;
        Ok(Linear { tensor: tensor.clone(), start: 0, rows, cols, bias })
    }

    /// The same, if it is there.
    pub fn linear_if(&self, name: &str, rows: usize, cols: usize) -> Result<Option<Linear>> {
        self.gguf.tensor(&format!("{name}.weight")).map(|_| self.linear(name, rows, cols)).transpose()
    }

    /// The table of learned positions, `position_embd.weight`. It bounds the context, whatever the metadata says.
    pub fn positions(&self, p: &mut Params) -> Result<Linear> {
        let rows = self.gguf.tensor("position_embd.weight").map_or(p.n_ctx_train, |t| t.dims.rows());
        let table = self.linear("position_embd", rows, p.n_embd)?;
        p.n_ctx_train = p.n_ctx_train.min(rows);
        p.n_ctx_max = p.n_ctx_train;
        Ok(table)
    }

    /// `name.weight`, and `name.bias` if `with_bias`.
    pub fn norm(&self, name: &str, len: usize, eps: f32, with_bias: bool) -> Result<Norm> {
        let bias = with_bias.then(|| self.vector(&format!("{name}.bias"), len)).transpose()?;
        Ok(Norm { weight: self.vector(&format!("{name}.weight"), len)?, bias, eps })
    }

    /// All elements of a small tensor, as f32.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let tensor = self.need(name)?;
        self.check_shape(tensor, &[len])?;
        if !self.data {
            return Ok(Vec::new());
        }
        let mut out = vec![0.0; len];
        dequantize(tensor.ty, self.gguf.tensor_data(tensor), &mut out)?;
        Ok(out)
    }

    fn need(&self, name: &str) -> Result<&TensorInfo> {
        let missing = || Error::MissingTensor { file: self.gguf.name().to_owned(), name: name.to_owned() };
        let tensor = self.gguf.tensor(name).ok_or_else(missing)?;
        self.used.borrow_mut().insert(name.to_owned());
        Ok(tensor)
    }

    fn check_shape(&self, tensor: &TensorInfo, dims: &[usize]) -> Result<()> {
        if (0..4).any(|i| tensor.dims.get(i) != dims.get(i).copied().unwrap_or(1)) {
            return Err(Error::BadTensor {
                file: self.gguf.name().to_owned(),
                name: tensor.name.clone(),
                found: format!("of shape {}", tensor.dims),
                expected: format!("{dims:?}"),
            });
        }
        if !is_supported(tensor.ty) {
            return Err(Error::Unsupported {
                file: self.gguf.name().to_owned(),
                what: "tensor type",
                found: format!("{} of `{}`", tensor.ty, tensor.name),
                supported: supported_types(),
            });
        }
        Ok(())
    }
}
