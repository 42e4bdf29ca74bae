//! Sequences that share a prefix: the same logits as without sharing, pages that are counted and copied no more than
//! needed, and failed calls that leave the sharing as it was.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pumice::{Batch, Error, Model, Outputs, Session, SessionOptions, Token};
use tiny_model::{N_CTX, N_VOCAB, Tiny};

/// Positions in a page of the KV cache.
const PAGE: usize = 128;

fn tokens(n: usize, seed: usize) -> Vec<Token> {
    (0..n).map(|i| (i * i * 7 + i * seed + seed) as Token % N_VOCAB as Token).collect()
}

fn session(model: &Model) -> Session {
    Session::new(model, &SessionOptions { threads: 1, chunk: 16, ..SessionOptions::default() }).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|x| x.is_finite()));
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The logits of the last of these tokens, computed from the first one on.
fn alone(model: &Model, tokens: &[Token]) -> Vec<u32> {
    let mut session = session(model);
    session.decode(tokens).unwrap();
    bits(session.logits(0).unwrap())
}

/// Feeds tokens to a sequence; gives the last one's logits.
fn feed(session: &mut Session, sequence: usize, tokens: &[Token]) -> Vec<u32> {
    let mut batch = Batch::new();
    batch.add(sequence, tokens, Outputs::Last);
    session.decode_batch(&batch).unwrap();
    bits(session.logits(0).unwrap())
}

/// What a sequence holds is what its tokens give: the logits of one more token are those of the whole text.
fn check(model: &Model, session: &mut Session, sequence: usize) {
    let mut text = session.tokens(sequence).to_vec();
    text.push(3);
    assert!(feed(session, sequence, &[3]) == alone(model, &text), "sequence {sequence} of {} tokens", text.len());
}

/// The KV cache in pages.
fn pages(model: &Model, session: &Session) -> usize {
    assert_eq!(session.kv_bytes() % model.kv_bytes(1), 0);
    session.kv_bytes() / model.kv_bytes(1)
}

#[test]
fn a_fork_goes_on_as_if_it_had_computed_its_prefix() {
    for model in [Tiny::llama(), Tiny::gpt2()].map(|tiny| tiny.build().unwrap()) {
        let (text, more) = (tokens(279, 1), tokens(20, 2));
        for prefix in [1, 15, 16, 127, 128, 129, 200, 256, 279] {
            let mut session = session(&model);
            session.decode(&text).unwrap();
            session.fork(0, 4, prefix).unwrap();
            assert_eq!((session.tokens(4), session.tokens(0)), (&text[..prefix], &text[..]));
            let whole = [&text[..prefix], &more].concat();
            assert!(feed(&mut session, 4, &more) == alone(&model, &whole), "from {prefix} tokens");
            check(&model, &mut session, 0);
            check(&model, &mut session, 4);
        }
    }
}

#[test]
fn a_fork_takes_no_memory_and_its_first_token_one_page_at_most() {
    let model = Tiny::llama().build().unwrap();
    let mut session = session(&model);
    session.decode(&tokens(200, 1)).unwrap();
    assert_eq!(pages(&model, &session), 2);
    for to in 1..=5 {
        session.fork(0, to, 200).unwrap();
    }
    session.fork(3, 6, PAGE).unwrap();
    assert_eq!(pages(&model, &session), 2);
    feed(&mut session, 1, &[1]); // a copy of the last page
    assert_eq!(pages(&model, &session), 3);
    feed(&mut session, 1, &[1, 2]); // which is its own now
    assert_eq!(pages(&model, &session), 3);
    feed(&mut session, 6, &[1]); // after a full page a new one, and no copy
    assert_eq!(pages(&model, &session), 4);
    feed(&mut session, 0, &[1]); // the first one copies as any other
    assert_eq!(pages(&model, &session), 5);
    for to in [2, 3, 4] {
        session.truncate(to, 0);
    }
    assert_eq!(pages(&model, &session), 5);
    feed(&mut session, 5, &[1]); // the last that is left writes in place
    assert_eq!(pages(&model, &session), 5);
    for sequence in [0, 1, 5, 6] {
        check(&model, &mut session, sequence);
    }
}

#[test]
fn forks_of_forks_are_forgotten_in_any_order() {
    let model = Tiny::llama().build().unwrap();
    let text = tokens(150, 1);
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
    for order in orders {
        let mut session = session(&model);
        session.decode(&text).unwrap();
        session.fork(0, 1, 140).unwrap();
        feed(&mut session, 1, &[7]);
        session.fork(1, 2, 141).unwrap();
        session.fork(2, 3, 130).unwrap();
        for (i, gone) in order.into_iter().enumerate() {
            session.truncate(gone, 0);
            assert_eq!(session.tokens(gone), []);
            for left in &order[i + 1..] {
                check(&model, &mut session, *left);
            }
        }
        assert_eq!(session.kv_bytes(), 0);
    }
}

#[test]
fn a_batch_extends_all_owners_of_a_page_at_once() {
    let model = Tiny::llama().build().unwrap();
    let mut session = session(&model);
    let text = tokens(180, 1);
    session.decode(&text).unwrap();
    // Shorter than the first: written in place, its tokens would fall onto the first one's keys.
    session.fork(0, 1, 150).unwrap();
    session.fork(0, 2, 180).unwrap();
    let mut batch = Batch::new();
    let more = [tokens(40, 2), tokens(40, 3), tokens(3, 4)];
    for (sequence, more) in more.iter().enumerate() {
        batch.add(sequence, &more[..2], Outputs::None);
        batch.add(sequence, &more[2..], Outputs::Last);
    }
    session.decode_batch(&batch).unwrap();
    for (i, (prefix, more)) in [180, 150, 180].into_iter().zip(&more).enumerate() {
        let whole = [&text[..prefix], more].concat();
        assert_eq!(session.tokens(i), whole);
        assert!(bits(session.logits(i).unwrap()) == alone(&model, &whole), "sequence {i}");
    }
    assert_eq!(pages(&model, &session), 1 + 3);
}

