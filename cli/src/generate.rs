//! `pumice generate`: a prompt in, text out.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Parser;
use pumice::token::EncodeOptions;
use pumice::{Error, Finish, GenerateOptions, Generated, Progress, Sampler, Session, Token, Tokenizer, generate};

use crate::failure::Failure;
use crate::options::{RunArgs, SamplerArgs};
use crate::output::Output;
use crate::show;
use crate::source::{self, ModelArgs};

/// Continue a prompt
///
/// The generated text alone goes to stdout, as it comes; with --echo, after the prompt. On a terminal it ends with a
/// line break, and control characters in it are written out.
#[derive(Parser)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text to continue, "-" to read it from stdin (but for a line break at its end). Without it, stdin is read
    /// unless it is a terminal. From nothing, only models that put a beginning-of-text token before each text begin. Control tokens spelled out in it, such as
    /// <|im_start|>, count as such
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Tokens to generate at most; 0 for as many as the context has room for
    #[arg(short, value_name = "N", default_value_t = 128)]
    n: usize,
    /// Positions for prompt and text together; 0 for what the model was trained on
    #[arg(long, value_name = "N", default_value_t = 0)]
    ctx: usize,
    /// End where this text appears; it is not printed. May be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Print the prompt too, and a line break at the end
    #[arg(long)]
    echo: bool,
    /// Print control tokens by their names
    #[arg(long)]
    special: bool,
    /// Print timings, and what the run was made with, to stderr
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    sampler: SamplerArgs,
}

impl Args {
    /// What `pumice` without arguments does: one paragraph, the same in every run and on every machine.
    pub fn demonstration() -> Self {
        let prompt = "It is a truth universally acknowledged, that";
        Self::parse_from(["generate", "--echo", "--temp=0.6", "--seed=41", "-n=160", "--stop=\n", "-p", prompt])
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    // What can be wrong without the model is said before the model is loaded.
    let seed = args.sampler.seed();
    let mut sampler = Sampler::new(&args.sampler.options(seed))?;
    let text = source::text(args.prompt.as_deref())?.unwrap_or_default();

    let begin = Instant::now();
    let model = args.model.open()?;
    let prompt = encode(model.tokenizer()?, &text)?;
    let mut session = Session::new(&model, &args.run.session(args.ctx))?;
    let load = begin.elapsed();

    let mut out = Output::new();
    if args.echo {
        out.text(&text)?;
    }
    let options = GenerateOptions { max_tokens: args.n, stop: args.stop.clone(), special: args.special };
    let bar = show::bar(prompt.len() as u64, "reading the prompt");
    let mut failed = None;
    let generated = generate(&mut session, &mut sampler, &prompt, &options, |progress| {
        match progress {
            Progress::Prompt { done, total } if done == total => bar.finish_and_clear(),
            Progress::Prompt { done, .. } => bar.set_position(done as u64),
            Progress::Text(text) => failed = out.text(text).err(),
            _ => {}
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let generated = match (generated, failed) {
        (Err(Error::Cancelled), Some(error)) => return Err(error.into()),
        (generated, _) => generated?,
    };
    out.end(args.echo)?;
    if args.stats {
        let _ = print_stats(&session, &generated, load, prompt.len(), seed); // if stderr is closed, nobody wants them
    }
    Ok(())
}

/// The prompt's tokens, at least one.
fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Token>, Failure> {
    let tokens = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: true })?;
    if tokens.is_empty() {
        let what = "there is no prompt, and this model cannot begin without one; give it with -p or on stdin";
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(tokens)
}

fn print_stats(session: &Session, done: &Generated, load: Duration, prompt: usize, seed: u64) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
    let finish = match done.finish {
        Finish::End => "the model ended it",
        Finish::Stop => "a stop text ended it",
        _ => "cut off",
    };
    let Generated { tokens, prefill, decode, .. } = *done;
    writeln!(err, "load    {:.1} ms", ms(load))?;
    writeln!(err, "prompt  {prompt} tokens in {:.1} ms, {:.1} tokens/s", ms(prefill), rate(prompt, prefill))?;
    writeln!(err, "text    {tokens} tokens in {:.1} ms, {:.1} tokens/s; {finish}", ms(decode), rate(tokens, decode))?;
    writeln!(err, "memory  {} for keys and values", show::bytes(session.kv_bytes() as u64))?;
    writeln!(err, "run     {} threads, {} kernels, seed {seed}", session.threads(), session.kernels())
}
