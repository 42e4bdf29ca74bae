//! Jinja's tests: what stands behind `is`.

use std::cmp::Ordering;

use super::call::{Given, int};
use super::eval::Engine;
use super::fault::{Outcome, failed};
use super::value::Value;

/// The tests that take an argument.
const TWO: [&str; 18] = [
    "divisibleby",
    "in",
    "sameas",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
];

impl<'t> Engine<'t> {
    pub fn test(&mut self, name: &str, value: &Value<'t>, given: Given<'t>) -> Outcome<bool> {
        let two = TWO.contains(&name);
        let other = if two {
            let [other] = given.bind(["other"])?;
            other.ok_or_else(|| failed(format!("the test `{name}` takes an argument")))?
        } else {
            let [] = given.bind([])?;
            Value::None
        };
        if two {
            self.spend(4 * value.weight().min(other.weight()))?;
        }
        let text = || value.as_str().unwrap_or_default();
        Ok(match name {
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => value.number().is_some(),
            "string" => value.as_str().is_some(),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => {
                matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Undefined(_))
            }
            "iterable" => matches!(
                value,
                Value::Str(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Iter(_)
                    | Value::Dict(_)
                    | Value::Undefined(_)
            ),
            "callable" => matches!(value, Value::Macro(_) | Value::Method(..) | Value::Function(_)),
            "lower" => super::methods::is_case(text(), char::is_lowercase, char::is_uppercase),
            "upper" => super::methods::is_case(text(), char::is_uppercase, char::is_lowercase),
            "escaped" => false,
            "odd" | "even" => (int(value)?.rem_euclid(2) == 1) == (name == "odd"),
            "divisibleby" => match (int(value)?, int(&other)?) {
                (_, 0) => return Err(failed("division by zero")),
                (value, by) => value.checked_rem(by) == Some(0),
            },
            "in" => self.contains(&other, value)?,
            "eq" | "equalto" | "==" => value.equals(&other),
            "ne" | "!=" => !value.equals(&other),
            "sameas" => value.kind() == other.kind() && value.equals(&other),
            "filter" | "test" => return Err(failed(format!("the test `{name}` is not supported"))),
            _ if two => {
                let order = value.defined()?.compare(other.defined()?)?;
                match name {
                    "lt" | "lessthan" | "<" => order == Some(Ordering::Less),
                    "le" | "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    "gt" | "greaterthan" | ">" => order == Some(Ordering::Greater),
                    _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                }
            }
            _ => return Err(failed(format!("there is no test `{name}`"))),
        })
    }
}
