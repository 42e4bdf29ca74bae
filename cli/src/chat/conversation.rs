//! The messages of a conversation, and the session that has read them.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use pumice::replace::Replacement;
use pumice::token::EncodeOptions;
use pumice::{ChatMessage, ChatOptions, Error, Finish, GenerateOptions, Progress, Sampler, Session, Token, generate};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::show;

/// A conversation, from what the model is told before it to the last answer.
pub struct Conversation {
    session: Session,
    sampler: Sampler,
    /// Tokens of an answer at most; 0 for no such bound.
    max_tokens: usize,
    system: Option<String>,
    /// The user's and the assistant's in turn.
    messages: Vec<Message>,
}

struct Message {
    role: String,
    content: String,
}

/// What came of a question.
pub struct Answer {
    /// Messages that had to be forgotten to make room.
    pub dropped: usize,
    pub ended: Ended,
}

/// Why an answer ended.
pub enum Ended {
    /// The model ended it.
    Whole,
    /// The bound, or the context.
    Cut,
    /// Ctrl-C. What there was of it is part of the conversation.
    Stopped,
}

impl Conversation {
    pub fn new(session: Session, sampler: Sampler, max_tokens: usize) -> Result<Self, Failure> {
        session.model().chat()?; // so that it fails here and not at the first message
        Ok(Self { session, sampler, max_tokens, system: None, messages: Vec::new() })
    }

    /// What the model is told before the conversation.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Changes that; an empty text is none.
    pub fn set_system(&mut self, text: &str) {
        self.system = (!text.is_empty()).then(|| text.to_owned());
    }

    /// Messages so far.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Forgets all messages.
    pub fn reset(&mut self) {
        self.messages.clear();
        self.sampler.reset();
    }

    /// Adds a message of the user's and writes the answer to `show`. If it fails, the message is not added.
    pub fn ask(&mut self, text: &str, show: impl FnMut(&str) -> io::Result<()>) -> Result<Answer, Failure> {
        self.messages.push(Message { role: "user".to_owned(), content: text.to_owned() });
        let answer = self.answer(show);
        if answer.is_err() {
            self.messages.pop();
        }
        answer
    }

    fn answer(&mut self, mut show: impl FnMut(&str) -> io::Result<()>) -> Result<Answer, Failure> {
        let (tokens, dropped) = self.fit()?;
        let known = self.session.keep_common(&tokens); // what it has read, it does not read again

        let options = GenerateOptions { max_tokens: self.max_tokens, ..GenerateOptions::default() };
        let bar = show::bar((tokens.len() - known) as u64, "reading");
        let (mut content, mut failed) = (String::new(), None);
        let generated = generate(&mut self.session, &mut self.sampler, &tokens[known..], &options, |news| {
            match news {
                Progress::Prompt { done, total } if done == total => bar.finish_and_clear(),
                Progress::Prompt { done, .. } => bar.set_position(done as u64),
                Progress::Text(text) => {
                    content.push_str(text);
                    failed = show(text).err();
                }
                _ => {}
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let ended = match (generated, failed) {
            (_, Some(error)) => return Err(error.into()),
            (Err(Error::Cancelled), None) => Ended::Stopped,
            (Err(error), None) => return Err(error.into()),
            (Ok(generated), None) if generated.finish == Finish::Length => Ended::Cut,
            (Ok(_), None) => Ended::Whole,
        };
        self.messages.push(Message { role: "assistant".to_owned(), content });
        Ok(Answer { dropped, ended })
    }

    /// The conversation as tokens, with room for an answer: the oldest messages are forgotten until there is. And how
    /// many those were.
    fn fit(&mut self) -> Result<(Vec<Token>, usize), Failure> {
        let n_ctx = self.session.n_ctx();
        let room = if self.max_tokens == 0 { n_ctx / 4 } else { self.max_tokens.min(n_ctx / 2) };
        let before = self.messages.len();
        loop {
            let tokens = self.tokens()?;
            let needed = tokens.len().saturating_add(room);
            if needed <= n_ctx {
                return Ok((tokens, before - self.messages.len()));
            }
            // A question goes together with its answer, so that the rest begins with a question again.
            let next = self.messages.iter().skip(1).position(|message| message.role == "user");
            let Some(next) = next else { return Err(Error::ContextFull { needed, n_ctx }.into()) };
            self.messages.drain(..=next);
        }
    }

    fn tokens(&self) -> Result<Vec<Token>, Failure> {
        let model = self.session.model();
        let message = |role, content| ChatMessage { role, content };
        let system = self.system.iter().map(|text| message("system", text.as_str()));
        let messages: Vec<_> = system.chain(self.messages.iter().map(|m| message(&m.role, &m.content))).collect();
        let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
        let text = model.chat()?.render(&messages, &options)?;
        let tokens = model.tokenizer()?.encode(&text, EncodeOptions { add_special: true, parse_special: true })?;
        match tokens.is_empty() {
            true => Err(Failure::Input("the model's chat template makes nothing of this conversation".to_owned())),
            false => Ok(tokens),
        }
    }

    /// Writes the conversation to a JSON file: `{"messages": [{"role": …, "content": …}, …]}`.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let message = |role: &str, content: &str| json!({ "role": role, "content": content });
        let system = self.system.iter().map(|text| message("system", text));
        let messages: Vec<_> = system.chain(self.messages.iter().map(|m| message(&m.role, &m.content))).collect();
        let text = format!("{:#}\n", json!({ "messages": messages }));
        let mut file = Replacement::create(path)?;
        let failed = |source| Error::Io { path: path.to_owned(), action: "write", source };
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(file.commit()?)
    }

    /// Goes on with the conversation in such a file. If it fails, nothing changes.
    pub fn load(&mut self, path: &Path) -> Result<(), Failure> {
        let failed = |what: String| Failure::Input(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot read: {error}")))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| failed(format!("is not JSON: {error}")))?;
        let shape = || failed("is not a conversation: {\"messages\": [{\"role\": …, \"content\": …}, …]}".to_owned());
        let mut messages = Vec::new();
        for message in value["messages"].as_array().ok_or_else(shape)? {
            let text = |name| message[name].as_str().map(str::to_owned).ok_or_else(shape);
            messages.push(Message { role: text("role")?, content: text("content")? });
        }
        let has_system = messages.first().is_some_and(|first| first.role == "system");
        self.system = has_system.then(|| messages.remove(0).content);
        self.messages = messages;
        self.sampler.reset();
        Ok(())
    }
}
