//! Classes by what the model thinks comes next.

use pumice::{Model, Session, score};

use super::{Args, Judgement, Pattern, normalized};
use crate::failure::Failure;
use crate::source;

/// Texts without content.
const EMPTY: [&str; 3] = ["N/A", "", "[MASK]"];

/// What stands before the text, and what comes behind it.
pub struct Prompt<'a> {
    head: String,
    pattern: &'a Pattern,
    /// The labels as continuations, each with the space before it.
    labels: Vec<String>,
    /// What the model thinks of texts without content.
    prior: Vec<f64>,
}

impl<'a> Prompt<'a> {
    /// Without the prior yet: what can be wrong without the model is said before the model is loaded.
    pub fn new(args: &'a Args) -> Result<Self, Failure> {
        let mut head = args.instruction.clone();
        if !head.is_empty() {
            head.push_str("\n\n");
        }
        let Pattern { before, between } = &args.pattern;
        for line in args.examples.as_deref().map(|path| source::lines(Some(path))).transpose()?.unwrap_or_default() {
            let Some((text, label)) = line.rsplit_once('\t') else {
                return Err(Failure::Input(format!("an example is a text, a tab and its label: {line:?} has no tab")));
            };
            head.push_str(&format!("{before}{}{between}{}\n\n", text.trim(), label.trim()));
        }
        // The space belongs to the label, as words in vocabularies begin with theirs.
        let space = &between[between.trim_end_matches(' ').len()..];
        let labels = args.labels.iter().map(|label| format!("{space}{label}")).collect();
        Ok(Self { head, pattern: &args.pattern, labels, prior: vec![0.0; args.labels.len()] })
    }

    /// Asks the model what it thinks of the labels alone.
    pub fn calibrate(&mut self, model: &Model, session: &mut Session) -> Result<(), Failure> {
        for text in EMPTY {
            let raw = self.raw(model, session, text)?;
            self.prior.iter_mut().zip(raw).for_each(|(sum, p)| *sum += p / EMPTY.len() as f64);
        }
        Ok(())
    }

    /// Calibrated and raw probabilities.
    pub fn judge(&self, model: &Model, session: &mut Session, text: &str) -> Result<Judgement, Failure> {
        let raw = self.raw(model, session, text)?;
        let calibrated = normalized(raw.iter().zip(&self.prior).map(|(p, prior)| p / prior.max(f64::MIN_POSITIVE)));
        Ok(Judgement { deciding: calibrated, source: raw })
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
