//! Saved state: the same logits from there on, in any session; and bytes that are damaged, foreign or made up, which
//! end in an error and change nothing.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gguf_bytes as gguf;
use pumice::{Batch, Error, KvType, Model, Outputs, Session, SessionOptions, StateDefect, StateMismatch, Token};
use tiny_model::{N_EMBD, N_VOCAB, Tiny};

fn tokens(n: usize, seed: usize) -> Vec<Token> {
    (0..n).map(|i| (i * i * 7 + i * seed + seed) as Token % N_VOCAB as Token).collect()
}

fn session_of(model: &Model, threads: usize) -> Session {
    Session::new(model, &SessionOptions { threads, ..SessionOptions::default() }).unwrap()
}

fn session(model: &Model) -> Session {
    session_of(model, 1)
}

fn feed(session: &mut Session, sequence: usize, tokens: &[Token]) -> Vec<u32> {
    let mut batch = Batch::new();
    batch.add(sequence, tokens, Outputs::Last);
    session.decode_batch(&batch).unwrap();
    session.logits(0).unwrap().iter().map(|x| x.to_bits()).collect()
}

fn saved(session: &Session, sequence: Option<usize>) -> Vec<u8> {
    let mut state = Vec::new();
    session.save_state(sequence, &mut state).unwrap();
    assert_eq!(state.len() as u64, session.state_len(sequence));
    state
}

/// A folder of its own for a test, empty.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _not_there = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Three sequences, two of which share a page and a part of another.
fn three(model: &Model) -> Session {
    let mut session = session(model);
    session.decode(&tokens(200, 1)).unwrap();
    session.fork(0, 5, 150).unwrap();
    feed(&mut session, 9, &tokens(3, 2));
    session
}

#[test]
fn a_loaded_sequence_goes_on_with_the_same_bits() {
    for model in [Tiny::llama(), Tiny::gpt2()].map(|tiny| tiny.build().unwrap()) {
        for len in [1, 17, 128, 129, 256, 270] {
            let (text, more) = (tokens(len, 1), tokens(20, 2));
            let mut first = session_of(&model, 1);
            first.decode(&text).unwrap();
            let state = saved(&first, Some(0));
            let expected = feed(&mut first, 0, &more);
            for threads in [1, 2, 3] {
                let mut second = session_of(&model, threads);
                feed(&mut second, 7, &tokens(30, 3));
                second.load_state(Some(7), &state).unwrap();
                assert_eq!((second.tokens(7), second.tokens(0), second.outputs()), (&text[..], &[][..], 0));
                assert!(feed(&mut second, 7, &more) == expected, "{len} tokens, {threads} threads");
            }
        }
    }
}

#[test]
fn all_sequences_come_back_and_share_what_they_shared() {
    let model = Tiny::llama().build().unwrap();
    let mut first = three(&model);
    let state = saved(&first, None);
    let mut second = session_of(&model, 2);
    feed(&mut second, 4, &tokens(30, 3)); // is forgotten
    second.load_state(None, &state).unwrap();
    for sequence in [0, 4, 5, 9] {
        assert_eq!(second.tokens(sequence), first.tokens(sequence));
    }
    assert_eq!((second.kv_bytes(), second.outputs()), (first.kv_bytes(), 0));
    assert!(saved(&second, None) == state);
    // The pages that are shared are in the state once: less than the sequences on their own.
    let apart: usize = [0, 5, 9].map(|sequence| saved(&first, Some(sequence)).len()).into_iter().sum();
    assert!(state.len() < apart - model.kv_bytes(128), "{} and {apart}", state.len());
    for sequence in [5, 0, 9] {
        assert!(feed(&mut second, sequence, &[1, 2]) == feed(&mut first, sequence, &[1, 2]), "sequence {sequence}");
    }
    assert_eq!(second.kv_bytes(), first.kv_bytes());
}

