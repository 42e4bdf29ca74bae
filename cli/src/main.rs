//! The pumice command line.
//!
//! Only generated text, or what was asked for, goes to stdout. Stderr stays empty unless something is wrong, timings
//! were asked for, or it is a terminal that a progress bar can be shown on.

mod bench;
mod chat;
mod classify;
mod convert;
mod failure;
mod generate;
mod head;
mod inspect;
mod options;
mod output;
mod score;
mod show;
mod source;
mod tokenize;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;

/// Runs quantized GGUF language models on the CPU.
///
/// Without arguments, the small model inside this program writes a paragraph in the manner of Jane Austen: `generate
/// --echo` with the beginning of a sentence as the prompt, and a fixed seed.
#[derive(Parser)]
#[command(name = "pumice", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Generate(generate::Args),
    Chat(chat::Args),
    Score(score::Args),
    Classify(classify::Args),
    Head(head::Args),
    Inspect(inspect::Args),
    Tokenize(tokenize::Args),
    Bench(bench::Args),
    Convert(convert::Args),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<(), Failure> {
    match Cli::try_parse()?.command {
        None => generate::run(&generate::Args::demonstration()),
        Some(Command::Generate(args)) => generate::run(&args),
        Some(Command::Chat(args)) => chat::run(&args),
        Some(Command::Score(args)) => score::run(&args),
        Some(Command::Classify(args)) => classify::run(&args),
        Some(Command::Head(args)) => head::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Tokenize(args)) => tokenize::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Convert(args)) => convert::run(&args),
    }
}
