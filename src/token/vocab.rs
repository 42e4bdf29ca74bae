//! The table of tokens: their texts and kinds.

use std::sync::Arc;

use super::Token;
use super::texts::{Equals, Texts};
use crate::error::Result;
use crate::gguf::Gguf;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";

/// What a token is: bits, since a token that looks like a control token is one whatever else the file calls it.
pub(super) mod attr {
    pub const NORMAL: u8 = 1;
    pub const UNKNOWN: u8 = 2;
    pub const CONTROL: u8 = 4;
    pub const USER_DEFINED: u8 = 8;
    pub const UNUSED: u8 = 16;
    pub const BYTE: u8 = 32;
    /// In text, it swallows the whitespace after it.
    pub const STRIPS_RIGHT: u8 = 64;
}

/// The table of tokens.
pub(super) struct Vocab {
    pub gguf: Arc<Gguf>,
    texts: Texts,
    /// Bits of [`attr`] for each token.
    pub attrs: Vec<u8>,
}

impl Vocab {
    pub fn new(gguf: &Arc<Gguf>) -> Result<Vocab> {
        let texts = Texts::new(gguf, TOKENS, Equals::Last)?; // the last, as llama.cpp has it
        if texts.len() == 0 {
            return Err(gguf.bad_key(TOKENS, "an empty array", "at least one token"));
        }
        let attrs = attrs(gguf, texts.len())?;
        Ok(Vocab { gguf: gguf.clone(), texts, attrs })
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.attrs.len()
    }

    /// A token's text as the file has it; empty for an id the vocabulary does not have.
    pub fn text(&self, token: Token) -> &[u8] {
        self.texts.get(token)
    }

    /// The token with this text.
    pub fn find(&self, text: &[u8]) -> Option<Token> {
        self.texts.find(text)
    }

    /// Whether the token has any of these bits of [`attr`].
    pub fn is(&self, token: Token, bits: u8) -> bool {
        self.attrs.get(token as usize).is_some_and(|attr| attr & bits != 0)
    }
}

/// The kind of every token, by llama.cpp's numbers; all are normal in a file that does not say.
fn attrs(gguf: &Gguf, n: usize) -> Result<Vec<u8>> {
    let Some(array) = gguf.get_array(TOKEN_TYPE)? else { return Ok(vec![attr::NORMAL; n]) };
    let found = || format!("an array of {} {}", array.len(), array.elem_type().name());
    let kinds = array.iter_i64().filter(|_| array.len() >= n);
    let kinds = kinds.ok_or_else(|| gguf.bad_key(TOKEN_TYPE, found(), format!("an array of {n} integers")))?;
    let bits = |kind| match kind {
        1 => attr::NORMAL,
        2 => attr::UNKNOWN,
        3 => attr::CONTROL,
        4 => attr::USER_DEFINED,
        6 => attr::BYTE,
        _ => attr::UNUSED,
    };
    Ok(kinds.take(n).map(bits).collect())
}
