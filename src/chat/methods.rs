//! Python's methods, as far as they change nothing.

use std::rc::Rc;

use super::call::{Given, flag, int, size, str};
use super::eval::{Engine, SLOT};
use super::fault::{Outcome, failed};
use super::text::{self, is_space};
use super::value::Value;

#[rustfmt::skip]
const OF_STR: [&str; 42] = [
    "upper", "lower", "casefold", "title", "capitalize", "swapcase", "strip", "lstrip", "rstrip", "split", "rsplit",
    "splitlines", "startswith", "endswith", "replace", "find", "rfind", "index", "rindex", "count", "join", "format",
    "removeprefix", "removesuffix", "partition", "rpartition", "zfill", "ljust", "rjust", "center", "isalpha",
    "isdigit", "isdecimal", "isnumeric", "isalnum", "isspace", "isupper", "islower", "isascii", "istitle",
    "isidentifier", "encode",
];
const OF_DICT: [&str; 11] =
    ["get", "items", "keys", "values", "copy", "pop", "popitem", "update", "clear", "setdefault", "fromkeys"];
const OF_LIST: [&str; 11] =
    ["count", "index", "copy", "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"];
const OF_LOOP: [&str; 2] = ["cycle", "changed"];

/// Whether a value has a method of this name.
pub(super) fn exists(value: &Value<'_>, name: &str) -> bool {
    match value {
        Value::Str(_) => OF_STR.contains(&name),
        Value::Dict(_) => OF_DICT.contains(&name),
        Value::List(_) => OF_LIST.contains(&name),
        Value::Tuple(_) => OF_LIST[..2].contains(&name),
        Value::Loop(_) => OF_LOOP.contains(&name),
        _ => false,
    }
}

