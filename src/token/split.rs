//! Pre-tokenizers: cutting text into the pieces within which byte-level BPE merges.
//!
//! Every pre-tokenizer is a few regular expressions in Rust-like notation, and this is a matcher for exactly the
//! shapes they have, not a regex engine: `\s+(?!\S)` rules out the engines that are linear by construction, and the
//! backtracking ones run out of stack or step limits on a megabyte of spaces. Each rule here looks at a character a
//! bounded number of times before the match moves past it, so splitting is linear in the text, whatever it holds;
//! there is nothing to compile at load, and no recursion.

mod chars;
mod table;

pub(super) use chars::is_punctuation;
pub(super) use table::{PreTokenizer, find, names};

use super::work;
use chars::{is_newline, is_space};

/// A set of characters.
type Class = fn(char) -> bool;

/// What one alternative of a regular expression matches. Quantifiers are greedy; the first rule that matches wins.
pub(super) enum Rule {
    /// `'s|'t|'re|'ve|'m|'ll|'d`, in lower case or in any: `ſ` is an `s` then.
    Contraction { any_case: bool },
    /// `lead? body{min,max} tail*`
    Run { lead: Option<Class>, body: Class, min: usize, max: usize, tail: Option<Class> },
    /// `first body+`
    Pair { first: Class, body: Class },
    /// `lead? upper* lower+ c?|lead? upper+ lower* c?`, where c is a contraction in any case, if wanted.
    Cased { lead: Class, upper: Class, lower: Class, contraction: bool },
    /// `\s*[\r\n]+`
    Newlines,
    /// `\s+(?!\S)`: whitespace up to the end, or all but the last character of it before something else.
    SpaceBeforeWord,
}

/// One regular expression. It is matched within each piece that the one before it left.
pub(super) enum Pass {
    /// Matches become pieces, and so does what lies between two of them.
    Rules(&'static [Rule]),
    /// `\s+$`: the whitespace that ends a piece becomes a piece.
    TrailingSpace,
}

/// Cuts `text` into pieces; `ends` receives the byte offset of each piece's end, in order.
pub(super) fn split(passes: &[Pass], text: &str, ends: &mut Vec<usize>) {
    ends.clear();
    if text.is_empty() {
        return;
    }
    ends.push(text.len());
    let mut before = Vec::new();
    for pass in passes {
        std::mem::swap(ends, &mut before);
        ends.clear();
        let mut start = 0;
        for &end in &before {
            pass.split(&text[start..end], start, ends);
            start = end;
        }
    }
}

impl Pass {
    /// Cuts one piece, which starts at the offset `base` of the text; never empty.
    fn split(&self, piece: &str, base: usize, ends: &mut Vec<usize>) {
        let mut gap = 0; // start of what no rule has matched
        match self {
            Self::Rules(rules) => {
                let mut at = 0;
                while let Some(c) = piece[at..].chars().next() {
                    if let Some(len) = rules.iter().find_map(|rule| rule.matches(&piece[at..])) {
                        if gap < at {
                            ends.push(base + at);
                        }
                        at += len;
                        gap = at;
                        ends.push(base + at);
                    } else {
                        at += c.len_utf8();
                    }
                }
            }
            Self::TrailingSpace => {
                let at = piece.trim_end().len();
                if 0 < at && at < piece.len() {
                    ends.push(base + at);
                }
            }
        }
        if gap < piece.len() {
            ends.push(base + piece.len());
        }
    }
}

impl Rule {
    /// How many bytes the rule matches at the start of `text`; never zero.
    fn matches(&self, text: &str) -> Option<usize> {
        match *self {
            Self::Contraction { any_case } => contraction(text, any_case),
            Self::Run { lead, body, min, max, tail } => {
                let run = |start: usize| {
                    let len = start + run_of(&text[start..], body, min, max)?;
                    Some(len + tail.map_or(0, |tail| prefix(&text[len..], tail)))
                };
                lead.and_then(|lead| one(text, lead)).and_then(run).or_else(|| run(0))
            }
            Self::Pair { first, body } => {
                let start = one(text, first)?;
                Some(start + run_of(&text[start..], body, 1, usize::MAX)?)
            }
            Self::Cased { lead, upper, lower, contraction: with } => {
                let led = one(text, lead);
                let starts = [led, Some(0)];
                let mut starts = starts.iter().flatten();
                let first = starts.clone().find_map(|&s| Some(s + upper_then_lower(&text[s..], upper, lower)?));
                // The second form is tried only where no lower-case character follows, so it ends with `upper`.
                let len =
                    first.or_else(|| starts.find_map(|&s| Some(s + run_of(&text[s..], upper, 1, usize::MAX)?)))?;
                Some(len + if with { contraction(&text[len..], true).unwrap_or(0) } else { 0 })
            }
            Self::Newlines => {
                let space = &text[..prefix(text, is_space)];
                space.rfind(is_newline).map(|last| last + 1)
            }
            Self::SpaceBeforeWord => {
                let len = prefix(text, is_space);
                let last = text[..len].chars().next_back()?;
                let len = if len < text.len() { len - last.len_utf8() } else { len };
                (len > 0).then_some(len)
            }
        }
    }
}

/// The length of the character `text` starts with, if it is of the class.
fn one(text: &str, class: Class) -> Option<usize> {
    work::add(1);
    text.chars().next().filter(|&c| class(c)).map(char::len_utf8)
}

/// Bytes of the longest prefix of characters of the class.
fn prefix(text: &str, class: Class) -> usize {
    let len = text.find(|c| !class(c)).unwrap_or(text.len());
    work::add(len + 1);
    len
}

/// Bytes of the longest prefix of characters of the class, at most `max` of them; `None` for fewer than `min`.
fn run_of(text: &str, class: Class, min: usize, max: usize) -> Option<usize> {
    let (mut count, mut len) = (0, 0);
    for c in text.chars().take(max).take_while(|&c| class(c)) {
        count += 1;
        len += c.len_utf8();
    }
    work::add(count + 1);
    (count >= min).then_some(len)
}

/// `upper* lower+`, where the two classes share characters: what `upper*` took too much of is given back.
fn upper_then_lower(text: &str, upper: Class, lower: Class) -> Option<usize> {
    let (mut len, mut given_back) = (0, None);
    for c in text.chars().take_while(|&c| upper(c)) {
        len += c.len_utf8();
        if lower(c) {
            given_back = Some(len);
        }
    }
    work::add(len);
    run_of(&text[len..], lower, 1, usize::MAX).map(|lower| len + lower).or(given_back)
}

/// The length of the contraction at the start of `text`.
fn contraction(text: &str, any_case: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).map_or(0, |&b| if any_case { b.to_ascii_lowercase() } else { b });
    match (at(0), at(1), at(2)) {
        (b'\'', b's' | b't' | b'm' | b'd', _) => Some(2),
        (b'\'', b'r' | b'v', b'e') | (b'\'', b'l', b'l') => Some(3),
        (b'\'', 0xc5, 0xbf) if any_case => Some(3), // ſ
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut ends = Vec::new();
        split(find(name).unwrap().passes, text, &mut ends);
        let mut start = 0;
        ends.iter().map(|&end| &text[std::mem::replace(&mut start, end)..end]).collect()
    }

