//! Text as Python sees and writes it.

use unicode_general_category::{GeneralCategory, get_general_category};

/// `str.isspace` of one character.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `repr` of a float: the shortest digits that read back as it.
pub(super) fn float(value: f64) -> String {
    if !value.is_finite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return if value.is_nan() { "nan".to_owned() } else { format!("{sign}inf") };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `repr` of a string.
pub(super) fn repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

fn is_printable(c: char) -> bool {
    use GeneralCategory::*;
    let unseen =
        [Control, Format, Surrogate, PrivateUse, Unassigned, LineSeparator, ParagraphSeparator, SpaceSeparator];
    c == ' ' || !unseen.contains(&get_general_category(c))
}

/// What the characters between the quotes of a string literal stand for.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(escape) = chars.next() else {
            out.push('\\');
            break;
        };
        let width = match escape {
            '\n' => continue,
            '\\' | '\'' | '"' => {
                out.push(escape);
                continue;
            }
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' => {
                let at = "abfnrtv".find(escape).unwrap_or_default();
                out.push(['\x07', '\x08', '\x0c', '\n', '\r', '\t', '\x0b'][at]);
                continue;
            }
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    chars.next();
                }
                out.push(char::from_u32(code).unwrap_or_default());
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                out.extend(['\\', other]);
                continue;
            }
        };
        let digits: String = chars.by_ref().take(width).collect();
        let code = if digits.chars().count() == width { u32::from_str_radix(&digits, 16).ok() } else { None };
        out.push(code.and_then(char::from_u32).ok_or_else(|| format!("\\{escape}{digits} is not a character"))?);
    }
    Ok(out)
}

/// `str.title`, or with `whole` set `str.capitalize`.
pub(super) fn capitalized(text: &str, whole: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = whole || c.is_alphabetic();
    }
    out
}

/// `str.splitlines`.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let is_end =
        |c: char| matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_end) {
        let end = rest[at..].chars().next().map_or(0, char::len_utf8);
        let end = at + if rest[at..].starts_with("\r\n") { 2 } else { end };
        out.push(&rest[..if keep_ends { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        out.push(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456789012345.6, "123456789012345.6"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e300, "1.25e+300"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn strings_print_as_in_python() {
        let shown = |text| {
            let mut out = String::new();
            repr(text, &mut out);
            out
        };
        assert_eq!(shown("it's"), "\"it's\"");
        assert_eq!(shown("it's \"so\""), "'it\\'s \"so\"'");
        assert_eq!(shown("ü\n\t\\\x07\u{200b}\u{10ffff}\u{a0}日"), "'ü\\n\\t\\\\\\x07\\u200b\\U0010ffff\\xa0日'");
    }

    #[test]
    fn escapes_are_pythons() {
        assert_eq!(unescape(r#"a\n\x41\u00e9\U0001F600\101\'\"\\\q\"#).unwrap(), "a\nAé😀A'\"\\\\q\\");
        assert_eq!(unescape("a\\\nb").unwrap(), "ab");
        for bad in [r"\x4", r"\ud800", r"\uzzzz", r"\U00110000"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }
}
