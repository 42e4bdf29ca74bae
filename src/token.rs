//! Vocabularies and tokenizers: text to tokens and back, as the file's metadata says.
//!
//! Three kinds are read, by `tokenizer.ggml.model`: byte-level BPE (`gpt2`), SentencePiece BPE with byte fallback
//! (`llama`) and GPT-1's BPE of lower-case words (`gpt1`). Conventions are llama.cpp's. Where it only approximates the
//! libraries that models were trained with, it is as those do: letters beyond ASCII have case and marks belong to words
//! in `tekken` and `gpt-4o`, East Asian ranges contain the spaces in them in the `deepseek` ones, `ſ` is an `s` in
//! contractions, and bytes that a vocabulary lacks are left out before the rest is merged. `tools/compare_tokenizers.py`
//! compares.
//!
//! Encoding takes time linear in the text (merging: n log n in the length of one piece) and never recurses.

mod bpe;
mod byte_level;
mod memo;
mod merge;
mod merges;
mod partition;
mod special;
mod split;
mod spm;
mod stream;
#[cfg(test)]
mod tests;
mod texts;
mod vocab;
mod word;
mod work;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use bpe::Bpe;
use partition::{Part, partition};
use special::Special;
use spm::Spm;
use vocab::{Vocab, attr};
use word::Words;

pub use stream::Decoder;

/// A token's number: below [`Tokenizer::n_vocab`].
pub type Token = u32;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenKind {
    /// Text.
    Normal,
    /// What stands for text that the vocabulary cannot say.
    Unknown,
    /// A mark that is not text: the start of a turn, the end of generation.
    Control,
    /// Text that is always this one token.
    UserDefined,
    /// A free place.
    Unused,
    /// One byte.
    Byte,
}

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncodeOptions {
    /// Put the beginning-of-text token in front and the end-of-text token behind, as far as the model wants them.
    pub add_special: bool,
    /// Read control tokens that are spelled out in the text, such as `<|im_start|>`, as those tokens. Leave it off for
    /// text from people who should not be able to forge them.
    pub parse_special: bool,
}

impl Default for EncodeOptions {
    /// What is added is added; control tokens are not read from the text.
    fn default() -> Self {
        EncodeOptions { add_special: true, parse_special: false }
    }
}

/// A model's vocabulary and the way it cuts text. It keeps the file's bytes alive and borrows all texts from them.
pub struct Tokenizer {
    vocab: Vocab,
    kind: Kind,
    special: Special,
}

/// The kind of tokenizer.
enum Kind {
    Bpe(Bpe),
    Spm(Spm),
    Words(Words),
}

impl Kind {
    /// The token with a role in files that do not say.
    fn default_id(&self, role: &str) -> Option<Token> {
        match (self, role) {
            (Self::Bpe(bpe), "bos") => bpe.pre.default_bos.then_some(11),
            (Self::Bpe(_), "eos") => Some(11),
            (Self::Spm(_), "bos") => Some(1),
            (Self::Spm(_), "eos") => Some(2),
            (Self::Spm(_), "unk") => Some(0),
            _ => None,
        }
    }

    /// Whether text starts with BOS in files that do not say.
    fn adds_bos(&self) -> bool {
        match self {
            Self::Bpe(bpe) => bpe.pre.add_bos,
            Self::Spm(_) => true,
            Self::Words(_) => false,
        }
    }
}

/// How a token's text in the file is to be read.
#[derive(Clone, Copy)]
enum Spelling {
    /// It stands for itself.
    Plain,
    /// `<0x0A>`
    Byte,
    /// In the alphabet of byte-level BPE.
    ByteLevel,
    /// With `▁` for spaces.
    SentencePiece,
    /// With `</w>` at the end of a word.
    Word,
}

impl Spelling {
    /// Appends what `text` means.
    fn write(self, text: &[u8], out: &mut Vec<u8>) {
        work::add(text.len());
        match self {
            Self::Plain => out.extend_from_slice(text),
            Self::Byte => match spm::byte(text) {
                Some(byte) => out.push(byte),
                None => out.extend_from_slice(text),
            },
            Self::ByteLevel => bpe::decode(text, out),
            Self::SentencePiece => spm::decode(text, out),
            Self::Word => word::decode(text, out),
        }
    }
}

