//! The loop that most users want: feed a prompt, sample, stream text, know when to stop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::token::Decoder;
use crate::{Error, Result, Sampler, Session, Token};

/// When a generation ends, and what it shows.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// Tokens to generate at most; 0 for as many as the context has room for.
    pub max_tokens: usize,
    /// Texts that end the generation where they appear. They are not part of its text.
    pub stop: Vec<String>,
    /// Show control tokens as the text they are named by.
    pub special: bool,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// The model ended its text.
    End,
    /// [`GenerateOptions::max_tokens`], or the context is full.
    Length,
    /// One of [`GenerateOptions::stop`] appeared.
    Stop,
}

/// What a generation did.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Generated {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens generated, with the one that ended it.
    pub tokens: usize,
    /// From the call to the last prompt token's logits.
    pub prefill: Duration,
    /// From there to the end.
    pub decode: Duration,
}

/// A step of a generation, as the caller sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// So many of the prompt's tokens are done.
    Prompt {
        /// Tokens done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was chosen; its text comes later, as far as it has one.
    Token(Token),
    /// New text, whole characters; never empty.
    Text(&'a str),
}

/// Feeds `prompt` to sequence 0 of the session and samples what follows, calling `progress` as it goes.
///
/// The session afterwards holds the prompt and all generated tokens but the last one, so a longer conversation can
/// be continued from there. If `progress` breaks off, the result is [`Error::Cancelled`]; what was decoded so far
/// stays in the session.
///
/// # Errors
/// [`Error::NoTokenizer`] and what else [`crate::Model::tokenizer`] says, what [`Session::decode`] and
/// [`Sampler::sample`] say.
pub fn generate(
    session: &mut Session,
    sampler: &mut Sampler,
    prompt: &[Token],
    options: &GenerateOptions,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Generated> {
    let model = session.model().clone();
    let tokenizer = model.tokenizer()?;
    let begin = Instant::now();
    session.uncancel();
    session.decode_part(prompt, |done, total| progress(Progress::Prompt { done, total }))?;
    prompt.iter().for_each(|token| sampler.accept(*token));
    let prefill = begin.elapsed();

    let mut text = StopText::new(&options.stop);
    let mut decoder = Decoder::new(options.special);
    let mut tell = |news: Progress| match news {
        Progress::Text("") => Ok(()),
        news if progress(news).is_continue() => Ok(()),
        _ => Err(Error::Cancelled),
    };
    let mut tokens = 0;
    let finish = loop {
        if tokens > 0 && tokens == options.max_tokens {
            break Finish::Length;
        }
        let logits = session.logits(0).ok_or_else(|| Error::Internal { what: "a decode without logits".to_owned() })?;
        let token = sampler.sample(logits)?;
        sampler.accept(token);
        tokens += 1;
        tell(Progress::Token(token))?;
        if tokenizer.is_eog(token) {
            break Finish::End;
        }
        let (shown, stopped) = text.push(decoder.push(tokenizer, token)?);
        tell(Progress::Text(&shown))?;
        if stopped {
            break Finish::Stop;
        }
        if tokens != options.max_tokens {
            if session.tokens(0).len() == session.n_ctx() {
                break Finish::Length;
            }
            session.decode_part(&[token], |_, _| ControlFlow::Continue(()))?;
        }
    };
    if finish != Finish::Stop {
        let (shown, stopped) = text.push(decoder.finish());
        tell(Progress::Text(&shown))?;
        if !stopped {
            tell(Progress::Text(&text.rest()))?;
        }
    }
    Ok(Generated { finish, tokens, prefill, decode: begin.elapsed() - prefill })
}

/// Text on its way out, held back as long as it may be the beginning of a stop text.
struct StopText<'a> {
    stops: Vec<&'a str>,
    held: String,
}

impl<'a> StopText<'a> {
    fn new(stops: &'a [String]) -> Self {
        Self { stops: stops.iter().map(|s| &**s).filter(|s| !s.is_empty()).collect(), held: String::new() }
    }

    /// Takes new text; gives what can be shown, and whether a stop text has appeared.
    fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        // The earliest place from which all that is left is the beginning of a stop text.
        let may_stop = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let longest = self.stops.iter().map(|stop| stop.len()).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let starts = (from..self.held.len()).filter(|at| self.held.is_char_boundary(*at));
        let keep = starts.into_iter().find(may_stop).unwrap_or(self.held.len());
        let held = self.held.split_off(keep);
        (std::mem::replace(&mut self.held, held), false)
    }

    /// What was held back, once it is clear that nothing follows.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stops: &[&str], parts: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut text = StopText::new(&stops);
        let mut shown = Vec::new();
        for part in parts {
            let (out, stopped) = text.push(part);
            shown.push(out);
            if stopped {
                return (shown, true);
            }
        }
        shown.push(text.rest());
        (shown, false)
    }

    #[test]
    fn stop_texts_never_show_not_even_their_beginnings() {
        assert_eq!(stream(&["END"], &["a E", "N", "D b"]), (vec!["a ".into(), "".into(), "".into()], true));
        assert_eq!(stream(&["END"], &["E", "NO"]).0.concat(), "ENO");
        assert_eq!(stream(&["END"], &["xE", ""]), (vec!["x".into(), "".into(), "E".into()], false));
        assert_eq!(stream(&["bc", "abcd"], &["ab", "cd"]), (vec!["".into(), "".into()], true));
        assert_eq!(stream(&[""], &["ab"]), (vec!["ab".into(), "".into()], false));
        assert_eq!(stream(&["🦙!"], &["a🦙", "b🦙", "!"]).0.concat(), "a🦙b");
    }
}
