//! Byte-level BPE: each piece of the pre-tokenizer starts as bytes, which are joined in the order of the merges.

use std::borrow::Cow;
use std::sync::OnceLock;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::byte_level::{CHARS, byte_of};
use super::merge::Merger;
use super::split::{self, PreTokenizer};
use super::vocab::Vocab;
use super::{Token, split::split};
use crate::error::{Error, Result};

const MERGES: &str = "tokenizer.ggml.merges";

/// A byte-level BPE tokenizer.
pub(super) struct Bpe {
    pub pre: &'static PreTokenizer,
    /// Built by the first text that is encoded; who only decodes never needs them.
    merges: OnceLock<Merges>,
}

/// Two neighbours, and the rank and token of what they make.
type Pairs = HashMap<(Token, Token), (u32, Token)>;

struct Merges {
    pairs: Pairs,
    /// The token for each byte.
    bytes: Vec<Token>,
    /// Texts that merges make but that are no tokens, numbered from the vocabulary's end on. A sound file has none.
    ghosts: Vec<Vec<u8>>,
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
        let merges = gguf.need_array(MERGES)?;
        if merges.iter_strs().is_none() || u32::try_from(merges.len()).is_err() {
            let found = format!("an array of {} {}", merges.len(), merges.elem_type().name());
            return Err(gguf.bad_key(MERGES, found, "an array of strings"));
        }
        Ok(Bpe { pre, merges: OnceLock::new() })
    }

    /// Appends the tokens of `text`.
    pub fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<Token>) {
        let merges = self.merges.get_or_init(|| Merges::new(vocab));
        let (mut ends, mut merger, mut written) = (Vec::new(), Merger::default(), String::new());
        split(self.pre.passes, text, &mut ends);
        let mut start = 0;
        for end in ends {
            let piece = &text.as_bytes()[start..end];
            start = end;
            if self.pre.ignore_merges {
                written.clear();
                written.extend(piece.iter().map(|&byte| CHARS[usize::from(byte)]));
                if let Some(token) = vocab.find(written.as_bytes()) {
                    out.push(token);
                    continue;
                }
            }
            merger.clear();
            for (at, &byte) in (0..).zip(piece) {
                merger.push(merges.bytes[usize::from(byte)], at, at + 1);
            }
            let joined = merger.merge(|left, right| merges.pairs.get(&(left.id, right.id)).copied());
            for symbol in joined {
                merges.emit(vocab, symbol.id, out);
            }
        }
    }
}

impl Merges {
    fn new(vocab: &Vocab) -> Merges {
        let mut ghost_ids = HashMap::new();
        let mut ghosts = Vec::new();
        let mut id = |text: &[u8]| {
            vocab.find(text).unwrap_or_else(|| {
                *ghost_ids.entry(text.to_vec()).or_insert_with(|| {
                    ghosts.push(text.to_vec());
                    (vocab.len() + ghosts.len() - 1) as Token
                })
            })
        };
        let bytes = CHARS.iter().map(|c| id(c.encode_utf8(&mut [0; 4]).as_bytes())).collect();
        // Bpe::new has seen that the array is there.
        let array = vocab.gguf.get_array(MERGES).ok().flatten();
        let mut pairs = Pairs::with_capacity(array.map_or(0, |array| array.len()));
        let mut both = Vec::new();
        for (rank, line) in (0..).zip(array.and_then(|array| array.iter_strs()).into_iter().flatten()) {
            // The first space after the first byte; a line without one joins nothing.
            let Some(space) = line.iter().skip(1).position(|&b| b == b' ').map(|at| at + 1) else { continue };
            let (left, right) = (&line[..space], &line[space + 1..]);
            both.clear();
            both.extend_from_slice(left);
            both.extend_from_slice(right);
            if let Entry::Vacant(pair) = pairs.entry((id(left), id(right))) {
                pair.insert((rank, id(&both)));
            }
        }
        Merges { pairs, bytes, ghosts }
    }

    /// Appends a token. What is none is spelled in one-byte tokens as far as there are any, and otherwise dropped, as
    /// llama.cpp does; that takes a vocabulary which lacks bytes.
    fn emit(&self, vocab: &Vocab, id: Token, out: &mut Vec<Token>) {
        match (id as usize).checked_sub(vocab.len()).and_then(|ghost| self.ghosts.get(ghost)) {
            None => out.push(id),
            Some(text) => out.extend(text.iter().filter_map(|&byte| vocab.find(&[byte]))),
        }
    }
}

/// The bytes that a token's text stands for. A text with a character outside the alphabet stands for itself.
pub(super) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Cow::Borrowed(text); // these stand for themselves
    }
    let chars = std::str::from_utf8(text).ok();
    let bytes = chars.and_then(|chars| chars.chars().map(byte_of).collect::<Option<Vec<u8>>>());
    bytes.map_or(Cow::Borrowed(text), Cow::Owned)
}
