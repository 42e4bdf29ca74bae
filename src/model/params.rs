//! A model's hyper-parameters, from the metadata.

use crate::cpu::MAX_HEAD_DIM;
use crate::{Error, Gguf, Result};

/// The shape of a model. Names are the field's; sizes are in elements.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Params {
    /// `general.architecture`: "llama", "gpt2", …
    pub arch: String,
    /// Positions the model was trained on.
    pub n_ctx_train: usize,
    /// Positions that a sequence may have: no more than it was trained on, where positions are learned.
    pub n_ctx_max: usize,
    /// The width of the residual stream.
    pub n_embd: usize,
    /// Layers.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads, which groups of query heads share.
    pub n_head_kv: usize,
    /// Elements of a query, a key and a value.
    pub head_dim: usize,
    /// The hidden width of the feed-forward block.
    pub n_ff: usize,
    /// Tokens: the rows of the embedding.
    pub n_vocab: usize,
}

/// The most positions that any sequence may have: what keeps all products with them in range.
const MAX_CTX: usize = 1 << 28;

/// Metadata under the architecture's own prefix: `key("block_count")` is `llama.block_count`.
pub(super) struct Keys<'a> {
    pub gguf: &'a Gguf,
    pub arch: &'a str,
}

impl Keys<'_> {
    pub fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    /// A number that must be there, from 1 to 2^31.
    pub fn size(&self, key: &str) -> Result<usize> {
        let name = self.name(key);
        self.checked(&name, self.gguf.need_u64(&name)?)
    }

    /// A number that may be missing.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        let name = self.name(key);
        self.gguf.get_u64(&name)?.map_or(Ok(default), |value| self.checked(&name, value))
    }

    /// A number that may be one for all layers or an array with one each; what all layers share.
    pub fn uniform(&self, key: &str) -> Result<Option<usize>> {
        let name = self.name(key);
        let Some(array) = self.gguf.get(&name).and_then(|value| value.as_array()) else {
            return self.gguf.get_u64(&name)?.map(|value| self.checked(&name, value)).transpose();
        };
        let kind = || self.gguf.bad_key(&name, "an array of something else", "a number, or one number for each layer");
        let mut values = array.iter_u64().ok_or_else(kind)?;
        let first = values.next().ok_or_else(kind)?;
        match values.find(|value| *value != first) {
            Some(other) => Err(self.gguf.bad_key(&name, format!("{first} and {other}"), "the same for every layer")),
            None => self.checked(&name, first).map(Some),
        }
    }

    /// A float that must be there, not negative and finite.
    pub fn float(&self, key: &str) -> Result<f32> {
        let name = self.name(key);
        let value = self.gguf.need_f32(&name)?;
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(self.bad_float(&name, value)) }
    }

    /// A float that may be missing, above 0 and finite.
    pub fn positive_or(&self, key: &str, default: f32) -> Result<f32> {
        let name = self.name(key);
        let value = self.gguf.get_f32(&name)?.unwrap_or(default);
        if value.is_finite() && value > 0.0 { Ok(value) } else { Err(self.bad_float(&name, value)) }
    }

    /// Text that may be missing.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.gguf.get_str(&self.name(key))
    }

    fn checked(&self, name: &str, value: u64) -> Result<usize> {
        match usize::try_from(value) {
            Ok(size @ 1..=0x8000_0000) => Ok(size),
            _ => Err(self.gguf.bad_key(name, value.to_string(), "1 to 2147483648")),
        }
    }

    fn bad_float(&self, name: &str, value: f32) -> Error {
        self.gguf.bad_key(name, value.to_string(), "a finite positive number")
    }
}

impl Params {
    /// Reads and checks what all architectures have in common.
    pub(super) fn read(keys: &Keys) -> Result<Self> {
        let (n_embd, n_head) = (keys.size("embedding_length")?, keys.uniform("attention.head_count")?);
        let n_head = n_head.ok_or_else(|| keys.missing("attention.head_count"))?;
        let n_head_kv = keys.uniform("attention.head_count_kv")?.unwrap_or(n_head);
        if !n_head.is_multiple_of(n_head_kv) {
            let (found, expected) = (n_head_kv.to_string(), format!("a divisor of the {n_head} heads"));
            return Err(keys.bad("attention.head_count_kv", found, expected));
        }
        if !n_embd.is_multiple_of(n_head) && keys.gguf.get(&keys.name("attention.key_length")).is_none() {
            let (found, expected) = (n_embd.to_string(), format!("a multiple of the {n_head} heads"));
            return Err(keys.bad("embedding_length", found, expected));
        }
        let head_dim = keys.size_or("attention.key_length", n_embd / n_head)?;
        if head_dim == 0 || head_dim > MAX_HEAD_DIM {
            let expected = format!("1 to {MAX_HEAD_DIM} elements a head");
            return Err(keys.bad("attention.key_length", head_dim.to_string(), expected));
        }
        let value_dim = keys.size_or("attention.value_length", head_dim)?;
        if value_dim != head_dim {
            let expected = format!("{head_dim}, as the key's");
            return Err(keys.bad("attention.value_length", value_dim.to_string(), expected));
        }
        let n_ff = keys.uniform("feed_forward_length")?.ok_or_else(|| keys.missing("feed_forward_length"))?;
        Ok(Self {
            arch: keys.arch.to_owned(),
            n_ctx_train: keys.size("context_length")?,
            n_ctx_max: MAX_CTX,
            n_embd,
            n_layer: keys.size("block_count")?,
            n_head,
            n_head_kv,
            head_dim,
            n_ff,
            n_vocab: keys.gguf.tensor("token_embd.weight").map_or(0, |t| t.dims.rows()),
        })
    }

    /// Elements of all queries of a token.
    pub(super) fn n_q(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Elements of all keys, or all values, of a token.
    pub(super) fn n_kv(&self) -> usize {
        self.n_head_kv * self.head_dim
    }
}

impl Keys<'_> {
    fn missing(&self, key: &str) -> Error {
        Error::MissingKey { file: self.gguf.name().to_owned(), key: self.name(key) }
    }

    pub fn bad(&self, key: &str, found: String, expected: String) -> Error {
        self.gguf.bad_key(&self.name(key), found, expected)
    }
}
