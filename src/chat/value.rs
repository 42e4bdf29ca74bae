//! The values of templates: Python's, as far as templates see them.
//!
//! A container knows how deep and how large it is from the moment it is made, and none is made that is too deep. So
//! whatever walks a value (printing, comparing, dropping) needs little stack and can be paid for before it starts.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use super::ast::Macro;
use super::fault::{Fault, Outcome, failed};
use super::text;

/// Containers within containers.
const DEEPEST: u32 = 100;
/// A dictionary with more entries than this has an index.
const SMALL: usize = 12;

#[derive(Clone)]
pub(super) enum Value<'t> {
    /// What is not there, with its name. It prints as nothing and is false; most other uses of it fail.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<str>),
    List(Rc<List<'t>>),
    Tuple(Rc<List<'t>>),
    /// What Python gives as an iterator: always true, without a length.
    Iter(Rc<List<'t>>),
    Dict(Rc<Dict<'t>>),
    Namespace(Rc<RefCell<Dict<'t>>>),
    Loop(Rc<Loop<'t>>),
    Macro(&'t Macro),
    /// A method that is not called, with what it is a method of.
    Method(Rc<Value<'t>>, Rc<str>),
    /// A function of the environment.
    Function(&'static str),
}

/// The items of a list, a tuple or an iterator.
pub(super) struct List<'t> {
    pub items: Vec<Value<'t>>,
    depth: u32,
    weight: u64,
}

/// A dictionary in the order of insertion.
#[derive(Default, Clone)]
pub(super) struct Dict<'t> {
    entries: Vec<(Value<'t>, Value<'t>)>,
    /// Where the string keys are, if there are many.
    index: Option<HashMap<Rc<str>, usize>>,
    depth: u32,
    weight: u64,
}

/// What `loop` is in a loop's body.
pub(super) struct Loop<'t> {
    pub items: Rc<List<'t>>,
    pub at: usize,
    /// What `loop.changed` was last called with.
    pub last: Rc<RefCell<Option<Value<'t>>>>,
}

impl<'t> List<'t> {
    pub fn new(items: Vec<Value<'t>>) -> Outcome<Self> {
        let depth = deeper(items.iter())?;
        let weight = items.iter().fold(1, |sum: u64, item| sum.saturating_add(item.weight()));
        Ok(Self { items, depth, weight })
    }
}

/// The depth of what holds these values.
fn deeper<'a, 't: 'a>(values: impl Iterator<Item = &'a Value<'t>>) -> Outcome<u32> {
    let mut deepest = 0;
    for value in values {
        deepest = deepest.max(match value {
            Value::List(list) | Value::Tuple(list) | Value::Iter(list) => list.depth,
            Value::Dict(dict) => dict.depth,
            // They can change, so that a container in them could come to hold itself.
            Value::Namespace(_) | Value::Loop(_) | Value::Method(..) => {
                return Err(failed(format!("a container cannot hold a {}", value.kind())));
            }
            _ => 0,
        });
    }
    if deepest >= DEEPEST {
        return Err(failed(format!("containers are nested more than {DEEPEST} deep")));
    }
    Ok(deepest + 1)
}

impl<'t> Dict<'t> {
    /// The entries; of two with the same key, the first one's place and the last one's value.
    pub fn new(pairs: Vec<(Value<'t>, Value<'t>)>) -> Outcome<Self> {
        let mut dict = Self { depth: 1, weight: 1, ..Self::default() };
        for (key, value) in pairs {
            dict.insert(key, value)?;
        }
        Ok(dict)
    }

    pub fn insert(&mut self, key: Value<'t>, value: Value<'t>) -> Outcome<()> {
        if !matches!(key, Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_)) {
            return Err(failed(format!("a {} cannot be a key of a dictionary", key.kind())));
        }
        self.depth = self.depth.max(deeper([&value].into_iter())?);
        self.weight = self.weight.saturating_add(key.weight()).saturating_add(value.weight());
        if let Some(at) = self.position(&key) {
            self.entries[at].1 = value;
            return Ok(());
        }
        if let (Some(index), Value::Str(name)) = (&mut self.index, &key) {
            index.insert(name.clone(), self.entries.len());
        }
        self.entries.push((key, value));
        if self.index.is_none() && self.entries.len() > SMALL {
            let names = self.entries.iter().enumerate().filter_map(|(at, (key, _))| match key {
                Value::Str(name) => Some((name.clone(), at)),
                _ => None,
            });
            self.index = Some(names.collect());
        }
        Ok(())
    }

    fn position(&self, key: &Value<'t>) -> Option<usize> {
        match (&self.index, key) {
            (Some(index), Value::Str(name)) => index.get(name).copied(),
            _ => self.entries.iter().position(|(found, _)| found.equals(key)),
        }
    }

    pub fn get(&self, key: &Value<'t>) -> Option<&Value<'t>> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    pub fn get_str(&self, name: &str) -> Option<&Value<'t>> {
        let at = match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.entries.iter().position(|(key, _)| matches!(key, Value::Str(key) if **key == *name)),
        };
        at.map(|at| &self.entries[at].1)
    }

    pub fn entries(&self) -> &[(Value<'t>, Value<'t>)] {
        &self.entries
    }
}

impl<'t> Value<'t> {
    pub fn str(text: impl Into<Rc<str>>) -> Self {
        Self::Str(text.into())
    }

    pub fn int(value: usize) -> Self {
        Self::Int(value as i128)
    }

    pub fn list(items: Vec<Value<'t>>) -> Outcome<Self> {
        Ok(Self::List(Rc::new(List::new(items)?)))
    }

    pub fn tuple(items: Vec<Value<'t>>) -> Outcome<Self> {
        Ok(Self::Tuple(Rc::new(List::new(items)?)))
    }

    pub fn iter(items: Vec<Value<'t>>) -> Outcome<Self> {
        Ok(Self::Iter(Rc::new(List::new(items)?)))
    }

    pub fn dict(pairs: Vec<(Value<'t>, Value<'t>)>) -> Outcome<Self> {
        Ok(Self::Dict(Rc::new(Dict::new(pairs)?)))
    }

    /// What Python calls the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Iter(_) => "generator",
            Self::Dict(_) => "dict",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Method(..) => "method",
            Self::Function(_) => "function",
        }
    }

    /// About as many bytes as it prints.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Str(text) => text.len() as u64 + 1,
            Self::List(list) | Self::Tuple(list) | Self::Iter(list) => list.weight,
            Self::Dict(dict) => dict.weight,
            _ => 1,
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(list) | Self::Tuple(list) => !list.items.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a number, where Python takes it as one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(value) => Some(Number::Int((*value).into())),
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    /// `==`. Costs the caller the lesser weight.
    pub fn equals(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return a.compare(b) == Some(Ordering::Equal);
        }
        let all = |a: &List<'t>, b: &List<'t>| {
            a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| a.equals(b))
        };
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => Rc::ptr_eq(a, b) || all(a, b),
            (Self::Iter(a), Self::Iter(b)) => Rc::ptr_eq(a, b),
            (Self::Dict(a), Self::Dict(b)) => {
                let same = |(key, value): &(Self, Self)| b.get(key).is_some_and(|other| value.equals(other));
                Rc::ptr_eq(a, b) || a.entries.len() == b.entries.len() && a.entries.iter().all(same)
            }
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            (Self::Macro(a), Self::Macro(b)) => std::ptr::eq(*a, *b),
            (Self::Function(a), Self::Function(b)) => a == b,
            _ => false,
        }
    }

    /// `<` and its kin.
    pub fn compare(&self, other: &Self) -> Outcome<Option<Ordering>> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Ok(a.compare(b));
        }
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => Ok(Some(a.cmp(b))),
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !a.equals(b) {
                        return a.compare(b);
                    }
                }
                Ok(Some(a.items.len().cmp(&b.items.len())))
            }
            _ => Err(failed(format!("{} and {} cannot be ordered", self.kind(), other.kind()))),
        }
    }

    /// `str()`.
    pub fn print(&self, out: &mut String) {
        match self {
            Self::Undefined(_) => (),
            Self::Str(text) => out.push_str(text),
            _ => self.print_repr(out),
        }
    }

    /// `repr()`.
    pub fn print_repr(&self, out: &mut String) {
        let items = |list: &List<'t>, out: &mut String| {
            for (at, item) in list.items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                item.print_repr(out);
            }
        };
        match self {
            Self::Undefined(_) => out.push_str("Undefined"),
            Self::None => out.push_str("None"),
            Self::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
            Self::Int(value) => out.push_str(&value.to_string()),
            Self::Float(value) => out.push_str(&text::float(*value)),
            Self::Str(text) => text::repr(text, out),
            Self::List(list) => {
                out.push('[');
                items(list, out);
                out.push(']');
            }
            Self::Tuple(list) => {
                out.push('(');
                items(list, out);
                out.push_str(if list.items.len() == 1 { ",)" } else { ")" });
            }
            Self::Dict(dict) => print_dict(dict, out),
            other => {
                out.push('<');
                out.push_str(other.kind());
                out.push('>');
            }
        }
    }

    /// The value's items, as a loop sees them.
    pub fn items(&self) -> Outcome<Rc<List<'t>>> {
        match self {
            Self::List(list) | Self::Tuple(list) | Self::Iter(list) => Ok(list.clone()),
            Self::Undefined(_) => Ok(Rc::new(List::new(Vec::new())?)),
            Self::Str(text) => {
                let mut buffer = [0; 4];
                let chars = text.chars().map(|c| Self::str(&*c.encode_utf8(&mut buffer)));
                Ok(Rc::new(List::new(chars.collect())?))
            }
            Self::Dict(dict) => Ok(Rc::new(List::new(dict.entries.iter().map(|(key, _)| key.clone()).collect())?)),
            _ => Err(failed(format!("a {} has no items", self.kind()))),
        }
    }

    /// Fails for what is not there: "'x' is undefined".
    pub fn defined(&self) -> Outcome<&Self> {
        match self {
            Self::Undefined(name) => Err(undefined(name)),
            _ => Ok(self),
        }
    }
}

fn print_dict(dict: &Dict<'_>, out: &mut String) {
    out.push('{');
    for (at, (key, value)) in dict.entries.iter().enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        key.print_repr(out);
        out.push_str(": ");
        value.print_repr(out);
    }
    out.push('}');
}

/// A use of what is not there.
pub(super) fn undefined(name: &str) -> Fault {
    failed(format!("{name} is undefined"))
}

#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}
