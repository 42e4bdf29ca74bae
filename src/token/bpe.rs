//! Byte-level BPE: each piece of the pre-tokenizer starts as bytes, which are joined in the order of the merges.

use super::byte_level::{CHARS, byte_of};
use super::memo::NO_TOKEN;
use super::merge::Merger;
use super::merges::Merges;
use super::split::{self, PreTokenizer};
use super::vocab::Vocab;
use super::{Token, split::split};
use crate::error::{Error, Result};

/// A byte-level BPE tokenizer.
pub(super) struct Bpe {
    pub pre: &'static PreTokenizer,
    merges: Merges,
    /// The token of each byte. Bytes that the vocabulary lacks are left out of a piece before anything is merged, as
    /// Hugging Face's library does, which such vocabularies are made with: SmolLM2's lacks six control characters.
    bytes: Box<[Token]>,
}

impl Bpe {
    pub fn new(vocab: &Vocab) -> Result<Bpe> {
        let gguf = &vocab.gguf;
        let name = gguf.get_str("tokenizer.ggml.pre")?.filter(|name| !name.is_empty()).unwrap_or("default");
        let pre = split::find(name).ok_or_else(|| Error::Unsupported {
            file: gguf.name().to_owned(),
            what: "pre-tokenizer",
            found: name.to_owned(),
            supported: split::names().collect::<Vec<_>>().join(", "),
        })?;
        let token = |c: &char| vocab.find(c.encode_utf8(&mut [0; 2]).as_bytes()).unwrap_or(NO_TOKEN);
        Ok(Bpe { pre, merges: Merges::new(vocab)?, bytes: CHARS.iter().map(token).collect() })
    }

    /// Appends the tokens of `text`.
    pub fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<Token>) -> Result<()> {
        let mut joiner = self.merges.joiner(vocab)?;
        let mut merger = Merger::default();
        let mut written = String::new();
        let mut ends = Vec::new();
        split(self.pre.passes, text, &mut ends);
        let mut start = 0;
        for end in ends {
            let piece = &text.as_bytes()[start..end];
            start = end;
            let symbols = piece.iter().map(|&byte| (CHARS[usize::from(byte)], self.bytes[usize::from(byte)]));
            let symbols = symbols.filter(|&(_, token)| token != NO_TOKEN);
            written.clear();
            written.extend(symbols.clone().map(|(c, _)| c));
            let written = written.as_bytes();
            let parts = |out: &mut Vec<Token>| {
                merger.clear();
                symbols.for_each(|(c, token)| merger.push(c.len_utf8(), token));
                for symbol in merger.merge(written, &mut joiner) {
                    match symbol.token {
                        // A vocabulary lacks what its merges make: then tokens of one byte, as far as there are any.
                        NO_TOKEN => out.extend(written[symbol.range()].iter().filter_map(|&byte| vocab.find(&[byte]))),
                        token => out.push(token),
                    }
                }
            };
            match self.pre.ignore_merges.then(|| vocab.find(written)) {
                Some(Some(token)) => out.push(token),
                Some(None) => parts(out),
                None => self.merges.memo.word(vocab, written, out, parts),
            }
        }
        Ok(())
    }
}

/// Appends the bytes that a token's text stands for. A text with a character outside the alphabet stands for itself.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = text.iter();
    while let Some(&lead) = rest.next() {
        // The alphabet's characters take one byte or two.
        let code = match lead {
            0..0x80 => Some(u32::from(lead)),
            0xc2..0xe0 => rest
                .next()
                .filter(|&&next| next >> 6 == 2)
                .map(|&next| u32::from(lead & 31) << 6 | u32::from(next & 63)),
            _ => None,
        };
        match code.and_then(byte_of) {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(start);
                out.extend_from_slice(text);
                return;
            }
        }
    }
}
