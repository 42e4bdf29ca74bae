//! `pumice classify`: which of some labels fits a text, by a head or by what the model thinks comes next.

mod prompt;

use std::io::{self, Write};
use std::path::PathBuf;

use pumice::{Model, Session};
use serde_json::{Map, json};

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::show;
use crate::source::{self, ModelArgs};
use prompt::Prompt;

/// Put texts into classes, by a head or by prompting
///
/// With --labels, the model is asked: what it thinks comes next decides. Without examples the labels alone must tell it what
/// to do (zero-shot); with some, it learns from them in its context (few-shot; Brown et al., 2020). Otherwise a
/// classification head decides: that of --head, which `pumice head train` makes, or the model's own.
///
/// One text a line; what follows its last tab, if it is one of the labels, is taken for the right answer, and the share of
/// right answers goes to stderr at the end.
///
/// Prints a line for each text: the label, then numbers for each label. A head gives probabilities and the scores that they
/// are made of (a reward model has one class, and its score is what counts). A prompt gives calibrated and raw probabilities:
/// raw ones are the model's, over the labels; calibrated ones are divided by what the model thinks of texts without content,
/// which takes out its liking for some labels (Zhao et al., 2021, arXiv:2102.09690). The label is the one of the greatest
/// number among the first.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A classification head, in place of the model's own if it has one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["labels", "examples", "instruction", "pattern"])]
    head: Option<PathBuf>,
    /// The labels, with commas between: classify by prompting
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', value_parser = label)]
    labels: Vec<String>,
    /// Examples: a text, a tab and its label in each line
    #[arg(long, value_name = "FILE", requires = "labels")]
    examples: Option<PathBuf>,
    /// The texts; without it, stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands before everything
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true, requires = "labels")]
    instruction: String,
    /// How a text and its label are written; {label} comes last
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "Text: {text}\\nLabel: {label}",
        value_parser = pattern,
        requires = "labels"
    )]
    pattern: Pattern,
    /// Print a JSON object for each text instead: text, label, and probabilities and scores, or calibrated and raw
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

/// What is said about a text: numbers for each label.
struct Judgement {
    /// The greatest one decides.
    deciding: Vec<f64>,
    /// What these are made of.
    source: Vec<f64>,
}

/// Who judges.
enum Classifier<'a> {
    Prompt(Prompt<'a>),
    Head,
}

impl Classifier<'_> {
    /// What the numbers are called: in JSON, and the second ones in columns.
    fn names(&self) -> [&'static str; 3] {
        match self {
            Self::Prompt(_) => ["calibrated", "raw", "raw"],
            Self::Head => ["probabilities", "scores", "score"],
        }
    }

    fn judge(&self, model: &Model, session: &mut Session, text: &str) -> Result<Judgement, Failure> {
        match self {
            Self::Prompt(prompt) => prompt.judge(model, session, text),
            Self::Head => {
                let tokens = source::text_tokens(model, text)?;
                let scores = session.classify(&tokens).map_err(|error| source::about(text, error))?;
                let source: Vec<f64> = scores.into_iter().map(f64::from).collect();
                let best = source.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                Ok(Judgement { deciding: normalized(source.iter().map(|score| (score - best).exp())), source })
            }
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut classifier = match args.labels.is_empty() {
        true => Classifier::Head,
        false => Classifier::Prompt(Prompt::new(args)?),
    };
    let texts = source::lines(args.file.as_deref())?;
    let model = args.model.open_with(args.head.clone())?;
    let mut session = Session::new(&model, &args.run.session(0))?;
    let labels = match &mut classifier {
        Classifier::Prompt(prompt) => {
            prompt.calibrate(&model, &mut session)?;
            &args.labels[..]
        }
        Classifier::Head if model.head().is_none() => {
            let what = "this model has no classification head: give one with --head, or --labels to prompt for";
            return Err(Failure::Usage(what.to_owned()));
        }
        Classifier::Head => model.labels(),
    };

    let mut out = io::stdout().lock();
    let [first, second, column] = classifier.names();
    if !args.json {
        let columns = labels.iter().cloned().chain(labels.iter().map(|label| format!("{column} {label}")));
        writeln!(out, "label\t{}", columns.collect::<Vec<_>>().join("\t"))?;
    }
    let (mut right, mut known) = (0, 0);
    let bar = show::bar(texts.len() as u64, "reading");
    for line in &texts {
        let (text, answer) = match line.rsplit_once('\t') {
            Some((text, label)) if labels.iter().any(|known| known == label.trim()) => (text, Some(label.trim())),
            _ => (&**line, None),
        };
        let Judgement { deciding, source } = classifier.judge(&model, &mut session, text)?;
        let best = (0..deciding.len()).max_by(|a, b| deciding[*a].total_cmp(&deciding[*b]).then(b.cmp(a)));
        let label = best.map_or("", |best| &labels[best]);
        known += usize::from(answer.is_some());
        right += usize::from(answer == Some(label));
        if args.json {
            let by_label = |values: &[f64]| {
                labels.iter().zip(values).map(|(label, p)| (label.clone(), json!(p))).collect::<Map<_, _>>()
            };
            let (deciding, source) = (by_label(&deciding), by_label(&source));
            writeln!(out, "{}", json!({ "text": text, "label": label, first: deciding, second: source }))?;
        } else {
            let numbers: Vec<_> = deciding.iter().chain(&source).map(|p| format!("{p:.4}")).collect();
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

fn normalized(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let weights: Vec<f64> = weights.collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}
