//! Published vocabularies, with texts and the tokens they must give.
//!
//! `PUMICE_VOCAB_DIR` names a folder of `X.gguf`, `X.gguf.inp` (texts between lines `__ggml_vocab_test__`) and
//! `X.gguf.out` (a line of token numbers for each text, without special tokens).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pumice::token::EncodeOptions;
use pumice::{Gguf, Tokenizer};

fn vocabularies() -> Vec<PathBuf> {
    let Some(dir) = std::env::var_os("PUMICE_VOCAB_DIR") else {
        eprintln!("SKIPPED: PUMICE_VOCAB_DIR is not set");
        return Vec::new();
    };
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", Path::new(&dir).display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.retain(|path| beside(path, "inp").exists());
    paths.sort();
    assert!(!paths.is_empty(), "{}: no vocabularies with cases", Path::new(&dir).display());
    paths
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_extension(format!("gguf.{extension}"))
}

#[test]
fn every_case_gives_the_expected_tokens() {
    let options = EncodeOptions { add_special: false, parse_special: false };
    for path in vocabularies() {
        let tokenizer = Tokenizer::from_gguf(&Arc::new(Gguf::open(&path, true).unwrap())).unwrap();
        let texts = std::fs::read_to_string(beside(&path, "inp")).unwrap();
        let expected = std::fs::read_to_string(beside(&path, "out")).unwrap();
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        let mut expected = expected.lines();
        let mut cases = 0;
        for text in texts {
            let Some(line) = expected.next() else {
                assert!(text.is_empty(), "{}: no tokens for {text:?}", path.display());
                break;
            };
            let tokens: Vec<u32> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
            assert_eq!(tokenizer.encode(text, options).unwrap(), tokens, "{}: {text:?}", path.display());
            cases += 1;
        }
        assert!(cases > 0 && expected.next().is_none(), "{}: {cases} cases", path.display());
        println!("{}: {cases} cases", path.display());
    }
}
