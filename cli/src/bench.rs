//! `pumice bench`: tokens a second.

mod cost;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use cost::Cost;
use pumice::cpu::Peaks;
use pumice::{Batch, Kernels, Model, Outputs, Session, Token};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::show;
use crate::source::ModelArgs;

/// Measure how fast a model runs
///
/// Prompt processing (pp) feeds -p tokens at once, generation (tg) -n tokens one by one, both after a prefix of -d tokens.
/// Each is the best, median and worst of -r runs after a short one to warm up. The tokens are random, the same in every
/// run.
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
    /// Sequences that generation decodes together, each with a prefix of its own; their tokens count together
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sequences: u32,
    /// Runs that count
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Measure from the first token on, with the weights' pages not mapped yet
    #[arg(long)]
    cold: bool,
    /// Measure what the machine can do at most, too, before each run, and say what share of it the model gets: reading
    /// memory, dot products of bytes, fused multiply-adds. Takes half a gigabyte
    #[arg(long)]
    peaks: bool,
    /// Print one JSON object: model, threads, kernels, kv_type, depth, sequences, weight_bytes (read in each step), and for
    /// pp512, tg64, tg64x16, … the best, median and worst, and the median's gmac_s and gb_s of weights; with --peaks read_gb_s,
    /// dot_gmac_s and fma_gmac_s
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    let tests = Test::all(args);
    let most = args.prompt.max(args.generate);
    let n_ctx = args
        .depth
        .checked_add(most)
        .ok_or_else(|| Failure::Usage(format!("--depth {} and {most} tokens are too many; give less", args.depth)))?;
    let mut session = Session::new(&model, &args.run.session(n_ctx))?;
    let mut peaks = args.peaks.then(|| Peaks::new(session.threads())).transpose()?;
    let mut limits = Limits::default();
    let ids = random_tokens(n_ctx + tests.iter().map(|test| test.sequences).max().unwrap_or(0), model.params().n_vocab);

    let bar = show::bar(tests.len() as u64 * u64::from(args.repeat), "measuring");
    let mut results = Vec::new();
    for test in &tests {
        session.reset();
        test.prefix(&mut session, args.depth, &ids)?;
        if !args.cold {
            test.warm_up(&mut session, &ids[args.depth..])?;
        }
        let mut samples = Vec::new();
        for _ in 0..args.repeat {
            if let Some(peaks) = &mut peaks {
                limits.measure(peaks, args.run.kernels.unwrap_or_else(Kernels::best));
            }
            (0..test.sequences).for_each(|sequence| session.truncate(sequence, args.depth));
            let begin = Instant::now();
            test.run(&mut session, &ids[args.depth..], test.tokens)?;
            samples.push((test.tokens * test.sequences) as f64 / begin.elapsed().as_secs_f64());
            bar.inc(1);
        }
        results.push((test, Rate::of(samples)));
    }
    bar.finish_and_clear();
    let report = Report { args, model: &model, session: &session, results: &results, limits };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        report.print(&mut out)?;
    }
    Ok(())
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

/// Something to measure.
struct Test {
    /// One by one, not all at once.
    generates: bool,
    /// For each sequence.
    tokens: usize,
    sequences: usize,
}

impl Test {
    fn all(args: &Args) -> Vec<Self> {
        let prompt = Self { generates: false, tokens: args.prompt, sequences: 1 };
        let generation = Self { generates: true, tokens: args.generate, sequences: args.sequences as usize };
        [prompt, generation].into_iter().filter(|test| test.tokens > 0).collect()
    }

    /// "pp512", "tg64", "tg64x16".
    fn name(&self) -> String {
        let Self { generates, tokens, sequences } = self;
        let kind = if *generates { "tg" } else { "pp" };
        if *sequences == 1 { format!("{kind}{tokens}") } else { format!("{kind}{tokens}x{sequences}") }
    }

    /// Gives each sequence its prefix, from a token of its own on.
    fn prefix(&self, session: &mut Session, depth: usize, ids: &[Token]) -> pumice::Result<()> {
        for sequence in (0..self.sequences).filter(|_| depth > 0) {
            let mut batch = Batch::new();
            batch.add(sequence, &ids[sequence..][..depth], Outputs::None);
            session.decode_batch(&batch)?;
        }
        Ok(())
    }

    /// Feeds the first `tokens` of `ids` to each sequence, the further ones beginning later.
    fn run(&self, session: &mut Session, ids: &[Token], tokens: usize) -> pumice::Result<()> {
        if !self.generates {
            return session.decode_with(&ids[..tokens], Outputs::Last, |_, _| ControlFlow::Continue(()));
        }
        let mut batch = Batch::new();
        for at in 0..tokens {
            batch.clear();
            for sequence in 0..self.sequences {
                batch.add(sequence, &ids[sequence + at..][..1], Outputs::Last);
            }
            session.decode_batch(&batch)?;
        }
        Ok(())
    }

