//! `pumice score`: how likely continuations are.

use std::io::{self, Write};

use pumice::{Session, score};
use serde_json::json;

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::source::ModelArgs;

/// Say how likely a text goes on in each of several ways
///
/// Prints, for each continuation, the natural logarithm of its probability after the prompt, its number of tokens, and
/// itself; a line each, with tabs between. The prompt is evaluated once.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text before
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// What may follow, usually with a space in front. May be given several times
    #[arg(short, long = "continuation", value_name = "TEXT", required = true, allow_hyphen_values = true)]
    continuations: Vec<String>,
    /// Print a JSON list of objects instead: continuation, logprob, tokens
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let model = args.model.open()?;
    let texts: Vec<&str> = args.continuations.iter().map(|text| &**text).collect();
    let (prompt, continuations) = model.tokenizer()?.encode_continuations(&args.prompt, &texts)?;
    let tokens: Vec<&[_]> = continuations.iter().map(|tokens| &tokens[..]).collect();
    let mut session = Session::new(&model, &args.run.session(0))?;
    let scores = score(&mut session, &prompt, &tokens)?;

    let mut out = io::stdout().lock();
    let rows = texts.iter().zip(&tokens).zip(&scores);
    if args.json {
        let object = |((text, tokens), logprob): ((_, &&[_]), _)| json!({ "continuation": text, "logprob": logprob, "tokens": tokens.len() });
        writeln!(out, "{}", json!(rows.map(object).collect::<Vec<_>>()))?;
        return Ok(());
    }
    for ((text, tokens), logprob) in rows {
        writeln!(out, "{logprob:.6}\t{}\t{}", tokens.len(), text.escape_default())?;
    }
    Ok(())
}
