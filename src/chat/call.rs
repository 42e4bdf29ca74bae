//! The arguments of a call.

use super::fault::{Outcome, failed};
use super::value::{Number, Value};

pub(super) struct Given<'t> {
    pub plain: Vec<Value<'t>>,
    pub named: Vec<(&'t str, Value<'t>)>,
}

impl<'t> Given<'t> {
    /// The arguments by the names of the parameters; `None` for those that are not given.
    pub fn bind<const N: usize>(self, names: [&str; N]) -> Outcome<[Option<Value<'t>>; N]> {
        let mut out = [const { None }; N];
        if self.plain.len() > N {
            return Err(failed(format!("{} arguments are given, {N} are taken", self.plain.len())));
        }
        for (place, value) in out.iter_mut().zip(self.plain) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|found| *found == name) {
                Some(at) if out[at].is_none() => out[at] = Some(value),
                Some(_) => return Err(failed(format!("`{name}` is given twice"))),
                None => return Err(failed(format!("there is no argument `{name}`"))),
            }
        }
        Ok(out)
    }

    /// The first argument, taken out.
    pub fn shift(&mut self) -> Option<Value<'t>> {
        (!self.plain.is_empty()).then(|| self.plain.remove(0))
    }
}

/// A whole number.
pub(super) fn int(value: &Value<'_>) -> Outcome<i128> {
    match value.defined()?.number() {
        Some(Number::Int(value)) => Ok(value),
        _ => Err(failed(format!("expected a whole number, found a {}", value.kind()))),
    }
}

/// A size that somebody could mean.
pub(super) fn size(value: &Value<'_>) -> Outcome<usize> {
    match int(value)? {
        size @ 0..=10_000 => Ok(size as usize),
        size => Err(failed(format!("the size {size} is not from 0 to 10000"))),
    }
}

/// Text.
pub(super) fn str<'a>(value: &'a Value<'_>) -> Outcome<&'a str> {
    value.defined()?.as_str().ok_or_else(|| failed(format!("expected a str, found a {}", value.kind())))
}

/// Whether an argument that may be missing is true.
pub(super) fn flag(value: &Option<Value<'_>>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}
