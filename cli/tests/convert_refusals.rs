//! Checkpoints that cannot be converted faithfully are refused: by file, key or tensor, what it is and what it should be.
//! Nothing that a checkpoint holds ends the program in another way.

#[path = "support/checkpoint.rs"]
mod checkpoint;
#[path = "support/pumice.rs"]
mod program;

use std::fs;

use checkpoint::Folder;
use program::run;
use serde_json::{Value, json};

/// What a conversion says that fails. It leaves no file behind.
#[track_caller]
fn failure(folder: &Folder) -> String {
    let before = fs::read_dir(&folder.0).unwrap().count();
    let run = run(&["convert", folder.path(), folder.file("out.gguf").to_str().unwrap()]);
    assert_eq!((run.code, &*run.out), (Some(1), ""), "{}", run.err);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), before);
    let lines: Vec<&str> = run.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("pumice: "), "{:?}", run.err);
    run.err
}

/// Spoils a copy of a fixture; the failure has to say all of `says`.
#[track_caller]
fn refused(name: &str, spoil: impl FnOnce(&Folder), says: &[&str]) {
    let folder = Folder::copy(name);
    spoil(&folder);
    let said = failure(&folder);
    assert!(says.iter().all(|part| said.contains(part)), "{says:?}: {said}");
}

/// Sets one key of config.json.
#[track_caller]
fn config(name: &str, key: &str, value: impl Into<Value>, says: &[&str]) {
    let key_says = format!("`{}`", key.replace('/', "."));
    let set = |folder: &Folder| {
        folder.edit("config.json", |config| {
            let (parent, key) = key.rsplit_once('/').map_or(("", key), |(parent, key)| (parent, key));
            let parent = if parent.is_empty() { config } else { &mut config[parent] };
            parent[key] = value.into();
        });
    };
    refused(name, set, &[&["config.json: ", &*key_says][..], says].concat());
}

#[test]
fn what_an_engine_does_not_compute() {
    config("gpt2", "activation_function", "relu", &["\"relu\"", "gelu_new"]);
    config("gpt2", "activation_function", "gelu", &["\"gelu\"", "gelu_new"]);
    config("gpt1", "afn", "silu", &["\"silu\"", "gelu"]);
    config("gptneo", "activation_function", "gelu", &["\"gelu\""]);
    config("llama2", "hidden_act", "gelu", &["\"gelu\"", "silu"]);
    config("gpt2", "scale_attn_by_inverse_layer_idx", true, &["true, expected false"]);
    config("gpt2", "scale_attn_weights", false, &["false, expected true"]);
    config("gpt2", "add_cross_attention", true, &["true, expected false"]);
    config("llama2", "partial_rotary_factor", 0.5, &["0.5, expected 1"]);
    let yarn = |f: &Folder| f.edit("config.json", |c| c["rope_scaling"]["type"] = "yarn".into());
    refused("llama2", yarn, &["`rope_scaling.rope_type` is \"yarn\"", "linear or llama3"]);
    config("llama3", "rope_parameters/rope_type", "dynamic", &["\"dynamic\"", "default, linear or llama3"]);
    config("llama3", "rope_parameters/factor", Value::Null, &["missing"]);
    config("llama3", "rope_parameters/high_freq_factor", 0.5, &["0.5, expected more than low_freq_factor"]);
    config("llama3", "rope_parameters", json!({"full_attention": {"rope_type": "default"}}), &["full_attention"]);
    config("gptneo", "attention_types", json!([[["global", "sparse"], 2]]), &["sparse", "each of the 4 layers"]);
    config("gptneo", "attention_types", json!([[["global", "local"], 3]]), &["4 layers"]);
    config("gptneo", "attention_types", json!([[["global", "local"], 1u64 << 60]]), &["4 layers"]);
    config("llama3", "quantization_config", json!({"quant_method": "gptq", "bits": 4}), &["gptq", "expected none"]);
}