impl<'t> Engine<'t> {
    /// Calls a method that [`exists`].
    pub fn method(&mut self, value: &Value<'t>, name: &str, given: Given<'t>) -> Outcome<Value<'t>> {
        self.spend(value.weight().min(1 << 16))?;
        match value {
            Value::Str(text) => self.str_method(text, name, given),
            Value::Dict(dict) => {
                let entries = dict.entries();
                let slots = SLOT * entries.len() as u64;
                match name {
                    "get" => {
                        let [key, default] = given.bind(["key", "default"])?;
                        let found = dict.get(&key.unwrap_or(Value::None)).cloned();
                        Ok(found.or(default).unwrap_or(Value::None))
                    }
                    "items" => {
                        self.spend(4 * slots)?;
                        let pairs = entries.iter().map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()]));
                        Value::list(pairs.collect::<Outcome<_>>()?)
                    }
                    "keys" | "values" => {
                        let pick =
                            |(key, value): &(Value<'t>, Value<'t>)| if name == "keys" { key } else { value }.clone();
                        self.list(entries.iter().map(pick).collect())
                    }
                    "copy" => Ok(value.clone()),
                    _ => Err(immutable(value, name)),
                }
            }
            Value::List(list) | Value::Tuple(list) => match name {
                "count" | "index" => {
                    let wanted = given.bind(["value"])?[0].take().unwrap_or(Value::None);
                    self.spend(4 * value.weight())?;
                    let mut found = list.items.iter().enumerate().filter(|(_, item)| item.equals(&wanted));
                    if name == "count" {
                        return Ok(Value::int(found.count()));
                    }
                    found.next().map(|(at, _)| Value::int(at)).ok_or_else(|| failed("the value is not in the list"))
                }
                "copy" => Ok(value.clone()),
                _ => Err(immutable(value, name)),
            },
            Value::Loop(state) => {
                if name == "cycle" {
                    let items = &given.plain;
                    return match items.len() {
                        0 => Err(failed("`loop.cycle` takes values")),
                        count => Ok(items[state.at % count].clone()),
                    };
                }
                let seen = self.list(given.plain)?;
                let mut last = state.last.borrow_mut();
                let same = last.as_ref().is_some_and(|last: &Value<'t>| last.equals(&seen));
                *last = Some(seen);
                Ok(Value::Bool(!same))
            }
            other => Err(failed(format!("a {} has no method `{name}`", other.kind()))),
        }
    }

    fn str_method(&mut self, text: &Rc<str>, name: &str, given: Given<'t>) -> Outcome<Value<'t>> {
        self.spend(text.len() as u64)?;
        match name {
            "strip" | "lstrip" | "rstrip" => {
                let chars = given.bind(["chars"])?[0].take().filter(|chars| !matches!(chars, Value::None));
                let chars = chars.as_ref().map(str).transpose()?;
                self.spend((text.len() * chars.map_or(1, str::len)) as u64)?;
                let cut = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
                self.text(match name {
                    "strip" => text.trim_matches(cut),
                    "lstrip" => text.trim_start_matches(cut),
                    _ => text.trim_end_matches(cut),
                })
            }
            "startswith" | "endswith" => {
                let [part, start] = given.bind(["prefix", "start"])?;
                let part = part.unwrap_or(Value::None);
                let start = start.as_ref().map(int).transpose()?.unwrap_or(0);
                let text = match usize::try_from(start) {
                    Ok(0) => text,
                    Ok(start) => text.char_indices().nth(start).map_or("", |(at, _)| &text[at..]),
                    Err(_) => return Err(failed("a negative start is not supported")),
                };
                let is = |part: &str| if name == "startswith" { text.starts_with(part) } else { text.ends_with(part) };
                let found = match part.defined()? {
                    Value::Tuple(parts) => {
                        let mut found = false;
                        for part in &parts.items {
                            found |= is(str(part)?);
                        }
                        found
                    }
                    part => is(str(part)?),
                };
                Ok(Value::Bool(found))
            }
            "split" | "rsplit" => {
                let [separator, most] = given.bind(["sep", "maxsplit"])?;
                let separator = separator.filter(|separator| !matches!(separator, Value::None));
                let most = most.as_ref().map(int).transpose()?.and_then(|most| usize::try_from(most).ok());
                let parts = split(text, separator.as_ref().map(str).transpose()?, most, name == "rsplit")?;
                self.spend((SLOT * 2 * parts.len() as u64).saturating_add(text.len() as u64))?;
                Value::list(parts.into_iter().map(Value::str).collect())
            }
            "splitlines" => {
                let [keep_ends] = given.bind(["keepends"])?;
                let lines = text::lines(text, flag(&keep_ends));
                self.spend(SLOT * 2 * lines.len() as u64)?;
                Value::list(lines.into_iter().map(Value::str).collect())
            }
            "replace" => {
                let [old, new, count] = given.bind(["old", "new", "count"])?;
                let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
                self.replaced(text, str(&old)?, str(&new)?, count.as_ref().map(int).transpose()?)
            }
            "find" | "rfind" | "index" | "rindex" | "count" => {
                let part = given.bind(["sub"])?[0].take().unwrap_or(Value::None);
                let part = str(&part)?;
                if name == "count" {
                    return Ok(Value::int(text.matches(part).count()));
                }
                let at = if name.starts_with('r') { text.rfind(part) } else { text.find(part) };
                match at {
                    Some(at) => Ok(Value::int(text[..at].chars().count())),
                    None if name.ends_with("find") => Ok(Value::Int(-1)),
                    None => Err(failed("the text is not in the text")),
                }
            }
            "join" => {
                let [items] = given.bind(["iterable"])?;
                let items = items.unwrap_or(Value::None);
                for item in &self.items(items.defined()?)?.items {
                    str(item)?;
                }
                let separator = text.clone();
                Engine::join(self, &separator, &items, None)
            }
            "format" => {
                let text = super::format::braces(self, text, given)?;
                self.text(text)
            }
            "removeprefix" | "removesuffix" => {
                let part = given.bind(["part"])?[0].take().unwrap_or(Value::None);
                let part = str(&part)?;
                let rest = if name == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
                self.text(rest.unwrap_or(text))
            }
            "partition" | "rpartition" => {
                let part = given.bind(["sep"])?[0].take().unwrap_or(Value::None);
                let part = str(&part)?;
                let last = name == "rpartition";
                let pieces = match if last { text.rsplit_once(part) } else { text.split_once(part) } {
                    Some((before, after)) => [before, part, after],
                    None if last => ["", "", &**text],
                    None => [&**text, "", ""],
                };
                Value::tuple(pieces.map(Value::str).to_vec())
            }
            "zfill" | "ljust" | "rjust" | "center" => {
                let [width, fill] = given.bind(["width", "fillchar"])?;
                let width = size(&width.unwrap_or(Value::None))?;
                let fill = match &fill {
                    Some(fill) => str(fill)?.chars().next().unwrap_or(' '),
                    None => ' ',
                };
                self.text(match name {
                    "zfill" => {
                        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
                        sign.to_owned() + &padded(digits, width.saturating_sub(sign.len()), '0', '>')
                    }
                    "ljust" => padded(text, width, fill, '<'),
                    "rjust" => padded(text, width, fill, '>'),
                    _ => padded(text, width, fill, '^'),
                })
            }
            "upper" => self.text(text.to_uppercase()),
            "lower" | "casefold" => self.text(text.to_lowercase()),
            "title" => self.text(text::capitalized(text, false)),
            "capitalize" => self.text(text::capitalized(text, true)),
            "swapcase" => {
                let swap = |c: char| {
                    if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
                };
                self.text(text.chars().map(swap).collect::<String>())
            }
            _ => {
                let [] = given.bind([])?;
                let all = |is: fn(char) -> bool| !text.is_empty() && text.chars().all(is);
                Ok(Value::Bool(match name {
                    "isalpha" => all(char::is_alphabetic),
                    "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
                    "isalnum" => all(char::is_alphanumeric),
                    "isspace" => all(is_space),
                    "isascii" => text.is_ascii(),
                    "isupper" => is_case(text, char::is_uppercase, char::is_lowercase),
                    "islower" => is_case(text, char::is_lowercase, char::is_uppercase),
                    _ => return Err(failed(format!("the method `{name}` is not supported"))),
                }))
            }
        }
    }
}

