//! How likely continuations are: the same as feeding each on its own says.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::sync::{Arc, OnceLock};

use pumice::sample::LogProbs;
use pumice::{Canceller, Error, Level, Log, Session, SessionOptions, Token, score};
use tiny_model::{N_VOCAB, Tiny};

fn session(chunk: usize) -> Session {
    let options = SessionOptions { threads: 1, chunk, ..SessionOptions::default() };
    Session::new(&Tiny::llama().build().unwrap(), &options).unwrap()
}

fn tokens(n: usize, seed: usize) -> Vec<Token> {
    (0..n).map(|i| (i * i * 7 + i + seed) as Token % N_VOCAB as Token).collect()
}

/// Token by token, in a session of its own.
fn alone(prompt: &[Token], continuation: &[Token]) -> f64 {
    let mut session = session(0);
    session.decode(prompt).unwrap();
    let mut sum = 0.0;
    for token in continuation {
        sum += LogProbs::of(session.logits(0).unwrap()).of_token(*token);
        session.decode(&[*token]).unwrap();
    }
    sum
}

#[test]
fn scores_are_those_of_each_continuation_alone() {
    // Some share a batch, one takes several, and one has nothing to feed.
    let texts = [tokens(1, 3), tokens(5, 1), Vec::new(), tokens(150, 9), tokens(40, 2), tokens(5, 1)];
    let continuations: Vec<&[Token]> = texts.iter().map(|text| &text[..]).collect();
    for chunk in [0, 7] {
        let mut session = session(chunk);
        for prompt in [tokens(20, 0), tokens(30, 0), tokens(12, 5)] {
            let scores = score(&mut session, &prompt, &continuations).unwrap();
            let expected: Vec<f64> = continuations.iter().map(|text| alone(&prompt, text)).collect();
            assert_eq!(scores, expected, "chunks of {chunk}");
            assert_eq!((scores[2], session.tokens(0)), (0.0, &prompt[..]));
        }
    }
}

#[test]
fn a_prompt_that_is_known_is_not_fed_again() {
    let (mut session, prompt) = (session(0), tokens(100, 0));
    let one = [2];
    score(&mut session, &prompt, &[&one]).unwrap();
    let fed = session.counters().prompt_tokens + session.counters().decode_tokens;
    assert_eq!(fed, 100);
    score(&mut session, &[&prompt[..90], &[1, 2][..]].concat(), &[&one]).unwrap();
    assert_eq!(session.counters().prompt_tokens + session.counters().decode_tokens, fed + 2);
}

#[test]
fn what_cannot_be_scored_is_named_and_changes_nothing() {
    let (mut session, held) = (session(0), tokens(7, 4));
    session.decode(&held).unwrap();
    assert!(matches!(score(&mut session, &[], &[]), Err(Error::InvalidArgument { .. })));
    let bad = [0, N_VOCAB as Token];
    assert!(matches!(score(&mut session, &bad, &[]), Err(Error::TokenOutOfRange { .. })));
    assert!(matches!(score(&mut session, &[1], &[&bad]), Err(Error::TokenOutOfRange { .. })));
    let (short, long) = (tokens(9, 0), tokens(292, 0)); // the context has 300 positions, and the last token takes none
    let full = score(&mut session, &tokens(10, 0), &[&short, &long]);
    assert!(matches!(full, Err(Error::ContextFull { needed: 301, n_ctx: 300 })), "{full:?}");
    assert_eq!((session.tokens(0), session.outputs()), (&held[..], 1));
    score(&mut session, &tokens(10, 0), &[&short, &long[..291]]).unwrap();
}

#[test]
fn continuations_leave_nothing_behind_and_no_more_than_a_batch_is_held() {
    let model = Tiny::llama().build().unwrap();
    let (prompt, text) = (tokens(10, 0), tokens(60, 3));
    let run = |limit: usize| {
        let options = SessionOptions { threads: 1, memory_limit: limit, ..SessionOptions::default() };
        let mut session = Session::new(&model, &options).unwrap();
        score(&mut session, &prompt, &[&text[..]; 20]).map(|_| session)
    };
    let session = run(0).unwrap();
    assert_eq!(session.outputs(), 0);
    let page = session.kv_bytes();
    assert_eq!(page, model.kv_bytes(1));
    // The prompt's page and those of a few continuations, not of twenty.
    assert_eq!(run(session.scratch_bytes() + 8 * page).unwrap().kv_bytes(), page);
}

#[test]
fn a_cancellation_between_two_steps_counts() {
    let canceller = Arc::new(OnceLock::<Canceller>::new());
    let log = {
        let canceller = canceller.clone();
        Log::new(Level::Debug, move |level, _| {
            if level == Level::Debug {
                canceller.get().unwrap().cancel(); // a step is over
            }
        })
    };
    let options = SessionOptions { threads: 1, log, ..SessionOptions::default() };
    let mut session = Session::new(&Tiny::llama().build().unwrap(), &options).unwrap();
    canceller.set(session.canceller()).unwrap();
    let cancelled = score(&mut session, &[1, 2, 3], &[&[4, 5]]);
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    assert_eq!(session.tokens(0), [1, 2, 3]);
    assert!(score(&mut session, &[1, 2, 3], &[&[4]]).is_ok(), "it is over with that call");
}
