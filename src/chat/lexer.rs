//! Cuts a template into text and tags, and tags into tokens, with Jinja's rules for the space around tags as models'
//! templates expect them (`trim_blocks` and `lstrip_blocks`).

use super::text::{self, is_space};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of tags.
    Text(String),
    /// `{{`
    PrintStart,
    PrintEnd,
    /// `{%`
    BlockStart,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    /// An operator or a bracket.
    Op(&'static str),
}

/// The longest first.
const OPERATORS: [&str; 27] = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", "<", ">", "=", ".",
    ":", "|", ",", ";", "!",
];

/// The tokens, each with its line; or a line and what is wrong there.
pub(super) fn tokens(source: &str) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer { source: &source, at: 0, line: 1, out: Vec::new() };
    match lexer.run() {
        Ok(()) => Ok(lexer.out),
        Err(what) => Err((lexer.line, what)),
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    out: Vec<(usize, Token)>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.source[self.at..self.at + bytes].matches('\n').count();
        self.at += bytes;
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    fn push(&mut self, token: Token) {
        self.out.push((self.line, token));
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let found = rest.match_indices('{').map(|(at, _)| at);
            let start = found.into_iter().find(|at| rest[at + 1..].starts_with(['{', '%', '#']));
            let Some(start) = start else {
                let text = rest.to_owned();
                self.text(text);
                return Ok(());
            };
            let (before, tag) = rest.split_at(start);
            let kind = tag.as_bytes()[1];
            let sign = tag.as_bytes().get(2).copied().filter(|sign| matches!(sign, b'-' | b'+'));
            let text = self.stripped(before, kind, sign).to_owned();
            self.text(text);
            self.advance(start + 2 + usize::from(sign.is_some()));
            match kind {
                b'#' => self.comment()?,
                b'{' => {
                    self.push(Token::PrintStart);
                    self.expression("}}")?;
                    self.push(Token::PrintEnd);
                }
                _ => self.block()?,
            }
        }
    }

    fn text(&mut self, text: String) {
        if !text.is_empty() {
            self.push(Token::Text(text));
        }
    }

    /// The text before a tag, without the space that belongs to the tag.
    fn stripped<'b>(&self, text: &'b str, kind: u8, sign: Option<u8>) -> &'b str {
        match sign {
            Some(b'-') => text.trim_end_matches(is_space),
            None if kind != b'{' => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                // The line may have begun before this text, behind another tag.
                let whole = line > 0 || self.at == 0 || self.source[..self.at].ends_with('\n');
                if whole && text[line..].chars().all(is_space) { &text[..line] } else { text }
            }
            _ => text,
        }
    }

    fn comment(&mut self) -> Result<(), String> {
        let end = self.rest().find("#}").ok_or("a comment has no end")?;
        let strips = self.rest()[..end].ends_with('-');
        let keeps = self.rest()[..end].ends_with('+');
        self.advance(end + 2);
        self.after(strips, !keeps);
        Ok(())
    }

    /// The space after a tag.
    fn after(&mut self, strips: bool, trims: bool) {
        if strips {
            let rest = self.rest();
            self.advance(rest.len() - rest.trim_start_matches(is_space).len());
        } else if trims {
            self.take("\n");
        }
    }

    fn block(&mut self) -> Result<(), String> {
        let inside = self.rest().trim_start_matches(is_space);
        if let Some(after) = inside.strip_prefix("raw") {
            let after = after.trim_start_matches(is_space);
            let sign = after.bytes().next().filter(|sign| matches!(sign, b'-' | b'+'));
            if after[usize::from(sign.is_some())..].starts_with("%}") {
                let skip = self.rest().len() - after.len() + usize::from(sign.is_some()) + 2;
                self.advance(skip);
                return self.raw(sign);
            }
        }
        self.push(Token::BlockStart);
        self.expression("%}")?;
        self.push(Token::BlockEnd);
        Ok(())
    }

    /// Text up to `{% endraw %}`.
    fn raw(&mut self, sign: Option<u8>) -> Result<(), String> {
        self.after(sign == Some(b'-'), sign.is_none());
        let mut from = 0;
        loop {
            let start = from + self.rest()[from..].find("{%").ok_or("`raw` has no end")?;
            let (text, tag) = self.rest().split_at(start);
            let before = tag.as_bytes().get(2).copied().filter(|sign| matches!(sign, b'-' | b'+'));
            let inside = tag[2 + usize::from(before.is_some())..].trim_start_matches(is_space);
            let end = inside.strip_prefix("endraw").map(|end| end.trim_start_matches(is_space));
            let Some(end) = end else {
                from = start + 2;
                continue;
            };
            let after = end.bytes().next().filter(|sign| matches!(sign, b'-' | b'+'));
            if !end[usize::from(after.is_some())..].starts_with("%}") {
                from = start + 2;
                continue;
            }
            let skip = self.rest().len() - end.len() + usize::from(after.is_some()) + 2;
            let text = self.stripped(text, b'%', before).to_owned();
            self.text(text);
            self.advance(skip);
            self.after(after == Some(b'-'), after.is_none());
            return Ok(());
        }
    }

    /// Tokens up to the end of the tag, which is taken too.
    fn expression(&mut self, end: &'static str) -> Result<(), String> {
        let mut open: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            let space = rest.len() - rest.trim_start_matches(is_space).len();
            self.advance(space);
            if open.is_empty() {
                let signed = |sign: &str| self.rest().strip_prefix(sign).is_some_and(|rest| rest.starts_with(end));
                let (strips, keeps) = (signed("-"), end == "%}" && signed("+"));
                if strips || keeps || self.rest().starts_with(end) {
                    self.advance(end.len() + usize::from(strips || keeps));
                    self.after(strips, end == "%}" && !keeps);
                    return Ok(());
                }
            }
            let Some(c) = self.rest().chars().next() else { return Err("a tag has no end".to_owned()) };
            match c {
                '\'' | '"' => self.string(c)?,
                '0'..='9' => self.number()?,
                c if c == '_' || c.is_alphabetic() => {
                    let rest = self.rest();
                    let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                    let name = rest[..end].to_owned();
                    self.push(Token::Name(name));
                    self.advance(end);
                }
                c => {
                    let op = OPERATORS.into_iter().find(|op| self.rest().starts_with(op));
                    let op = op.ok_or_else(|| format!("unexpected character `{c}`"))?;
                    match op {
                        "(" => open.push(")"),
                        "[" => open.push("]"),
                        "{" => open.push("}"),
                        ")" | "]" | "}" if open.pop() != Some(op) => return Err(format!("unexpected `{op}`")),
                        _ => (),
                    }
                    self.push(Token::Op(op));
                    self.advance(op.len());
                }
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<(), String> {
        let inside = &self.rest()[1..];
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("a string has no end")?;
        let value = text::unescape(&inside[..end])?;
        self.push(Token::Str(value));
        self.advance(end + 2);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest().as_bytes();
        let digits = |from: usize| {
            let run = rest[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
            from + run
        };
        let mut end = digits(0);
        let mut float = false;
        if rest.get(end) == Some(&b'.') && rest.get(end + 1).is_some_and(u8::is_ascii_digit) {
            (end, float) = (digits(end + 1), true);
        }
        if matches!(rest.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(end + 1), Some(b'-' | b'+')));
            if rest.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                (end, float) = (digits(end + 1 + sign), true);
            }
        }
        let number = self.rest()[..end].replace('_', "");
        let token = if float { number.parse().map(Token::Float).ok() } else { number.parse().map(Token::Int).ok() };
        self.push(token.ok_or_else(|| format!("the number {number} is too large"))?);
        self.advance(end);
        Ok(())
    }
}
