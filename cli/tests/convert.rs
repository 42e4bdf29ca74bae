//! Checkpoints of every family, converted and run: their logits are those that `transformers` computes in float64, and
//! their tokens those of their own tokenizers.

#[path = "support/checkpoint.rs"]
mod checkpoint;
#[path = "support/pumice.rs"]
mod program;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use checkpoint::{Folder, fixture};
use program::out;
use pumice::quant::GgmlType;
use pumice::{Gguf, KvType, Model, ModelOptions, Outputs, Pooling, Session, SessionOptions, Token};
use serde_json::Value;

const FAMILIES: [&str; 7] = ["gpt1", "gpt2", "gpt2-untied", "gptneo", "llama1", "llama2", "llama3"];

/// What `transformers` says of a fixture.
struct Expected {
    text: String,
    tokens: Vec<Token>,
    n_vocab: usize,
    /// `[token][n_vocab]`
    logits: Vec<f32>,
}

impl Expected {
    fn read(name: &str) -> Self {
        let json: Value = serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap();
        Self {
            text: json["text"].as_str().unwrap().to_owned(),
            tokens: json["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as Token).collect(),
            n_vocab: json["n_vocab"].as_u64().unwrap() as usize,
            logits: floats(&fixture(name).join("logits.f32")),
        }
    }

    /// The greatest difference, as a part of the distance between the lowest and the highest logit.
    fn error(&self, logits: &[f32]) -> f32 {
        difference(logits, &self.logits) / spread(&self.logits)
    }

    /// How many positions have the same most likely token.
    fn agreeing(&self, logits: &[f32]) -> usize {
        let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let rows = self.logits.chunks_exact(self.n_vocab).zip(logits.chunks_exact(self.n_vocab));
        rows.filter(|(a, b)| best(a) == best(b)).count()
    }
}

fn floats(path: &Path) -> Vec<f32> {
    fs::read(path).unwrap().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn spread(values: &[f32]) -> f32 {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low
}

/// The greatest difference.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0f32, |greatest, d| if d.is_nan() { d } else { greatest.max(d) })
}

fn convert(name: &str, ty: &str) -> Model {
    let folder = Folder::new();
    let file = folder.file("out.gguf");
    assert_eq!(out(&["convert", fixture(name).to_str().unwrap(), file.to_str().unwrap(), "--type", ty]), "");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left behind");
    Model::open(&file, &ModelOptions { mmap: false, ..ModelOptions::default() }).unwrap()
}

/// The logits of all tokens: `runs` tokens a call, in steps of `chunk` at most.
fn logits(model: &Model, tokens: &[Token], run: usize, chunk: usize) -> Vec<f32> {
    // What transformers keeps too: with f16, rounded keys and values would be what is measured.
    let options = SessionOptions { threads: 1, chunk, kv_type: KvType::F32, ..SessionOptions::default() };
    let mut session = Session::new(model, &options).unwrap();
    let mut logits = Vec::new();
    for run in tokens.chunks(run) {
        session.decode_with(run, Outputs::All, |_, _| ControlFlow::Continue(())).unwrap();
        (0..session.outputs()).for_each(|i| logits.extend_from_slice(session.logits(i).unwrap()));
    }
    logits
}

#[test]
fn f32_logits_are_those_of_transformers() {
    for name in FAMILIES {
        let (expected, model) = (Expected::read(name), convert(name, "f32"));
        let whole = logits(&model, &expected.tokens, usize::MAX, 0);
        let error = expected.error(&whole);
        println!("{name}: f32 differs by {error:.2e} of the spread");
        assert!(error <= 1e-6, "{name}: {error:e}");
        assert_eq!(expected.agreeing(&whole), expected.tokens.len(), "{name}");
        for (run, chunk) in [(1, 0), (usize::MAX, 5), (7, 3)] {
            assert!(logits(&model, &expected.tokens, run, chunk) == whole, "{name}: {run} a call, {chunk} a step");
        }
    }
}

#[test]
fn f32_hidden_states_are_those_of_transformers() {
    for name in FAMILIES {
        let (expected, model) = (Expected::read(name), convert(name, "f32"));
        let n_embd = model.params().n_embd;
        let hidden = floats(&fixture(name).join("hidden.f32"));
        let options = SessionOptions { threads: 1, kv_type: KvType::F32, ..SessionOptions::default() };
        let mut session = Session::new(&model, &options).unwrap();
        let mut near = |pooling, wanted: &[f32]| {
            let found = session.embed(&expected.tokens, pooling, false).unwrap();
            let error = difference(&found, wanted) / spread(&hidden);
            assert!(error <= 1e-6, "{name}: {pooling:?} {error:e}");
        };
        near(Pooling::None, &hidden);
        near(Pooling::First, &hidden[..n_embd]);
        near(Pooling::Last, &hidden[hidden.len() - n_embd..]);
        let mean = |i| hidden.iter().skip(i).step_by(n_embd).sum::<f32>() / expected.tokens.len() as f32;
        near(Pooling::Mean, &(0..n_embd).map(mean).collect::<Vec<_>>());
    }
}

#[test]
fn scores_of_classifiers_are_those_of_transformers() {
    for (name, bounds) in [("gpt2-classifier", [1e-6, 2e-2]), ("llama-reward", [1e-6, 2e-2])] {
        let json: Value = serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap();
        let list = |key: &str| json[key].as_array().unwrap().clone();
        let expected: Vec<f32> = list("scores").iter().map(|score| score.as_f64().unwrap() as f32).collect();
        for (ty, bound) in ["f32", "q8_0"].into_iter().zip(bounds) {
            let model = convert(name, ty);
            assert_eq!(model.labels(), list("labels").iter().map(|l| l.as_str().unwrap()).collect::<Vec<_>>());
            assert_eq!(model.pooling(), Pooling::Last);
            assert_eq!(model.gguf().tensor("cls.output.weight").unwrap().ty, GgmlType::F32);
            assert!(model.gguf().tensor("output.weight").is_none());
            let tokens: Vec<Token> = list("tokens").iter().map(|id| id.as_u64().unwrap() as Token).collect();
            let text = model.tokenizer().unwrap().encode(json["text"].as_str().unwrap(), Default::default()).unwrap();
            assert_eq!(text, tokens, "{name}");
            let options = SessionOptions { threads: 1, kv_type: KvType::F32, ..SessionOptions::default() };
            let scores = Session::new(&model, &options).unwrap().classify(&tokens).unwrap();
            let error = difference(&scores, &expected);
            println!("{name}: {ty} differs by {error:.2e}");
            assert!(error <= bound, "{name}: {ty} {error:e} {scores:?} {expected:?}");
        }
        // By the program too.
        let folder = Folder::new();
        let file = folder.file("out.gguf");
        out(&["convert", fixture(name).to_str().unwrap(), file.to_str().unwrap(), "--type", "f32"]);
        fs::write(folder.file("texts"), json["text"].as_str().unwrap()).unwrap();
        let texts = folder.file("texts");
        let args =
            ["classify", "-m", file.to_str().unwrap(), "-f", texts.to_str().unwrap(), "--json", "--kv-type", "f32"];
        let said: Value = serde_json::from_str(&out(&args)).unwrap();
        for (label, score) in list("labels").iter().zip(&expected) {
            let found = said["scores"][label.as_str().unwrap()].as_f64().unwrap();
            assert!((found - f64::from(*score)).abs() < 1e-5, "{said}");
        }
    }
}

#[test]
fn logits_of_smaller_types_are_near() {
    // Twice what was measured at most; with q8_0, activations are int8 too.
    for (ty, bound) in [("f16", 8e-4), ("bf16", 5e-3), ("q8_0", 1.5e-2)] {
        for name in FAMILIES {
            let (expected, model) = (Expected::read(name), convert(name, ty));
            let error = expected.error(&logits(&model, &expected.tokens, usize::MAX, 0));
            println!("{name}: {ty} differs by {error:.2e} of the spread");
            assert!(error <= bound, "{name}: {ty} {error:e}");
        }
    }
}

#[test]
fn texts_have_the_tokens_of_their_own_tokenizers() {
    for name in FAMILIES {
        let (expected, model) = (Expected::read(name), convert(name, "f16"));
        let tokenizer = model.tokenizer().unwrap();
        assert_eq!(tokenizer.encode(&expected.text, Default::default()).unwrap(), expected.tokens, "{name}");
    }
}

#[test]
fn types_are_as_asked_for() {
    let types = |name, ty| {
        let model = convert(name, ty);
        let found = |name: &str| model.gguf().tensor(name).unwrap().ty;
        let names = ["token_embd.weight", "blk.1.ffn_down.weight", "blk.1.ffn_up.weight", "output_norm.weight"];
        (model.gguf().get_u64("general.file_type").unwrap().unwrap(), names.map(found))
    };
    use GgmlType::{BF16, F16, F32, Q8_0};
    assert_eq!(types("llama3", "f32"), (0, [F32; 4]));
    assert_eq!(types("llama3", "f16"), (1, [F16, F16, F16, F32]));
    assert_eq!(types("llama3", "bf16"), (32, [BF16, BF16, BF16, F32]));
    assert_eq!(types("llama3", "q8_0"), (7, [Q8_0, Q8_0, Q8_0, F32]));
    assert_eq!(types("llama2", "q8_0"), (7, [F16, F16, F16, F32]), "rows of 48 and 80 are no whole blocks");
    assert_eq!(convert("gpt2", "f16").gguf().tensor("position_embd.weight").unwrap().ty, F32);
}

/// The metadata of a converted fixture, one line a key, arrays by their first elements.
fn metadata(gguf: &Gguf) -> Vec<String> {
    let line = |key: &str, value: pumice::gguf::Value| {
        let Some(array) = value.as_array() else { return format!("{key} = {value}") };
        let texts = array.iter_strs().map(|texts| texts.map(|t| String::from_utf8_lossy(t).into_owned()).collect());
        let numbers = || (0..array.len()).filter_map(|i| array.get_number(i)).map(|v| v.to_string()).collect();
        let elements: Vec<String> = texts.unwrap_or_else(numbers);
        format!("{key} = {value}: {} … {}", elements[..2].join(" "), elements[elements.len() - 3..].join(" "))
    };
    gguf.keys().map(|(key, value)| line(key, value)).collect()
}

#[test]
fn metadata_is_whole() {
    let expected = fs::read_to_string(fixture("metadata.txt")).unwrap();
    let mut found = String::new();
    for name in FAMILIES {
        let model = convert(name, "q8_0");
        found += &format!("[{name}]\n{}\n\n", metadata(model.gguf()).join("\n"));
    }
    if std::env::var_os("PUMICE_UPDATE_METADATA").is_some() {
        fs::write(fixture("metadata.txt"), &found).unwrap();
    }
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn a_vocabulary_may_be_left_out() {
    let folder = Folder::copy("gpt2");
    for file in ["vocab.json", "merges.txt"] {
        fs::remove_file(folder.file(file)).unwrap();
    }
    let file = folder.file("out.gguf");
    out(&["convert", folder.path(), file.to_str().unwrap(), "--no-tokenizer"]);
    let model = Model::open(&file, &ModelOptions { mmap: false, ..ModelOptions::default() }).unwrap();
    assert!(matches!(model.tokenizer(), Err(pumice::Error::NoTokenizer { .. })));
}

/// Everything but the name, which is the folder's.
fn content(folder: &Folder) -> (Vec<String>, Vec<(String, Vec<u8>)>) {
    let file = folder.file("out.gguf");
    out(&["convert", folder.path(), file.to_str().unwrap()]);
    let gguf = Gguf::open(&file, false).unwrap();
    let keys = metadata(&gguf).into_iter().filter(|line| !line.starts_with("general."));
    let tensors = gguf.tensors().iter().map(|t| (format!("{t:?}"), gguf.tensor_data(t).to_vec()));
    (keys.collect(), tensors.map(|(info, data)| (info.split("at:").next().unwrap().to_owned(), data)).collect())
}

#[test]
fn older_and_newer_words_mean_the_same() {
    let newer = content(&Folder::copy("llama3"));
    let folder = Folder::copy("llama3");
    folder.edit("config.json", |config| {
        let mut rope = config["rope_parameters"].take();
        config["rope_theta"] = rope["rope_theta"].take();
        config["rope_scaling"] = rope;
    });
    assert!(content(&folder) == newer);

    let bare = content(&Folder::copy("gpt2"));
    let folder = Folder::copy("gpt2");
    folder.edit_header("model.safetensors", |header| {
        let tensors = std::mem::take(header.as_object_mut().unwrap()).into_iter();
        *header = tensors.map(|(name, tensor)| (format!("transformer.{name}"), tensor)).collect();
        let metadata = header.as_object_mut().unwrap().remove("transformer.__metadata__").unwrap();
        header["__metadata__"] = metadata;
    });
    assert!(content(&folder) == bare);
    folder.edit("config.json", |config| {
        config["n_ctx"] = config["n_positions"].take();
    });
    assert!(content(&folder) == bare);
}

#[test]
fn added_tokens_that_were_never_embedded_are_left_out_of_a_sentencepiece_vocabulary() {
    let before = content(&Folder::copy("llama2"));
    let folder = Folder::copy("llama2");
    fs::write(folder.file("added_tokens.json"), r#"{"<never>": 356}"#).unwrap();
    assert!(content(&folder) == before);
}
