//! A model's own chat templates.

use super::Model;
use crate::chat::ChatTemplate;
use crate::{Error, Result};

const KEY: &str = "tokenizer.chat_template";

impl Model {
    /// The text of the file's chat template; `None` if it has none.
    pub fn chat_template(&self) -> Option<&str> {
        self.gguf().get_str(KEY).ok().flatten()
    }

    /// The text of a further chat template that the file has under this name, such as `tool_use` or `rag`.
    pub fn named_chat_template(&self, name: &str) -> Option<&str> {
        self.gguf().get_str(&format!("{KEY}.{name}")).ok().flatten()
    }

    /// The file's chat template, read on the first call, with the vocabulary's special tokens. Where there are tools, the
    /// one that the file has under the name `tool_use` takes its place, as in `transformers`.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`] if the file has none, [`Error::TemplateSyntax`] if it cannot be read; the same on every
    /// call.
    pub fn chat(&self) -> Result<&ChatTemplate> {
        match self.0.chat.get_or_init(|| self.read_chat()) {
            Ok(template) => Ok(template),
            // As for the tokenizer: read again to say it again.
            Err(_) => self.read_chat().and_then(|_| {
                Err(Error::Internal { what: "the chat template failed to be read once, and not again".to_owned() })
            }),
        }
    }

    /// A template that is not the file's own, with the vocabulary's special tokens.
    ///
    /// # Errors
    /// [`Error::TemplateSyntax`] if it cannot be read.
    pub fn chat_with(&self, text: &str) -> Result<ChatTemplate> {
        let template = ChatTemplate::new(text)?;
        Ok(match self.tokenizer() {
            Ok(tokenizer) => template.with_tokens(tokenizer),
            Err(_) => template, // a template without special tokens may not need any
        })
    }

    fn read_chat(&self) -> Result<ChatTemplate> {
        let missing = || Error::NoChatTemplate { file: self.gguf().name().to_owned(), key: KEY.to_owned() };
        let template = self.chat_with(self.chat_template().ok_or_else(missing)?)?;
        match self.named_chat_template("tool_use") {
            Some(text) => template.with_tool_template(text),
            None => Ok(template),
        }
    }
}
