//! `pumice chat`: a conversation.

mod conversation;
mod input;

use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conversation::{Conversation, Ended};
use input::{Input, Line};
use pumice::{Canceller, Sampler, Session};

use crate::failure::Failure;
use crate::options::{RunArgs, SamplerArgs};
use crate::output::Output;
use crate::show;
use crate::source::ModelArgs;

/// Hold a conversation
///
/// Each line is a message; the answer goes to stdout as it comes, written by the model's own chat template. Ctrl-C stops
/// an answer, and at the prompt ends the program, as Ctrl-D does. Lines that begin with / are commands; /help lists them.
/// Input and output may be pipes.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Tokens of an answer at most; 0 for as many as the context has room for
    #[arg(short, value_name = "N", default_value_t = 0)]
    n: usize,
    /// Positions for the whole conversation; 0 for what the model was trained on. When it is full, the oldest messages go
    #[arg(long, value_name = "N", default_value_t = 0)]
    ctx: usize,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    sampler: SamplerArgs,
}

const HELP: &str = "\
/reset          forget the conversation, but not what the model is told before it
/system TEXT    tell the model something else before the conversation; without TEXT, show what it is told
/save FILE      write the conversation to a JSON file
/load FILE      go on with the conversation in such a file
/exit           end the program";

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let sampler = Sampler::new(&args.sampler.options(args.sampler.seed()))?;
    let model = args.model.open()?;
    let session = Session::new(&model, &args.run.session(args.ctx))?;
    let interrupt = Interrupt::install(session.canceller())?;
    let mut conversation = Conversation::new(session, sampler, args.n)?;
    conversation.set_system(args.system.as_deref().unwrap_or_default());

    let mut input = Input::open()?;
    loop {
        let line = match input.next()? {
            Line::Text(line) => line,
            Line::End => return Ok(()),
        };
        let done = match line.strip_prefix('/') {
            Some("exit" | "quit") => return Ok(()),
            Some(command) => obey(&mut conversation, command),
            None if line.trim().is_empty() => Ok(()),
            None => answer(&mut conversation, &line, &interrupt),
        };
        match done {
            // Somebody who can try again is told; a script is not to go on with a conversation that is not as it thinks.
            Err(failure @ (Failure::Library(_) | Failure::Input(_))) if input.is_terminal() => {
                failure.report();
            }
            done => done?,
        }
    }
}

fn answer(conversation: &mut Conversation, text: &str, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut out = Output::new();
    interrupt.answering.store(true, Ordering::SeqCst);
    let answer = conversation.ask(text, |piece| out.text(piece));
    interrupt.answering.store(false, Ordering::SeqCst);
    let answer = answer?;
    out.end(true)?;
    if answer.dropped > 0 {
        note(&format!("the context is full: the oldest {} messages are forgotten", answer.dropped));
    }
    match answer.ended {
        Ended::Whole => {}
        Ended::Cut => note("the answer is cut off"),
        Ended::Stopped => note("stopped"),
    }
    Ok(())
}

/// A command without its slash.
fn obey(conversation: &mut Conversation, command: &str) -> Result<(), Failure> {
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let argument = argument.trim();
    match (name, argument) {
        ("reset", "") => conversation.reset(),
        ("system", "") => note(conversation.system().unwrap_or("the model is told nothing")),
        ("system", text) => conversation.set_system(text),
        ("save" | "load", "") => note(&format!("/{name} needs the name of a file")),
        ("save", file) => {
            conversation.save(Path::new(file))?;
            note(&format!("saved {} messages", conversation.len()));
        }
        ("load", file) => {
            conversation.load(Path::new(file))?;
            note(&format!("loaded {} messages", conversation.len()));
        }
        ("help", _) => note(HELP),
        _ => note(&format!("there is no /{name}; /help lists the commands")),
    }
    Ok(())
}

/// Something that is not part of the conversation.
fn note(text: &str) {
    eprintln!("[{}]", show::visible_text(text));
}

/// Ctrl-C: stops an answer, or the program if there is none.
struct Interrupt {
    answering: Arc<AtomicBool>,
}

impl Interrupt {
    fn install(canceller: Canceller) -> Result<Self, Failure> {
        let answering = Arc::new(AtomicBool::new(false));
        let seen = answering.clone();
        let handler = move || match seen.load(Ordering::SeqCst) {
            true => canceller.cancel(),
            false => process::exit(130), // as a shell calls a program that SIGINT ended
        };
        ctrlc::set_handler(handler).map_err(|error| Failure::Input(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(Self { answering })
    }
}
