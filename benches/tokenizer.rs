//! Text to tokens and back, on one thread: a chapter of a novel, and source code; throughput is bytes of text.
//!
//! `encode`: a whole text; `lines`: each of its lines; `decode`: the text of all tokens; `stream`: token by token, as they
//! come from a model; `open`: reading the vocabulary. The vocabulary is that of the small model in this repository,
//! or of the file that `PUMICE_TEST_MODEL` names.
//!
//! ```text
//! PUMICE_TEST_MODEL=model.gguf cargo bench --bench tokenizer -- encode
//! ```

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pumice::token::EncodeOptions;
use pumice::{Gguf, Result, Tokenizer};

const PROSE: &str = include_str!("../tools/data/persuasion_8.txt");
const CODE: &str = concat!(include_str!("../src/token.rs"), include_str!("../src/token/split.rs"));
const OPTIONS: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };

fn tokenizers(c: &mut Criterion) -> Result<()> {
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/cli/model/austen.gguf").into();
    let path = std::env::var_os("PUMICE_TEST_MODEL").unwrap_or(built_in);
    let gguf = Arc::new(Gguf::open(std::path::Path::new(&path), true)?);
    c.bench_function("open", |b| b.iter(|| Tokenizer::from_gguf(&gguf)));

    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    for (name, text) in [("prose", PROSE), ("code", CODE)] {
        let tokens = tokenizer.encode(text, OPTIONS)?;
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("encode", |b| b.iter(|| tokenizer.encode(text, OPTIONS)));
        group.bench_function("lines", |b| {
            b.iter(|| {
                text.lines().map(|line| tokenizer.encode(line, OPTIONS).map_or(0, |tokens| tokens.len())).sum::<usize>()
            });
        });
        group.bench_function("decode", |b| b.iter(|| tokenizer.decode(&tokens, false)));
        group.bench_function("stream", |b| {
            b.iter(|| {
                let mut decoder = tokenizer.decoder();
                tokens.iter().map(|&token| decoder.push(&tokenizer, token).map_or(0, str::len)).sum::<usize>()
            });
        });
    }
    Ok(())
}

fn all(c: &mut Criterion) {
    tokenizers(c).expect("a file with a vocabulary");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
