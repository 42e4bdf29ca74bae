//! Pooled hidden states, the same however they are computed, and classification heads on them.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gguf_bytes as gguf;
use pumice::gguf::{Encoded, Header};
use pumice::quant::{GgmlType, dequantize};
use pumice::{
    Bytes, Error, ErrorKind, Gguf, Kernels, Level, Log, Model, ModelOptions, Outputs, Pooling, Session, SessionOptions,
    Token,
};
use tiny_model::{N_EMBD, N_VOCAB, Tiny, options, session, tokens};

/// The hidden states that a session keeps beside the logits.
fn hidden(model: &Model, tokens: &[Token]) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, &SessionOptions { embeddings: true, ..options() }).unwrap();
    session.decode_with(tokens, Outputs::All, |_, _| ControlFlow::Continue(())).unwrap();
    (0..tokens.len()).map(|i| session.embedding(i).unwrap().to_vec()).collect()
}

fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let sum = |i: usize| rows.iter().fold(0.0, |sum, row| sum + f64::from(row[i]));
    (0..N_EMBD).map(|i| (sum(i) / rows.len() as f64) as f32).collect()
}

fn unit(x: &[f32]) -> Vec<f32> {
    let length = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    x.iter().map(|x| (f64::from(*x) / length) as f32).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    assert!(values.iter().all(|x| x.is_finite()));
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn embeddings_are_the_hidden_states_however_the_work_is_cut() {
    for tiny in Tiny::all() {
        let model = tiny.build().unwrap();
        let tokens = tokens(140);
        let rows = hidden(&model, &tokens);
        let expected = |pooling| match pooling {
            Pooling::None => rows.concat(),
            Pooling::Mean => mean(&rows),
            Pooling::First => rows[0].clone(),
            _ => rows[139].clone(),
        };
        for kernels in Kernels::available() {
            for (threads, chunk) in [(1, 0), (2, 1), (3, 7), (1, 129)] {
                for embeddings in [false, true] {
                    let options = SessionOptions {
                        threads,
                        chunk,
                        embeddings,
                        kernels: Some(kernels),
                        ..SessionOptions::default()
                    };
                    let mut session = Session::new(&model, &options).unwrap();
                    for pooling in Pooling::ALL {
                        let got = session.embed(&tokens, pooling, false).unwrap();
                        let (arch, name) = (&model.params().arch, kernels.name());
                        assert_eq!(
                            bits(&got),
                            bits(&expected(pooling)),
                            "{arch} {pooling:?} {name} {threads} threads, chunks of {chunk}"
                        );
                    }
                }
            }
        }
        let mut session = session(&model);
        assert_eq!(session.embed(&tokens, Pooling::Mean, true).unwrap(), unit(&mean(&rows)));
        let all = session.embed(&tokens, Pooling::None, true).unwrap();
        assert_eq!(all, rows.iter().flat_map(|row| unit(row)).collect::<Vec<_>>());
    }
}

#[test]
fn a_vector_of_zeros_has_no_direction() {
    let mut tiny = Tiny::gpt2();
    for part in ["weight", "bias"] {
        let name = format!("output_norm.{part}");
        tiny.tensors.iter_mut().find(|t| t.name == name).unwrap().bytes.fill(0);
    }
    let embedding = session(&tiny.build().unwrap()).embed(&tokens(3), Pooling::Mean, true).unwrap();
    assert_eq!(embedding, [0.0; N_EMBD]);
}

#[test]
fn a_session_goes_on_as_if_nothing_had_been_embedded() {
    let model = Tiny::llama().build().unwrap();
    let (mut session, mut other) = (session(&model), self::session(&model));
    for session in [&mut session, &mut other] {
        session.decode(&tokens(20)).unwrap();
    }
    let kv = session.kv_bytes();
    session.embed(&tokens(150), Pooling::Mean, true).unwrap();
    assert_eq!((session.tokens(0), session.kv_bytes(), session.outputs()), (&tokens(20)[..], kv, 0));
    assert!(session.logits(0).is_none() && session.embedding(0).is_none());
    for session in [&mut session, &mut other] {
        session.decode(&[5]).unwrap();
    }
    assert_eq!(bits(session.logits(0).unwrap()), bits(other.logits(0).unwrap()));
}

#[test]
fn what_cannot_be_embedded_is_named_and_leaves_nothing() {
    let model = Tiny::gpt1().build().unwrap();
    for pooling in Pooling::ALL {
        let mut session = Session::new(&model, &SessionOptions { chunk: 8, ..options() }).unwrap();
        let bad = [tokens(20), vec![N_VOCAB as Token]].concat();
        assert!(matches!(session.embed(&[], pooling, false), Err(Error::InvalidArgument { name: "tokens", .. })));
        assert!(matches!(session.embed(&bad, pooling, false), Err(Error::TokenOutOfRange { .. })));
        let full = session.embed(&tokens(301), pooling, false);
        assert!(matches!(full, Err(Error::ContextFull { needed: 301, n_ctx: 300 })), "{pooling:?}");
        assert_eq!((session.kv_bytes(), session.counters().prompt_tokens), (0, 0));
    }
}

#[test]
fn no_logits_are_computed() {
    // A vocabulary whose logits for all tokens would not fit, by far.
    let mut tiny = Tiny::llama();
    tiny.remove_tensor("token_embd.weight");
    tiny.matrix("token_embd.weight", 50_000, N_EMBD, GgmlType::Q8_0);
    let model = tiny.build().unwrap();
    let tokens = tokens(100);
    let options = SessionOptions { memory_limit: 2 << 20, ..options() };
    let mut session = Session::new(&model, &options).unwrap();
    let all = session.decode_with(&tokens, Outputs::All, |_, _| ControlFlow::Continue(()));
    assert!(matches!(all, Err(Error::MemoryLimit { .. })));
    for pooling in Pooling::ALL {
        session.embed(&tokens, pooling, false).unwrap();
        assert!(session.scratch_bytes() < 2 << 20);
    }
}

/// Adds a tensor of rows of f32.
fn tensor(tiny: &mut Tiny, name: &str, dims: &[usize], value: impl Fn(usize) -> f32) {
    let bytes = (0..dims.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect();
    let dims = dims.iter().map(|d| *d as u64).collect();
    tiny.tensors.push(tiny_model::Tensor { name: name.to_owned(), dims, ty: GgmlType::F32, bytes });
}

fn weight(i: usize) -> f32 {
    ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0
}

/// A classifier of three classes.
fn classifier() -> Tiny {
    let mut tiny = Tiny::llama();
    tensor(&mut tiny, "cls.output.weight", &[N_EMBD, 3], weight);
    tiny
}

fn product(rows: &[f32], x: &[f64]) -> Vec<f64> {
    rows.chunks_exact(x.len()).map(|row| row.iter().zip(x).fold(0.0, |s, (w, x)| s + f64::from(*w) * x)).collect()
}

fn weights(tiny: &Tiny, name: &str) -> Vec<f32> {
    let tensor = tiny.tensors.iter().find(|t| t.name == name).unwrap();
    let mut out = vec![0.0; tensor.dims.iter().product::<u64>() as usize];
    dequantize(tensor.ty, &tensor.bytes, &mut out).unwrap();
    out
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

#[test]
fn a_model_may_bring_a_head() {
    let tokens = tokens(50);
    let mut tiny = classifier();
    let rows = hidden(&tiny.build().unwrap(), &tokens);
    let scores = |tiny: &Tiny| session(&tiny.build().unwrap()).classify(&tokens).unwrap();
    let output = weights(&tiny, "cls.output.weight");
    let last = product(&output, &wide(&rows[49]));
    assert_eq!(scores(&tiny), narrow(&last));
    let labels = |tiny: &Tiny| tiny.build().unwrap().labels().to_vec();
    assert_eq!(labels(&tiny), ["LABEL_0", "LABEL_1", "LABEL_2"]);

    tensor(&mut tiny, "cls.output.bias", &[3], |i| i as f32 - 0.5);
    let biased: Vec<f64> = last.iter().zip([-0.5, 0.5, 1.5]).map(|(x, b)| x + b).collect();
    assert_eq!(scores(&tiny), narrow(&biased));

    // Blocks are as good as numbers.
    tiny.remove_tensor("cls.output.weight");
    tiny.matrix("cls.output.weight", 3, N_EMBD, GgmlType::Q8_0);
    tiny.remove_tensor("cls.output.bias");
    let output = weights(&tiny, "cls.output.weight");
    assert_eq!(scores(&tiny), narrow(&product(&output, &wide(&rows[49]))));

    // A dense layer before it, and then nothing but that.
    tensor(&mut tiny, "cls.weight", &[N_EMBD, N_EMBD], |i| weight(i) / 8.0);
    tensor(&mut tiny, "cls.bias", &[N_EMBD], weight);
    let dense = product(&weights(&tiny, "cls.weight"), &wide(&rows[49]));
    let dense: Vec<f64> = dense.iter().enumerate().map(|(i, x)| libm::tanh(x + f64::from(weight(i)))).collect();
    assert_eq!(scores(&tiny), narrow(&product(&output, &dense)));
    tiny.remove_tensor("cls.output.weight");
    assert_eq!((scores(&tiny), labels(&tiny).len()), (narrow(&dense), N_EMBD));

    tiny.set(
        "llama.classifier.output_labels",
        gguf::array(8, (0..N_EMBD).map(|i| gguf::str(format!("c{i}"))).collect()),
    );
    let model = tiny.build().unwrap();
    assert_eq!((model.label(63), model.label(64)), (Some("c63"), None));
    assert!(model.head().unwrap().scores(&[0.0; 3]).is_err());
}

#[test]
fn heads_pool_as_their_files_say() {
    let tokens = tokens(50);
    let rows = hidden(&Tiny::llama().build().unwrap(), &tokens);
    let expected = [
        // pooling_type, classifier.pooling_type, what texts and heads are pooled by
        (None, None, Pooling::Mean, Pooling::Last),
        (Some(0), None, Pooling::None, Pooling::Last),
        (Some(1), None, Pooling::Mean, Pooling::Mean),
        (Some(2), None, Pooling::First, Pooling::First),
        (Some(3), None, Pooling::Last, Pooling::Last),
        (Some(4), None, Pooling::Last, Pooling::Last),
        (Some(4), Some(1), Pooling::Mean, Pooling::Mean),
        (Some(4), Some(3), Pooling::Last, Pooling::Last),
        (Some(4), Some(2), Pooling::Last, Pooling::Last),
    ];
    for (text, head, of_text, of_head) in expected {
        let mut tiny = classifier();
        for (key, number) in [("llama.pooling_type", text), ("llama.classifier.pooling_type", head)] {
            number.into_iter().for_each(|number| tiny.set(key, gguf::u32(number)));
        }
        let model = tiny.build().unwrap();
        assert_eq!((model.pooling(), model.head().unwrap().pooling()), (of_text, of_head), "{text:?} {head:?}");
        let pooled = match of_head {
            Pooling::Mean => mean(&rows),
            Pooling::First => rows[0].clone(),
            _ => rows[49].clone(),
        };
        let scores = product(&weights(&tiny, "cls.output.weight"), &wide(&pooled));
        assert_eq!(session(&model).classify(&tokens).unwrap(), narrow(&scores));
    }
}

#[test]
fn heads_that_make_no_sense() {
    let error = |change: &dyn Fn(&mut Tiny)| {
        let mut tiny = classifier();
        change(&mut tiny);
        tiny.build().err().unwrap().to_string()
    };
    let labels = |labels: &[&str]| gguf::array(8, labels.iter().map(gguf::str).collect());
    let text = error(&|m| m.set("llama.classifier.output_labels", labels(&["a", "b"])));
    assert!(
        text.contains("`llama.classifier.output_labels` is an array of 2 str") && text.contains("3 texts"),
        "{text}"
    );
    let text = error(&|m| m.set("llama.classifier.output_labels", gguf::array(4, vec![gguf::u32(1); 3])));
    assert!(text.contains("an array of 3 u32"), "{text}");
    for key in ["llama.pooling_type", "llama.classifier.pooling_type"] {
        let text = error(&|m| m.set(key, gguf::u32(5)));
        assert!(text.contains(&format!("`{key}` is 5, expected 0 to 4")), "{text}");
    }
    let text = error(&|m| tensor(m, "cls.weight", &[N_EMBD, 32], weight));
    assert!(text.contains("`cls.output.weight` is of shape [64, 3], expected [32, 3]"), "{text}");
    let text = error(&|m| tensor(m, "cls.output.bias", &[4], weight));
    assert!(text.contains("`cls.output.bias` is of shape [4], expected [3]"), "{text}");
    let text = error(&|m| tensor(m, "cls.norm.weight", &[N_EMBD], weight));
    assert!(text.contains("classification head `cls.norm` is not supported"), "{text}");

    let error = session(&Tiny::llama().build().unwrap()).classify(&[1]).unwrap_err();
    assert!(matches!(error, Error::NoHead { .. }) && error.kind() == ErrorKind::Invalid, "{error}");
}

/// A head's own file, which is deleted at the end.
struct HeadFile(PathBuf);

impl HeadFile {
    fn new(name: &str, arch: &str, width: usize, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new();
        header.set("general.architecture", arch);
        header.set(format!("{arch}.embedding_length"), width as u32);
        header.set(format!("{arch}.pooling_type"), 4u32);
        header.set(format!("{arch}.classifier.pooling_type"), 1u32);
        header.set(format!("{arch}.classifier.output_labels"), Encoded::array(["no", "yes"]));
        change(&mut header);
        header.tensor("cls.output.weight", &[width, 2], GgmlType::F32).unwrap();
        let mut data = header.write(Vec::new()).unwrap();
        data.write(&(0..2 * width).flat_map(|i| weight(i).to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        let path = std::env::temp_dir().join(format!("pumice-embed-{}-{name}.gguf", std::process::id()));
        std::fs::write(&path, data.finish().unwrap()).unwrap();
        Self(path)
    }

    fn attach(&self, tiny: &Tiny, log: Log) -> pumice::Result<Model> {
        let options = ModelOptions { head: Some(self.0.clone()), log, ..ModelOptions::default() };
        Model::from_gguf_with(Gguf::parse("tiny.gguf", Bytes::from_vec(tiny.bytes())).unwrap(), &options)
    }
}

impl Drop for HeadFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_head_is_attached_to_a_model() {
    let (tokens, file) = (tokens(50), HeadFile::new("attached", "llama", N_EMBD, |_| ()));
    let rows = hidden(&Tiny::llama().build().unwrap(), &tokens);
    let row: Vec<f32> = (0..2 * N_EMBD).map(weight).collect();
    let expected = narrow(&product(&row, &wide(&mean(&rows))));
    // In place of the model's own, if there is one.
    for tiny in [Tiny::llama(), classifier()] {
        let model = file.attach(&tiny, Log::default()).unwrap();
        assert_eq!((model.labels(), model.pooling()), (&["no".to_owned(), "yes".to_owned()][..], Pooling::Mean));
        assert_eq!(session(&model).classify(&tokens).unwrap(), expected);
    }
}

#[test]
fn a_head_of_another_model_is_refused() {
    let refused = |file: &HeadFile| file.attach(&Tiny::llama(), Log::default()).err().unwrap();
    let error = refused(&HeadFile::new("arch", "gpt2", N_EMBD, |_| ()));
    assert!(matches!(&error, Error::HeadMismatch { what: "architecture", found, .. } if found == "gpt2"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let error = refused(&HeadFile::new("width", "llama", 32, |_| ()));
    assert!(error.to_string().ends_with("a model whose width is 32, this one's is 64"), "{error}");
    let whole = HeadFile::new("whole", "llama", N_EMBD, |_| ());
    std::fs::write(&whole.0, Tiny::llama().bytes()).unwrap();
    assert!(matches!(refused(&whole), Error::MissingTensor { name, .. } if name == "cls.output.weight"));
    std::fs::remove_file(&whole.0).unwrap();
    assert!(matches!(refused(&whole), Error::Io { .. }));
}

#[test]
fn a_head_that_was_made_for_other_weights_is_warned_of() {
    let tiny = Tiny::llama();
    let own = format!("{:032x}", tiny.build().unwrap().fingerprint());
    for (fingerprint, warned) in [(own.as_str(), false), ("00000000000000000000000000000000", true)] {
        let name = if warned { "other" } else { "own" };
        let file = HeadFile::new(name, "llama", N_EMBD, |h| h.set("adapter.head.fingerprint", fingerprint));
        let lines = Arc::new(Mutex::new(String::new()));
        let log = lines.clone();
        file.attach(&tiny, Log::new(Level::Warn, move |_, line| log.lock().unwrap().push_str(line))).unwrap();
        assert_eq!(lines.lock().unwrap().contains("trained with another model"), warned);
    }
}
