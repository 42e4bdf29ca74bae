//! Sessions: the same logits however the work is cut, and sequences that a failed call leaves as they were.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::ops::ControlFlow;

use gguf_bytes as gguf;
use pumice::quant::GgmlType;
use pumice::{Batch, Error, Kernels, KvType, Model, Outputs, Session, SessionOptions, Token};
use tiny_model::{N_CTX, N_EMBD, N_VOCAB, Tiny, options, session, tokens};

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

fn last(session: &Session) -> Vec<u32> {
    bits(session.logits(session.outputs() - 1).unwrap())
}

#[test]
fn logits_do_not_depend_on_how_the_work_is_cut() {
    for (tiny, kv_type) in Tiny::all().into_iter().flat_map(|tiny| KvType::ALL.map(|ty| (tiny.clone(), ty))) {
        let model = tiny.build().unwrap();
        let tokens = tokens(200);
        let options = || SessionOptions { kv_type, ..options() };
        let scalar = Kernels::available().next();
        let expected = all_logits(&model, &SessionOptions { kernels: scalar, ..options() }, &tokens);
        assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
        for kernels in Kernels::available() {
            for threads in [1, 2, 3] {
                for chunk in [0, 1, 7, 16, 129] {
                    let options = SessionOptions { threads, chunk, kernels: Some(kernels), ..options() };
                    let got = all_logits(&model, &options, &tokens);
                    assert!(got == expected, "{} with {threads} threads, chunks of {chunk}", kernels.name());
                }
            }
        }
        let mut one_by_one = Session::new(&model, &options()).unwrap();
        for (i, token) in tokens.iter().enumerate() {
            one_by_one.decode(&[*token]).unwrap();
            assert!(last(&one_by_one) == expected[i], "token {i} on its own");
        }
    }
}

#[test]
fn a_layer_with_a_window_sees_the_last_positions_only() {
    let last = |pattern, changed: usize| {
        let mut tiny = Tiny::gptneo();
        tiny.set("gptneo.attention.sliding_window", gguf::u32(5));
        tiny.set("gptneo.attention.sliding_window_pattern", Tiny::pattern(pattern));
        let mut tokens = tokens(160);
        tokens[changed] = (tokens[changed] + 1) % N_VOCAB as Token;
        all_logits(&tiny.build().unwrap(), &options(), &tokens).pop().unwrap()
    };
    // Two layers of five positions: the last token hears of the eight before it.
    let untouched = last([true, true], 0);
    assert!(last([true, true], 150) == untouched);
    assert!(last([true, true], 151) != untouched);
    assert!(last([true, false], 150) != last([true, false], 0));
}

#[test]
fn sequences_do_not_see_each_other() {
    let model = Tiny::llama().build().unwrap();
    let (a, b) = (tokens(150), tokens(90)[20..].to_vec());
    let alone = [all_logits(&model, &options(), &a), all_logits(&model, &options(), &b)];
    for chunk in [16, 512] {
        let mut session = Session::new(&model, &SessionOptions { chunk, threads: 2, ..options() }).unwrap();
        let mut batch = Batch::new();
        batch.add(5, &a[..130], Outputs::Last);
        batch.add(2, &b[..10], Outputs::None);
        batch.add(2, &b[10..60], Outputs::All);
        batch.add(5, &a[130..], Outputs::Last);
        session.decode_batch(&batch).unwrap();
        assert_eq!(session.outputs(), 1 + 50 + 1);
        let got: Vec<_> = (0..52).map(|i| bits(session.logits(i).unwrap())).collect();
        assert!(got[0] == alone[0][129] && got[51] == alone[0][149] && got[1..51] == alone[1][10..60]);
        // Now one token of each at a time.
        session.truncate(5, 60);
        for i in 60..70 {
            batch.clear();
            batch.add(2, &b[i..=i], Outputs::Last);
            batch.add(5, &a[i..=i], Outputs::Last);
            session.decode_batch(&batch).unwrap();
            assert!(bits(session.logits(0).unwrap()) == alone[1][i] && bits(session.logits(1).unwrap()) == alone[0][i]);
        }
        assert_eq!((session.tokens(2), session.tokens(5), session.tokens(0)), (&b[..], &a[..70], &[][..]));
    }
}