#[test]
fn one_sequence_or_none() {
    let model = Tiny::llama().build().unwrap();
    let mut session = three(&model);
    let (one, all) = (saved(&session, Some(5)), saved(&session, None));
    let (nothing, none) = (saved(&session, Some(77)), saved(&session_of(&model, 1), None));
    // A state of several is not for one.
    for state in [&all, &none] {
        let result = session.load_state(Some(3), state);
        assert!(matches!(result, Err(Error::StateMismatch { mismatch: StateMismatch::Sequences { .. }, .. })));
        assert!(saved(&session, None) == all);
    }
    // Shares nothing with the sequence that it was saved from.
    session.load_state(Some(3), &one).unwrap();
    assert_eq!((session.tokens(3), session.tokens(0).len()), (&tokens(150, 1)[..], 200));
    session.load_state(Some(3), &nothing).unwrap();
    assert!(saved(&session, None) == all);
    session.load_state(None, &one).unwrap();
    assert_eq!((session.tokens(5).len(), session.tokens(0).len()), (150, 0));
    session.load_state(None, &none).unwrap();
    assert_eq!(session.kv_bytes(), 0);
}

#[test]
fn keys_and_values_stay_as_they_were_kept() {
    let model = Tiny::llama().build().unwrap();
    let of = |kv_type| {
        let options = SessionOptions { threads: 1, kv_type, ..SessionOptions::default() };
        Session::new(&model, &options).unwrap()
    };
    let (mut first, mut second) = (of(KvType::F32), of(KvType::F32));
    first.decode(&tokens(150, 1)).unwrap();
    let state = saved(&first, None);
    second.load_state(None, &state).unwrap();
    assert_eq!(feed(&mut second, 0, &tokens(20, 2)), feed(&mut first, 0, &tokens(20, 2)));
    // Half of it where halves are kept, and neither takes the other's.
    let mut half = of(KvType::F16);
    half.decode(&tokens(150, 1)).unwrap();
    assert_eq!((second.kv_bytes(), half.kv_bytes() * 2), (first.kv_bytes(), first.kv_bytes()));
    for (session, state) in [(&mut half, &state), (&mut first, &saved(&fed(&model), None))] {
        let error = session.load_state(None, state).unwrap_err();
        assert!(error.to_string().contains("element type"), "{error}");
    }
}

/// A session as all are unless asked otherwise, with some tokens.
fn fed(model: &Model) -> Session {
    let mut session = session(model);
    session.decode(&tokens(5, 1)).unwrap();
    session
}

#[test]
fn a_state_that_is_too_long_is_refused() {
    let model = Tiny::llama().build().unwrap();
    let state = saved(&three(&model), None);
    let mut short = Session::new(&model, &SessionOptions { n_ctx: 199, threads: 1, ..Default::default() }).unwrap();
    feed(&mut short, 2, &[1, 2]);
    let before = saved(&short, None);
    assert!(matches!(short.load_state(None, &state), Err(Error::ContextFull { needed: 200, n_ctx: 199 })));
    assert!(saved(&short, None) == before && short.outputs() == 1);
    let limit = model.kv_bytes(1);
    let options = SessionOptions { threads: 1, memory_limit: limit, ..Default::default() };
    let mut narrow = Session::new(&model, &options).unwrap();
    assert!(matches!(narrow.load_state(None, &state), Err(Error::MemoryLimit { .. })));
}

