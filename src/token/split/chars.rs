//! The sets of characters that pre-tokenizers name.

use unicode_general_category::{GeneralCategory, get_general_category};

/// `\p{Lu}`, `\p{Lt}`, `\p{Ll}`, `\p{Lm}` and `\p{Lo}`, `\p{M}`, `\p{P}`, `\p{S}`, the rest.
#[derive(PartialEq, Eq)]
enum Kind {
    Upper,
    Lower,
    Uncased,
    Mark,
    Punctuation,
    Symbol,
    Rest,
}

fn kind(c: char) -> Kind {
    use GeneralCategory::*;
    match get_general_category(c) {
        UppercaseLetter | TitlecaseLetter => Kind::Upper,
        LowercaseLetter => Kind::Lower,
        ModifierLetter | OtherLetter => Kind::Uncased,
        NonspacingMark | SpacingMark | EnclosingMark => Kind::Mark,
        ConnectorPunctuation | DashPunctuation | OpenPunctuation | ClosePunctuation | InitialPunctuation
        | FinalPunctuation | OtherPunctuation => Kind::Punctuation,
        MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol => Kind::Symbol,
        _ => Kind::Rest,
    }
}

/// `\p{L}`
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { matches!(kind(c), Kind::Upper | Kind::Lower | Kind::Uncased) }
}

/// `\p{N}`
pub(super) fn is_number(c: char) -> bool {
    c.is_numeric()
}

/// `\s`
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// `[\r\n]`
pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

/// `[^\s\p{L}\p{N}]`
pub(super) fn is_other(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

/// `[^\r\n\p{L}\p{N}]`
pub(super) fn is_word_lead(c: char) -> bool {
    !is_newline(c) && !is_letter(c) && !is_number(c)
}

/// `[\p{L}\p{M}]`
pub(super) fn is_letter_or_mark(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        matches!(kind(c), Kind::Upper | Kind::Lower | Kind::Uncased | Kind::Mark)
    }
}

/// `[^\s\p{L}\p{M}\p{N}]`
pub(super) fn is_other_no_mark(c: char) -> bool {
    !is_space(c) && !is_letter_or_mark(c) && !is_number(c)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
pub(super) fn is_upper(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_uppercase() } else { matches!(kind(c), Kind::Upper | Kind::Uncased | Kind::Mark) }
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
pub(super) fn is_lower(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_lowercase() } else { matches!(kind(c), Kind::Lower | Kind::Uncased | Kind::Mark) }
}

/// `\p{P}`
pub(in crate::token) fn is_punctuation(c: char) -> bool {
    kind(c) == Kind::Punctuation
}

/// `[\p{P}\p{S}]`
pub(super) fn is_punctuation_or_symbol(c: char) -> bool {
    matches!(kind(c), Kind::Punctuation | Kind::Symbol)
}

/// `[^\r\n\p{L}\p{P}\p{S}]`
pub(super) fn is_word_lead_no_symbol(c: char) -> bool {
    !is_newline(c) && !is_letter(c) && !is_punctuation_or_symbol(c)
}

/// `[A-Za-zµÀ-ÖØ-öø-ƺ…𞤀-𞥃]`: the letters with case that deepseek-llm's expression lists.
pub(super) fn is_listed_letter(c: char) -> bool {
    let c = u32::from(c);
    let after = LISTED_LETTERS.partition_point(|&(first, _)| first <= c);
    after.checked_sub(1).is_some_and(|i| c <= LISTED_LETTERS[i].1)
}

#[rustfmt::skip]
const LISTED_LETTERS: [(u32, u32); 87] = [
    (0x0041, 0x005a), (0x0061, 0x007a), (0x00b5, 0x00b5), (0x00c0, 0x00d6), (0x00d8, 0x00f6), (0x00f8, 0x01ba),
    (0x01bc, 0x01bf), (0x01c4, 0x0293), (0x0295, 0x02af), (0x0370, 0x0373), (0x0376, 0x0376), (0x0377, 0x0377),
    (0x037b, 0x037d), (0x037f, 0x037f), (0x0386, 0x0386), (0x0388, 0x038a), (0x038c, 0x038c), (0x038e, 0x03a1),
    (0x03a3, 0x03f5), (0x03f7, 0x0481), (0x048a, 0x052f), (0x0531, 0x0556), (0x10a0, 0x10c5), (0x13a0, 0x13f5),
    (0x13f8, 0x13fd), (0x1c90, 0x1cba), (0x1cbd, 0x1cbf), (0x1d00, 0x1d2b), (0x1d6b, 0x1d77), (0x1d79, 0x1d9a),
    (0x1e00, 0x1f15), (0x1f18, 0x1f1d), (0x1f20, 0x1f45), (0x1f48, 0x1f4d), (0x1f50, 0x1f57), (0x1f59, 0x1f59),
    (0x1f5b, 0x1f5b), (0x1f5d, 0x1f5d), (0x1f5f, 0x1f7d), (0x1f80, 0x1fb4), (0x1fb6, 0x1fbc), (0x1fbe, 0x1fbe),
    (0x1fc2, 0x1fc4), (0x1fc6, 0x1fcc), (0x1fd0, 0x1fd3), (0x1fd6, 0x1fdb), (0x1fe0, 0x1fec), (0x1ff2, 0x1ff4),
    (0x1ff6, 0x1ffc), (0x2102, 0x2102), (0x2107, 0x2107), (0x210a, 0x2113), (0x2115, 0x2115), (0x2119, 0x211d),
    (0x2124, 0x2124), (0x2126, 0x2126), (0x2128, 0x2128), (0x212a, 0x212d), (0x212f, 0x2134), (0x2139, 0x2139),
    (0x213c, 0x213f), (0x2145, 0x2149), (0x214e, 0x214e), (0x2183, 0x2183), (0x2184, 0x2184), (0x2c00, 0x2c7b),
    (0x2c7e, 0x2ce4), (0x2ceb, 0x2cee), (0x2cf2, 0x2cf2), (0x2cf3, 0x2cf3), (0xa640, 0xa66d), (0xa680, 0xa69b),
    (0xa722, 0xa76f), (0xa771, 0xa787), (0xa78b, 0xa78e), (0xab70, 0xabbf), (0xfb00, 0xfb06), (0xfb13, 0xfb17),
    (0xff21, 0xff3a), (0xff41, 0xff5a), (0x10400, 0x1044f), (0x104b0, 0x104d3), (0x104d8, 0x104fb),
    (0x10c80, 0x10cb2), (0x10cc0, 0x10cf2), (0x118a0, 0x118df), (0x1e900, 0x1e943),
];
