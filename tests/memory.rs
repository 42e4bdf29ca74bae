//! Memory: what is said beforehand is what is taken, and a limit is kept.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::ops::ControlFlow;

use pumice::{Batch, Error, Outputs, Session, SessionOptions};
use tiny_model::{N_CTX, N_EMBD, N_VOCAB, Tiny, options, tokens};

#[test]
fn the_estimate_is_what_a_full_context_takes() {
    for tiny in [Tiny::llama(), Tiny::gpt2()] {
        let model = tiny.build().unwrap();
        for (chunk, threads, n_ctx, embeddings) in
            [(0, 1, 0, false), (8, 2, 0, true), (13, 1, 200, false), (300, 3, 0, false), (1, 2, 129, true)]
        {
            let options = SessionOptions { chunk, threads, n_ctx, embeddings, ..options() };
            let memory = model.memory(&options).unwrap();
            let mut session = Session::new(&model, &options).unwrap();
            assert_eq!((session.kv_bytes(), session.scratch_bytes()), (0, 0));
            session.decode(&tokens(session.n_ctx())).unwrap();
            assert_eq!(session.kv_bytes() as u64, memory.kv, "{options:?}");
            assert_eq!(session.scratch_bytes() as u64, memory.scratch, "{options:?}");
            assert_eq!(memory.weights, tiny.bytes().len() as u64);
            assert_eq!(memory.total(), memory.weights + memory.kv + memory.scratch);

            // Whatever the steps are, they take no more; one token at a time takes less.
            session.reset();
            for n in [1, 2, 5, 7, 8, 12, 3] {
                session.decode(&tokens(n)).unwrap();
            }
            assert_eq!(session.scratch_bytes() as u64, memory.scratch);
            let mut frugal = Session::new(&model, &options).unwrap();
            tokens(20).iter().for_each(|token| frugal.decode(&[*token]).unwrap());
            assert!(frugal.scratch_bytes() as u64 <= memory.scratch);
            assert_eq!(chunk == 1, frugal.scratch_bytes() as u64 == memory.scratch);
        }
        let absurd = SessionOptions { n_ctx: 1 << 29, ..options() };
        assert!(matches!(model.memory(&absurd), Err(Error::InvalidArgument { name: "n_ctx", .. })));
    }
}

#[test]
fn a_limit_is_kept_to_the_byte() {
    let model = Tiny::llama().build().unwrap();
    let free = SessionOptions { chunk: 16, ..options() };
    let memory = model.memory(&free).unwrap();
    let enough = (memory.kv + memory.scratch) as usize;
    let tokens = tokens(N_CTX as usize);
    for memory_limit in [enough, enough - 1] {
        let mut session = Session::new(&model, &SessionOptions { memory_limit, ..free.clone() }).unwrap();
        let result = session.decode(&tokens);
        if memory_limit == enough {
            result.unwrap();
            assert_eq!(session.kv_bytes() + session.scratch_bytes(), enough);
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, Error::MemoryLimit { needed, limit } if needed == enough && limit == enough - 1));
        assert_eq!(error.kind(), pumice::ErrorKind::NoMemory);
        assert!(error.to_string().contains(&enough.to_string()), "{error}");
        assert_eq!((session.kv_bytes(), session.scratch_bytes(), session.tokens(0).len()), (0, 0, 0));
    }
}

#[test]
fn what_would_exceed_the_limit_changes_nothing() {
    let model = Tiny::llama().build().unwrap();
    let mut session = Session::new(&model, &SessionOptions { chunk: 16, ..options() }).unwrap();
    session.decode(&tokens(100)).unwrap();
    let taken = session.kv_bytes() + session.scratch_bytes();
    let before = session.logits(0).unwrap().to_vec();
    session.configure(&SessionOptions { memory_limit: taken, ..session.options().clone() }).unwrap();
    let mut batch = Batch::new();
    batch.add(0, &tokens(10), Outputs::None);
    batch.add(1, &tokens(1), Outputs::Last);
    let more_outputs = session.decode_with(&tokens(28), Outputs::All, |_, _| ControlFlow::Continue(()));
    for result in [session.decode(&tokens(29)), session.decode_batch(&batch), more_outputs] {
        assert!(matches!(result, Err(Error::MemoryLimit { limit, .. }) if limit == taken), "{result:?}");
        assert_eq!((session.tokens(0).len(), session.tokens(1).len()), (100, 0));
        assert_eq!(session.logits(0).unwrap(), before);
        assert_eq!(session.kv_bytes() + session.scratch_bytes(), taken);
    }
    session.decode(&tokens(28)).unwrap(); // the page is full now, and not too much
    assert_eq!(session.kv_bytes() + session.scratch_bytes(), taken);
}

#[test]
fn buffers_of_larger_calls_give_way() {
    let model = Tiny::llama().build().unwrap();
    let with = SessionOptions { chunk: 8, embeddings: true, ..options() };
    let mut session = Session::new(&model, &with).unwrap();
    session.decode_with(&tokens(100), Outputs::All, |_, _| ControlFlow::Continue(())).unwrap();
    let row = 4 * (N_VOCAB + N_EMBD);
    let large = session.scratch_bytes();
    assert!(large > 100 * row);
    let limit = session.kv_bytes() + model.memory(&with).unwrap().scratch as usize;
    session.configure(&SessionOptions { memory_limit: limit, ..session.options().clone() }).unwrap();
    session.decode(&tokens(28)).unwrap();
    assert!(session.kv_bytes() + session.scratch_bytes() <= limit);
    assert_eq!(session.scratch_bytes(), large - 99 * row); // the last token's is left
}

#[test]
fn shared_pages_count_once_and_their_copies_too() {
    let model = Tiny::llama().build().unwrap();
    let mut session = Session::new(&model, &SessionOptions { chunk: 16, ..options() }).unwrap();
    session.decode(&tokens(200)).unwrap();
    let page = model.kv_bytes(1);
    session.fork(0, 1, 200).unwrap();
    assert_eq!(session.kv_bytes(), 2 * page);

    // Whoever writes first gets a copy of the last page: one byte less than that is too little.
    let with = |session: &Session, bytes| SessionOptions { memory_limit: bytes, ..session.options().clone() };
    session.configure(&with(&session, 3 * page)).unwrap();
    let needed = match session.decode(&[1]) {
        Err(Error::MemoryLimit { needed, .. }) => needed,
        other => panic!("{other:?}"),
    };
    assert!(needed > 3 * page && needed < 4 * page);
    session.configure(&with(&session, needed - 1)).unwrap();
    assert!(matches!(session.decode(&[1]), Err(Error::MemoryLimit { .. })));
    assert_eq!((session.kv_bytes(), session.tokens(0).len(), session.tokens(1).len()), (2 * page, 200, 200));
    session.configure(&with(&session, needed)).unwrap();
    session.decode(&[1]).unwrap();
    assert_eq!(session.kv_bytes(), 3 * page);
}
