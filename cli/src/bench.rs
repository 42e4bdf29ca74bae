//! `pumice bench`: tokens a second.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use pumice::{Outputs, Session, Token};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::show;
use crate::source::ModelArgs;

/// Measure how fast a model runs
///
/// Prompt processing (pp) feeds -p tokens at once, generation (tg) -n tokens one by one, both after a prefix of -d tokens.
/// Each is the best, median and worst of -r runs after one to warm up. The tokens are random, the same in every run.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Tokens of the prompt; 0 not to measure it
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Tokens to generate; 0 not to measure it
    #[arg(short = 'n', long = "gen", value_name = "N", default_value_t = 64)]
    generate: usize,
    /// Tokens that are in the context before
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    depth: usize,
    /// Runs that count
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print one JSON object: model, threads, kernels, depth, and for pp512, tg64, … the best, median and worst
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    let most = args.prompt.max(args.generate);
    let n_ctx = args
        .depth
        .checked_add(most)
        .ok_or_else(|| Failure::Usage(format!("--depth {} and {most} tokens are too many; give less", args.depth)))?;
    let mut session = Session::new(&model, &args.run.session(n_ctx))?;
    let ids = random_tokens(n_ctx, model.params().n_vocab);

    let kinds = [("pp", args.prompt, args.prompt), ("tg", args.generate, 1)];
    let wanted = kinds.iter().filter(|(_, n, _)| *n > 0);
    let bar = show::bar(wanted.clone().count() as u64 * (u64::from(args.repeat) + 1), "measuring");
    let mut rates = Vec::new();
    for &(kind, n, step) in wanted {
        let mut samples = Vec::new();
        for run in 0..=args.repeat {
            session.reset();
            if args.depth > 0 {
                session.decode_with(&ids[..args.depth], Outputs::None, |_, _| ControlFlow::Continue(()))?;
            }
            let begin = Instant::now();
            for tokens in ids[args.depth..][..n].chunks(step) {
                session.decode(tokens)?;
            }
            if run > 0 {
                samples.push(n as f64 / begin.elapsed().as_secs_f64());
            }
            bar.inc(1);
        }
        rates.push((format!("{kind}{n}"), Rate::of(samples)));
    }
    bar.finish_and_clear();
    Ok(print(args, &session, &rates)?)
}

/// Ids from a fixed seed: a linear congruential generator's upper bits.
fn random_tokens(n: usize, n_vocab: usize) -> Vec<Token> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n_vocab.max(1) as u64) as Token
    };
    (0..n).map(|_| next()).collect()
}

/// Tokens a second.
struct Rate {
    best: f64,
    median: f64,
    worst: f64,
}

impl Rate {
    /// Of at least one run.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let (low, high) = (samples[(samples.len() - 1) / 2], samples[samples.len() / 2]);
        Self { best: samples[samples.len() - 1], median: (low + high) / 2.0, worst: samples[0] }
    }
}

fn print(args: &Args, session: &Session, rates: &[(String, Rate)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let model = args.model.model.as_ref().map_or("embedded".into(), |path| path.to_string_lossy());
    if args.json {
        let rounded = |x: f64| json!((x * 100.0).round() / 100.0);
        let mut object = Map::new();
        object.insert("model".to_owned(), json!(model));
        object.insert("threads".to_owned(), json!(session.threads()));
        object.insert("kernels".to_owned(), json!(session.kernels()));
        object.insert("depth".to_owned(), json!(args.depth));
        for (name, rate) in rates {
            let [best, median, worst] = [rate.best, rate.median, rate.worst].map(rounded);
            object.insert(name.clone(), json!({"best": best, "median": median, "worst": worst}));
        }
        return writeln!(out, "{}", Value::Object(object));
    }
    let (threads, kernels, depth) = (session.threads(), session.kernels(), args.depth);
    writeln!(out, "{}: {threads} threads, {kernels} kernels, depth {depth}", show::visible(&model))?;
    if !rates.is_empty() {
        writeln!(out, "{:10}{:>10}{:>10}{:>10}  tokens/s", "", "best", "median", "worst")?;
    }
    for (name, Rate { best, median, worst }) in rates {
        writeln!(out, "{name:10}{best:10.2}{median:10.2}{worst:10.2}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let rate = Rate::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((rate.best, rate.median, rate.worst), (4.0, 2.5, 1.0));
        assert_eq!(Rate::of(vec![3.0, 1.0, 2.0]).median, 2.0);
    }

    #[test]
    fn tokens_are_the_same_every_time_and_in_range() {
        let tokens = random_tokens(1000, 7);
        assert_eq!(tokens, random_tokens(1000, 7));
        assert!((0..7).all(|token| tokens.contains(&token)) && tokens.iter().all(|token| *token < 7));
    }
}