#[test]
fn another_models_state_is_refused() {
    let tiny = Tiny::llama();
    let model = tiny.build().unwrap();
    let llama_state = saved(&three(&model), None);
    let mut others = vec![Tiny::gpt2()];
    // The last byte of one tensor, a hyper-parameter, a tensor more.
    let mut other = tiny.clone();
    *other.tensors.last_mut().unwrap().bytes.last_mut().unwrap() ^= 1;
    others.push(other);
    let mut other = tiny.clone();
    other.set("llama.rope.freq_base", gguf::f32(5000.0));
    others.push(other);
    let mut other = tiny.clone();
    other.vector("blk.1.attn_q.bias", N_EMBD, 0.5);
    others.push(other);
    for other in others {
        let mut session = session(&other.build().unwrap());
        let result = session.load_state(None, &llama_state);
        assert!(matches!(result, Err(Error::StateMismatch { mismatch: StateMismatch::Model, .. })), "{result:?}");
        // Damaged, it is not called another model's.
        let mut damaged = llama_state.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let result = session.load_state(None, &damaged);
        assert!(matches!(result, Err(Error::State { defect: StateDefect::BadChecksum { .. }, .. })), "{result:?}");
    }
    // Of a large tensor only samples are looked at, the last byte among them.
    let mut gpt2 = Tiny::gpt2();
    let state = saved(&three(&gpt2.build().unwrap()), None);
    let large = gpt2.tensors.iter_mut().max_by_key(|tensor| tensor.bytes.len()).unwrap();
    assert!(large.bytes.len() > 16 << 10);
    *large.bytes.last_mut().unwrap() ^= 1;
    let result = session(&gpt2.build().unwrap()).load_state(None, &state);
    assert!(matches!(result, Err(Error::StateMismatch { mismatch: StateMismatch::Model, .. })), "{result:?}");
    // The same weights under another name, in another order.
    let mut same = tiny.clone();
    same.set("general.name", gguf::str("the same"));
    same.tensors.reverse();
    session(&same.build().unwrap()).load_state(None, &llama_state).unwrap();
}

/// Gives a state the checksum that its bytes have.
fn seal(state: &mut [u8]) {
    let end = state.len() - 8;
    let mut hash = twox_hash::XxHash3_64::new();
    hash.write(&state[..end]);
    state[end..].copy_from_slice(&hash.finish().to_le_bytes());
}

#[test]
fn damaged_states_are_refused_and_change_nothing() {
    let model = Tiny::llama().build().unwrap();
    let mut small = session(&model);
    small.decode(&tokens(4, 1)).unwrap();
    small.fork(0, 2, 3).unwrap();
    let state = saved(&small, None);
    let mut session = three(&model);
    let before = saved(&session, None);
    let mut refused = |state: &[u8], what: &str| match session.load_state(None, state) {
        Err(Error::State { .. } | Error::StateMismatch { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    for at in 0..state.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bad = state.clone();
            bad[at] ^= flip;
            refused(&bad, &format!("byte {at} changed by {flip:#x}"));
        }
        refused(&state[..at], &format!("the first {at} bytes"));
    }
    refused(&[&state[..], &[0]].concat(), "a byte more");
    assert!(saved(&session, None) == before);
}

/// The offsets of the header's fields, and what follows it.
const VERSION: usize = 8;
const LENGTH: usize = 16;
const FORMAT: usize = 40;
const COUNT: usize = 60;
const NUMBER: usize = 64;
const LEN: usize = 72;
const TOKENS: usize = 76;

#[test]
fn absurd_states_with_the_right_checksum_are_refused() {
    let model = Tiny::llama().build().unwrap();
    let mut small = session(&model);
    small.decode(&tokens(4, 1)).unwrap();
    let state = saved(&small, None);
    let mut session = session(&model);
    let mut refused = |at: usize, value: u32| {
        let mut bad = state.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut bad);
        let error = session.load_state(None, &bad).unwrap_err();
        assert!(session.tokens(0).is_empty() && session.kv_bytes() == 0);
        assert!(!error.to_string().contains('\n'), "{error}");
        error
    };
    for value in [0, 1, 2, 5, 127, 0x7fff_ffff, u32::MAX] {
        let version = refused(VERSION, if value == 1 { 3 } else { value });
        match value {
            0 => assert!(matches!(version, Error::State { .. }), "{version:?}"),
            _ => assert!(
                matches!(version, Error::StateMismatch { mismatch: StateMismatch::Version { .. }, .. }),
                "{version:?}"
            ),
        }
        assert!(matches!(refused(LENGTH, value), Error::State { defect: StateDefect::BadLength { .. }, .. }));
        assert!(matches!(refused(LENGTH + 4, value.max(1)), Error::State { .. }));
        for field in 0..5 {
            let error = refused(FORMAT + 4 * field, if value == 1 || value == 2 { 99 } else { value });
            assert!(matches!(error, Error::StateMismatch { mismatch: StateMismatch::Layout { .. }, .. }), "{error}");
        }
        if value != 1 {
            assert!(matches!(refused(COUNT, value), Error::State { .. }));
        }
        assert!(matches!(refused(LEN, value), Error::State { .. }), "a length of {value}");
        // The only page is number 0.
        if value != 0 {
            let error = refused(TOKENS + 4 * 4, value);
            assert!(matches!(error, Error::State { defect: StateDefect::BadField { .. }, .. }), "{error}");
        }
    }
    for token in [N_VOCAB as u32, u32::MAX] {
        let error = refused(TOKENS + 4, token);
        assert!(matches!(error, Error::State { defect: StateDefect::BadField { what: "a token", .. }, .. }), "{error}");
    }
    // The same number twice.
    let mut twice = saved(&three(&model), None);
    let second = NUMBER + 8 + 4 + 4 * 200 + 4 * 2;
    assert_eq!(twice[second], 5);
    twice[second] = 0;
    seal(&mut twice);
    assert!(matches!(session.load_state(None, &twice), Err(Error::State { .. })));
}