#[test]
fn truncating_is_as_if_the_rest_had_never_been() {
    let model = Tiny::gpt2().build().unwrap();
    let tokens = tokens(140);
    let expected = all_logits(&model, &options(), &tokens);
    let mut session = session(&model);
    session.decode(&tokens).unwrap();
    let full = session.kv_bytes();
    for keep in [139, 128, 5, 0] {
        session.truncate(0, keep);
        assert_eq!(session.tokens(0).len(), keep);
        session.decode(&tokens[keep..]).unwrap();
        assert!(last(&session) == expected[139], "from {keep}");
    }
    assert_eq!((session.kv_bytes(), full), (model.kv_bytes(140), model.kv_bytes(140)));
    session.reset();
    assert_eq!((session.kv_bytes(), session.tokens(0).len()), (0, 0));
}

#[test]
fn a_failed_call_changes_nothing() {
    let model = Tiny::llama().build().unwrap();
    let tokens = tokens(N_CTX as usize);
    let expected = all_logits(&model, &options(), &tokens[..21]);
    let mut session = Session::new(&model, &SessionOptions { chunk: 4, ..options() }).unwrap();
    session.decode(&tokens[..20]).unwrap();

    let n_vocab = N_VOCAB as Token;
    let errors = [
        session.decode(&[1, n_vocab]).unwrap_err(),
        session.decode(&tokens[..281]).unwrap_err(),
        session.decode(&[]).unwrap_err(),
        // Stopped by the callback, after two chunks.
        session
            .decode_with(&tokens[20..], Outputs::Last, |done, total| {
                assert_eq!(total, 280);
                if done < 8 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap_err(),
    ];
    assert!(matches!(errors[0], Error::TokenOutOfRange { token, n_vocab: 40 } if token == n_vocab));
    assert!(matches!(errors[1], Error::ContextFull { needed: 301, n_ctx: 300 }));
    assert!(matches!(errors[2], Error::InvalidArgument { name: "tokens", .. }));
    assert!(matches!(errors[3], Error::Cancelled));
    assert_eq!((session.tokens(0), session.outputs()), (&tokens[..20], 0));

    session.decode(&tokens[20..21]).unwrap();
    assert!(last(&session) == expected[20]);
    // Exactly as many as fit.
    session.decode(&tokens[21..]).unwrap();
    assert!(matches!(session.decode(&[1]), Err(Error::ContextFull { .. })));
}

#[test]
fn another_thread_can_cancel() {
    let model = Tiny::llama().build().unwrap();
    let mut session = Session::new(&model, &SessionOptions { chunk: 1, ..options() }).unwrap();
    let canceller = session.canceller();
    canceller.cancel(); // nothing to stop yet: no effect
    session.decode(&[1]).unwrap();
    let result = session.decode_with(&tokens(200), Outputs::Last, |done, _| {
        if done == 3 {
            let canceller = canceller.clone();
            std::thread::spawn(move || canceller.cancel()).join().unwrap();
        }
        assert!(done <= 3, "went on after it was cancelled");
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(session.tokens(0), [1]);
}

#[test]
fn options_have_ranges() {
    let model = Tiny::gpt2().build().unwrap();
    let error = |options: SessionOptions| match Session::new(&model, &options) {
        Err(Error::InvalidArgument { name, .. }) => name,
        _ => panic!("accepted"),
    };
    assert_eq!(error(SessionOptions { threads: 5000, ..options() }), "threads");
    assert_eq!(error(SessionOptions { n_ctx: N_CTX as usize + 1, ..options() }), "n_ctx");
    assert_eq!(session(&model).n_ctx(), N_CTX as usize);
}

#[test]
fn fused_and_split_projections_are_one() {
    let split = Tiny::llama();
    let mut fused = split.clone();
    for layer in 0..2 {
        let parts = ["q", "k", "v"].map(|part| fused.remove_tensor(&format!("blk.{layer}.attn_{part}.weight")));
        fused.tensors.push(tiny_model::Tensor {
            name: format!("blk.{layer}.attn_qkv.weight"),
            dims: vec![N_EMBD as u64, 128],
            ty: GgmlType::Q8_0,
            bytes: parts.into_iter().flat_map(|t| t.bytes).collect(),
        });
    }
    let logits = |tiny: &Tiny| all_logits(&tiny.build().unwrap(), &options(), &tokens(20));
    assert_eq!(logits(&fused), logits(&split));
}

#[test]
fn a_tied_output_is_the_embedding() {
    let tied = Tiny::llama();
    let logits = |tiny: &Tiny| all_logits(&tiny.build().unwrap(), &options(), &tokens(5));
    let mut own = tied.clone();
    let mut output = own.tensors[0].clone();
    output.name = "output.weight".to_owned();
    own.tensors.push(output);
    assert_eq!(logits(&own), logits(&tied));
    own.tensors.last_mut().unwrap().bytes[40] ^= 0x55;
    assert_ne!(logits(&own), logits(&tied));
}

#[test]
fn rope_frequencies_divide_and_linear_scaling_is_the_same_for_all() {
    let base = Tiny::llama();
    let logits = |tiny: &Tiny| all_logits(&tiny.build().unwrap(), &options(), &tokens(30));
    let with_divisors = |divisors: [f32; 8]| {
        let mut tiny = base.clone();
        tiny.vector("rope_freqs.weight", 8, 0.0);
        tiny.tensors.last_mut().unwrap().bytes = divisors.iter().flat_map(|x| x.to_le_bytes()).collect();
        logits(&tiny)
    };
    assert_eq!(with_divisors([1.0; 8]), logits(&base));
    assert_ne!(with_divisors([1.0, 1.0, 1.0, 1.0, 8.0, 8.0, 8.0, 8.0]), logits(&base));
    let mut scaled = base.clone();
    scaled.set("llama.rope.scaling.type", gguf::str("linear"));
    scaled.set("llama.rope.scaling.factor", gguf::f32(4.0));
    assert_eq!(with_divisors([4.0; 8]), logits(&scaled));
    let mut old = base.clone();
    old.set("llama.rope.scale_linear", gguf::f32(4.0));
    assert_eq!(logits(&old), logits(&scaled));
}

#[test]
fn biases_are_added() {
    let base = Tiny::llama();
    let mut biased = base.clone();
    biased.vector("blk.1.attn_q.bias", N_EMBD, 0.5);
    let logits = |tiny: &Tiny| all_logits(&tiny.build().unwrap(), &options(), &tokens(5));
    assert_ne!(logits(&biased), logits(&base));
    biased.tensors.last_mut().unwrap().bytes.fill(0);
    assert_eq!(logits(&biased), logits(&base));
}

#[test]
fn steps_are_counted_as_prompt_or_decode() {
    let model = Tiny::llama().build().unwrap();
    let mut session = Session::new(&model, &SessionOptions { chunk: 4, ..options() }).unwrap();
    session.decode(&tokens(6)).unwrap();
    session.decode(&[1]).unwrap();
    let mut batch = Batch::new();
    batch.add(0, &[1], Outputs::Last);
    batch.add(1, &[2], Outputs::Last);
    session.decode_batch(&batch).unwrap();
    let counters = session.counters();
    assert_eq!((counters.prompt_tokens, counters.decode_tokens), (6, 3));
    batch.clear();
    batch.add(0, &[1], Outputs::Last);
    batch.add(1, &[2, 3], Outputs::Last);
    session.decode_batch(&batch).unwrap();
    assert!(session.decode(&[1, N_VOCAB as Token]).is_err());
    let counters = session.counters();
    assert_eq!((counters.prompt_tokens, counters.decode_tokens), (9, 3));
    assert!(!counters.prompt_time.is_zero() && !counters.decode_time.is_zero());
    session.reset_counters();
    assert_eq!(session.counters(), pumice::Counters::default());
}

/// The rows of the tied output matrix, dequantized.
fn output_rows(tiny: &Tiny) -> Vec<Vec<f32>> {
    let bytes = &tiny.tensors[0].bytes;
    let row_bytes = bytes.len() / N_VOCAB;
    let row = |i: usize| {
        let mut row = vec![0.0; N_EMBD];
        pumice::quant::dequantize(GgmlType::Q8_0, &bytes[i * row_bytes..][..row_bytes], &mut row).unwrap();
        row
    };
    (0..N_VOCAB).map(row).collect()
}

#[test]
fn embeddings_are_what_logits_are_made_of() {
    for tiny in [Tiny::llama(), Tiny::gpt2()] {
        let model = tiny.build().unwrap();
        let with = SessionOptions { embeddings: true, chunk: 3, ..options() };
        let mut session = Session::new(&model, &with).unwrap();
        session.decode_with(&tokens(10), Outputs::All, |_, _| ControlFlow::Continue(())).unwrap();
        let rows = output_rows(&tiny);
        for i in 0..10 {
            let (embedding, logits) = (session.embedding(i).unwrap(), session.logits(i).unwrap());
            assert_eq!(embedding.len(), N_EMBD);
            for (row, logit) in rows.iter().zip(logits) {
                let exact: f32 = row.iter().zip(embedding).map(|(w, x)| w * x).sum();
                let size: f32 = row.iter().zip(embedding).map(|(w, x)| (w * x).abs()).sum();
                assert!((exact - logit).abs() <= 0.02 * size, "{exact} and {logit}"); // activations are int8
            }
        }
        assert!(session.embedding(10).is_none());
        let expected = all_logits(&model, &options(), &tokens(10));
        assert!((0..10).all(|i| bits(session.logits(i).unwrap()) == expected[i]));
        let mut without = self::session(&model);
        without.decode(&[1]).unwrap();
        assert!(without.embedding(0).is_none());
    }
}

#[test]
fn progress_comes_after_each_layer_of_a_prompt() {
    let model = Tiny::llama().build().unwrap();
    let mut session = Session::new(&model, &SessionOptions { chunk: 5, ..options() }).unwrap();
    let mut told = Vec::new();
    let mut tell = |done, total| {
        told.push((done, total));
        ControlFlow::Continue(())
    };
    session.decode_with(&tokens(11), Outputs::Last, &mut tell).unwrap();
    // Two layers: half of a chunk's five tokens after the first. The last chunk is one token, and tells once.
    assert_eq!(told, [(2, 11), (5, 11), (7, 11), (10, 11), (11, 11)]);

    // Stopping in the first layer of the second chunk: nothing of it is left, and no further layer is computed.
    session.reset();
    let mut calls = 0;
    let stopped = session.decode_with(&tokens(11), Outputs::Last, |done, _| {
        calls += 1;
        if done < 7 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!((calls, session.tokens(0).len(), session.counters().prompt_tokens), (3, 0, 10 + 5));

    // So does a cancellation that comes between two layers.
    let canceller = session.canceller();
    let mut calls = 0;
    let stopped = session.decode_with(&tokens(11), Outputs::Last, |_, _| {
        calls += 1;
        canceller.cancel();
        ControlFlow::Continue(())
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!((calls, session.tokens(0).len()), (1, 0));
}

#[test]
fn a_session_can_be_configured_but_for_its_shape() {
    let model = Tiny::llama().build().unwrap();
    let expected = all_logits(&model, &options(), &tokens(30));
    let mut session = session(&model);
    session.decode(&tokens(30)[..10]).unwrap();
    let scalar = Kernels::available().next();
    let threads = std::thread::available_parallelism().map_or(1, |most| most.get().min(3));
    let wanted = SessionOptions { threads, chunk: 4, kernels: scalar, ..session.options().clone() };
    session.configure(&wanted).unwrap();
    assert_eq!((session.threads(), session.chunk(), session.kernels()), (threads, 4, "scalar"));
    session.decode(&tokens(30)[10..]).unwrap();
    assert!(last(&session) == expected[29]);

    for bad in [
        SessionOptions { n_ctx: 299, ..wanted.clone() },
        SessionOptions { embeddings: true, ..wanted.clone() },
        SessionOptions { threads: 5000, chunk: 9, ..wanted.clone() },
    ] {
        assert!(matches!(session.configure(&bad), Err(Error::InvalidArgument { .. })), "{bad:?}");
        assert_eq!((session.threads(), session.chunk(), session.tokens(0).len()), (threads, 4, 30));
    }
    session.configure(&SessionOptions { n_ctx: 0, ..wanted }).unwrap(); // what it was made with
}
