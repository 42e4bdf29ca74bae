//! JSON: what callers give, and what `tojson` writes (as Python's `json.dumps` does).

use super::fault::{Outcome, failed};
use super::text;
use super::value::Value;
use crate::error::{Error, Result};
use crate::order::order;

/// Arrays and objects within each other.
const DEEPEST: usize = 64;

/// Reads a JSON text.
pub(super) fn parse<'t>(text: &str) -> Result<Value<'t>> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() { reader.fail("nothing after the value") } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, expected: &'static str) -> Result<T> {
        Err(Error::JsonSyntax { at: self.at, expected })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn value<'t>(&mut self, depth: usize) -> Result<Value<'t>> {
        self.space();
        if depth > DEEPEST {
            return self.fail("at most 64 arrays and objects within each other");
        }
        for (word, value) in [("null", Value::None), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.take(word) {
                return Ok(value);
            }
        }
        match self.rest().bytes().next() {
            Some(b'"') => Ok(Value::str(self.string()?)),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("a value"),
        }
    }

    fn array<'t>(&mut self, depth: usize) -> Result<Value<'t>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        while !self.take("]") {
            if !items.is_empty() && !self.take(",") {
                return self.fail("`,` or `]`");
            }
            items.push(self.value(depth + 1)?);
            self.space();
        }
        self.made(Value::list(items))
    }

    fn object<'t>(&mut self, depth: usize) -> Result<Value<'t>> {
        self.at += 1;
        let mut pairs = Vec::new();
        self.space();
        while !self.take("}") {
            if !pairs.is_empty() && !self.take(",") {
                return self.fail("`,` or `}`");
            }
            self.space();
            if !self.rest().starts_with('"') {
                return self.fail("a name");
            }
            let name = Value::str(self.string()?);
            self.space();
            if !self.take(":") {
                return self.fail("`:`");
            }
            pairs.push((name, self.value(depth + 1)?));
            self.space();
        }
        self.made(Value::dict(pairs))
    }

    /// Nothing that [`Self::value`] lets through is too deep.
    fn made<'t>(&self, value: Outcome<Value<'t>>) -> Result<Value<'t>> {
        value.or_else(|_| self.fail("fewer containers within each other"))
    }

    fn number<'t>(&mut self) -> Result<Value<'t>> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(rest.len());
        let number = &rest[..end];
        let digits = number.strip_prefix('-').unwrap_or(number);
        let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = match digits[whole..].strip_prefix('.') {
            Some(rest) => 1 + rest.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        let exponent =
            digits[whole + fraction..].strip_prefix(['e', 'E']).map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
        let sound = whole > 0
            && (whole == 1 || !digits.starts_with('0'))
            && fraction != 1
            && match exponent {
                Some(exponent) => !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit()),
                None => whole + fraction == digits.len(),
            };
        let value = match number.parse::<i128>() {
            Ok(value) if whole == digits.len() => Some(Value::Int(value)),
            _ => number.parse().ok().map(Value::Float),
        };
        match value.filter(|_| sound) {
            Some(value) => {
                self.at += end;
                Ok(value)
            }
            None => self.fail("a number"),
        }
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(|c: char| matches!(c, '"' | '\\') || c < ' ') else {
                self.at = self.text.len();
                return self.fail("`\"`");
            };
            out.push_str(&rest[..end]);
            self.at += end;
            if self.take("\"") {
                return Ok(out);
            }
            if !self.take("\\") {
                return self.fail("no control characters in a string");
            }
            let escape = self.rest().chars().next();
            let plain = escape.and_then(|c| "\"\\/bfnrt".find(c)).map(|at| b"\"\\/\x08\x0c\n\r\t"[at]);
            match (escape, plain) {
                (_, Some(byte)) => {
                    self.at += 1;
                    out.push(byte.into());
                }
                (Some('u'), _) => out.push(self.unicode()?),
                _ => return self.fail("an escape"),
            }
        }
    }

    /// `u` and four digits, twice for characters that UTF-16 has in two halves.
    fn unicode(&mut self) -> Result<char> {
        let start = self.at;
        let high = self.unit()?;
        let code = match high {
            0xd800..0xdc00 if self.take("\\") => match self.unit()? {
                low @ 0xdc00..0xe000 => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                _ => high,
            },
            _ => high,
        };
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => {
                self.at = start;
                self.fail("both halves of a surrogate pair")
            }
        }
    }

    fn unit(&mut self) -> Result<u32> {
        let digits = self.rest().strip_prefix('u').and_then(|rest| rest.get(..4));
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 5;
                Ok(unit)
            }
            None => self.fail("four hexadecimal digits"),
        }
    }
}

