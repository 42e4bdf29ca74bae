//! Sound files that are not models this library runs: each ends in an error that names what is wrong.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use gguf_bytes as gguf;
use pumice::Error;
use pumice::quant::GgmlType;
use tiny_model::{N_EMBD, N_VOCAB, Tiny};

fn error(change: impl Fn(&mut Tiny)) -> String {
    let mut tiny = Tiny::llama();
    change(&mut tiny);
    match tiny.build() {
        Ok(_) => panic!("the model opened"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("tiny.gguf: ") && !text.contains('\n'), "{text}");
            text
        }
    }
}

#[test]
fn the_tiny_models_are_sound() {
    for tiny in Tiny::all() {
        let model = tiny.build().unwrap();
        assert_eq!((model.params().n_vocab, model.params().n_head), (N_VOCAB, 4));
    }
}

#[test]
fn architectures_that_are_not_there() {
    let text = error(|m| m.set("general.architecture", gguf::str("mamba")));
    assert_eq!(text, "tiny.gguf: architecture `mamba` is not supported; supported: gpt1, gpt2, gptneo, llama");
    assert_eq!(
        error(|m| m.remove_key("general.architecture")),
        "tiny.gguf: the metadata key `general.architecture` is missing"
    );
    assert!(error(|m| m.set("llama.expert_count", gguf::u32(8))).contains("mixture of experts `8 experts`"));
    assert!(error(|m| m.set("llama.rope.scaling.type", gguf::str("yarn"))).contains("RoPE scaling `yarn`"));
}

#[test]
fn every_key_that_is_needed() {
    for key in [
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        let mut tiny = Tiny::llama();
        tiny.remove_key(key);
        assert!(matches!(tiny.build(), Err(Error::MissingKey { key: k, .. }) if k == key), "{key}");
    }
}

#[test]
fn values_that_make_no_sense() {
    for (key, value, part) in [
        ("llama.attention.head_count", gguf::u32(0), "is 0, expected 1 to 2147483648"),
        ("llama.attention.head_count", gguf::str("four"), "expected"),
        ("llama.attention.head_count_kv", gguf::u32(3), "is 3, expected a divisor of the 4 heads"),
        ("llama.attention.head_count_kv", gguf::array(4, vec![gguf::u32(2), gguf::u32(4)]), "2 and 4"),
        ("llama.embedding_length", gguf::u32(62), "is 62, expected a multiple of the 4 heads"),
        ("llama.attention.key_length", gguf::u32(1 << 20), "expected 1 to 256 elements a head"),
        ("llama.attention.value_length", gguf::u32(8), "is 8, expected 16, as the key's"),
        ("llama.rope.dimension_count", gguf::u32(15), "is 15, expected an even number"),
        ("llama.rope.dimension_count", gguf::u32(18), "is 18, expected an even number of at most 16"),
        ("llama.rope.freq_base", gguf::f32(f32::NAN), "expected a finite positive number"),
        ("llama.rope.scaling.factor", gguf::f32(0.0), "expected a finite positive number"),
        ("llama.attention.layer_norm_rms_epsilon", gguf::f32(-1.0), "expected a finite positive number"),
        ("llama.block_count", gguf::u64(u64::MAX), "expected 1 to 2147483648"),
    ] {
        let mut tiny = Tiny::llama();
        tiny.set(key, value);
        match tiny.build() {
            Err(error @ Error::BadKey { .. }) => {
                assert!(error.to_string().contains(key) && error.to_string().contains(part), "{error}");
            }
            Err(other) => panic!("{key}: {other}"),
            Ok(_) => panic!("{key} was accepted"),
        }
    }
}

#[test]
fn more_layers_than_tensors() {
    let text = error(|m| m.set("llama.block_count", gguf::u32(1 << 31)));
    assert_eq!(text, "tiny.gguf: the tensor `blk.2.attn_norm.weight` is missing");
}

#[test]
fn every_tensor_that_is_needed() {
    for base in Tiny::all() {
        for tensor in &base.tensors {
            let mut tiny = base.clone();
            tiny.remove_tensor(&tensor.name);
            match tiny.build() {
                // Without the fused projection, the split ones are looked for.
                Err(Error::MissingTensor { name, .. }) => assert_eq!(name, tensor.name.replace("qkv", "q")),
                // Biases of projections are optional everywhere.
                Ok(_) => assert!(tensor.name.ends_with(".bias") && !tensor.name.contains("norm"), "{}", tensor.name),
                Err(other) => panic!("{}: {other}", tensor.name),
            }
        }
    }
}

#[test]
fn tensors_of_another_shape_or_type() {
    let text = error(|m| {
        m.remove_tensor("blk.1.attn_k.weight");
        m.matrix("blk.1.attn_k.weight", 33, N_EMBD, GgmlType::F32);
    });
    assert_eq!(text, "tiny.gguf: the tensor `blk.1.attn_k.weight` is of shape [64, 33], expected [64, 32]");
    let text = error(|m| {
        let tensor = m.tensors.iter_mut().find(|t| t.name == "blk.0.attn_output.weight").unwrap();
        (tensor.ty, tensor.bytes) = (GgmlType::I32, vec![0; N_EMBD * N_EMBD * 4]);
    });
    assert!(text.contains("tensor type `I32 of `blk.0.attn_output.weight`` is not supported"), "{text}");
}
