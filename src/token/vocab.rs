//! The table of tokens: texts borrowed from the file, kinds, and the way from a text back to its token.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::Token;
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
    /// Where the texts start in the file, and their ends, as `starts[i + 1] - gap`; counted from `base`.
    base: usize,
    starts: Vec<u32>,
    /// The bytes between two texts: the length of the second.
    gap: u32,
    /// Bits of [`attr`] for each token.
    pub attrs: Vec<u8>,
    /// Tokens by the hash of their text.
    index: HashTable<Token>,
    hasher: DefaultHashBuilder,
    /// Bytes of the longest text.
    pub longest: usize,
}

impl Vocab {
    pub fn new(gguf: &Arc<Gguf>) -> Result<Vocab> {
        let array = gguf.need_array(TOKENS)?;
        let too_large = || gguf.bad_key(TOKENS, format!("an array of {}", array.len()), "fewer than 2^31 tokens");
        let expected = "an array of at least one string";
        let bad =
            || gguf.bad_key(TOKENS, format!("an array of {} {}", array.len(), array.elem_type().name()), expected);
        let texts = array.iter_strs().filter(|_| !array.is_empty()).ok_or_else(bad)?;
        let n = i32::try_from(array.len()).map_err(|_| too_large())? as usize;

        // Texts lie one behind the other in the file, each after its length, so one offset each says it all.
        let gap = if gguf.version() > 1 { 8 } else { 4 };
        let (mut base, mut starts, mut longest) = (0, Vec::with_capacity(n + 1), 0);
        let mut end = 0u32;
        for text in texts {
            if starts.is_empty() {
                base = text.as_ptr().addr().saturating_sub(gguf.bytes().as_ptr().addr());
            }
            starts.push(end);
            longest = longest.max(text.len());
            let after = u32::try_from(text.len()).ok().and_then(|len| end.checked_add(len)?.checked_add(gap));
            end = after.ok_or_else(too_large)?;
        }
        starts.push(end);

        let mut vocab = Vocab {
            base,
            starts,
            gap,
            attrs: attrs(gguf, n)?,
            index: HashTable::with_capacity(n),
            hasher: DefaultHashBuilder::default(),
            longest,
            gguf: gguf.clone(),
        };
        vocab.fill_index();
        Ok(vocab)
    }

    fn fill_index(&mut self) {
        let mut index = std::mem::take(&mut self.index);
        for token in 0..self.len() as Token {
            let text = self.text(token);
            if text.is_empty() {
                continue; // a placeholder that no text means
            }
            let entry = index.entry(self.hash(text), |&t| self.text(t) == text, |&t| self.hash(self.text(t)));
            match entry {
                Entry::Occupied(mut same) => *same.get_mut() = token, // the last of equals, as llama.cpp has it
                Entry::Vacant(free) => {
                    free.insert(token);
                }
            }
        }
        self.index = index;
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.attrs.len()
    }

    /// A token's text as the file has it; empty for an id the vocabulary does not have.
    pub fn text(&self, token: Token) -> &[u8] {
        let at = token as usize;
        let (Some(&start), Some(&next)) = (self.starts.get(at), self.starts.get(at + 1)) else { return &[] };
        let texts = self.gguf.bytes().get(self.base..).unwrap_or_default();
        texts.get(start as usize..(next - self.gap) as usize).unwrap_or_default()
    }

    /// The token with this text.
    pub fn find(&self, text: &[u8]) -> Option<Token> {
        if text.len() > self.longest {
            return None; // and a long text need not be hashed
        }
        self.index.find(self.hash(text), |&token| self.text(token) == text).copied()
    }

    /// Whether the token has any of these bits of [`attr`].
    pub fn is(&self, token: Token, bits: u8) -> bool {
        self.attrs.get(token as usize).is_some_and(|attr| attr & bits != 0)
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
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