    #[test]
    fn each_group_splits_as_its_regular_expression_says() {
        assert_eq!(
            pieces("gpt-2", "I'll pay  12345 \n\n\u{a0}x!?'s"),
            ["I", "'ll", " pay", " ", " 12345", " \n\n", "\u{a0}", "x", "!?'", "s"]
        );
        assert_eq!(
            pieces("llama-bpe", "I'LL pay  12345 \n\n x!?\n'Re"),
            ["I", "'LL", " pay", " ", " ", "123", "45", " \n\n", " x", "!?\n", "'Re"]
        );
        assert_eq!(pieces("llama-bpe", "'ſx 1'ſ"), ["'ſ", "x", " ", "1", "'ſ"]);
        assert_eq!(pieces("gpt-4o", "E'ſx"), ["E'ſ", "x"]);
        assert_eq!(pieces("gpt-2", "'ſx"), ["'", "ſx"]);
        assert_eq!(pieces("qwen2", "x 12"), ["x", " ", "1", "2"]);
        assert_eq!(pieces("smollm", "x 12 a"), ["x", " ", "1", "2", " a"]);
        assert_eq!(pieces("default", "Ok, 12345 =) "), ["Ok", ",", " ", "123", "45", " ", "=)", " "]);
        assert_eq!(pieces("falcon", "a `b` 1234"), ["a", " ", "`", "b", "`", " ", "123", "4"]);
        assert_eq!(pieces("gpt-4o", "HTMLParser'S 日本A"), ["HTMLParser'S", " 日本", "A"]);
        assert_eq!(pieces("tekken", "élÉ ABC"), ["él", "É", " ABC"]);
        assert_eq!(pieces("deepseek-v3", "a=b 日本 12345"), ["a", "=b", " ", "日本", " ", "123", "45"]);
        assert_eq!(pieces("deepseek-llm", "Wie geht's  \n "), ["Wie", " geht", "'", "s", "  ", "\n", " "]);
        assert_eq!(pieces("bloom", "a, b"), ["a", ",", " b"]);
    }

    #[test]
    fn pieces_cover_the_text_in_every_group() {
        let text = "\u{301}a\u{301}B c1２३ \t\r\n\n  'S 're，。日本語 🦙🏽 \u{200d}\u{2028}x…!  ";
        for name in names() {
            let all = pieces(name, text);
            assert_eq!(all.concat(), text, "{name}");
            assert!(all.iter().all(|piece| !piece.is_empty()), "{name}");
            assert!(pieces(name, "").is_empty(), "{name}");
        }
    }
}
