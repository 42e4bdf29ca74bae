//! `pumice generate` and `pumice` alone, with the embedded model.

#[path = "support/pumice.rs"]
mod pumice;

use std::io::{Read, Write};

use pumice::{TempFile, command, out, run, run_with};

const GREEDY: [&str; 7] = ["generate", "--temp", "0", "-n", "24", "-p", "She was"];

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

#[test]
fn without_arguments_it_writes_a_paragraph_the_same_each_time() {
    let text = out(&[]);
    let prompt = "It is a truth universally acknowledged, that";
    assert!(text.starts_with(prompt) && text.len() > prompt.len() + 20, "{text:?}");
    assert!(text.ends_with('\n') && text.trim_end().lines().count() == 1, "{text:?}");
    assert_eq!(out(&[]), text);
}

#[test]
fn stdout_is_the_generated_text_alone() {
    let text = out(&GREEDY);
    assert!(text.len() > 24 && !text.contains("She was") && !text.ends_with('\n'), "{text:?}");
    assert_eq!(out(&with(&GREEDY, &["--echo"])), format!("She was{text}\n"));
}

#[test]
fn threads_and_kernels_do_not_change_the_text() {
    let text = out(&GREEDY);
    for threads in ["1", "2", "3"] {
        assert_eq!(out(&with(&GREEDY, &["-t", threads])), text, "{threads} threads");
    }
    let mut tried = 0;
    for kernels in ["scalar", "avx2", "avx512vnni", "avx512bf16", "neon", "dotprod"] {
        let run = run(&with(&GREEDY, &["--kernels", kernels]));
        if run.code == Some(2) {
            assert!(run.err.contains("this CPU has scalar"), "{}", run.err);
            continue;
        }
        assert_eq!((run.code, run.out, &*run.err), (Some(0), text.clone(), ""), "{kernels}");
        tried += 1;
    }
    assert!(tried > 0, "scalar kernels run everywhere");
}

#[test]
fn the_seed_decides_the_text() {
    let text = |seed| out(&["generate", "-p", "It was", "-n", "40", "--seed", seed]);
    assert_eq!(text("7"), text("7"));
    assert_ne!(text("7"), text("8"));
}

#[test]
fn without_a_seed_each_run_has_its_own_and_tells_it() {
    let args = ["generate", "-p", "It was", "-n", "40", "--stats"];
    let (first, second) = (run(&args), run(&args));
    let seed = |err: &str| err.trim().rsplit_once("seed ").unwrap().1.to_owned();
    assert_ne!(seed(&first.err), seed(&second.err));
    let again = run(&with(&args, &["--seed", &seed(&first.err)]));
    assert_eq!(again.out, first.out);
}

#[test]
fn stdin_is_a_prompt_like_any_other() {
    let text = out(&GREEDY);
    let stdin = &GREEDY[..5];
    for input in ["She was", "She was\n", "She was\r\n"] {
        assert_eq!(run_with(stdin, input.as_bytes()).out, text, "{input:?}");
        assert_eq!(run_with(&with(stdin, &["-p", "-"]), input.as_bytes()).out, text, "{input:?}");
    }
    assert_ne!(run_with(stdin, b"She was\n\n").out, text, "only one line break is left out");
}

#[test]
fn no_prompt_is_the_beginning_of_a_text_and_its_token_is_never_doubled() {
    let args = ["generate", "--temp", "0", "-n", "24"];
    let text = out(&args);
    assert!(!text.is_empty());
    assert_eq!(out(&with(&args, &["-p", ""])), text);
    assert_eq!(out(&with(&args, &["-p", "<|endoftext|>"])), text);
}

#[test]
fn a_stop_text_ends_the_text_before_it() {
    let text = out(&GREEDY);
    let stop = text.split_whitespace().nth(3).unwrap();
    let before = &text[..text.find(stop).unwrap()];
    assert_eq!(out(&with(&GREEDY, &["--stop", "never there", "--stop", stop])), before);
}

#[test]
fn a_bias_forbids_a_token() {
    let one = ["generate", "--temp", "0", "-n", "1", "-p", "She was"];
    let first = out(&one);
    let id = out(&["tokenize", "--json", "--no-add-special", &first]);
    let bias = format!("{}=-inf", id.trim().trim_matches(['[', ']']));
    assert_ne!(out(&with(&one, &["--logit-bias", &bias])), first);
}

#[test]
fn a_model_that_wants_no_token_before_a_text_needs_a_prompt() {
    let mut model = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/model/austen.gguf")).unwrap();
    let key = b"tokenizer.ggml.add_bos_token";
    let at = model.windows(key.len()).position(|bytes| bytes == key).unwrap() + key.len();
    assert_eq!(model[at..at + 5], [7, 0, 0, 0, 1], "a bool that is true");
    model[at + 4] = 0;
    let file = TempFile::new("generate-no-bos.gguf", &model);
    let run = run(&["generate", "-m", file.path()]);
    assert_eq!((run.code, &*run.out), (Some(2), ""));
    assert!(run.err.contains("give it with -p or on stdin"), "{}", run.err);
    assert!(!out(&["generate", "-n", "4", "-m", file.path(), "-p", "It was"]).is_empty());
}

#[test]
fn zero_tokens_mean_until_the_context_is_full() {
    let args =
        ["generate", "--seed", "1", "-n", "0", "--ctx", "60", "-p", "It was", "--stats", "--logit-bias", "0=-inf"];
    let run = run(&args);
    // The last token is chosen when all positions are taken; the prompt has three, with the one before the text.
    assert!(run.err.contains("\nprompt  3 tokens"), "{}", run.err);
    assert!(run.err.contains("\ntext    58 tokens"), "{}", run.err);
}

#[test]
fn a_file_gives_the_same_text_mapped_or_read() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/model/austen.gguf");
    let text = out(&GREEDY);
    assert_eq!(out(&with(&GREEDY, &["-m", file])), text);
    assert_eq!(out(&with(&GREEDY, &["-m", file, "--no-mmap"])), text);
}

#[test]
fn text_is_written_as_it_comes() {
    let args =
        ["generate", "--temp", "0", "-n", "200", "-t", "1", "--kernels", "scalar", "-p", "It was", "--stop", "\n"];
    let mut child = command(&args).spawn().unwrap();
    drop(child.stdin.take());
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 1 << 16];
    let n = stdout.read(&mut first).unwrap();
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    // All of it would fit the buffer that Rust's stdout has, if it were not flushed.
    assert!(n > 0 && !rest.is_empty() && n + rest.len() < 1024, "{n} bytes, then {}", rest.len());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for args in [&["generate", "-n", "40", "--temp", "0"][..], &["tokenize"], &["inspect"], &["--help"]] {
        let mut child = command(args).spawn().unwrap();
        drop(child.stdout.take());
        let _ = child.stdin.take().unwrap().write_all(b"It was"); // what does not read it may be gone already
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), &*done.stderr), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn a_prompt_that_is_not_text_is_refused() {
    let run = run_with(&["generate"], b"a\xffb");
    assert_eq!((run.code, &*run.out), (Some(1), ""));
    assert!(run.err.contains("not UTF-8"), "{}", run.err);
}

#[test]
fn prompts_may_begin_with_a_dash() {
    let args = ["generate", "--temp", "0", "-n", "8"];
    assert_eq!(out(&with(&args, &["-p", "-- yes"])), run_with(&args, b"-- yes").out);
}
