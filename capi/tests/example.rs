//! The examples do what they say; where they generate, they write the same text as the Rust API.

use std::io::Read;
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
