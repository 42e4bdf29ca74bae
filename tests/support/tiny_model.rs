//! Tiny models with random weights, of every family with two layers, as GGUF bytes.
#![allow(dead_code)] // each test crate uses its own part

use pumice::quant::GgmlType;
use pumice::{Bytes, Model, Result, Session, SessionOptions, Token};

use super::gguf_bytes::{self as gguf, File, Value};

pub const N_VOCAB: usize = 40;
pub const N_EMBD: usize = 64;
pub const N_CTX: u32 = 300;
const N_FF: usize = 96;
const N_LAYER: usize = 2;

/// So many tokens, in a row that does not repeat soon.
pub fn tokens(n: usize) -> Vec<Token> {
    (0..n).map(|i| (i * i * 7 + i) as Token % N_VOCAB as Token).collect()
}

/// One thread.
pub fn options() -> SessionOptions {
    SessionOptions { threads: 1, ..SessionOptions::default() }
}

/// With these options.
pub fn session(model: &Model) -> Session {
    Session::new(model, &options()).unwrap()
}

/// A model under construction: metadata and tensors by name, to be changed before it is built.
#[derive(Clone)]
pub struct Tiny {
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
    random: u64,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub dims: Vec<u64>,
    pub ty: GgmlType,
    pub bytes: Vec<u8>,
}

impl Tiny {
    /// Four heads of sixteen that share two key-value heads; no `output.weight`.
    pub fn llama() -> Self {
        let mut m = Self::common("llama");
        m.set("llama.attention.head_count", gguf::u32(4));
        m.set("llama.attention.head_count_kv", gguf::u32(2));
        m.set("llama.attention.layer_norm_rms_epsilon", gguf::f32(1e-5));
        m.vector("output_norm.weight", N_EMBD, 1.0);
        for i in 0..N_LAYER {
            m.vector(&format!("blk.{i}.attn_norm.weight"), N_EMBD, 1.0);
            m.matrix(&format!("blk.{i}.attn_q.weight"), N_EMBD, N_EMBD, GgmlType::Q8_0);
            m.matrix(&format!("blk.{i}.attn_k.weight"), 32, N_EMBD, GgmlType::Q8_0);
            m.matrix(&format!("blk.{i}.attn_v.weight"), 32, N_EMBD, GgmlType::Q8_0);
            m.matrix(&format!("blk.{i}.attn_output.weight"), N_EMBD, N_EMBD, GgmlType::F32);
            m.vector(&format!("blk.{i}.ffn_norm.weight"), N_EMBD, 1.0);
            m.matrix(&format!("blk.{i}.ffn_gate.weight"), N_FF, N_EMBD, GgmlType::Q8_0);
            m.matrix(&format!("blk.{i}.ffn_up.weight"), N_FF, N_EMBD, GgmlType::Q8_0);
            m.matrix(&format!("blk.{i}.ffn_down.weight"), N_EMBD, N_FF, GgmlType::Q8_0);
        }
        m
    }

    /// Four heads of sixteen, learned positions.
    pub fn gpt2() -> Self {
        let mut m = Self::common("gpt2");
        m.set("gpt2.attention.head_count", gguf::u32(4));
        m.set("gpt2.attention.layer_norm_epsilon", gguf::f32(1e-5));
        m.matrix("position_embd.weight", N_CTX as usize, N_EMBD, GgmlType::F32);
        m.norm("output_norm");
        for i in 0..N_LAYER {
            m.norm(&format!("blk.{i}.attn_norm"));
            m.norm(&format!("blk.{i}.ffn_norm"));
            for (name, rows, cols) in [
                ("attn_qkv", 3 * N_EMBD, N_EMBD),
                ("attn_output", N_EMBD, N_EMBD),
                ("ffn_up", N_FF, N_EMBD),
                ("ffn_down", N_EMBD, N_FF),
            ] {
                m.matrix(&format!("blk.{i}.{name}.weight"), rows, cols, GgmlType::Q8_0);
                m.vector(&format!("blk.{i}.{name}.bias"), rows, 0.1);
            }
        }
        m
    }

    /// The same, with norms after the blocks.
    pub fn gpt1() -> Self {
        let mut m = Self::gpt2().of_family("gpt1");
        for suffix in ["weight", "bias"] {
            m.remove_tensor(&format!("output_norm.{suffix}"));
            for i in 0..N_LAYER {
                m.rename(&format!("blk.{i}.attn_norm.{suffix}"), &format!("blk.{i}.attn_output_norm.{suffix}"));
                m.rename(&format!("blk.{i}.ffn_norm.{suffix}"), &format!("blk.{i}.layer_output_norm.{suffix}"));
            }
        }
        m
    }