    /// A few tokens, which see all weights.
    fn warm_up(&self, session: &mut Session, ids: &[Token]) -> pumice::Result<()> {
        self.run(session, ids, self.tokens.min(if self.generates { 4 } else { 64 }))
    }

    /// Multiply-accumulates of a token.
    fn macs(&self, cost: &Cost) -> f64 {
        if self.generates { cost.macs(1, 1) } else { cost.macs(self.tokens, 1) / self.tokens as f64 }
    }

    /// Bytes of weights that generation reads for a token; a prompt's are read for many at once.
    fn bytes(&self, cost: &Cost) -> Option<f64> {
        self.generates.then(|| cost.bytes as f64 / self.sequences as f64)
    }
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

/// What the machine can do at most: a sample for each run.
#[derive(Default)]
struct Limits {
    read: Vec<f64>,
    dots: Vec<f64>,
    fmas: Vec<f64>,
}

impl Limits {
    fn measure(&mut self, peaks: &mut Peaks, kernels: &'static Kernels) {
        self.read.extend([peaks.read(), peaks.read()]);
        self.dots.extend(peaks.dots(kernels));
        self.fmas.extend(peaks.fmas(kernels));
    }

    /// Those that were measured, by their names in JSON, with the median of their samples.
    fn medians(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [("read_gb_s", &self.read), ("dot_gmac_s", &self.dots), ("fma_gmac_s", &self.fmas)];
        all.into_iter()
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(name, samples)| (name, Rate::of(samples.clone()).median))
    }

    fn get(&self, wanted: &str) -> Option<f64> {
        self.medians().find_map(|(name, median)| (name == wanted).then_some(median))
    }
}

struct Report<'a> {
    args: &'a Args,
    model: &'a Model,
    session: &'a Session,
    results: &'a [(&'a Test, Rate)],
    limits: Limits,
}

impl Report<'_> {
    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.args.model.model.as_ref().map_or("embedded".into(), |path| path.to_string_lossy())
    }

    fn json(&self) -> Value {
        let rounded = |x: f64| json!((x * 100.0).round() / 100.0);
        let cost = Cost::of(self.model.gguf());
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("model", json!(self.name()));
        put("threads", json!(self.session.threads()));
        put("kernels", json!(self.session.kernels()));
        put("kv_type", json!(self.args.run.kv_type.name()));
        put("depth", json!(self.args.depth));
        put("sequences", json!(self.args.sequences));
        put("weight_bytes", json!(cost.bytes));
        for (test, rate) in self.results {
            let [best, median, worst] = [rate.best, rate.median, rate.worst].map(rounded);
            let gmacs = rounded(rate.median * test.macs(&cost) / 1e9);
            let mut entry = json!({"best": best, "median": median, "worst": worst, "gmac_s": gmacs});
            if let Some(bytes) = test.bytes(&cost) {
                entry["gb_s"] = rounded(rate.median * bytes / 1e9);
            }
            put(&test.name(), entry);
        }
        for (name, median) in self.limits.medians() {
            put(name, rounded(median));
        }
        Value::Object(object)
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (threads, kernels, kv_type) =
            (self.session.threads(), self.session.kernels(), self.args.run.kv_type.name());
        let name = self.name();
        let (name, depth) = (show::visible(&name), self.args.depth);
        writeln!(out, "{name}: {threads} threads, {kernels} kernels, {kv_type} cache, depth {depth}")?;
        if !self.results.is_empty() {
            let [best, median, worst] = ["best", "median", "worst"];
            writeln!(out, "{:10}{best:>10}{median:>10}{worst:>10}  tokens/s{:>9}{:>9}", "", "GMAC/s", "GB/s")?;
        }
        let cost = Cost::of(self.model.gguf());
        for (test, Rate { best, median, worst }) in self.results {
            let gmacs = median * test.macs(&cost) / 1e9;
            write!(out, "{:10}{best:10.2}{median:10.2}{worst:10.2}{gmacs:19.1}", test.name())?;
            let gb = test.bytes(&cost).map(|bytes| median * bytes / 1e9);
            gb.map_or(Ok(()), |gb| write!(out, "{gb:9.1}"))?;
            match (gb, self.limits.get("read_gb_s"), self.limits.get("dot_gmac_s")) {
                (Some(gb), Some(read), _) => writeln!(out, "  {:.0} % of reading", 100.0 * gb / read)?,
                (None, _, Some(dots)) => writeln!(out, "{:9}  {:.0} % of dot products", "", 100.0 * gmacs / dots)?,
                _ => writeln!(out)?,
            }
        }
        for (name, median) in self.limits.medians() {
            let (what, unit) = match name {
                "read_gb_s" => ("reading memory", "GB/s"),
                "dot_gmac_s" => ("dot products of bytes", "GMAC/s"),
                _ => ("fused multiply-adds", "GMAC/s"),
            };
            writeln!(out, "the most here: {what} {median:.1} {unit}")?;
        }
        Ok(())
    }
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
