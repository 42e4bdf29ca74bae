//! What goes wrong ends with one line on stderr, nothing on stdout, and an exit code: 1 for bad input, 2 for bad usage.

#[path = "../../tests/support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/pumice.rs"]
mod pumice;
#[path = "support/vocabulary.rs"]
mod vocabulary;

use pumice::{TempFile, out, run};

#[track_caller]
fn fails(args: &[&str], code: i32, says: &str) {
    let run = run(args);
    assert_eq!((run.code, &*run.out), (Some(code), ""), "{args:?}: {}", run.err);
    assert!(run.err.starts_with("pumice: ") && run.err.ends_with('\n'), "{args:?}: {:?}", run.err);
    assert!(run.err.contains(says), "{args:?}: {}", run.err);
    assert!(!run.err.trim_end().contains(|c: char| c.is_control()), "{args:?}: {:?}", run.err);
}

#[test]
fn bad_usage() {
    fails(&["--nonsense"], 2, "unexpected argument '--nonsense'");
    fails(&["nonsense"], 2, "unrecognized subcommand 'nonsense'");
    fails(&["generate", "--tmp", "1"], 2, "a similar argument exists: '--temp'");
    fails(&["generate", "-n"], 2, "a value is required");
    fails(&["generate", "-n", "-1"], 2, "'-1'");
    fails(&["generate", "--kernels", "abacus"], 2, "this CPU has scalar");
    fails(&["generate", "--logit-bias", "5"], 2, "42=-1.5");
    fails(&["generate", "--temp", "-1"], 2, "--temp is -1, expected a finite number, at least 0");
    fails(&["generate", "--top-p", "1.5"], 2, "--top-p is 1.5, expected a number from 0 to 1");
    fails(&["generate", "--repeat-penalty", "nan"], 2, "--repeat-penalty is NaN");
    fails(&["generate", "-t", "99999"], 2, "--threads is 99999");
    fails(&["generate", "--ctx", "99999999999"], 2, "--ctx is 99999999999");
    fails(&["bench", "-r", "0"], 2, "'0'");
    fails(&["bench", "-d", "18446744073709551615"], 2, "--depth");
}

#[test]
fn bad_input() {
    let commands: [&[&str]; 4] =
        [&["generate", "-p", "x", "-m"], &["inspect"], &["tokenize", "x", "-m"], &["bench", "-m"]];
    let garbage = TempFile::new("failures-garbage", b"certainly no model\n");
    let empty = TempFile::new("failures-empty", b"");
    let model = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/model/austen.gguf")).unwrap();
    let half = TempFile::new("failures-half.gguf", &model[..model.len() / 2]);
    for command in commands {
        let fails = |path, says| fails(&[command, &[path]].concat(), 1, says);
        fails("/no/such/model.gguf", "/no/such/model.gguf: cannot open: ");
        fails("/no/such\u{1b}[2J\nmodel", "/no/such\\u{1b}[2J\\nmodel");
        fails(env!("CARGO_MANIFEST_DIR"), "cannot open: is a directory");
        fails(garbage.path(), "not a GGUF file");
        fails(empty.path(), empty.path());
        fails(half.path(), half.path());
    }
    fails(&["generate", "-p", "x", "--logit-bias", "3072=1"], 1, "token 3072 is outside the vocabulary of 3072");
    fails(&["generate", "-p", "one two three four", "--ctx", "3"], 1, "give more with --ctx");
}

#[test]
fn models_that_cannot_run() {
    let nobody = vocabulary::file().tensor("token_embd.weight", &[32, 3], 8, 0).data(34 * 3);
    let nobody = TempFile::new("failures-nobody.gguf", &nobody.bytes());
    for command in ["generate", "bench"] {
        fails(
            &[command, "-m", nobody.path()],
            1,
            "architecture `nobody` is not supported; supported: gpt1, gpt2, gptneo, llama",
        );
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    assert_eq!(out(&["--version"]), concat!("pumice ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in ["generate", "inspect", "tokenize", "bench", "convert"] {
        assert!(out(&["--help"]).contains(command));
        assert!(out(&[command, "--help"]).contains("Usage: pumice "));
    }
}
