//! Byte-level BPE: each piece of the pre-tokenizer starts as bytes, which are joined in the order of the merges.

use std::sync::OnceLock;

use super::byte_level::{CHARS, byte_of};
use super::merge::Merger;
use super::split::{self, PreTokenizer};
use super::texts::{Equals, Texts};
use super::vocab::Vocab;
use super::{Token, split::split};
use crate::error::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";

/// A byte-level BPE tokenizer.
pub(super) struct Bpe {
    pub pre: &'static PreTokenizer,
    merges: Merges,
    /// The bytes that the vocabulary has. The others are left out of a piece before anything is merged, as Hugging
    /// Face's library does, which such vocabularies are made with: SmolLM2's lacks six control characters.
    bytes: Box<[bool]>,
}

/// The merges as the file writes them, `left right`; a merge's number is its rank. Who only decodes never needs them,
/// so the first text that is encoded builds their table.
///
/// Looking pairs up by their text takes a little longer than by numbers of tokens, but a table by numbers first looks
/// up three tokens for each merge: 140 ms instead of 9 for the 280,000 merges of Llama 3.
pub(super) struct Merges(OnceLock<Texts>);

impl Merges {
    /// Sees that the file has them.
    pub fn new(vocab: &Vocab) -> Result<Merges> {
        let merges = vocab.gguf.need_array(MERGES)?;
        if merges.iter_strs().is_none() {
            let found = format!("an array of {} {}", merges.len(), merges.elem_type().name());
            return Err(vocab.gguf.bad_key(MERGES, found, "an array of strings"));
        }
        Ok(Merges(OnceLock::new()))
    }

    fn table(&self, vocab: &Vocab) -> Result<&Texts> {
        if self.0.get().is_none() {
            let merges = Texts::new(&vocab.gguf, MERGES, Equals::First)?;
            return Ok(self.0.get_or_init(|| merges));
        }
        self.0.get().ok_or_else(|| Error::Internal { what: "the merges are gone".to_owned() })
    }

    /// What gives the rank of two neighbours in a text.
    pub fn ranks<'a>(&'a self, vocab: &Vocab) -> Result<impl FnMut(&[u8], &[u8]) -> Option<u32> + use<'a>> {
        let (table, mut line) = (self.table(vocab)?, Vec::new());
        Ok(move |left: &[u8], right: &[u8]| {
            line.clear();
            line.extend_from_slice(left);
            line.push(b' '); // no symbol has a space in it, so the line says where it is cut
            line.extend_from_slice(right);
            table.find(&line)
        })
    }
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
        let is_known = |c: &char| vocab.find(c.encode_utf8(&mut [0; 2]).as_bytes()).is_some();
        Ok(Bpe { pre, merges: Merges::new(vocab)?, bytes: CHARS.iter().map(is_known).collect() })
    }

    /// Appends the tokens of `text`.
    pub fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<Token>) -> Result<()> {
        let mut rank = self.merges.ranks(vocab)?;
        let mut merger = Merger::default();
        let mut written = String::new();
        let mut ends = Vec::new();
        split(self.pre.passes, text, &mut ends);
        let mut start = 0;
        for end in ends {
            let piece = &text.as_bytes()[start..end];
            start = end;
            merger.clear();
            written.clear();
            for &byte in piece.iter().filter(|&&byte| self.bytes[usize::from(byte)]) {
                let at = written.len();
                written.push(CHARS[usize::from(byte)]);
                merger.push(at as u32, written.len() as u32);
            }
            let written = written.as_bytes();
            if self.pre.ignore_merges
                && let Some(token) = vocab.find(written)
            {
                out.push(token);
                continue;
            }
            let joined = merger.merge(|left, right| rank(&written[left], &written[right]));
            for symbol in joined {
                let text = &written[symbol];
                match vocab.find(text) {
                    Some(token) => out.push(token),
                    // A vocabulary that lacks tokens that its merges make: those of one byte, as far as there are any.
                    None => out.extend(text.iter().filter_map(|&byte| vocab.find(&[byte]))),
                }
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