    /// The same as GPT-2, with scores as they are and a second layer that sees the last forty positions.
    pub fn gptneo() -> Self {
        let mut m = Self::gpt2().of_family("gptneo");
        m.set("gptneo.attention.scale", gguf::f32(1.0));
        m.set("gptneo.attention.sliding_window", gguf::u32(40));
        m.set("gptneo.attention.sliding_window_pattern", Self::pattern([false, true]));
        m
    }

    /// Which of the two layers see the last few positions only.
    pub fn pattern(local: [bool; N_LAYER]) -> Value {
        gguf::array(7, local.into_iter().map(gguf::bool).collect())
    }

    /// The same tensors under another family's keys.
    fn of_family(mut self, arch: &str) -> Self {
        let old = self.keys.iter().find(|(key, _)| key.ends_with(".block_count")).expect("a family's key").0.clone();
        let old = old.trim_end_matches("block_count");
        for (key, _) in &mut self.keys {
            if let Some(rest) = key.strip_prefix(old) {
                *key = format!("{arch}.{rest}");
            }
        }
        self.set("general.architecture", gguf::str(arch));
        self
    }

    fn rename(&mut self, from: &str, to: &str) {
        let tensor = self.remove_tensor(from);
        self.tensors.push(Tensor { name: to.to_owned(), ..tensor });
    }

    /// One of each family.
    pub fn all() -> [Self; 4] {
        [Self::llama(), Self::gpt2(), Self::gpt1(), Self::gptneo()]
    }

    fn common(arch: &str) -> Self {
        let mut m = Self { keys: Vec::new(), tensors: Vec::new(), random: 1 };
        m.set("general.architecture", gguf::str(arch));
        m.set(&format!("{arch}.context_length"), gguf::u32(N_CTX));
        m.set(&format!("{arch}.embedding_length"), gguf::u32(N_EMBD as u32));
        m.set(&format!("{arch}.block_count"), gguf::u32(N_LAYER as u32));
        m.set(&format!("{arch}.feed_forward_length"), gguf::u32(N_FF as u32));
        m.matrix("token_embd.weight", N_VOCAB, N_EMBD, GgmlType::Q8_0);
        m
    }

    /// Sets a key, or replaces it.
    pub fn set(&mut self, key: &str, value: Value) {
        self.keys.retain(|(k, _)| k != key);
        self.keys.push((key.to_owned(), value));
    }

    pub fn remove_key(&mut self, key: &str) {
        self.keys.retain(|(k, _)| k != key);
    }

    pub fn remove_tensor(&mut self, name: &str) -> Tensor {
        let at = self.tensors.iter().position(|t| t.name == name).expect(name);
        self.tensors.remove(at)
    }

    /// Random weights of `rows` outputs, F32 or Q8_0.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize, ty: GgmlType) {
        let mut bytes = Vec::new();
        if ty == GgmlType::Q8_0 {
            for _ in 0..rows * cols / 32 {
                bytes.extend(half::f16::from_f32(0.002).to_le_bytes());
                bytes.extend((0..32).map(|_| (self.next() * 127.0) as i8 as u8));
            }
        } else {
            bytes = (0..rows * cols).flat_map(|_| (self.next() * 0.25).to_le_bytes()).collect();
        }
        self.tensors.push(Tensor { name: name.to_owned(), dims: vec![cols as u64, rows as u64], ty, bytes });
    }

    /// F32 values around `middle`.
    pub fn vector(&mut self, name: &str, len: usize, middle: f32) {
        let bytes = (0..len).flat_map(|_| (middle + self.next() * 0.1).to_le_bytes()).collect();
        self.tensors.push(Tensor { name: name.to_owned(), dims: vec![len as u64], ty: GgmlType::F32, bytes });
    }

    fn norm(&mut self, name: &str) {
        self.vector(&format!("{name}.weight"), N_EMBD, 1.0);
        self.vector(&format!("{name}.bias"), N_EMBD, 0.0);
    }

    /// Between -1 and 1.
    fn next(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = File::new(3);
        for (key, value) in &self.keys {
            file = file.key(key, value.clone());
        }
        let mut offset = 0;
        for t in &self.tensors {
            file = file.tensor(&t.name, &t.dims, t.ty.id(), offset);
            offset += t.bytes.len().next_multiple_of(32) as u64;
        }
        for t in &self.tensors {
            file = file.bytes_of_data(&t.bytes);
        }
        file.bytes()
    }

    pub fn build(&self) -> Result<Model> {
        Model::from_bytes("tiny.gguf", Bytes::from_vec(self.bytes()))
    }
}
