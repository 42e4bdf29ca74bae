//! The examples do what they say; where they generate, they write the same text as the Rust API.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pumice::token::EncodeOptions;
use pumice::{
    GenerateOptions, Model, ModelOptions, Progress, Sampler, SamplerOptions, Session, SessionOptions, generate,
};

mod support;

const PROMPT: &str = "It was a fine morning, and";

/// A C example, compiled.
fn example(name: &str) -> PathBuf {
    support::compile(
        &support::root().join(format!("examples/c/{name}.c")),
        &support::scratch(&format!("example-{name}")),
    )
}

/// Runs an example on the embedded model.
fn run(program: &Path, arguments: &[&str]) -> Output {
    support::run(Command::new(program).arg(support::model()).args(arguments))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn rust(max_tokens: usize, options: &SamplerOptions) -> String {
    rust_from(PROMPT, max_tokens, options)
}

fn rust_from(prompt: &str, max_tokens: usize, options: &SamplerOptions) -> String {
    let model = Model::open(support::model(), &ModelOptions::default()).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    let mut sampler = Sampler::new(options).unwrap();
    let prompt = model.tokenizer().unwrap().encode(prompt, EncodeOptions::default()).unwrap();
    let mut text = String::new();
    let options = GenerateOptions { max_tokens, ..GenerateOptions::default() };
    generate(&mut session, &mut sampler, &prompt, &options, |news| {
        if let Progress::Text(part) = news {
            text.push_str(part);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    text
}

#[test]
fn the_c_example_writes_what_rust_writes() {
    let program = example("generate");
    let mut texts = Vec::new();
    for (temperature, seed) in [(0.0f32, 0u64), (0.8, 1), (0.8, 2)] {
        let options = SamplerOptions { temperature, seed, ..SamplerOptions::default() };
        let expected = rust(40, &options);
        let output = run(&program, &[PROMPT, "40", &temperature.to_string(), &seed.to_string()]);
        assert_eq!(text(output.stdout), format!("{expected}\n"));
        assert!(expected.len() > 40, "{expected}");
        texts.push(expected);
    }
    texts.dedup();
    assert_eq!(texts.len(), 3, "{texts:?}");
}

#[test]
fn the_c_example_says_what_is_wrong() {
    let program = support::compile(&support::root().join("examples/c/generate.c"), &support::scratch("example-bad"));
    let output = Command::new(&program).args(["/nowhere.gguf", "x"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("PUMICE_ERR_IO: /nowhere.gguf: cannot open"), "{text}");
}

fn greedy() -> SamplerOptions {
    SamplerOptions { temperature: 0.0, ..SamplerOptions::default() }
}

#[test]
fn sequences_in_a_batch_read_as_if_each_were_alone() {
    let prompts = [PROMPT, "Her mother", "\"My dear Mr. Bennet,\""];
    let output = run(&example("batch"), &["30", prompts[0], prompts[1], prompts[2]]);
    let expected = prompts.map(|prompt| rust_from(prompt, 30, &greedy()) + "\n");
    assert_eq!(text(output.stdout), expected.concat());
}

#[test]
fn a_model_in_memory_is_used_and_given_back_once() {
    let output = run(&example("memory"), &[PROMPT]);
    assert_eq!(text(output.stdout), rust(40, &greedy()) + "\n");
    assert_eq!(text(output.stderr), "the model's memory is free\n");
}

#[test]
fn texts_are_put_into_the_classes_that_rust_puts_them_into() {
    let head = support::scratch("example-head").join("head.gguf");
    support::write_head(&head);
    let texts = [PROMPT, "\"My dear Mr. Bennet,\"", "Zebra"];
    let output = run(&example("classify"), &[&[head.to_str().unwrap()], &texts[..]].concat());

    let options = ModelOptions { head: Some(head), ..ModelOptions::default() };
    let model = Model::open(support::model(), &options).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    let expected = texts.map(|text| {
        let tokens = model.tokenizer().unwrap().encode(text, EncodeOptions::default()).unwrap();
        let scores = session.classify(&tokens).unwrap();
        let best = usize::from(scores[1] > scores[0]);
        let rest = f64::from(scores[1 - best] - scores[best]).exp();
        format!("{}\t{:.3}\t{text}\n", model.label(best).unwrap(), 1.0 / (1.0 + rest))
    });
    assert_eq!(text(output.stdout), expected.concat());
}

#[test]
fn ctrl_c_ends_a_generation_and_not_the_program() {
    let mut command = Command::new(example("cancel"));
    let mut child = command.arg(support::model()).arg(PROMPT).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 20]).unwrap(); // it is generating
    support::run(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (_, last) = rest.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("(interrupted after ") && last.ends_with(" tokens)"), "{rest}");
}

/// What a chat writes to stdout and stderr when it is asked this.
fn chat(program: &Path, lines: &str) -> [String; 2] {
    let template = "{% for m in messages %}{{ m.content }} {% endfor %}";
    let mut command = Command::new(program);
    command.arg(support::model()).args(["It was a fine morning.", template]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let texts = [text(output.stdout), text(output.stderr)];
    assert!(output.status.success(), "{texts:?}");
    texts
}

#[test]
fn chats_in_c_and_cpp_say_the_same_and_compute_nothing_twice() {
    let lines = "Her mother was\nand the carriage\n";
    let [said, noted] = chat(&example("chat"), lines);
    assert!(said.starts_with("> ") && said.len() > 300, "{said}");
    // What is kept is the conversation before, and of its end what reads the same with more behind it.
    let counts = |line: &str| line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let counts: Vec<Vec<usize>> = noted.lines().map(counts).collect();
    assert!(counts.len() == 2 && counts[0][1] == 0 && counts[1][1] >= counts[0][0], "{noted}");

    if !support::has("g++") {
        assert!(std::env::var_os("CI").is_none(), "CI has to have g++");
        return;
    }
    let dir = support::scratch("example-cpp-chat");
    let library = support::named_library(&dir);
    let program = dir.join("chat");
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]);
    compiler.arg(format!("-I{}", support::root().join("include").display()));
    compiler.arg(format!("-I{}", support::root().join("bindings/cpp").display()));
    compiler.arg(support::root().join("examples/cpp/chat.cpp")).arg("-o").arg(&program).arg(&library);
    support::run(compiler.arg(format!("-Wl,-rpath,{}", dir.display())));
    assert_eq!(chat(&program, lines), [said, noted]);
}
