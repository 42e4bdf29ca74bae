//! The BPE of GPT-1: words in lower case and without accents, whose last character carries a mark, `</w>`.
//!
//! The text is cut as BERT's was (Devlin et al., 2018, arXiv:1810.04805): control characters go, accents too, ideographs
//! and punctuation stand alone, white space only separates. So decoding gives the words with a space behind each, not
//! the text as it was.

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

use super::Token;
use super::memo::NO_TOKEN;
use super::merge::Merger;
use super::merges::Merges;
use super::split::is_punctuation;
use super::vocab::Vocab;
use crate::error::Result;

/// Ends a token that ends a word.
const END: &str = "</w>";

/// A tokenizer of words.
pub(super) struct Words {
    merges: Merges,
}

impl Words {
    pub fn new(vocab: &Vocab) -> Result<Words> {
        Ok(Words { merges: Merges::new(vocab)? })
    }

    /// Appends the tokens of `text`; a character that is no token becomes the unknown one.
    pub fn encode(&self, vocab: &Vocab, text: &str, unknown: Option<Token>, out: &mut Vec<Token>) -> Result<()> {
        let mut joiner = self.merges.joiner(vocab)?;
        let mut merger = Merger::default();
        let text = normalize(text);
        let mut word = String::new();
        for piece in text.split(char::is_whitespace).flat_map(alone) {
            word.clear();
            word.push_str(piece);
            word.push_str(END);
            self.merges.memo.word(vocab, word.as_bytes(), out, |out| {
                merger.clear();
                for (at, c) in piece.char_indices() {
                    let end = at + c.len_utf8();
                    let end = if end == piece.len() { word.len() } else { end };
                    merger.push(end - at, vocab.find(&word.as_bytes()[at..end]).unwrap_or(NO_TOKEN));
                }
                let joined = merger.merge(word.as_bytes(), &mut joiner);
                out.extend(
                    joined.filter_map(|symbol| Some(symbol.token).filter(|&token| token != NO_TOKEN).or(unknown)),
                );
            });
        }
        Ok(())
    }
}

/// Lower case without accents and control characters, and spaces around ideographs.
fn normalize(text: &str) -> String {
    let clean = text.chars().filter(|c| !is_dropped(*c));
    let spaced = clean.flat_map(|c| {
        let around = is_ideograph(c).then_some(' ');
        around.into_iter().chain([c]).chain(around)
    });
    let bare = spaced.nfd().filter(|c| get_general_category(*c) != GeneralCategory::NonspacingMark);
    bare.flat_map(char::to_lowercase).collect()
}

/// Characters that are not text: white space is.
fn is_dropped(c: char) -> bool {
    use GeneralCategory::*;
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | char::REPLACEMENT_CHARACTER => true,
        _ => matches!(get_general_category(c), Control | Format | PrivateUse),
    }
}

/// The blocks of ideographs, as BERT's tokenizer names them; its gap below U+2B920 is kept.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

/// A word cut so that each punctuation character is a piece of its own.
fn alone(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_mark = |c: char| c.is_ascii_punctuation() || is_punctuation(c);
        let end = if is_mark(first) { first.len_utf8() } else { rest.find(is_mark).unwrap_or(rest.len()) };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// Appends a token's text: a space for the mark of a word's end.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) {
    match text.strip_suffix(END.as_bytes()) {
        Some(word) => {
            out.extend_from_slice(word);
            out.push(b' ');
        }
        None => out.extend_from_slice(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_as_the_model_was_trained() {
        let pieces = |text: &str| -> Vec<String> {
            normalize(text).split(char::is_whitespace).flat_map(alone).map(str::to_owned).collect()
        };
        assert_eq!(pieces("Héllo,\tWORLD!!"), ["hello", ",", "world", "!", "!"]);
        assert_eq!(pieces("a\u{0}b\u{200d}c \u{fffd}"), ["abc"]);
        assert_eq!(pieces("日本go $5—ß"), ["日", "本", "go", "$", "5", "—", "ß"]);
        assert_eq!(pieces(" \u{a0}\n"), [""; 0]);
        assert_eq!(pieces("İ"), ["i"]); // its dot is an accent
    }

    #[test]
    fn ends_of_words_are_spaces() {
        let mut out = Vec::new();
        decode(b"the</w>", &mut out);
        decode(b"th", &mut out);
        assert_eq!(out, b"the th");
    }
}