#[test]
fn configurations_that_make_no_sense() {
    config("gpt2", "model_type", "bert", &["bert, expected one of openai-gpt, gpt2, gpt_neo, llama"]);
    config("gpt2", "model_type", Value::Null, &["missing"]);
    config("gpt2", "n_head", 7, &["7, expected a divisor of the width 60"]);
    config("gpt2", "n_head", 0, &["0, expected a number from 1"]);
    config("gpt2", "n_layer", -1, &["-1, expected a number from 1"]);
    config("gpt2", "n_embd", "60", &["\"60\", expected a number"]);
    config("gpt2", "vocab_size", 1u64 << 40, &["1099511627776"]);
    config("gpt2", "layer_norm_epsilon", 0, &["0, expected a positive number"]);
    config("llama2", "num_key_value_heads", 2, &["2, expected a divisor of the 3 heads"]);
    config("llama2", "head_dim", 7, &["7 dimensions a head, expected an even number"]);
    config("llama2", "rope_theta", 1e300, &["1e+300, expected a positive number"]);
    config("llama2", "tie_word_embeddings", "no", &["\"no\", expected true or false"]);
    refused(
        "llama2",
        |f| fs::write(f.file("config.json"), "[1]").unwrap(),
        &["config.json: is [1], expected an object"],
    );
    refused("llama2", |f| fs::write(f.file("config.json"), "{\"a").unwrap(), &["config.json: not JSON"]);
    let deep = "[".repeat(100_000);
    refused("llama2", |f| fs::write(f.file("config.json"), deep).unwrap(), &["config.json: not JSON"]);
    refused("llama2", |f| fs::remove_file(f.file("config.json")).unwrap(), &["config.json: the file is missing"]);
}

#[test]
fn tensors_that_are_not_the_models() {
    let file = "model.safetensors";
    let rename = |from: &'static str, to: &'static str| {
        move |folder: &Folder| {
            folder.edit_header(file, |header| {
                let tensor = header.as_object_mut().unwrap().remove(from).unwrap();
                header[to] = tensor;
            });
        }
    };
    let missing = "the tensor `h.1.ln_2.bias` is missing";
    refused("gpt2", rename("h.1.ln_2.bias", "h.1.ln_2.bais"), &[missing]);
    let extra = |folder: &Folder| folder.edit_header(file, |h| h["h.2.ln_1.bias"] = h["h.1.ln_1.bias"].clone());
    // Overlapping bytes are refused by the format's own reader.
    refused("gpt2", extra, &["model.safetensors: not a sound safetensors file"]);
    let spare = |folder: &Folder| {
        folder.edit_header(file, |h| {
            h["score.weight"] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
        });
    };
    refused("gpt2", spare, &["model.safetensors: the tensor `score.weight` is there", "no such tensor"]);
    let shape = |folder: &Folder| folder.edit_header(file, |h| h["wte.weight"]["shape"] = json!([60, 303]));
    refused("gpt2", shape, &["`wte.weight` is of shape [60, 303], expected [303, 60]"]);
    let dtype = |folder: &Folder| folder.edit_header(file, |h| h["h.0.ln_1.bias"]["dtype"] = "I32".into());
    refused("gpt2", dtype, &["`h.0.ln_1.bias` is of type I32, expected F32, F16 or BF16"]);
    // Columns for rows would do for square matrices: the shape cannot tell.
    config_shape("gpt2", "n_inner", 99, "`h.0.mlp.c_fc.weight` is of shape [60, 100], expected [60, 99]");
    config_shape("gptneo", "intermediate_size", 65, "`transformer.h.0.mlp.c_fc.weight` is of shape [64, 36]");
    config_shape("llama3", "num_key_value_heads", 4, "`model.layers.0.self_attn.k_proj.weight` is of shape [24, 64]");
    config_shape("llama3", "attention_bias", false, "_proj.bias` is there, expected no such tensor");
    config_shape("llama2", "attention_bias", true, "`model.layers.0.self_attn.q_proj.bias` is missing");
    config_shape("llama2", "num_hidden_layers", 3, "`model.layers.2.input_layernorm.weight` is missing");
    config_shape("llama2", "num_hidden_layers", 1, "`model.layers.1.input_layernorm.weight` is there");
    config_shape("llama2", "num_hidden_layers", 1u64 << 31, "`model.layers.2.input_layernorm.weight` is missing");
    config_shape("gpt2", "tie_word_embeddings", false, "`lm_head.weight` is missing");
    config_shape("gpt2-untied", "tie_word_embeddings", true, "`lm_head.weight` is another matrix");
}

