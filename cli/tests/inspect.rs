//! `pumice inspect`.

#[path = "../../tests/support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/pumice.rs"]
mod pumice;
#[path = "support/vocabulary.rs"]
mod vocabulary;

use pumice::{TempFile, out};
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&out(&[args, &["--json"]].concat())).unwrap()
}

#[test]
fn the_embedded_model_is_described() {
    let text = out(&["inspect"]);
    for line in
        ["architecture  llama", "context       512", "heads         6 (2 for keys and values)", "runs          yes"]
    {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("vocabulary    3,072 tokens (gpt2, gpt-2)"), "{text}");
    assert!(text.contains("tokenizer.ggml.tokens = 3072 str: [\"<|endoftext|>\", "), "{text}");
}

#[test]
fn json_says_the_same_in_numbers() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/model/austen.gguf");
    let json = json(&["inspect", file]);
    assert_eq!(json["file"], file);
    assert_eq!(json["file_bytes"], std::fs::metadata(file).unwrap().len());
    assert_eq!((&json["architecture"], &json["runs"]), (&"llama".into(), &true.into()));
    assert_eq!(
        (&json["context"], &json["layers"], &json["heads"], &json["heads_kv"]),
        (&512.into(), &5.into(), &6.into(), &2.into())
    );
    assert_eq!((&json["parameters"], &json["vocabulary"]), (&2_558_016.into(), &3072.into()));
    let types = json["types"].as_array().unwrap();
    let sum = |key: &str| types.iter().map(|ty| ty[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("tensors"), json["tensors"]);
    assert_eq!(sum("bytes"), json["memory"]["weights"]);
    // Keys and values of 5 layers, 2 heads and 32 elements, two bytes each.
    assert_eq!(json["memory"]["kv_cache_per_1024_tokens"], 1024 * 2 * 5 * 2 * 32 * 2);
    assert_eq!(json["memory"]["kv_cache_whole_context"], 512 * 2 * 5 * 2 * 32 * 2);
    let metadata = json["metadata"].as_object().unwrap();
    assert_eq!(metadata["tokenizer.ggml.tokens"]["count"], 3072);
    assert_eq!(metadata["llama.attention.layer_norm_rms_epsilon"], 1e-5);
}

#[test]
fn a_vocabulary_alone_is_described_and_its_escape_sequences_do_not_come_through() {
    let file = TempFile::new("inspect-vocabulary.gguf", &vocabulary::file().bytes());
    let text = out(&["inspect", file.path()]);
    assert!(text.contains("architecture  nobody\n"), "{text}");
    assert!(text.contains("runs          no: the file holds no tensors\n"), "{text}");
    assert!(text.contains("vocabulary    9 tokens (llama)"), "{text}");
    assert!(text.contains("name          evil \\u{1b}]0;title\\u{7} name\\nsecond line\n"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");

    let json = json(&["inspect", file.path()]);
    assert_eq!((&json["runs"], &json["memory"]["kv_cache_whole_context"]), (&false.into(), &Value::Null));
    assert_eq!(json["context"], 77);
    assert_eq!(json["metadata"]["general.name"], "evil \u{1b}]0;title\u{7} name\nsecond line");
    assert_eq!(json["metadata"]["nobody.short"], serde_json::json!((0..16).collect::<Vec<_>>()));
    assert_eq!(json["metadata"]["nobody.long"], serde_json::json!({"type": "u32", "count": 17, "first": [0, 1, 2, 3]}));
}

#[test]
fn a_model_that_cannot_run_is_described_and_says_why() {
    let file = vocabulary::file().tensor("token_embd.weight", &[32, 3], 8, 0).data(34 * 3);
    let file = TempFile::new("inspect-nobody.gguf", &file.bytes());
    let text = out(&["inspect", file.path()]);
    assert!(text.contains("architecture `nobody` is not supported; supported: gpt1, gpt2, gptneo, llama"), "{text}");
    assert!(text.contains("1 tensors\n  Q8_0           1       102 B\n"), "{text}");
    assert!(text.contains("parameters    96 (96)"), "{text}");
}

#[test]
fn every_type_of_value_is_shown() {
    let file = TempFile::new("inspect-types.gguf", &gguf_bytes::every_type(3).bytes());
    let metadata = &json(&["inspect", file.path()])["metadata"];
    for id in (0..=8).chain(10..=12) {
        let (one, many) = (&metadata[format!("k.{id}")], &metadata[format!("a.{id}")]);
        assert!(!one.is_null() && many[0] == *one, "{id}: {one}, {many}");
    }
    assert!(out(&["inspect", file.path()]).contains("a.0 = "));
}