/// How `tojson` writes.
pub(super) struct Style {
    /// What a level is indented by; `None`: all on one line.
    pub indent: Option<String>,
    pub item: String,
    pub key: String,
    pub ascii: bool,
    pub sorted: bool,
}

impl Default for Style {
    /// `json.dumps` with `ensure_ascii=False`.
    fn default() -> Self {
        Self { indent: None, item: ", ".to_owned(), key: ": ".to_owned(), ascii: false, sorted: false }
    }
}

pub(super) fn write(value: &Value<'_>, style: &Style, depth: usize, out: &mut String) -> Outcome<()> {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(text) => quoted(text, style.ascii, out),
        Value::List(list) | Value::Tuple(list) => {
            out.push('[');
            for (at, item) in list.items.iter().enumerate() {
                separate(style, at, depth + 1, out);
                write(item, style, depth + 1, out)?;
            }
            if !list.items.is_empty() {
                line(style, depth, out);
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            let entries = dict.entries();
            let sorted = |a: usize, b: usize| entries[a].0.as_str().cmp(&entries[b].0.as_str());
            let by_key = style.sorted.then(|| order(entries.len(), &sorted));
            out.push('{');
            for at in 0..entries.len() {
                let (key, value) = &entries[by_key.as_ref().map_or(at, |by_key| by_key[at])];
                separate(style, at, depth + 1, out);
                match key {
                    Value::Str(name) => quoted(name, style.ascii, out),
                    other => {
                        out.push('"');
                        write(other, style, depth, out)?;
                        out.push('"');
                    }
                }
                out.push_str(&style.key);
                write(value, style, depth + 1, out)?;
            }
            if !dict.entries().is_empty() {
                line(style, depth, out);
            }
            out.push('}');
        }
        other => return Err(failed(format!("a {} cannot be written as JSON", other.kind()))),
    }
    Ok(())
}

fn separate(style: &Style, at: usize, depth: usize, out: &mut String) {
    if at > 0 {
        out.push_str(&style.item);
    }
    line(style, depth, out);
}

fn line(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(indent));
    }
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => text::float(value),
    }
}

fn quoted(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' || ascii && !c.is_ascii() || ascii && c == '\x7f' => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let mut out = String::new();
        assert!(write(&parse(text).unwrap(), &Style::default(), 0, &mut out).is_ok());
        out
    }

    #[test]
    fn values_are_read_and_written_as_python_does() {
        let text = r#"{"b": [1, -2.5, 1e3, true, null, {}, []], "a": "\u00e9\ud83d\ude00\"\\\/\n<&>"}"#;
        assert_eq!(again(text), r#"{"b": [1, -2.5, 1000.0, true, null, {}, []], "a": "é😀\"\\/\n<&>"}"#);
        assert_eq!(again(r#"{"a":1,"b":2,"a":3}"#), r#"{"a": 3, "b": 2}"#);
        assert_eq!(again("12345678901234567890123"), "12345678901234567890123");
        let many: Vec<_> = (0..40).map(|i| format!(r#""k{}": {i}"#, i % 30)).collect();
        assert!(again(&format!("{{{}}}", many.join(","))).starts_with(r#"{"k0": 30, "k1": 31"#));
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_goes_wrong() {
        let cases = [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\" 1}", 5),
            ("{a: 1}", 1),
            ("01", 0),
            ("1.", 0),
            ("-", 0),
            ("1e", 0),
            ("1 2", 2),
            ("nul", 0),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\ud800\"", 2),
            ("NaN", 0),
        ];
        for (text, wanted) in cases {
            match parse(text) {
                Err(Error::JsonSyntax { at, .. }) => assert_eq!(at, wanted, "{text}"),
                _ => panic!("{text}"),
            }
        }
        let deep = |n| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(65)).is_ok());
        assert!(parse(&deep(66)).is_err() && parse(&"[".repeat(1 << 20)).is_err());
    }
}