#[test]
fn heads_that_are_not_the_models() {
    let names = |value: Value| move |folder: &Folder| folder.set("config.json", "id2label", value);
    refused("gpt2-classifier", names(json!({"0": "a", "1": "b"})), &["`id2label` is", "expected names for 0 to 2"]);
    refused("gpt2-classifier", names(json!({"0": "a", "1": "b", "3": "c"})), &["expected names for 0 to 2"]);
    refused("gpt2-classifier", names(json!({"0": "a", "1": "b", "2": 5})), &["expected names for 0 to 2"]);
    let file = "model.safetensors";
    let shape = |shape: Value| move |folder: &Folder| folder.edit_header(file, |h| h["score.weight"]["shape"] = shape);
    refused("gpt2-classifier", shape(json!([108])), &["`score.weight` is of shape [108], expected [classes, 36]"]);
    refused("gpt2-classifier", shape(json!([36, 3])), &["`score.weight` is of shape [36, 3], expected [36, 36]"]);
    config_shape("gpt2", "architectures", json!(["GPT2ForSequenceClassification"]), "`score.weight` is missing");
    config_shape("gpt2-classifier", "architectures", json!(["GPT2LMHeadModel"]), "`score.weight` is there");
}

#[track_caller]
fn config_shape(name: &str, key: &str, value: impl Into<Value>, says: &str) {
    refused(name, |folder| folder.set("config.json", key, value), &[says]);
}

#[test]
fn shards_that_do_not_fit_their_index() {
    let index = "model.safetensors.index.json";
    let first = "model-00001-of-00004.safetensors";
    refused("llama2", |f| fs::remove_file(f.file(first)).unwrap(), &[first, "the file is missing"]);
    let map =
        |change: fn(&mut Value)| move |folder: &Folder| folder.edit(index, |json| change(&mut json["weight_map"]));
    refused("llama2", map(|map| *map = json!([])), &[index, "`weight_map` is [], expected an object"]);
    refused("llama2", map(|map| map["x"] = "../x.safetensors".into()), &[index, "../x.safetensors"]);
    refused("llama2", map(|map| map["x"] = 5.into()), &[index, "names of files"]);
    let first_only = map(|map| map["lm_head.weight"] = "model-00001-of-00004.safetensors".into());
    refused("llama2", first_only, &["`lm_head.weight` should be in", first]);
    let absent = map(|map| map["no.such.tensor"] = "model-00001-of-00004.safetensors".into());
    refused("llama2", absent, &["`no.such.tensor` should be in", "is in no file"]);
    let unlisted = map(|map| drop(map.as_object_mut().unwrap().remove("model.norm.weight")));
    refused("llama2", unlisted, &["`model.norm.weight` is not in the index"]);
    let twice = |folder: &Folder| {
        fs::copy(folder.file(first), folder.file("second.safetensors")).unwrap();
        folder.edit(index, |json| json["weight_map"]["x"] = "second.safetensors".into());
    };
    refused("llama2", twice, &["second.safetensors: the tensor `", "is in ", first]);
    refused(
        "gpt2",
        |f| fs::remove_file(f.file("model.safetensors")).unwrap(),
        &["model.safetensors: the file is missing"],
    );
}