impl Tokenizer {
    /// Reads the vocabulary of a model, or of a file that has nothing else.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if the file has none, [`Error::Unsupported`] if it is of another kind or names an unknown
    /// pre-tokenizer, [`Error::MissingKey`] and [`Error::BadKey`] if its metadata is incomplete or makes no sense.
    pub fn from_gguf(gguf: &Arc<Gguf>) -> Result<Tokenizer> {
        let model = gguf.get_str("tokenizer.ggml.model")?;
        let read: fn(&Vocab) -> Result<Kind> = match model {
            Some("gpt2") => |vocab| Bpe::new(vocab).map(Kind::Bpe),
            Some("llama") => |vocab| Spm::new(vocab).map(Kind::Spm),
            Some("gpt1") => |vocab| Words::new(vocab).map(Kind::Words),
            None | Some("none" | "no_vocab") => return Err(Error::NoTokenizer { file: gguf.name().to_owned() }),
            Some(other) => {
                let (file, found) = (gguf.name().to_owned(), other.to_owned());
                return Err(Error::Unsupported {
                    file,
                    what: "tokenizer",
                    found,
                    supported: "gpt1, gpt2, llama".to_owned(),
                });
            }
        };
        let mut vocab = Vocab::new(gguf)?;
        let kind = read(&vocab)?;
        let special = Special::new(&mut vocab, &kind)?;
        Ok(Tokenizer { vocab, kind, special })
    }

