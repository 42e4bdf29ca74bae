//! Python's ways to put values into text: `%` and `str.format`.

use super::call::Given;
use super::eval::Engine;
use super::fault::{Outcome, failed};
use super::methods::padded;
use super::value::{Number, Value};

/// How a value is shown.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    comma: bool,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `text % args`.
pub(super) fn percent<'t>(engine: &mut Engine<'t>, text: &str, args: &Value<'t>) -> Outcome<String> {
    let mut out = String::new();
    let mut next = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut name = None;
        if chars.next_if_eq(&'(').is_some() {
            name = Some(chars.by_ref().take_while(|c| *c != ')').collect::<String>());
        }
        let mut spec = Spec { align: Some('>'), ..Spec::default() };
        while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                sign => spec.sign = Some(sign),
            }
        }
        spec.width = digits(&mut chars)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(digits(&mut chars)?.unwrap_or(0));
        }
        let kind = chars.next().ok_or_else(|| failed("a `%` at the end of a format"))?;
        let value = match (&name, args) {
            (Some(name), Value::Dict(dict)) => dict.get_str(name).cloned(),
            (None, Value::Tuple(list)) => list.items.get(next).cloned(),
            (None, other) if next == 0 => Some(other.clone()),
            _ => None,
        };
        next += usize::from(name.is_none());
        let value = value.ok_or_else(|| failed("there are fewer values than places for them"))?;
        let shown = match kind {
            's' => string(engine, &value, &spec)?,
            'r' => {
                engine.spend(4 * value.weight())?;
                let mut repr = String::new();
                value.print_repr(&mut repr);
                string(engine, &Value::str(repr), &spec)?
            }
            'i' | 'u' | 'd' => {
                let whole = match value.number() {
                    Some(Number::Float(value)) if value.is_finite() => Value::Int(value as i128),
                    _ => value,
                };
                spec.kind = Some('d');
                number(&whole, &spec)?
            }
            kind => {
                spec.kind = Some(kind);
                number(&value, &spec)?
            }
        };
        engine.spend(shown.len() as u64)?;
        out.push_str(&shown);
    }
    let given = if let Value::Tuple(list) = args { list.items.len() } else { next };
    if given > next {
        return Err(failed("there are more values than places for them"));
    }
    Ok(out)
}

/// `text.format(...)`.
pub(super) fn braces<'t>(engine: &mut Engine<'t>, text: &str, given: Given<'t>) -> Outcome<String> {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            out.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let field = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (field, after) = field.ok_or_else(|| failed("a single brace in a format"))?;
        rest = after;
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
        let value = match name {
            "" => given.plain.get(next),
            name => match name.parse::<usize>() {
                Ok(at) => given.plain.get(at),
                Err(_) => given.named.iter().find(|(found, _)| *found == name).map(|(_, value)| value),
            },
        };
        next += usize::from(name.is_empty());
        let value = value.ok_or_else(|| failed(format!("there is no value for `{{{field}}}`")))?;
        let mut shown = String::new();
        engine.spend(4 * value.weight())?;
        match conversion {
            "r" => value.print_repr(&mut shown),
            _ => value.print(&mut shown),
        }
        let spec = parse(spec)?;
        let is_number = conversion.is_empty() && matches!(value, Value::Int(_) | Value::Float(_));
        let shown = if is_number { number(value, &spec)? } else { string(engine, &Value::str(shown), &spec)? };
        engine.spend(shown.len() as u64)?;
        out.push_str(&shown);
    }
    out.push_str(rest);
    Ok(out)
}

/// A width or a precision that somebody could mean.
fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Outcome<Option<usize>> {
    let mut value: Option<usize> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        value = Some(value.unwrap_or(0) * 10 + digit as usize);
        if value > Some(1000) {
            return Err(failed("a width or a precision is above 1000"));
        }
        chars.next();
    }
    Ok(value)
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`
fn parse(text: &str) -> Outcome<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let is_align = |c: &char| "<>^=".contains(*c);
    if text.chars().nth(1).as_ref().is_some_and(is_align) {
        spec.fill = chars.next();
    }
    spec.align = chars.next_if(is_align);
    spec.sign = chars.next_if(|c| "+- ".contains(*c));
    spec.alternate = chars.next_if_eq(&'#').is_some();
    spec.zero = chars.next_if_eq(&'0').is_some();
    spec.width = digits(&mut chars)?.unwrap_or(0);
    spec.comma = chars.next_if_eq(&',').is_some();
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(digits(&mut chars)?.unwrap_or(0));
    }
    spec.kind = chars.next();
    match chars.next() {
        None => Ok(spec),
        Some(_) => Err(failed(format!("`{text}` is not a format"))),
    }
}

fn string<'t>(engine: &mut Engine<'t>, value: &Value<'t>, spec: &Spec) -> Outcome<String> {
    let text = engine.string(value)?;
    let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    Ok(padded(&cut, spec.width, spec.fill.unwrap_or(' '), spec.align.unwrap_or('<')))
}

fn number(value: &Value<'_>, spec: &Spec) -> Outcome<String> {
    let wrong = || failed(format!("a {} cannot be formatted so", value.kind()));
    let found = value.defined()?.number().ok_or_else(wrong)?;
    let negative = match found {
        Number::Int(value) => value < 0,
        Number::Float(value) => value.is_sign_negative(),
    };
    let places = spec.precision.unwrap_or(6);
    let mut digits = match (spec.kind, found) {
        (None | Some('d'), Number::Int(value)) => value.unsigned_abs().to_string(),
        (Some('x'), Number::Int(value)) => format!("{:x}", value.unsigned_abs()),
        (Some('X'), Number::Int(value)) => format!("{:X}", value.unsigned_abs()),
        (Some('o'), Number::Int(value)) => format!("{:o}", value.unsigned_abs()),
        (Some('b'), Number::Int(value)) => format!("{:b}", value.unsigned_abs()),
        (None, Number::Float(value)) if spec.precision.is_none() => super::text::float(value.abs()),
        (Some('f' | 'F'), value) => format!("{:.places$}", value.float().abs()),
        (Some('%'), value) => format!("{:.places$}%", value.float().abs() * 100.0),
        (Some('e' | 'E'), value) => {
            let text = format!("{:.places$e}", value.float().abs());
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let power: i32 = exponent.parse().unwrap_or_default();
            let text = format!("{mantissa}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs());
            if spec.kind == Some('E') { text.to_uppercase() } else { text }
        }
        _ => return Err(wrong()),
    };
    if spec.alternate
        && let Some(kind @ ('x' | 'X' | 'o' | 'b')) = spec.kind
    {
        digits = format!("0{kind}{digits}");
    }
    if spec.comma {
        let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
        for at in (1..whole).filter(|at| (whole - at) % 3 == 0).collect::<Vec<_>>().into_iter().rev() {
            digits.insert(at, ',');
        }
    }
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    };
    Ok(if spec.zero && spec.align != Some('<') || spec.align == Some('=') {
        let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
        sign.to_owned() + &padded(&digits, spec.width.saturating_sub(sign.len()), fill, '>')
    } else {
        padded(&(sign.to_owned() + &digits), spec.width, spec.fill.unwrap_or(' '), spec.align.unwrap_or('>'))
    })
}