/// Three sequences of 180, 150 and 160 tokens in two pages.
fn three(model: &Model) -> Session {
    let mut session = session(model);
    session.decode(&tokens(180, 1)).unwrap();
    fork_three(&mut session);
    session
}

/// Makes them of what sequence 0 holds.
fn fork_three(session: &mut Session) {
    for (sequence, prefix) in [(0, 180), (1, 150), (2, 160), (9, 0)] {
        session.fork(0, sequence, prefix).unwrap();
    }
}

/// They are as they were, sharing included.
fn check_three(model: &Model, session: &mut Session) {
    let text = tokens(180, 1);
    let held = [0, 1, 2, 9].map(|sequence| session.tokens(sequence));
    assert_eq!((held, pages(model, session)), ([&text[..], &text[..150], &text[..160], &[]], 2));
}

#[test]
fn a_refused_call_leaves_shared_pages_shared() {
    let model = Tiny::llama().build().unwrap();
    let mut session = three(&model);
    let mut batch = Batch::new();
    for sequence in [1, 0, 9] {
        batch.add(sequence, &tokens(30, 5), Outputs::Last);
    }
    for bad in [vec![N_VOCAB as Token], vec![], tokens(N_CTX as usize, 1)] {
        let mut batch = batch.clone();
        batch.add(2, &bad, Outputs::Last);
        session.decode_batch(&batch).unwrap_err();
        check_three(&model, &mut session);
    }
    // Stopped after two steps, which wrote where the pages were shared.
    let result = session.decode_with(&tokens(60, 6), Outputs::Last, |done, _| {
        if done < 32 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(result, Err(Error::Cancelled)));
    check_three(&model, &mut session);
    for sequence in [2, 1, 0] {
        check(&model, &mut session, sequence);
    }
}

#[test]
fn a_cancelled_batch_leaves_shared_pages_shared() {
    let model = Tiny::llama().build().unwrap();
    let mut session = three(&model);
    let mut batch = Batch::new();
    for sequence in [1, 0, 9, 2, 1] {
        batch.add(sequence, &tokens(60, 5), Outputs::Last);
    }
    let canceller = session.canceller();
    let here = Arc::new(());
    let there = Arc::downgrade(&here);
    let stopper = std::thread::spawn(move || {
        for pause in (0..400).cycle().step_by(37).take_while(|_| there.strong_count() > 0) {
            std::thread::sleep(Duration::from_micros(pause));
            canceller.cancel();
        }
    });
    let mut cancelled = 0;
    while cancelled < 100 {
        match session.decode_batch(&batch) {
            Ok(()) => fork_three(&mut session),
            Err(Error::Cancelled) => cancelled += 1,
            Err(other) => panic!("{other}"),
        }
        check_three(&model, &mut session);
    }
    drop(here);
    stopper.join().unwrap();
    for sequence in [2, 1, 0] {
        check(&model, &mut session, sequence);
    }
}

#[test]
fn forks_have_ranges() {
    let model = Tiny::llama().build().unwrap();
    let mut session = session(&model);
    let text = tokens(150, 1);
    session.decode(&text).unwrap();
    feed(&mut session, 1, &[1, 2]);
    for (from, to, prefix) in [(0, 1, 151), (1, 0, 3), (0, 0, 151), (7, 1, 1)] {
        let result = session.fork(from, to, prefix);
        assert!(matches!(result, Err(Error::InvalidArgument { name: "prefix", .. })));
        assert_eq!((session.tokens(0), session.tokens(1)), (&text[..], &[1, 2][..]));
    }
    // What there was is forgotten, and nothing of nothing is nothing.
    session.fork(0, 1, 140).unwrap();
    assert_eq!(session.tokens(1), &text[..140]);
    session.fork(0, 0, 130).unwrap();
    assert_eq!((session.tokens(0), session.tokens(1)), (&text[..130], &text[..140]));
    check(&model, &mut session, 0);
    check(&model, &mut session, 1);
    session.fork(7, 1, 0).unwrap();
    session.fork(0, 0, 0).unwrap();
    assert_eq!((session.tokens(0), session.tokens(1), session.kv_bytes()), (&[][..], &[][..], 0));
}

#[test]
fn a_prompt_is_fed_from_where_it_differs_and_its_last_token_always() {
    let model = Tiny::llama().build().unwrap();
    let mut session = session(&model);
    assert_eq!((session.keep_common(&[1, 2]), session.keep_common(&[])), (0, 0));
    let text = tokens(40, 1);
    for (prompt, kept) in [
        ([&text, &[1, 2][..]].concat(), 40),
        (text.clone(), 39),
        (text[..30].to_vec(), 29),
        ([&text[..20], &[39, 39][..], &text[22..]].concat(), 20),
        (vec![text[0] + 1], 0),
        (Vec::new(), 0),
    ] {
        session.reset();
        session.decode(&text).unwrap();
        assert_ne!(text[20], 39);
        assert_eq!((session.keep_common(&prompt), session.tokens(0)), (kept, &text[..kept]), "{prompt:?}");
        if !prompt.is_empty() {
            session.decode(&prompt[kept..]).unwrap();
            assert!(bits(session.logits(0).unwrap()) == alone(&model, &prompt));
        }
    }
}