#[test]
fn tokenizers_that_cannot_be_written() {
    let json = "tokenizer.json";
    let edit = |change: fn(&mut Value)| move |folder: &Folder| folder.edit(json, change);
    refused("gptneo", edit(|t| t["model"]["type"] = "WordPiece".into()), &[json, "\"WordPiece\", expected BPE"]);
    refused(
        "gptneo",
        edit(|t| t["pre_tokenizer"]["type"] = "Whitespace".into()),
        &[json, "`pre_tokenizer`", "Whitespace"],
    );
    refused("gptneo", edit(|t| t["pre_tokenizer"]["add_prefix_space"] = true.into()), &["add_prefix_space"]);
    refused("gptneo", edit(|t| t["normalizer"] = json!({"type": "Lowercase"})), &["`normalizer`", "Lowercase"]);
    refused("gptneo", edit(|t| t["model"]["merges"] = json!(["a b", 5])), &["`model.merges`", "5"]);
    refused("gptneo", edit(|t| t["model"]["vocab"]["zzz"] = 290.into()), &["290 for \"zzz\"", "below the model's 290"]);
    refused("gptneo", edit(|t| t["model"]["vocab"]["zzz"] = (-1).into()), &["-1 for \"zzz\""]);
    refused("gptneo", edit(|t| t["model"]["vocab"] = 7.into()), &["`model.vocab` is 7"]);
    refused("gptneo", edit(|t| t["added_tokens"][0]["id"] = 999_999.into()), &["999999", "below the model's 290"]);
    refused("gptneo", edit(|t| t["added_tokens"][0] = 3.into()), &["`added_tokens` is 3, expected a token"]);
    let pattern = edit(|t| t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+".into());
    refused("llama3", pattern, &[json, "`pre_tokenizer`", "a known way to cut text"]);

    refused("gpt2", |f| fs::write(f.file("merges.txt"), "#version: 0.2\na b c\n").unwrap(), &["merges.txt: line 2"]);
    refused("gpt2", |f| fs::write(f.file("merges.txt"), b"\xff\xfe").unwrap(), &["merges.txt: not UTF-8"]);
    refused("gpt2", |f| fs::remove_file(f.file("merges.txt")).unwrap(), &["merges.txt: the file is missing"]);
    refused(
        "gpt2",
        |f| fs::remove_file(f.file("vocab.json")).unwrap(),
        &["no tokenizer", "vocab.json", "--no-tokenizer"],
    );
    refused("gpt1", |f| fs::remove_file(f.file("vocab.json")).unwrap(), &["no tokenizer", "--no-tokenizer"]);
    refused("llama2", |f| fs::write(f.file("tokenizer.model"), b"\x0a\xff").unwrap(), &["not a SentencePiece model"]);
    refused("llama2", |f| fs::write(f.file("tokenizer.model"), b"").unwrap(), &["not a SentencePiece model"]);
    refused("llama2", |f| fs::write(f.file("tokenizer.model"), b"\x0a\x03\x0a\x01a").unwrap(), &["of another kind"]);
    refused("llama2", |f| f.set("tokenizer_config.json", "chat_template", 5), &["`chat_template` is 5"]);
    refused("llama2", |f| f.set("tokenizer_config.json", "add_prefix_space", 5), &["`add_prefix_space` is 5"]);
}

#[test]
fn places_that_cannot_be_written() {
    let folder = Folder::copy("gpt2");
    let out = folder.file("no/out.gguf");
    let said = run(&["convert", folder.path(), out.to_str().unwrap()]).err;
    assert!(said.contains("no/out.gguf: cannot create: "), "{said}");
    let said = run(&["convert", "/no/such/folder", "/tmp/out.gguf"]).err;
    assert!(said.contains("/no/such/folder/config.json: cannot read: "), "{said}");
    let said = run(&["convert", folder.path(), folder.path()]).err;
    assert!(said.contains("cannot create: "), "{said}");
    assert_eq!(run(&["convert", folder.path()]).code, Some(2));
    assert_eq!(run(&["convert", folder.path(), "x", "--type", "q4_0"]).code, Some(2));
}

/// Every file of some fixtures, cut off at many lengths and with bytes changed: each conversion ends with one line, or
/// well. The program is run as it is, so that a panic or an abort would show in its exit code.
#[test]
fn damaged_files_do_no_harm() {
    let mut random = 1u64;
    let mut next = |n: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) as usize % n
    };
    for name in ["gpt1", "gpt2", "llama2", "llama3"] {
        let folder = Folder::copy(name);
        let skipped = ["expected.json", "logits.f32"];
        let files = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| !skipped.iter().any(|name| path.ends_with(name))).collect::<Vec<_>>() {
            let whole = fs::read(&file).unwrap();
            for round in 0..8 {
                let mut bytes = whole.clone();
                // Most of the damage goes to the beginning, where the structure is.
                let near = bytes.len().min(4000);
                match round {
                    0 => bytes.clear(),
                    1 => bytes.truncate(next(near)),
                    2 => bytes.truncate(next(whole.len())),
                    _ => (0..=round).for_each(|_| bytes[next(near)] = next(256) as u8),
                }
                fs::write(&file, &bytes).unwrap();
                let out = folder.file("out.gguf");
                let run = run(&["convert", folder.path(), out.to_str().unwrap()]);
                let well = (run.code, run.err.lines().count()) == (Some(0), 0);
                let told = (run.code, run.err.lines().count()) == (Some(1), 1);
                assert!((well || told) && !run.err.contains("internal"), "{name} {file:?} {round}: {run:?}");
                assert_eq!(out.exists(), well, "{name} {file:?} {round}");
                let _ = fs::remove_file(out);
            }
            fs::write(&file, whole).unwrap();
        }
    }
}