#[test]
fn files_are_replaced_as_a_whole() {
    let model = Tiny::llama().build().unwrap();
    let folder = scratch("state-files");
    let path = folder.join("state");
    let names = || std::fs::read_dir(&folder).unwrap().count();
    let (first, mut second) = (three(&model), session(&model));
    first.save_state_file(None, &path).unwrap();
    assert!(std::fs::read(&path).unwrap() == saved(&first, None));
    second.load_state_file(None, &path).unwrap();
    assert!(saved(&second, None) == saved(&first, None));
    first.save_state_file(Some(9), &path).unwrap();
    second.load_state_file(Some(1), &path).unwrap();
    assert_eq!((second.tokens(1).len(), second.tokens(0).len(), names()), (3, 200, 1));

    // What fails leaves no file behind, and the session as it was.
    for bad in [folder.clone(), folder.join("no/state"), folder.join("..")] {
        assert!(matches!(first.save_state_file(None, &bad), Err(Error::Io { .. })));
    }
    for bad in [folder.clone(), folder.join("nothing")] {
        assert!(matches!(second.load_state_file(None, &bad), Err(Error::Io { .. })));
    }
    let before = saved(&second, None);
    std::fs::write(&path, &before[..before.len() - 9]).unwrap();
    let error = second.load_state_file(None, &path).unwrap_err();
    assert!(error.to_string().contains("state-files/state: the state has"), "{error}");
    assert!(saved(&second, None) == before && names() == 1);
}

/// The process that is killed in the test below: saves two states in turn.
fn save_in_turn(path: &Path) -> ! {
    let model = Tiny::llama().build().unwrap();
    let (long, mut short) = (three(&model), session(&model));
    short.decode(&tokens(100, 4)).unwrap();
    loop {
        long.save_state_file(None, path).unwrap();
        short.save_state_file(None, path).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_one_state_or_the_other() {
    const CHILD: &str = "PUMICE_TEST_SAVES_TO";
    if let Some(path) = std::env::var_os(CHILD) {
        save_in_turn(Path::new(&path));
    }
    let path = scratch("state-killed").join("state");
    let model = Tiny::llama().build().unwrap();
    let mut session = session(&model);
    let mut found = [0, 0];
    for round in 0..60 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "a_killed_process_leaves_one_state_or_the_other"]).env(CHILD, &path);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !path.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(20_000 + round * round * 7919 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        session.load_state_file(None, &path).unwrap_or_else(|error| panic!("round {round}: {error}"));
        match session.tokens(0).len() {
            200 => found[0] += 1,
            100 => found[1] += 1,
            other => panic!("{other} tokens"),
        }
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}
