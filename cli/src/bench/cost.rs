//! What a token costs, by the shapes of a model's matrices: what speeds are compared with peaks by.

use pumice::Gguf;

/// Of a step's matrix products. Attention, norms and rotary positions are not counted.
#[derive(Debug, Default, PartialEq)]
pub struct Cost {
    /// Bytes of weights that a step reads, whatever its number of tokens.
    pub bytes: usize,
    /// Multiply-accumulates for a token.
    token: usize,
    /// Multiply-accumulates for an output, which a prompt has one of.
    output: usize,
}

impl Cost {
    /// Of a model's tensors: all matrices of its layers, and the output matrix or what it is tied to.
    pub fn of(gguf: &Gguf) -> Self {
        let output = if gguf.tensor("output.weight").is_some() { "output.weight" } else { "token_embd.weight" };
        let mut cost = Self::default();
        for tensor in gguf.tensors().iter().filter(|tensor| tensor.dims.as_slice().len() == 2) {
            if tensor.name == output {
                cost.output = tensor.dims.elements();
            } else if tensor.name.starts_with("blk.") {
                cost.token += tensor.dims.elements();
            } else {
                continue;
            }
            cost.bytes += tensor.byte_len();
        }
        cost
    }

    /// Multiply-accumulates of so many tokens, some of which have outputs.
    pub fn macs(&self, tokens: usize, outputs: usize) -> f64 {
        tokens as f64 * self.token as f64 + outputs as f64 * self.output as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_model_costs_what_its_shapes_say() {
        let gguf = crate::source::embedded().unwrap();
        let cost = Cost::of(&gguf);
        let model = pumice::Model::from_gguf(gguf).unwrap();
        let p = model.params();
        let attention = 2 * p.n_embd * (p.n_head + p.n_head_kv) * p.head_dim;
        assert_eq!(cost.token, p.n_layer * (attention + 3 * p.n_embd * p.n_ff));
        assert_eq!(cost.output, p.n_embd * p.n_vocab);
        assert_eq!(cost.macs(10, 1), (10 * cost.token + cost.output) as f64);
        // Its weights are Q4_0 or wider, the embedding is tied, and the file holds little else.
        assert!(cost.bytes > (cost.token + cost.output) * 18 / 32 && cost.bytes < model.gguf().file_bytes() as usize);
    }
}
