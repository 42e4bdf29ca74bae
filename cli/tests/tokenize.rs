//! `pumice tokenize`.

#[path = "../../tests/support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/pumice.rs"]
mod pumice;
#[path = "support/vocabulary.rs"]
mod vocabulary;

use pumice::{TempFile, out, run, run_with};

fn ids(args: &[&str]) -> Vec<u32> {
    serde_json::from_str(&out(&[&["tokenize", "--json"], args].concat())).unwrap()
}

#[test]
fn ids_are_a_json_list_with_special_tokens_unless_not_wanted() {
    let plain = ids(&["--no-add-special", "It was"]);
    assert_eq!(ids(&["It was"]), [&[0], &plain[..]].concat());
    assert_eq!(ids(&["<|endoftext|>It was"]), [&[0], &plain[..]].concat(), "not doubled");
    assert!(ids(&["--no-parse-special", "<|endoftext|>It was"]).len() > plain.len() + 2);
    assert!(ids(&["--no-add-special", ""]).is_empty());
}

#[test]
fn each_token_has_a_line_with_its_id_and_text() {
    let text = out(&["tokenize", "It was ü\n"]);
    let ids: Vec<u32> = text.lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, self::ids(&["It was ü\n"]));
    assert_eq!(text.lines().next().unwrap().trim(), "0  \"<|endoftext|>\"");
    assert!(text.contains(r#""\xc3""#) && text.contains(r#""\n""#), "{text}");
}

#[test]
fn stdin_is_a_text_like_any_other() {
    let text = out(&["tokenize", "It was"]);
    for input in ["It was", "It was\n"] {
        assert_eq!(run_with(&["tokenize"], input.as_bytes()).out, text);
        assert_eq!(run_with(&["tokenize", "-"], input.as_bytes()).out, text);
    }
}

#[test]
fn a_file_with_nothing_but_a_vocabulary_is_enough() {
    let file = TempFile::new("tokenize-vocabulary.gguf", &vocabulary::file().bytes());
    assert_eq!(ids(&["-m", file.path(), "hi hi"]), [1, 8, 8]);
    assert_eq!(ids(&["-m", file.path(), "--no-add-special", "\u{1b}[31m"]), [3]);
    let text = out(&["tokenize", "-m", file.path(), "\u{1b}[31m"]);
    assert!(text.contains("3  \"\\u{1b}[31m\"") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_file_without_a_vocabulary_is_refused() {
    let file = gguf_bytes::File::new(3).key("general.architecture", gguf_bytes::str("llama"));
    let file = TempFile::new("tokenize-none.gguf", &file.bytes());
    let run = run(&["tokenize", "-m", file.path(), "hi"]);
    assert_eq!((run.code, run.err.lines().count()), (Some(1), 1));
    assert!(run.err.contains("no tokenizer"), "{}", run.err);
}
