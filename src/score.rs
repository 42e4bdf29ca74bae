//! How likely texts are: what zero-shot and few-shot tasks are made of (Brown et al., 2020, arXiv:2005.14165).

use std::ops::{ControlFlow, Range};

use crate::model::{Batch, Outputs, SCRATCH, Session};
use crate::sample::LogProbs;
use crate::{Error, Result, Token};

/// Outputs of a batch at most: each takes the memory of a vocabulary's logits.
const OUTPUTS: usize = 64;

/// The natural logarithm of the probability that the prompt (one token or more) goes on with each of the continuations:
/// the sum over its tokens, 0 for an empty one.
///
/// The prompt is fed to sequence 0, which afterwards holds it and nothing else; what the sequence has in common with it
/// already is not computed again, so prompts that share a beginning cost what sets them apart. Each continuation costs
/// its own tokens, many of them in one pass. The session's outputs are gone afterwards.
///
/// # Errors
/// [`Error::InvalidArgument`] for an empty prompt, [`Error::TokenOutOfRange`], and [`Error::ContextFull`] if there is no
/// room for the prompt and the longest continuation: nothing has changed then. [`Error::NoMemory`] and
/// [`Error::Cancelled`]: sequence 0 then holds the prompt, or what it had in common with it.
pub fn score(session: &mut Session, prompt: &[Token], continuations: &[&[Token]]) -> Result<Vec<f64>> {
    check(session, prompt, continuations)?;
    session.uncancel();
    let known = session.keep_common(prompt);
    session.decode_part(&prompt[known..], |_, _| ControlFlow::Continue(()))?;

    let mut scores = vec![0.0; continuations.len()];
    let first = LogProbs::of(output(session, 0)?);
    // The tokens of each that are fed, so that the ones behind them are scored: all but the last.
    let mut waiting = Vec::new();
    for (i, tokens) in continuations.iter().enumerate().rev() {
        if let [token, more @ ..] = tokens {
            scores[i] = first.of_token(*token);
            waiting.extend((!more.is_empty()).then_some((i, 0..more.len())));
        }
    }
    let done = feed(session, prompt.len(), continuations, waiting, &mut scores);
    for i in 0..continuations.len() {
        session.remove(SCRATCH + i);
    }
    session.drop_outputs();
    done.map(|()| scores)
}

fn check(session: &Session, prompt: &[Token], continuations: &[&[Token]]) -> Result<()> {
    if prompt.is_empty() {
        let (found, expected) = ("empty".to_owned(), "one token at least".to_owned());
        return Err(Error::InvalidArgument { name: "prompt", found, expected });
    }
    let n_vocab = session.model().params().n_vocab;
    let mut tokens = prompt.iter().chain(continuations.iter().copied().flatten());
    if let Some(token) = tokens.find(|token| **token as usize >= n_vocab) {
        return Err(Error::TokenOutOfRange { token: *token, n_vocab });
    }
    // The last token of each is not fed.
    let longest = continuations.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
    let (needed, n_ctx) = (prompt.len().saturating_add(longest.saturating_sub(1)), session.n_ctx());
    if needed > n_ctx { Err(Error::ContextFull { needed, n_ctx }) } else { Ok(()) }
}

/// Feeds what is `waiting`, a batch at a time, and adds what it says about the tokens behind.
fn feed(
    session: &mut Session,
    prompt: usize,
    continuations: &[&[Token]],
    mut waiting: Vec<(usize, Range<usize>)>,
    scores: &mut [f64],
) -> Result<()> {
    while !waiting.is_empty() {
        let (mut batch, mut parts, mut room) = (Batch::new(), Vec::new(), OUTPUTS);
        while let Some((i, tokens)) = waiting.last_mut().filter(|_| room > 0) {
            if tokens.start == 0 {
                session.fork(0, SCRATCH + *i, prompt)?;
            }
            let part = tokens.start..tokens.end.min(tokens.start + room);
            batch.add(SCRATCH + *i, &continuations[*i][part.clone()], Outputs::All);
            (room, tokens.start) = (room - part.len(), part.end);
            parts.push((*i, part));
            if tokens.start == tokens.end {
                waiting.pop();
            }
        }
        session.decode_batch_part(&batch)?;
        let mut outputs = 0..;
        for (i, part) in parts {
            let whole = part.end + 1 == continuations[i].len();
            for (at, number) in part.zip(&mut outputs) {
                scores[i] += LogProbs::of(output(session, number)?).of_token(continuations[i][at + 1]);
            }
            if whole {
                session.remove(SCRATCH + i); // each has pages of its own: only a batch's are held at once
            }
        }
    }
    Ok(())
}

fn output(session: &Session, number: usize) -> Result<&[f32]> {
    session.logits(number).ok_or_else(|| Error::Internal { what: "a decode without logits".to_owned() })
}
