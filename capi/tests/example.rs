//! The C example and the Rust API write the same text.

use std::ops::ControlFlow;
use std::process::Command;

use pumice::token::EncodeOptions;
use pumice::{
    GenerateOptions, Model, ModelOptions, Progress, Sampler, SamplerOptions, Session, SessionOptions, generate,
};

mod support;

const PROMPT: &str = "It was a fine morning, and";

fn rust(max_tokens: usize, options: &SamplerOptions) -> String {
    let model = Model::open(support::model(), &ModelOptions::default()).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    let mut sampler = Sampler::new(options).unwrap();
    let prompt = model.tokenizer().unwrap().encode(PROMPT, EncodeOptions::default()).unwrap();
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
    let program = support::compile(&support::root().join("examples/c/generate.c"), &support::scratch("example"));
    let mut texts = Vec::new();
    for (temperature, seed) in [(0.0f32, 0u64), (0.8, 1), (0.8, 2)] {
        let options = SamplerOptions { temperature, seed, ..SamplerOptions::default() };
        let expected = rust(40, &options);
        let mut command = Command::new(&program);
        command.arg(support::model()).args([PROMPT, "40", &temperature.to_string(), &seed.to_string()]);
        let output = support::run(&mut command);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}\n"));
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