    /// The number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// The tokens of a text.
    ///
    /// A beginning-of-text token that the text itself starts with (see [`EncodeOptions::parse_special`]) is not doubled,
    /// nor is an end-of-text token behind it. A SentencePiece text starts with a space that is not in `text`, where
    /// [`Self::adds_space_prefix`] says so.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for texts of a gigabyte and more.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<Token>> {
        if text.len() >= 1 << 30 {
            let (found, expected) = (format!("{} bytes long", text.len()), "shorter than 2^30 bytes".to_owned());
            return Err(Error::InvalidArgument { name: "text", found, expected });
        }
        let EncodeOptions { add_special, parse_special } = options;
        let parts = partition(&self.vocab, &self.special.in_text, text, parse_special);
        let mut out = Vec::with_capacity(text.len() / 4 + 2);
        let bos = self.bos().filter(|_| add_special && self.special.add_bos);
        out.extend(bos.filter(|&bos| parts.first() != Some(&Part::Token(bos))));
        let mut after_text = false;
        for part in &parts {
            match (part, &self.kind) {
                (Part::Token(token), _) => out.push(*token),
                (Part::Text(range), Kind::Bpe(bpe)) => bpe.encode(&self.vocab, &text[range.clone()], &mut out)?,
                (Part::Text(range), Kind::Spm(spm)) => {
                    let unknown = self.special("unk");
                    spm.encode(&self.vocab, &text[range.clone()], !after_text, unknown, &mut out);
                }
                (Part::Text(range), Kind::Words(words)) => {
                    words.encode(&self.vocab, &text[range.clone()], self.special("unk"), &mut out)?;
                }
            }
            after_text = matches!(part, Part::Text(_));
        }
        let eos = self.eos().filter(|_| add_special && self.special.add_eos);
        out.extend(eos.filter(|&eos| parts.last() != Some(&Part::Token(eos))));
        Ok(out)
    }

    /// The tokens of a prompt, with what stands before every text, and those of each text that may follow it. The
    /// tokens are those of the whole texts: where a token would reach across, or the continuations cut the prompt
    /// differently, the prompt ends earlier and the continuations begin there.
    ///
    /// # Errors
    /// As for [`Self::encode`]; [`Error::InvalidArgument`] if no token of the prompt is left.
    pub fn encode_continuations(&self, prompt: &str, texts: &[&str]) -> Result<(Vec<Token>, Vec<Vec<Token>>)> {
        let whole = |text: &str| {
            let mut tokens = self.encode(text, EncodeOptions { add_special: true, parse_special: true })?;
            if self.adds_eos() && tokens.last().copied() == self.eos() {
                tokens.pop(); // it goes on
            }
            Ok::<_, Error>(tokens)
        };
        let mut shared = whole(prompt)?;
        let mut all = texts.iter().map(|text| whole(&format!("{prompt}{text}"))).collect::<Result<Vec<_>>>()?;
        for tokens in &all {
            shared.truncate(shared.iter().zip(tokens).take_while(|(a, b)| a == b).count());
        }
        if shared.is_empty() {
            let (found, expected) = ("of no token that all share".to_owned(), "one token at least".to_owned());
            return Err(Error::InvalidArgument { name: "prompt", found, expected });
        }
        all.iter_mut().for_each(|tokens| drop(tokens.drain(..shared.len())));
        Ok((shared, all))
    }

    /// The bytes that a token adds to the text. They may be a part of a character; see [`Decoder`]. Control and unknown
    /// tokens add nothing.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub fn token_bytes(&self, token: Token) -> Result<Cow<'_, [u8]>> {
        self.piece(token, false)
    }

    /// As [`Self::token_bytes`]; with `special`, control and unknown tokens add the text they are named by.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub fn piece(&self, token: Token, special: bool) -> Result<Cow<'_, [u8]>> {
        let (text, spelling) = self.spelled(token, special)?;
        Ok(match spelling {
            Spelling::Plain => Cow::Borrowed(text),
            _ => {
                let mut out = Vec::with_capacity(text.len());
                spelling.write(text, &mut out);
                Cow::Owned(out)
            }
        })
    }

    /// A token's text as the file has it, or nothing where it does not show, and how that is to be read.
    fn spelled(&self, token: Token, special: bool) -> Result<(&[u8], Spelling)> {
        let n_vocab = self.n_vocab();
        let attr = self.vocab.attrs.get(token as usize).ok_or(Error::TokenOutOfRange { token, n_vocab })?;
        let text = self.vocab.text(token);
        Ok(if attr & (attr::CONTROL | attr::UNKNOWN) != 0 {
            (if special { text } else { &[] }, Spelling::Plain)
        } else if attr & attr::USER_DEFINED != 0 {
            (text, Spelling::Plain)
        } else if attr & attr::BYTE != 0 {
            (text, Spelling::Byte)
        } else if attr & attr::NORMAL != 0 {
            match self.kind {
                Kind::Bpe(_) => (text, Spelling::ByteLevel),
                Kind::Spm(_) => (text, Spelling::SentencePiece),
                Kind::Words(_) => (text, Spelling::Word),
            }
        } else {
            (&[], Spelling::Plain)
        })
    }

    /// The bytes that tokens stand for; with `special`, control tokens show.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub fn decode(&self, tokens: &[Token], special: bool) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(4 * tokens.len());
        for &token in tokens {
            self.decode_token(token, special, &mut out)?;
        }
        Ok(out)
    }

    /// Appends the bytes that a token stands for.
    fn decode_token(&self, token: Token, special: bool, out: &mut Vec<u8>) -> Result<()> {
        let (text, spelling) = self.spelled(token, special)?;
        spelling.write(text, out);
        Ok(())
    }

    /// A decoder for tokens that come one by one, which does not show control tokens.
    pub fn decoder(&self) -> Decoder {
        Decoder::default()
    }

    /// A token's name: its text as the file has it, where `Ġ` or `▁` stands for a space. Need not be UTF-8.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub fn token_name(&self, token: Token) -> Result<&[u8]> {
        let n_vocab = self.n_vocab();
        self.kind(token).map(|_| self.vocab.text(token)).ok_or(Error::TokenOutOfRange { token, n_vocab })
    }

    /// The token with this name.
    pub fn find(&self, name: &[u8]) -> Option<Token> {
        self.vocab.find(name)
    }

    /// What a token is; `None` if the vocabulary does not have it.
    pub fn kind(&self, token: Token) -> Option<TokenKind> {
        let attr = *self.vocab.attrs.get(token as usize)?;
        let kinds = [
            (attr::CONTROL, TokenKind::Control),
            (attr::UNKNOWN, TokenKind::Unknown),
            (attr::USER_DEFINED, TokenKind::UserDefined),
            (attr::BYTE, TokenKind::Byte),
            (attr::NORMAL, TokenKind::Normal),
        ];
        Some(kinds.iter().find(|(bit, _)| attr & bit != 0).map_or(TokenKind::Unused, |(_, kind)| *kind))
    }

    /// The beginning-of-text token.
    pub fn bos(&self) -> Option<Token> {
        self.special("bos")
    }

    /// The end-of-text token. It is not the only one that ends generation: see [`Self::is_eog`].
    pub fn eos(&self) -> Option<Token> {
        self.special("eos")
    }

    /// The token with a role: `bos`, `eos`, `unk`, `sep`, `pad`, `mask`, `eot` (end of turn), `eom` (end of message),
    /// and, for filling in the middle, `fim_pre`, `fim_suf`, `fim_mid`, `fim_pad`, `fim_rep`, `fim_sep`.
    pub fn special(&self, role: &str) -> Option<Token> {
        self.special.id(role)
    }

    /// The roles that [`Self::special`] knows.
    pub fn roles() -> impl Iterator<Item = &'static str> {
        special::ROLES.iter().map(|role| role.name)
    }

    /// Whether the token ends generation.
    pub fn is_eog(&self, token: Token) -> bool {
        self.special.is_ending(token)
    }

    /// Whether [`Self::encode`] puts the beginning-of-text token in front when asked for special tokens.
    pub fn adds_bos(&self) -> bool {
        self.special.add_bos && self.bos().is_some()
    }

    /// Whether [`Self::encode`] puts the end-of-text token behind when asked for special tokens.
    pub fn adds_eos(&self) -> bool {
        self.special.add_eos && self.eos().is_some()
    }

    /// Whether encoded text starts with a space that is not in it, which decoding shows.
    pub fn adds_space_prefix(&self) -> bool {
        matches!(&self.kind, Kind::Spm(spm) if spm.space_prefix)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Bpe(_) => "byte-level BPE",
            Kind::Spm(_) => "SentencePiece BPE",
            Kind::Words(_) => "BPE of lower-case words",
        };
        f.debug_struct("Tokenizer").field("kind", &kind).field("n_vocab", &self.n_vocab()).finish_non_exhaustive()
    }
}
