//! Chat templates: messages to the text that a model was trained to continue.
//!
//! A model's file brings its template, a program in Jinja2's language. It is run as Python's `transformers` runs it:
//! `trim_blocks`, `lstrip_blocks`, `break` and `continue`, Python's methods and its way to print values, `tojson`,
//! `raise_exception`, `strftime_now` and `{% generation %}`. Left out are what templates of one file have no use for
//! (`extends`, `include`, `import`, `block`, `call`), recursive loops, and methods that change their object, which
//! `transformers` refuses too.
//!
//! The interpreter is our own. Templates come from files, so none may hang or crash the process. minijinja (3.1), which
//! was tried first, lets them, its fuel notwithstanding: twenty thousand minus signs, or a namespace that holds itself
//! and is printed, overflow a stack of 8 MiB, and printing a list that was doubled sixty times goes on for longer than
//! anybody waits while its memory grows. Here every step is paid for from a budget that grows with the messages, nesting
//! is limited in templates and in values, and all of it runs on a stack of its own.

mod ast;
mod call;
mod checks;
mod clock;
mod eval;
mod fault;
mod filters;
mod format;
mod json;
mod lexer;
mod methods;
mod parser;
mod text;
mod value;

use std::fmt;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::token::Tokenizer;
use eval::Engine;
use value::{Dict, Value};

/// The longest template, in bytes.
const LONGEST: usize = 1 << 20;
/// What every template may spend; a byte of text costs 1.
const BUDGET: u64 = 1 << 26;
/// What it may spend for each byte of what it is given.
const BUDGET_PER_BYTE: u64 = 64;
/// Bytes of stack for the deepest that the limits allow, several times over.
const STACK: usize = 8 << 20;
/// The tokens that templates know as variables, by role.
const TOKENS: [(&str, &str); 6] = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("unk", "unk_token"),
    ("sep", "sep_token"),
    ("pad", "pad_token"),
    ("mask", "mask_token"),
];

/// One message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatMessage<'a> {
    /// Who speaks: "system", "user", "assistant", or what else the template knows.
    pub role: &'a str,
    /// What is said.
    pub content: &'a str,
}

/// How a conversation is written out.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// End where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// The time that the template is told, for dates in system prompts; `None`: now. It is told in UTC.
    pub now: Option<SystemTime>,
}

/// A template, ready to be used any number of times, by any number of threads.
pub struct ChatTemplate {
    nodes: Vec<ast::Node>,
    /// What is used instead where there are tools, if the model has a template of its own for them.
    with_tools: Option<Vec<ast::Node>>,
    /// The special tokens' variables and texts.
    tokens: Vec<(&'static str, Box<str>)>,
}

impl ChatTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::TemplateSyntax`] if it is none, or larger or deeper nested than any template needs to be.
    pub fn new(text: &str) -> Result<Self> {
        let nodes = with_stack(|| parse(text))?;
        Ok(Self { nodes, with_tools: None, tokens: Vec::new() })
    }

    /// The same, with another template that takes its place where there are tools.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_tool_template(mut self, text: &str) -> Result<Self> {
        self.with_tools = Some(with_stack(|| parse(text))?);
        Ok(self)
    }

    /// The same, with the vocabulary's special tokens as the variables `bos_token`, `eos_token` and so on.
    pub fn with_tokens(mut self, tokenizer: &Tokenizer) -> Self {
        let text = |role| {
            let name = tokenizer.token_name(tokenizer.special(role)?).ok()?;
            std::str::from_utf8(name).ok()
        };
        self.tokens = TOKENS.iter().filter_map(|(role, name)| Some((*name, text(role)?.into()))).collect();
        self
    }

    /// Writes a conversation out. Encode the result with [`EncodeOptions`](crate::token::EncodeOptions)'s
    /// `add_special` and `parse_special` both set: the beginning-of-text token is not doubled.
    ///
    /// # Errors
    /// [`Error::TemplateRefused`] if the template takes no such conversation, [`Error::TemplateFailed`] if it goes wrong
    /// or asks for too much work.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String> {
        let text = |text: &str| Value::str(text);
        let message = |message: &ChatMessage| {
            Value::dict(vec![(text("role"), text(message.role)), (text("content"), text(message.content))])
        };
        with_stack(|| {
            let messages = messages.iter().map(message).collect::<fault::Outcome<_>>();
            let messages = messages.and_then(Value::list).map_err(|fault| fault.at(1))?;
            self.run(vec![(text("messages"), messages)], options)
        })
    }

    /// Writes a conversation out that is the member `messages` of a JSON object. Its other members are variables of the
    /// template too: `tools`, `add_generation_prompt` (which counts more than the options), and any other.
    ///
    /// # Errors
    /// [`Error::JsonSyntax`] if it is not JSON, [`Error::InvalidArgument`] if it is no object with a list of messages;
    /// and as for [`Self::render`].
    pub fn render_json(&self, json: &str, options: &ChatOptions) -> Result<String> {
        with_stack(|| {
            let value = json::parse(json)?;
            let members = match &value {
                Value::Dict(dict) if matches!(dict.get_str("messages"), Some(Value::List(_))) => dict.entries(),
                _ => {
                    let (found, expected) = ("something else", "an object with a list of `messages`");
                    return Err(Error::InvalidArgument {
                        name: "json",
                        found: found.into(),
                        expected: expected.into(),
                    });
                }
            };
            self.run(members.to_vec(), options)
        })
    }

    fn run<'t>(&'t self, members: Vec<(Value<'t>, Value<'t>)>, options: &ChatOptions) -> Result<String> {
        let mut variables = vec![
            (Value::str("tools"), Value::None),
            (Value::str("documents"), Value::None),
            (Value::str("add_generation_prompt"), Value::Bool(options.add_generation_prompt)),
        ];
        variables.extend(self.tokens.iter().map(|(name, text)| (Value::str(*name), Value::str(&**text))));
        variables.extend(members);
        let weight = variables.iter().fold(0, |sum: u64, (_, value)| sum.saturating_add(value.weight()));
        let variables = Dict::new(variables).map_err(|fault| fault.at(1))?;
        let tools = variables.get_str("tools").is_some_and(Value::is_true);
        let nodes = self.with_tools.as_ref().filter(|_| tools).unwrap_or(&self.nodes);
        let budget = BUDGET.saturating_add(weight.saturating_mul(BUDGET_PER_BYTE));
        let mut engine = Engine::new(&variables, budget, options.now.unwrap_or_else(SystemTime::now));
        engine.run(nodes).map_err(|fault| fault.at(engine.line))
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

fn parse(text: &str) -> Result<Vec<ast::Node>> {
    if text.len() > LONGEST {
        let what = format!("the template is {} bytes long, more than {LONGEST}", text.len());
        return Err(Error::TemplateSyntax { line: 1, what });
    }
    parser::parse(text).map_err(|(line, what)| Error::TemplateSyntax { line, what })
}

/// Runs something that needs more stack than callers may have.
fn with_stack<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("pumice-chat".to_owned()).stack_size(STACK).spawn_scoped(scope, run);
        let thread = thread.map_err(|_| Error::NoMemory { bytes: STACK, what: "the stack of a chat template" })?;
        thread.join().unwrap_or_else(|_| Err(Error::Internal { what: "a chat template's thread panicked".to_owned() }))
    })
}