fn immutable(value: &Value<'_>, name: &str) -> super::fault::Fault {
    failed(format!("`{name}` would change a {}, which templates may not", value.kind()))
}

/// Whether text has letters of one case and none of the other.
pub(super) fn is_case(text: &str, case: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(case) && !text.chars().any(other)
}

/// Text in a field: `<` at its left end, `>` at its right end, `^` in its middle.
pub(super) fn padded(text: &str, width: usize, fill: char, align: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = match align {
        '<' => 0,
        '>' => missing,
        // Python's: an odd place goes to the left if the width is odd too.
        _ => missing / 2 + (missing & width & 1),
    };
    let pad = |count: usize| std::iter::repeat_n(fill, count);
    pad(left).chain(text.chars()).chain(pad(missing - left)).collect()
}

/// `str.split`: at a separator, or without one at runs of space.
fn split<'a>(text: &'a str, separator: Option<&str>, most: Option<usize>, from_right: bool) -> Outcome<Vec<&'a str>> {
    let most = most.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = text;
    match separator {
        Some("") => return Err(failed("an empty separator")),
        Some(separator) => {
            while parts.len() < most {
                let cut = if from_right { rest.rsplit_once(separator) } else { rest.split_once(separator) };
                let Some((before, after)) = cut else { break };
                parts.push(if from_right { after } else { before });
                rest = if from_right { before } else { after };
            }
            parts.push(rest);
        }
        None => loop {
            rest = if from_right { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
            if rest.is_empty() {
                break;
            }
            let at = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
            match at.filter(|_| parts.len() < most) {
                Some(at) if from_right => {
                    let space = rest[at..].chars().next().map_or(0, char::len_utf8);
                    parts.push(&rest[at + space..]);
                    rest = &rest[..at];
                }
                Some(at) => {
                    parts.push(&rest[..at]);
                    rest = &rest[at..];
                }
                None => {
                    parts.push(rest);
                    break;
                }
            }
        },
    }
    if from_right {
        parts.reverse();
    }
    Ok(parts)
}
