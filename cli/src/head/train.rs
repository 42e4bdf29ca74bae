//! `pumice head train`.

use std::io::{self, Write};

use pumice::{Model, Session};

use super::data::{Data, counts};
use super::regression::Examples;
use super::{TrainArgs, file};
use crate::failure::Failure;
use crate::show;
use crate::source;

/// The penalties that validation chooses from, strongest first: each fit starts where the one before it ended.
const STRENGTHS: [f64; 9] = [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001];
/// The one without validation.
const UNTRIED: f64 = 0.1;

pub fn run(args: &TrainArgs) -> Result<(), Failure> {
    let data = Data::read(&args.data)?;
    let model = args.model.open()?;
    let vectors = vectors(args, &model, &data.texts)?;
    let n_embd = model.params().n_embd;
    let n_classes = data.labels.len();
    let examples = |numbers| Examples { vectors: &vectors, width: n_embd, classes: &data.classes, n_classes, numbers };

    let mut out = io::stdout().lock();
    let sizes = data.labels.iter().zip(data.counts()).map(|(label, count)| format!("{label} {count}"));
    writeln!(out, "{} texts: {}", data.texts.len(), sizes.collect::<Vec<_>>().join(", "))?;
    let (fit, aside) = data.split(args.validation, args.seed);
    let start = vec![0.0; (n_embd + 1) * n_classes];
    let spinner = show::spinner("fitting");
    let mut l2 = args.l2.unwrap_or(UNTRIED);
    if !aside.is_empty() {
        let (fit, judged) = (examples(&fit), examples(&aside));
        let standard = fit.standard();
        let mut parameters = start.clone();
        let mut best: Option<(f64, usize)> = None;
        let given = args.l2.map(|l2| [l2]);
        for strength in given.as_ref().map_or(&STRENGTHS[..], |given| given) {
            let linear = fit.fit(&standard, *strength, &mut parameters)?;
            let (loss, right) = judged.judge(&linear);
            if best.is_none_or(|(least, _)| loss < least) {
                (best, l2) = (Some((loss, right)), *strength);
            }
        }
        let percent = |count: usize| 100.0 * count as f64 / aside.len() as f64;
        let right = best.map_or(0, |(_, right)| right);
        let sizes = counts(&data.classes, &aside, n_classes);
        let most = (0..n_classes).max_by_key(|class| (sizes[*class], n_classes - class)).unwrap_or(0);
        writeln!(
            out,
            "{right} of {} set aside are put right, {:.1} %; always {}: {:.1} %",
            aside.len(),
            percent(right),
            data.labels[most],
            percent(sizes[most])
        )?;
    }
    let all: Vec<usize> = (0..data.texts.len()).collect();
    let all = examples(&all);
    let linear = all.fit(&all.standard(), l2, &mut start.clone())?;
    drop(spinner);
    file::write(&args.out, &model, args.pooling, &data.labels, &linear)?;
    writeln!(out, "{}: fitted on all {} texts with --l2 {l2}", args.out.display(), data.texts.len())?;
    Ok(())
}

/// The pooled hidden states, `[text][n_embd]`.
fn vectors(args: &TrainArgs, model: &Model, texts: &[String]) -> Result<Vec<f32>, Failure> {
    let mut session = Session::new(model, &args.run.session(0))?;
    let mut vectors = Vec::new();
    let bar = show::bar(texts.len() as u64, "reading");
    for text in texts {
        let tokens = source::text_tokens(model, text)?;
        vectors.extend(session.embed(&tokens, args.pooling, false).map_err(|error| source::about(text, error))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(vectors)
}
