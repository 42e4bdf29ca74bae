//! `pumice head`: classification heads for models that stay as they are.

mod data;
mod file;
mod regression;
mod train;

use std::path::PathBuf;

use pumice::Pooling;

use crate::failure::Failure;
use crate::options::RunArgs;
use crate::source::ModelArgs;

/// Make classification heads for a model
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Train(TrainArgs),
}

/// Fit a linear head on the hidden states of a model that stays as it is
///
/// Reads texts with their classes and computes each text's final hidden states once, pooled. On these, a softmax regression
/// is fitted (by L-BFGS, with the squares of the weights as a penalty). A part of the texts, of every class in the same
/// proportion, is set aside for validation: the strength of the penalty is the one that makes these the most likely, and the
/// share of them that is put right is printed, beside that of always answering with the most frequent class. The head that is
/// written is then fitted on all texts.
///
/// The same data, model and seed give the same file, with any threads and kernels. `pumice classify --head` uses it.
#[derive(clap::Args)]
struct TrainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A text, a tab and its class in each line
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What of the hidden states is used: their mean, or the last one, which has seen the whole text
    #[arg(long, value_name = "HOW", default_value = Pooling::Last.name(), value_parser = pooling)]
    pooling: Pooling,
    /// The part of the texts that is set aside; 0 for none
    #[arg(long, value_name = "PART", default_value_t = 0.2, value_parser = part)]
    validation: f64,
    /// What decides which texts these are
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The strength of the penalty, instead of what validation finds (or, without validation, instead of 0.1)
    #[arg(long, value_name = "X", value_parser = strength)]
    l2: Option<f64>,
    #[command(flatten)]
    run: RunArgs,
}

fn pooling(name: &str) -> Result<Pooling, String> {
    let known = [Pooling::Last, Pooling::Mean];
    let found = known.into_iter().find(|pooling| pooling.name() == name);
    found.ok_or_else(|| format!("there are {}", known.map(Pooling::name).join(", ")))
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=0.9).contains(part));
    part.ok_or_else(|| "a number from 0 to 0.9 is needed".to_owned())
}

fn strength(text: &str) -> Result<f64, String> {
    let strength = text.parse().ok().filter(|strength| (1e-9..=1e9).contains(strength));
    strength.ok_or_else(|| "a number from 1e-9 to 1e9 is needed".to_owned())
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Train(args) => train::run(args),
    }
}
