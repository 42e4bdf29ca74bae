//! A trained model gives the same logits, bit for bit, whatever threads, kernels and cuts compute them.
//!
//! The model is the one inside the program; PUMICE_TEST_MODEL names another GGUF file to take instead.

use std::ops::ControlFlow;

use pumice::token::EncodeOptions;
use pumice::{Batch, Kernels, Model, ModelOptions, Outputs, Session, SessionOptions, Token};

/// Longer than a page of the KV cache, and not a multiple of any tile.
const LEN: usize = 139;

fn model() -> Model {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/cli/model/austen.gguf");
    let path = std::env::var_os("PUMICE_TEST_MODEL").unwrap_or(embedded.into());
    Model::open(&path, &ModelOptions::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tokens(model: &Model) -> Vec<Token> {
    let text = include_str!("../tools/data/persuasion_8.txt");
    model.tokenizer().unwrap().encode(text, EncodeOptions::default()).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|x| x.is_finite()));
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The logits of every token, each row as bits.
fn all_logits(model: &Model, options: &SessionOptions, tokens: &[Token]) -> Vec<Vec<u32>> {
    let mut session = Session::new(model, options).unwrap();
    session.decode_with(tokens, Outputs::All, |_, _| ControlFlow::Continue(())).unwrap();
    (0..session.outputs()).map(|i| bits(session.logits(i).unwrap())).collect()
}

#[test]
fn logits_are_the_same_everywhere() {
    let model = model();
    let text = tokens(&model);
    let tokens = &text[..LEN];
    let options = SessionOptions { threads: 1, chunk: LEN, ..SessionOptions::default() };
    let expected = all_logits(&model, &options, tokens);
    assert!(expected.len() == LEN && expected.windows(2).all(|pair| pair[0] != pair[1]));

    for kernels in Kernels::available() {
        let got = all_logits(&model, &SessionOptions { kernels: Some(kernels), ..options.clone() }, tokens);
        assert!(got == expected, "with the kernels {}", kernels.name());
    }
    for (threads, chunk) in [(2, LEN), (2, 7), (1, 7), (3, 64)] {
        let got = all_logits(&model, &SessionOptions { threads, chunk, ..options.clone() }, tokens);
        assert!(got == expected, "{threads} threads, chunks of {chunk}");
    }

    let mut one_by_one = Session::new(&model, &SessionOptions { threads: 2, ..options.clone() }).unwrap();
    for (i, token) in tokens.iter().enumerate() {
        one_by_one.decode(&[*token]).unwrap();
        assert!(bits(one_by_one.logits(0).unwrap()) == expected[i], "token {i} on its own");
    }
}

#[test]
fn company_does_not_change_a_sequence() {
    let model = model();
    let text = tokens(&model);
    let tokens = &text[..LEN];
    let expected = all_logits(&model, &SessionOptions { threads: 1, ..SessionOptions::default() }, tokens);
    for chunk in [16, 512] {
        let mut session = Session::new(&model, &SessionOptions { threads: 2, chunk, ..Default::default() }).unwrap();
        let mut got = Vec::new();
        // Runs of many lengths beside those of two other sequences; at last, one token of each.
        let mut at = 0;
        for len in [1, 40, 2, 3, 57, 5, 8, 13].into_iter().chain([1; 10]) {
            let mut batch = Batch::new();
            batch.add(1, &text[LEN + at..][..2 * len], Outputs::Last);
            batch.add(0, &tokens[at..at + len], Outputs::All);
            batch.add(9, &text[2 * LEN + at..][..1], Outputs::None);
            session.decode_batch(&batch).unwrap();
            got.extend((1..=len).map(|i| bits(session.logits(i).unwrap())));
            at += len;
        }
        assert_eq!((at, session.outputs()), (LEN, 2));
        assert!(got == expected, "in chunks of {chunk}");
    }
}

#[test]
fn a_fork_is_the_sequence_that_computed_its_prefix() {
    let model = model();
    let text = tokens(&model);
    let n_ctx = model.params().n_ctx_train;
    let prefix = 1000.min(n_ctx - 20); // 1,000 for a model of real size
    let (long, more) = (&text[..(prefix + 100).min(n_ctx)], &text[1200..1220]);
    let options = SessionOptions { threads: 2, ..SessionOptions::default() };
    let expected = all_logits(&model, &options, &[&text[..prefix], more].concat());

    let mut session = Session::new(&model, &options).unwrap();
    session.decode(long).unwrap();
    let before = session.kv_bytes();
    session.fork(0, 3, prefix).unwrap();
    session.fork(3, 1, prefix).unwrap();
    assert_eq!(session.kv_bytes(), before);
    let mut batch = Batch::new();
    batch.add(1, more, Outputs::All);
    batch.add(3, &more[..1], Outputs::Last);
    session.decode_batch(&batch).unwrap();
    let got: Vec<_> = (0..=more.len()).map(|i| bits(session.logits(i).unwrap())).collect();
    assert!(got[..more.len()] == expected[prefix..] && got[more.len()] == expected[prefix]);
}

#[test]
fn a_saved_state_goes_on_with_the_same_bits() {
    let model = model();
    let text = tokens(&model);
    let len = 1000.min(model.params().n_ctx_train - 20);
    let options = |threads| SessionOptions { threads, ..SessionOptions::default() };
    let mut first = Session::new(&model, &options(1)).unwrap();
    first.decode(&text[..len]).unwrap();
    let mut state = Vec::new();
    first.save_state(Some(0), &mut state).unwrap();
    let mut second = Session::new(&model, &options(2)).unwrap();
    second.load_state(Some(0), &state).unwrap();
    for token in &text[1200..1210] {
        first.decode(&[*token]).unwrap();
        second.decode(&[*token]).unwrap();
        assert!(bits(first.logits(0).unwrap()) == bits(second.logits(0).unwrap()));
    }
}
