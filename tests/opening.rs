//! Ways to open a model: read by somebody else, its header alone, preloaded; with progress, and with a log.

#[path = "support/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use gguf_bytes::{self as gguf, File};
use pumice::{Bytes, Error, GgufDefect, Level, Log, Model, ModelOptions, Result, Session, SessionOptions, Token};
use tiny_model::{N_VOCAB, Tiny};

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());

fn header_only() -> ModelOptions {
    ModelOptions { metadata_only: true, ..ModelOptions::default() }
}

/// Opens what a reader gives, and says which ranges it was asked for.
fn read(bytes: &[u8], len: u64, options: &ModelOptions) -> (Result<Model>, Vec<(usize, usize)>) {
    let mut asked = Vec::new();
    let fill = |offset: u64, buffer: &mut [u8]| {
        let at = offset as usize;
        asked.push((at, buffer.len()));
        // Beyond the end, what a careless reader leaves.
        let there = bytes.get(at..).unwrap_or_default();
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        Ok(())
    };
    let model = Model::from_reader("reader", len, fill, options, |_, _| CONTINUE);
    (model, asked)
}

/// A model with a vocabulary of many pieces, so that its header has many blocks.
fn wordy() -> Tiny {
    let mut tiny = Tiny::llama();
    let words: Vec<_> = (0..6000).map(|i| gguf::str(format!("word number {}", i * i))).collect();
    tiny.set("tokenizer.ggml.model", gguf::str("gpt2"));
    tiny.set("tokenizer.ggml.tokens", gguf::array(8, words));
    tiny
}

