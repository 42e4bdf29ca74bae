//! From tokens to text, a token at a time, without ever showing half a character.

use super::{Token, Tokenizer, work};
use crate::error::Result;

/// Turns tokens into text as they come. Tokens may end inside a character; its bytes are held back until the rest is
/// there, so every piece of text consists of whole characters.
///
/// Bytes that cannot belong to any character become U+FFFD. All pieces together, with that of [`Decoder::finish`], are
/// what [`String::from_utf8_lossy`] makes of all bytes together.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    special: bool,
    /// The held back bytes: the start of a character.
    held: Vec<u8>,
    text: String,
}

impl Decoder {
    /// A decoder; `special` says whether control tokens show as the text they are named by.
    pub fn new(special: bool) -> Decoder {
        Decoder { special, ..Decoder::default() }
    }

    /// Takes the next token and returns the text that is complete now; often empty.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange); the decoder is as it was before.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: Token) -> Result<&str> {
        tokenizer.decode_token(token, self.special, &mut self.held)?;
        Ok(self.shown())
    }

    /// Takes bytes instead of a token.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> &str {
        self.held.extend_from_slice(bytes);
        self.shown()
    }

    /// Takes what is complete of the held bytes.
    fn shown(&mut self) -> &str {
        work::add(self.held.len());
        self.text.clear();
        let mut rest = self.held.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            self.text.push_str(std::str::from_utf8(valid).unwrap_or_default()); // valid by the error's own word
            rest = after;
            match error.error_len() {
                Some(len) => {
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[len..];
                }
                None => break, // the start of a character: hold it back
            }
        }
        self.held.drain(..self.held.len() - rest.len());
        &self.text
    }

    /// Ends the text: U+FFFD if a character was begun and never completed, else nothing. The decoder can be used for
    /// another text then.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.held.is_empty() {
            self.held.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut all: Vec<String> = parts.into_iter().map(|part| decoder.push_bytes(part).to_owned()).collect();
        all.push(decoder.finish().to_owned());
        all
    }

    #[test]
    fn characters_come_whole() {
        let family = "👨‍👩‍👧é";
        for at in 0..=family.len() {
            let (a, b) = family.as_bytes().split_at(at);
            let parts = stream([a, b]);
            assert_eq!(parts.concat(), family);
            assert!(!parts[0].contains('\u{fffd}'));
        }
        assert_eq!(stream("🦙".as_bytes().chunks(1)), ["", "", "", "🦙", ""]);
        assert_eq!(stream([&b"a\xf0\x9f"[..]]), ["a", "\u{fffd}"]);
    }

    #[test]
    fn any_bytes_in_any_cuts_give_what_the_lossy_conversion_gives() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let alphabet = [0x61, 0x80, 0xbf, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xed, 0xa0, 0xf0, 0x9f, 0xa6, 0x99, 0xf4, 0xff];
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random(24)).map(|_| alphabet[random(alphabet.len())]).collect();
            let (mut cuts, mut rest) = (Vec::new(), bytes.as_slice());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(1 + random(rest.len().min(5)));
                cuts.push(part);
                rest = after;
            }
            assert_eq!(stream(cuts).concat(), String::from_utf8_lossy(&bytes), "{bytes:02x?}");
        }
    }
}
