//! `pumice classify`: which of some labels fits a text, by what the model thinks comes next.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use pumice::{Model, Session, score};
use serde_json::{Map, json};

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::show;
use crate::source::ModelArgs;

/// Put texts into classes by prompting
///
/// Without examples the labels alone must tell the model what to do (zero-shot); with some, it learns from them in its
/// context (few-shot; Brown et al., 2020). One text a line; what follows its last tab, if it is one of the labels, is
/// taken for the right answer, and the share of right answers goes to stderr at the end.
///
/// Prints a line for each text: the label, then each label's probability, calibrated and raw. Raw probabilities are the
/// model's, over the labels; calibrated ones are divided by what the model thinks of texts without content, which takes
/// out its liking for some labels (Zhao et al., 2021, arXiv:2102.09690). The label is the one of the greatest calibrated
/// probability.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The labels, with commas between
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true, value_parser = label)]
    labels: Vec<String>,
    /// Examples: a text, a tab and its label in each line
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// The texts; without it, stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands before everything
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    instruction: String,
    /// How a text and its label are written; {label} comes last
    #[arg(long, value_name = "TEXT", default_value = "Text: {text}\\nLabel: {label}", value_parser = pattern)]
    pattern: Pattern,
    /// Print a JSON object for each text instead: text, label, calibrated, raw
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// What stands before a text, between it and its label, both as they are written.
#[derive(Clone)]
struct Pattern {
    before: String,
    between: String,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let text = text.replace("\\n", "\n");
    let parts = text.strip_suffix("{label}").and_then(|rest| rest.split_once("{text}"));
    let (before, between) = parts.ok_or_else(|| "{text} comes first and {label} at the end".to_owned())?;
    Ok(Pattern { before: before.to_owned(), between: between.to_owned() })
}

fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("a label is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Texts without content.
const EMPTY: [&str; 3] = ["N/A", "", "[MASK]"];

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let classifier = Prompt::new(args)?;
    let texts = lines(args.file.as_deref())?;
    let model = args.model.open()?;
    let mut session = Session::new(&model, &args.run.session(0))?;
    let mut raw = |text: &str| classifier.raw(&model, &mut session, text);

    let mut prior = vec![0.0; args.labels.len()];
    for text in EMPTY {
        for (sum, p) in prior.iter_mut().zip(raw(text)?) {
            *sum += p / EMPTY.len() as f64;
        }
    }
    let mut out = io::stdout().lock();
    if !args.json {
        let columns = args.labels.iter().cloned().chain(args.labels.iter().map(|label| format!("raw {label}")));
        writeln!(out, "label\t{}", columns.collect::<Vec<_>>().join("\t"))?;
    }
    let (mut right, mut known) = (0, 0);
    let bar = show::bar(texts.len() as u64, "reading");
    for line in &texts {
        let (text, answer) = match line.rsplit_once('\t') {
            Some((text, label)) if args.labels.iter().any(|known| known == label.trim()) => (text, Some(label.trim())),
            _ => (&**line, None),
        };
        let raw = raw(text)?;
        let calibrated = normalized(raw.iter().zip(&prior).map(|(p, prior)| p / prior.max(f64::MIN_POSITIVE)));
        let best = (0..raw.len()).max_by(|a, b| calibrated[*a].total_cmp(&calibrated[*b]).then(b.cmp(a)));
        let label = best.map_or("", |best| &args.labels[best]);
        known += usize::from(answer.is_some());
        right += usize::from(answer == Some(label));
        if args.json {
            let by_label = |values: &[f64]| {
                args.labels.iter().zip(values).map(|(label, p)| (label.clone(), json!(p))).collect::<Map<_, _>>()
            };
            let (calibrated, raw) = (by_label(&calibrated), by_label(&raw));
            writeln!(out, "{}", json!({ "text": text, "label": label, "calibrated": calibrated, "raw": raw }))?;
        } else {
            let numbers: Vec<_> = calibrated.iter().chain(&raw).map(|p| format!("{p:.4}")).collect();
            writeln!(out, "{label}\t{}", numbers.join("\t"))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if known > 0 {
        eprintln!("{right} of {known} right, {:.1} %", 100.0 * right as f64 / known as f64);
    }
    Ok(())
}

/// What stands before the text, and what comes behind it.
struct Prompt<'a> {
    head: String,
    pattern: &'a Pattern,
    /// The labels as continuations, each with the space before it.
    labels: Vec<String>,
}

impl<'a> Prompt<'a> {
    fn new(args: &'a Args) -> Result<Self, Failure> {
        let mut head = args.instruction.clone();
        if !head.is_empty() {
            head.push_str("\n\n");
        }
        let Pattern { before, between } = &args.pattern;
        for line in args.examples.as_deref().map(|path| lines(Some(path))).transpose()?.unwrap_or_default() {
            let Some((text, label)) = line.rsplit_once('\t') else {
                return Err(Failure::Input(format!("an example is a text, a tab and its label: {line:?} has no tab")));
            };
            head.push_str(&format!("{before}{}{between}{}\n\n", text.trim(), label.trim()));
        }
        // The space belongs to the label, as words in vocabularies begin with theirs.
        let space = &between[between.trim_end_matches(' ').len()..];
        let labels = args.labels.iter().map(|label| format!("{space}{label}")).collect();
        Ok(Self { head, pattern: &args.pattern, labels })
    }

    /// The probability of each label, among the labels.
    fn raw(&self, model: &Model, session: &mut Session, text: &str) -> Result<Vec<f64>, Failure> {
        let Pattern { before, between } = self.pattern;
        let prompt = format!("{}{before}{}{}", self.head, text.trim(), between.trim_end_matches(' '));
        let labels: Vec<&str> = self.labels.iter().map(|label| &**label).collect();
        let (prompt, labels) = model.tokenizer()?.encode_continuations(&prompt, &labels)?;
        let scores = score(session, &prompt, &labels.iter().map(|tokens| &tokens[..]).collect::<Vec<_>>())?;
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(normalized(scores.iter().map(|score| (score - best).exp())))
    }
}

fn normalized(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let weights: Vec<f64> = weights.collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The lines of a file, or of stdin, but for empty ones.
fn lines(path: Option<&Path>) -> Result<Vec<String>, Failure> {
    let name = path.map_or("stdin".into(), Path::to_string_lossy);
    let failed = |error: io::Error| Failure::Input(format!("{name}: cannot read: {error}"));
    let input: Box<dyn BufRead> = match path {
        Some(path) => Box::new(io::BufReader::new(std::fs::File::open(path).map_err(failed)?)),
        None => Box::new(io::stdin().lock()),
    };
    let lines: io::Result<Vec<String>> =
        input.lines().filter(|line| !matches!(line, Ok(text) if text.trim().is_empty())).collect();
    lines.map_err(failed)
}