fn logits(model: &Model) -> Vec<u32> {
    let mut session = Session::new(model, &SessionOptions { threads: 1, ..SessionOptions::default() }).unwrap();
    session.decode(&[1, 2, 3]).unwrap();
    session.logits(0).unwrap().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_reader_is_asked_for_each_byte_once() {
    for tiny in [Tiny::llama(), wordy(), Tiny::gpt2()] {
        let bytes = tiny.bytes();
        let (model, asked) = read(&bytes, bytes.len() as u64, &ModelOptions::default());
        let model = model.unwrap();
        assert_eq!(logits(&model), logits(&tiny.build().unwrap()));
        let mut end = 0;
        for (at, len) in asked {
            assert_eq!((at, len > 0), (end, true));
            end += len;
        }
        let last = model.gguf().tensors().iter().map(|t| t.file_offset() as usize + t.byte_len()).max().unwrap();
        assert_eq!(end, last);
    }
}

#[test]
fn metadata_takes_the_header_and_no_more() {
    for tiny in [Tiny::llama(), wordy(), Tiny::gpt2()] {
        let bytes = tiny.bytes();
        let whole = tiny.build().unwrap();
        let header = whole.gguf().data_offset() as usize;
        let (model, asked) = read(&bytes, bytes.len() as u64, &header_only());
        let model = model.unwrap();
        let end: usize = asked.iter().map(|(_, len)| len).sum();
        assert!(end >= header - 32 && end <= header.next_multiple_of(4096).min(bytes.len()), "{end} of {header}");
        assert!(asked.len() < 40, "{asked:?}");
        assert_eq!(model.params(), whole.params());
        assert_eq!(model.gguf().keys().count(), whole.gguf().keys().count());
        let options = SessionOptions { threads: 1, ..SessionOptions::default() };
        assert_eq!(model.memory(&options).unwrap(), whole.memory(&options).unwrap());
        assert!(matches!(Session::new(&model, &options), Err(Error::InvalidArgument { name: "the model", .. })));
        assert!(!model.gguf().has_data() && whole.gguf().has_data());
    }
}

#[test]
fn readers_that_fail_or_lie_are_named() {
    let bytes = wordy().bytes();
    let len = bytes.len() as u64;
    for options in [ModelOptions::default(), header_only()] {
        // One that fails at any of its calls.
        let calls = read(&bytes, len, &options).1.len();
        for bad in 0..calls {
            let mut call = 0;
            let fill = |offset: u64, buffer: &mut [u8]| {
                call += 1;
                buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
                if call > bad { Err(Error::Internal { what: "mine".to_owned() }) } else { Ok(()) }
            };
            let result = Model::from_reader("reader", len, fill, &options, |_, _| CONTINUE);
            assert!(matches!(result, Err(Error::Internal { what }) if what == "mine"));
            assert_eq!(call, bad + 1);
        }
        // Ones that have less than they say: all sorts of defects, but defects.
        for there in [0, 3, 20, 100, 5000, 60_000] {
            let error = read(&bytes[..there], len, &options).0.err().unwrap();
            assert!(matches!(error, Error::Gguf { .. } | Error::Unsupported { .. } | Error::BadKey { .. }), "{error}");
        }
        // One that says it has less than it has.
        let error = read(&bytes, 50_000, &options).0.err().unwrap();
        assert!(matches!(&error, Error::Gguf { file, .. } if file == "reader"), "{error}");
    }
}

/// The beginning of a file that announces so many things.
fn counts(n_keys: u64, n_tensors: u64) -> Vec<u8> {
    let mut file = File::new(3);
    (file.n_keys, file.n_tensors) = (Some(n_keys), Some(n_tensors));
    file.head()
}

#[test]
fn headers_that_announce_too_much_take_no_memory() {
    // What is announced would fit into the file, which is said to be of any length.
    let len = 1 << 60;
    let string = |n: u64| [&gguf::size(3, n)[..], b"abc"].concat();
    let mut files = vec![counts(1 << 55, 0), counts(0, 1 << 54), counts(1, 0)];
    files[2].extend(string(1 << 50)); // a key's name
    for elem in [0u32, 8, 9, 12] {
        let mut bytes = counts(1, 0);
        bytes.extend(gguf::string(3, "key"));
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(elem.to_le_bytes());
        bytes.extend((1u64 << 50).to_le_bytes());
        files.push(bytes);
    }
    for (i, bytes) in files.iter().enumerate() {
        for options in [ModelOptions::default(), header_only()] {
            let (model, asked) = read(bytes, len, &options);
            let error = model.err().unwrap();
            let too_large = matches!(&error, Error::Gguf { defect: GgufDefect::HeaderTooLarge { .. }, .. });
            // The first one's keys are zeros: no names.
            let no_name = matches!(&error, Error::Gguf { defect: GgufDefect::EmptyKey { .. }, .. });
            assert!(if i == 0 { no_name } else { too_large }, "{error}");
            assert_eq!(asked, [(0, 4096)]);
        }
    }
    // A sound header whose tensors lie beyond all memory: refused before anything is read.
    let mut file = Tiny::llama();
    file.tensors[0].dims = vec![1 << 40, 1 << 14];
    let (model, asked) = read(&file.bytes(), len, &ModelOptions::default());
    assert!(model.is_err() && asked.iter().map(|(_, len)| len).sum::<usize>() < 1 << 16, "{asked:?}");
}

#[test]
fn progress_is_told_in_bytes_and_stops() {
    let dir = std::env::temp_dir().join(format!("pumice-opening-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("model.gguf");
    let mut tiny = Tiny::llama();
    tiny.matrix("extra.weight", 3000, 1024, pumice::quant::GgmlType::F32); // several pieces
    let bytes = tiny.bytes();
    std::fs::write(&path, &bytes).unwrap();

    let told = RefCell::new(Vec::new());
    let stop_at = |n: usize| {
        let told = &told;
        move |done, total| {
            told.borrow_mut().push((done, total));
            if told.borrow().len() < n { CONTINUE } else { ControlFlow::Break(()) }
        }
    };
    let expected = logits(&tiny.build().unwrap());
    let preload = ModelOptions { preload: true, ..ModelOptions::default() };
    let copied = ModelOptions { mmap: false, ..ModelOptions::default() };
    let fill = |offset: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
        Ok(())
    };
    let open = |way: usize, n: usize| match way {
        0 => Model::open_with(&path, &preload, stop_at(n)),
        1 => Model::open_with(&path, &copied, stop_at(n)),
        2 => Model::from_reader("reader", bytes.len() as u64, fill, &copied, stop_at(n)),
        _ => Model::from_bytes_with("bytes", Bytes::from_vec(bytes.clone()), &preload, stop_at(n)),
    };
    for way in 0..4 {
        told.take();
        let model = open(way, usize::MAX).unwrap();
        assert_eq!(logits(&model), expected);
        let told_all = told.take();
        assert!(told_all.len() > 2 && told_all.windows(2).all(|pair| pair[0].0 < pair[1].0), "{told_all:?}");
        let total = told_all[0].1;
        assert!(bytes.len() as u64 - total < 32 && *told_all.last().unwrap() == (total, total), "{told_all:?}");
        assert!(matches!(open(way, 2), Err(Error::Cancelled)));
        assert_eq!(told.take().len(), 2);
    }
    // Neither a plain mapping nor a header has anything to tell.
    for options in [ModelOptions::default(), header_only()] {
        Model::open_with(&path, &options, stop_at(1)).unwrap();
    }
    assert!(told.take().is_empty());
    std::fs::remove_dir_all(&dir).unwrap();
}

type Heard = Arc<Mutex<Vec<(Level, String)>>>;

/// A log that keeps what it hears.
fn keeper(level: Level) -> (Log, Heard) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    (Log::new(level, move |level, text| kept.lock().unwrap().push((level, text.to_owned()))), heard)
}

#[test]
fn a_log_hears_what_was_opened_and_what_is_odd() {
    let mut tiny = wordy();
    tiny.vector("unknown.weight", 4, 0.0);
    let bytes = Bytes::from_vec(tiny.bytes());
    let (log, heard) = keeper(Level::Debug);
    let options = ModelOptions { log: log.clone(), ..ModelOptions::default() };
    let model = Model::from_bytes_with("tiny", bytes, &options, |_, _| CONTINUE).unwrap();
    let count = |level| heard.lock().unwrap().iter().filter(|(l, _)| *l == level).count();
    let has = |text: &str| heard.lock().unwrap().iter().any(|(_, line)| line.contains(text));
    assert_eq!((count(Level::Warn), count(Level::Info)), (2, 1));
    assert!(has("tokenizer.ggml.pre is missing") && has("`unknown.weight` is not used") && has("llama"));

    let threads = std::thread::current().id();
    let on = Arc::new(Mutex::new(Vec::new()));
    let seen = on.clone();
    let log = Log::new(Level::Debug, move |level, _| seen.lock().unwrap().push((level, std::thread::current().id())));
    let options = SessionOptions { threads: 2, chunk: 4, log, ..SessionOptions::default() };
    let mut session = Session::new(&model, &options).unwrap();
    session.decode(&(0..10).map(|i| i as Token % N_VOCAB as Token).collect::<Vec<_>>()).unwrap();
    let on = on.lock().unwrap();
    assert_eq!(
        on.iter().map(|(level, _)| *level).collect::<Vec<_>>(),
        [Level::Info, Level::Debug, Level::Debug, Level::Debug]
    );
    assert!(on.iter().all(|(_, thread)| *thread == threads));
}

#[test]
fn a_log_takes_its_level_and_lives_as_long_as_whoever_has_it() {
    let (log, heard) = keeper(Level::Warn);
    assert!(log.takes(Level::Error) && log.takes(Level::Warn) && !log.takes(Level::Info));
    let options = ModelOptions { log, ..ModelOptions::default() };
    let bytes = Bytes::from_vec(Tiny::llama().bytes());
    let model = Model::from_bytes_with("tiny", bytes, &options, |_, _| CONTINUE).unwrap();
    assert!(heard.lock().unwrap().iter().all(|(level, _)| *level == Level::Warn));
    drop(options);
    let session = Session::new(&model, &SessionOptions { threads: 1, ..SessionOptions::default() }).unwrap();
    drop(model);
    assert_eq!(Arc::strong_count(&heard), 2);
    drop(session);
    assert_eq!(Arc::strong_count(&heard), 1);
    assert!(!Log::default().takes(Level::Error));
}
