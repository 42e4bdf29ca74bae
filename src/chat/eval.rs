//! Runs a template.
//!
//! Everything that takes time or memory is paid for from a budget, before it is done where its size is known; and no
//! more calls are within each other than the stack has room for. So a template can neither hang nor crash.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use super::ast::*;
use super::call::Given;
use super::clock;
use super::fault::{Fault, Outcome, failed};
use super::value::{Dict, List, Loop, Number, Value, undefined};

/// What a step costs; a byte of text costs 1.
const STEP: u64 = 16;
/// What a place in a container costs.
pub(super) const SLOT: u64 = 32;
/// Blocks, expressions and macros within each other.
const DEEPEST: usize = 1000;
/// The most numbers that `range` gives, as in Jinja's sandbox.
const LONGEST_RANGE: i128 = 100_000;
/// The functions that templates may call, unless a variable has the name.
const FUNCTIONS: [&str; 5] = ["namespace", "range", "dict", "raise_exception", "strftime_now"];

type Scope<'t> = HashMap<Rc<str>, Value<'t>>;

pub(super) struct Engine<'t> {
    budget: u64,
    /// The variables of the template, and within them those of blocks.
    scopes: Vec<Scope<'t>>,
    /// The first scope of the innermost macro; 0 outside of macros.
    base: usize,
    depth: usize,
    /// The line of the statement that runs.
    pub line: usize,
    now: SystemTime,
}

/// What happens after a statement.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> Engine<'t> {
    pub fn new(variables: &Dict<'t>, budget: u64, now: SystemTime) -> Self {
        let names = variables.entries().iter();
        let scope = names.filter_map(|(name, value)| match name {
            Value::Str(name) => Some((name.clone(), value.clone())),
            _ => None,
        });
        Self { budget, scopes: vec![scope.collect()], base: 0, depth: 0, line: 1, now }
    }

    pub fn run(&mut self, nodes: &'t [Node]) -> Outcome<String> {
        let mut out = String::new();
        self.body(nodes, &mut out)?;
        Ok(out)
    }

    /// Takes this much from the budget.
    pub fn spend(&mut self, cost: u64) -> Outcome<()> {
        self.budget = self.budget.checked_sub(cost).ok_or_else(|| failed("the template asks for too much work"))?;
        Ok(())
    }

    /// Text that has been made, paid for.
    pub fn text(&mut self, text: impl Into<Rc<str>>) -> Outcome<Value<'t>> {
        let text = text.into();
        self.spend(text.len() as u64)?;
        Ok(Value::Str(text))
    }

    /// A list, paid for.
    pub fn list(&mut self, items: Vec<Value<'t>>) -> Outcome<Value<'t>> {
        self.spend(SLOT * items.len() as u64)?;
        Value::list(items)
    }

    /// `str()`.
    pub fn string(&mut self, value: &Value<'t>) -> Outcome<Rc<str>> {
        if let Value::Str(text) = value {
            return Ok(text.clone());
        }
        let mut out = String::new();
        self.print(value, &mut out)?;
        Ok(out.into())
    }

    pub fn print(&mut self, value: &Value<'t>, out: &mut String) -> Outcome<()> {
        self.spend(4 * value.weight())?;
        value.print(out);
        Ok(())
    }

    /// Something within something, with a limit.
    fn within<T>(&mut self, run: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= DEEPEST {
            return Err(failed("calls are nested too deep"));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    // Statements.

    fn body(&mut self, nodes: &'t [Node], out: &mut String) -> Outcome<Flow> {
        for node in nodes {
            self.line = node.line;
            self.spend(STEP)?;
            let flow = match &node.kind {
                NodeKind::Text(text) => {
                    self.spend(text.len() as u64)?;
                    out.push_str(text);
                    Flow::Next
                }
                NodeKind::Print(expr) => {
                    let value = self.eval(expr)?;
                    self.print(&value, out)?;
                    Flow::Next
                }
                kind => self.within(|engine| engine.statement(kind, out))?,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, kind: &'t NodeKind, out: &mut String) -> Outcome<Flow> {
        match kind {
            NodeKind::Text(_) | NodeKind::Print(_) => (),
            NodeKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.eval(condition)?.is_true() {
                        return self.body(body, out);
                    }
                }
                return self.body(otherwise, out);
            }
            NodeKind::For(node) => return self.for_loop(node, out),
            NodeKind::Set(target, value) => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
            }
            NodeKind::SetBlock(target, filters, body) => {
                let value = self.captured(filters, body)?;
                self.assign(target, value)?;
            }
            NodeKind::Filter(filters, body) => {
                let value = self.captured(filters, body)?;
                self.print(&value, out)?;
            }
            NodeKind::With(values, body) => {
                let values: Vec<_> =
                    values.iter().map(|(target, e)| Ok((target, self.eval(e)?))).collect::<Outcome<_>>()?;
                self.scopes.push(Scope::new());
                let flow = values
                    .into_iter()
                    .try_for_each(|(target, value)| self.assign(target, value))
                    .and_then(|()| self.body(body, out));
                self.scopes.pop();
                return flow;
            }
            NodeKind::Macro(node) => self.set(&node.name, Value::Macro(node)),
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// What a block prints, through its filters.
    fn captured(&mut self, filters: &'t [Applied], body: &'t [Node]) -> Outcome<Value<'t>> {
        let mut text = String::new();
        self.scopes.push(Scope::new());
        let result = self.body(body, &mut text);
        self.scopes.pop();
        result?;
        let mut value = Value::str(text);
        for (name, args) in filters {
            let given = self.given(args)?;
            value = self.filter(name, value, given)?;
        }
        Ok(value)
    }

    fn for_loop(&mut self, node: &'t For, out: &mut String) -> Outcome<Flow> {
        let mut items = self.eval(&node.items)?;
        if let Some(only) = &node.only {
            let mut kept = Vec::new();
            for item in &self.items(&items)?.items {
                self.scopes.push(Scope::new());
                let keeps = self.assign(&node.target, item.clone()).and_then(|()| self.eval(only));
                self.scopes.pop();
                if keeps?.is_true() {
                    kept.push(item.clone());
                }
            }
            items = self.list(kept)?;
        }
        let items = self.items(&items)?;
        if items.items.is_empty() {
            self.scopes.push(Scope::new());
            let flow = self.body(&node.otherwise, out);
            self.scopes.pop();
            return flow;
        }
        let last = Rc::new(RefCell::new(None));
        let mut result = Ok(Flow::Next);
        for at in 0..items.items.len() {
            let state = Loop { items: items.clone(), at, last: last.clone() };
            self.scopes.push(HashMap::from([(Rc::from("loop"), Value::Loop(Rc::new(state)))]));
            result = self
                .spend(4 * STEP)
                .and_then(|()| self.assign(&node.target, items.items[at].clone()))
                .and_then(|()| self.body(&node.body, out));
            self.scopes.pop();
            if !matches!(result, Ok(Flow::Next | Flow::Continue)) {
                break;
            }
        }
        result.map(|_| Flow::Next)
    }

    /// What a loop over a value goes through, paid for.
    pub fn items(&mut self, value: &Value<'t>) -> Outcome<Rc<List<'t>>> {
        let cost = match value {
            Value::Str(text) => SLOT * text.len() as u64,
            Value::Dict(dict) => SLOT * dict.entries().len() as u64,
            _ => 0,
        };
        self.spend(cost)?;
        value.items()
    }

    fn set(&mut self, name: &str, value: Value<'t>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.into(), value);
        }
    }

    fn assign(&mut self, target: &'t Target, value: Value<'t>) -> Outcome<()> {
        self.spend(STEP)?;
        match target {
            Target::Name(name) => self.set(name, value),
            Target::Attribute(name, attribute) => match self.lookup(name) {
                Value::Namespace(namespace) => {
                    namespace.borrow_mut().insert(Value::str(&**attribute), value)?;
                }
                other => return Err(failed(format!("cannot set an attribute of a {}", other.defined()?.kind()))),
            },
            Target::Tuple(targets) => {
                let items = self.items(value.defined()?)?;
                if items.items.len() != targets.len() {
                    let (found, wanted) = (items.items.len(), targets.len());
                    return Err(failed(format!("cannot assign {found} values to {wanted} names")));
                }
                for (target, item) in targets.iter().zip(&items.items) {
                    self.within(|engine| engine.assign(target, item.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn lookup(&self, name: &str) -> Value<'t> {
        let inner = self.scopes[self.base..].iter().rev().find_map(|scope| scope.get(name));
        if let Some(value) = inner.or_else(|| self.scopes[0].get(name)) {
            return value.clone();
        }
        match FUNCTIONS.iter().find(|function| **function == name) {
            Some(function) => Value::Function(function),
            None => Value::Undefined(format!("`{name}`").into()),
        }
    }

    // Expressions.

    pub fn eval(&mut self, expr: &'t Expr) -> Outcome<Value<'t>> {
        self.spend(STEP)?;
        self.within(|engine| engine.value(expr))
    }

    fn value(&mut self, expr: &'t Expr) -> Outcome<Value<'t>> {
        match &expr.kind {
            ExprKind::None => Ok(Value::None),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Int(value) => Ok(Value::Int(*value)),
            ExprKind::Float(value) => Ok(Value::Float(*value)),
            ExprKind::Str(text) => self.text(&**text),
            ExprKind::Name(name) => Ok(self.lookup(name)),
            ExprKind::List(items) => {
                let items = self.all(items)?;
                self.list(items)
            }
            ExprKind::Tuple(items) => {
                let items = self.all(items)?;
                Value::tuple(items)
            }
            ExprKind::Dict(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| Ok((self.eval(key)?, self.eval(value)?)));
                Value::dict(pairs.collect::<Outcome<_>>()?)
            }
            ExprKind::Attribute(value, name) => {
                let value = self.eval(value)?;
                self.attribute(&value, name)
            }
            ExprKind::Item(value, key) => {
                let value = self.eval(value)?;
                let key = self.eval(key)?;
                self.item(&value, &key)
            }
            ExprKind::Slice(value, parts) => {
                let value = self.eval(value)?;
                let mut bounds = [None; 3];
                for (bound, part) in bounds.iter_mut().zip(parts) {
                    if let Some(part) = part {
                        *bound = match self.eval(part)? {
                            Value::None => None,
                            Value::Int(at) => Some(at),
                            other => return Err(failed(format!("a {} cannot bound a slice", other.kind()))),
                        };
                    }
                }
                self.slice(&value, bounds)
            }
            ExprKind::Call(callee, args) => self.call_expr(callee, args),
            ExprKind::Filter(value, name, args) => {
                let value = self.eval(value)?;
                let given = self.given(args)?;
                self.filter(name, value, given)
            }
            ExprKind::Test(value, name, args) => {
                let value = self.eval(value)?;
                let given = self.given(args)?;
                self.test(name, &value, given).map(Value::Bool)
            }
            ExprKind::Not(value) => Ok(Value::Bool(!self.eval(value)?.is_true())),
            ExprKind::Negative(value) => match self.eval(value)?.defined()?.number() {
                Some(Number::Int(value)) => value.checked_neg().map(Value::Int).ok_or_else(too_large),
                Some(Number::Float(value)) => Ok(Value::Float(-value)),
                None => Err(failed("only numbers have a negative")),
            },
            ExprKind::Positive(value) => match self.eval(value)? {
                value @ (Value::Int(_) | Value::Float(_)) => Ok(value),
                _ => Err(failed("only numbers have a sign")),
            },
            ExprKind::And(a, b) => {
                let a = self.eval(a)?;
                if a.is_true() { self.eval(b) } else { Ok(a) }
            }
            ExprKind::Or(a, b) => {
                let a = self.eval(a)?;
                if a.is_true() { Ok(a) } else { self.eval(b) }
            }
            ExprKind::Binary(op, a, b) => {
                let a = self.eval(a)?;
                let b = self.eval(b)?;
                self.binary(*op, &a, &b)
            }
            ExprKind::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let part = self.eval(part)?;
                    self.print(&part, &mut text)?;
                }
                self.text(text)
            }
            ExprKind::Compare(first, rest) => {
                let mut left = self.eval(first)?;
                for (comparison, right) in rest {
                    let right = self.eval(right)?;
                    if !self.compare(*comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            ExprKind::Choice(condition, value, otherwise) => match (self.eval(condition)?.is_true(), otherwise) {
                (true, _) => self.eval(value),
                (false, Some(otherwise)) => self.eval(otherwise),
                (false, None) => Ok(Value::Undefined("an `if` without `else`".into())),
            },
        }
    }

    fn all(&mut self, exprs: &'t [Expr]) -> Outcome<Vec<Value<'t>>> {
        exprs.iter().map(|e| self.eval(e)).collect()
    }

    pub fn given(&mut self, args: &'t Args) -> Outcome<Given<'t>> {
        let plain = self.all(&args.plain)?;
        let named = args.named.iter().map(|(name, e)| Ok((&**name, self.eval(e)?))).collect::<Outcome<_>>()?;
        Ok(Given { plain, named })
    }

    fn call_expr(&mut self, callee: &'t Expr, args: &'t Args) -> Outcome<Value<'t>> {
        if let ExprKind::Attribute(value, name) = &callee.kind {
            let value = self.eval(value)?;
            if super::methods::exists(&value, name) {
                let given = self.given(args)?;
                return self.method(&value, name, given);
            }
            let found = self.attribute(&value, name)?;
            let given = self.given(args)?;
            return self.call(&found, given);
        }
        let callee = self.eval(callee)?;
        let given = self.given(args)?;
        self.call(&callee, given)
    }

    fn call(&mut self, callee: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        match callee.defined()? {
            Value::Macro(node) => self.within(|engine| engine.call_macro(node, given)),
            Value::Method(value, name) => self.method(value, name, given),
            Value::Function(name) => self.function(name, given),
            other => Err(failed(format!("a {} cannot be called", other.kind()))),
        }
    }

    fn call_macro(&mut self, node: &'t Macro, given: Given<'t>) -> Outcome<Value<'t>> {
        let Given { plain, mut named } = given;
        if plain.len() > node.params.len() {
            return Err(failed(format!("the macro `{}` takes {} arguments", node.name, node.params.len())));
        }
        let base = std::mem::replace(&mut self.base, self.scopes.len());
        self.scopes.push(Scope::new());
        let mut plain = plain.into_iter();
        let mut run = || -> Outcome<String> {
            for (name, default) in &node.params {
                let by_name = named.iter().position(|(found, _)| **found == **name);
                let value = match (plain.next(), by_name, default) {
                    (Some(value), None, _) => value,
                    (Some(_), Some(_), _) => return Err(failed(format!("`{name}` is given twice"))),
                    (None, Some(at), _) => named.swap_remove(at).1,
                    (None, None, Some(default)) => self.eval(default)?,
                    (None, None, None) => Value::Undefined(format!("the parameter `{name}`").into()),
                };
                self.set(name, value);
            }
            if let Some((name, _)) = named.first() {
                return Err(failed(format!("the macro `{}` takes no `{name}`", node.name)));
            }
            let mut out = String::new();
            self.body(&node.body, &mut out)?;
            Ok(out)
        };
        let result = run();
        self.scopes.truncate(self.base);
        self.base = base;
        self.text(result?)
    }

    fn function(&mut self, name: &str, given: Given<'t>) -> Outcome<Value<'t>> {
        match name {
            "raise_exception" => {
                let [message] = given.bind(["message"])?;
                let text = self.string(&message.unwrap_or(Value::None))?;
                Err(Fault::Refused(text.to_string()))
            }
            "strftime_now" => {
                let [format] = given.bind(["format"])?;
                let format = self.string(&format.unwrap_or(Value::None))?;
                self.text(clock::format(&format, self.now))
            }
            "range" => {
                let mut numbers = Vec::new();
                for value in &given.plain {
                    numbers.push(super::call::int(value)?);
                }
                let (start, end, step) = match numbers[..] {
                    [end] => (0, end, 1),
                    [start, end] => (start, end, 1),
                    [start, end, step] if step != 0 => (start, end, step),
                    _ => return Err(failed("`range` takes an end, or a start, an end and a step")),
                };
                let span = if step > 0 { end.checked_sub(start) } else { start.checked_sub(end) };
                let size = step.unsigned_abs();
                let count = span.filter(|span| *span > 0).map_or(0, |span| span.unsigned_abs().div_ceil(size));
                if count > LONGEST_RANGE.unsigned_abs() {
                    return Err(failed(format!("a range has at most {LONGEST_RANGE} numbers")));
                }
                let items = (0..count as i128).map(|at| Value::Int(start + at * step)).collect();
                self.list(items)
            }
            _ => {
                let mut pairs = Vec::new();
                if let [Value::Dict(dict)] = &given.plain[..] {
                    pairs.extend_from_slice(dict.entries());
                } else if !given.plain.is_empty() {
                    return Err(failed(format!("`{name}` takes a dictionary or names")));
                }
                pairs.extend(given.named.into_iter().map(|(name, value)| (Value::str(name), value)));
                self.spend(2 * SLOT * pairs.len() as u64)?;
                let dict = Dict::new(pairs)?;
                Ok(if name == "dict" {
                    Value::Dict(Rc::new(dict))
                } else {
                    Value::Namespace(Rc::new(RefCell::new(dict)))
                })
            }
        }
    }

    /// `value.name`.
    pub fn attribute(&mut self, value: &Value<'t>, name: &str) -> Outcome<Value<'t>> {
        if super::methods::exists(value, name) {
            return Ok(Value::Method(Rc::new(value.clone()), name.into()));
        }
        let found = match value {
            Value::Undefined(name) => return Err(undefined(name)),
            Value::Dict(dict) => dict.get_str(name).cloned(),
            Value::Namespace(namespace) => namespace.borrow().get_str(name).cloned(),
            Value::Loop(state) => self.loop_attribute(state, name),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| Value::Undefined(format!("`{name}` of a {}", value.kind()).into())))
    }

    fn loop_attribute(&self, state: &Loop<'t>, name: &str) -> Option<Value<'t>> {
        let (at, len) = (state.at, state.items.items.len());
        let neighbour = |at: Option<usize>, which: &str| {
            let item = at.and_then(|at| state.items.items.get(at)).cloned();
            item.unwrap_or_else(|| Value::Undefined(format!("the {which} item").into()))
        };
        Some(match name {
            "index" => Value::int(at + 1),
            "index0" => Value::int(at),
            "revindex" => Value::int(len - at),
            "revindex0" => Value::int(len - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == len),
            "length" => Value::int(len),
            // They count recursive loops only.
            "depth" => Value::Int(1),
            "depth0" => Value::Int(0),
            "previtem" => neighbour(at.checked_sub(1), "previous"),
            "nextitem" => neighbour(Some(at + 1), "next"),
            _ => return None,
        })
    }

    /// `value[key]`.
    pub fn item(&mut self, value: &Value<'t>, key: &Value<'t>) -> Outcome<Value<'t>> {
        let place = |len: usize| match key {
            Value::Int(at) if *at < 0 => usize::try_from(len as i128 + at).ok(),
            Value::Int(at) => usize::try_from(*at).ok(),
            Value::Bool(at) => Some(usize::from(*at)),
            _ => None,
        };
        let found = match value.defined()? {
            Value::Dict(dict) => dict.get(key).cloned(),
            Value::List(list) | Value::Tuple(list) => {
                place(list.items.len()).and_then(|at| list.items.get(at)).cloned()
            }
            Value::Str(text) if matches!(key, Value::Int(_)) => {
                self.spend(text.len() as u64 / 8)?;
                let at = place(text.chars().count());
                at.and_then(|at| text.chars().nth(at)).map(|c| Value::str(c.to_string()))
            }
            _ => None,
        };
        match (found, key) {
            (Some(found), _) => Ok(found),
            (None, Value::Str(name)) => self.attribute(value, name),
            (None, _) => {
                let name = self.string(key)?;
                Ok(Value::Undefined(format!("item {name} of a {}", value.kind()).into()))
            }
        }
    }

    fn slice(&mut self, value: &Value<'t>, [start, end, step]: [Option<i128>; 3]) -> Outcome<Value<'t>> {
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err(failed("the step of a slice is 0"));
        }
        let places = |len: usize| -> Vec<usize> {
            let len = len as i128;
            let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
            let bound = |at: Option<i128>, default: i128| match at {
                Some(at) => (if at < 0 { at.saturating_add(len) } else { at }).clamp(low, high),
                None => default,
            };
            let (start, end) =
                if step > 0 { (bound(start, 0), bound(end, len)) } else { (bound(start, len - 1), bound(end, -1)) };
            let mut at = start;
            std::iter::from_fn(|| {
                let inside = if step > 0 { at < end } else { at > end };
                let found = usize::try_from(at).ok().filter(|_| inside);
                at = at.saturating_add(step);
                found
            })
            .collect()
        };
        match value.defined()? {
            Value::List(list) | Value::Tuple(list) => {
                self.spend(SLOT * list.items.len() as u64)?;
                let items = places(list.items.len()).into_iter().map(|at| list.items[at].clone()).collect();
                if matches!(value, Value::Tuple(_)) { Value::tuple(items) } else { Value::list(items) }
            }
            Value::Str(text) => {
                self.spend(8 * text.len() as u64)?;
                let chars: Vec<char> = text.chars().collect();
                let text: String = places(chars.len()).into_iter().map(|at| chars[at]).collect();
                self.text(text)
            }
            other => Err(failed(format!("a {} cannot be sliced", other.kind()))),
        }
    }

    fn binary(&mut self, op: Binary, a: &Value<'t>, b: &Value<'t>) -> Outcome<Value<'t>> {
        let (a, b) = (a.defined()?, b.defined()?);
        match (op, a, b) {
            (Binary::Add, Value::Str(a), Value::Str(b)) => {
                self.spend((a.len() + b.len()) as u64)?;
                let mut text = String::with_capacity(a.len() + b.len());
                text.push_str(a);
                text.push_str(b);
                return Ok(Value::str(text));
            }
            (Binary::Add, Value::List(x), Value::List(y)) | (Binary::Add, Value::Tuple(x), Value::Tuple(y)) => {
                self.spend(SLOT * (x.items.len() + y.items.len()) as u64)?;
                let items = x.items.iter().chain(&y.items).cloned().collect();
                return if matches!(a, Value::Tuple(_)) { Value::tuple(items) } else { Value::list(items) };
            }
            (Binary::Mul, Value::Str(text), Value::Int(times)) | (Binary::Mul, Value::Int(times), Value::Str(text)) => {
                let times = self.repeats(*times, text.len() as u64)?;
                return Ok(Value::str(text.repeat(times)));
            }
            (Binary::Mul, Value::List(list), Value::Int(times))
            | (Binary::Mul, Value::Int(times), Value::List(list)) => {
                let times = self.repeats(*times, SLOT * list.items.len() as u64)?;
                return Value::list(list.items.iter().cloned().cycle().take(list.items.len() * times).collect());
            }
            (Binary::Rem, Value::Str(format), args) => {
                let text = super::format::percent(self, format, args)?;
                return self.text(text);
            }
            _ => (),
        }
        match (a.number(), b.number()) {
            (Some(a), Some(b)) => arithmetic(op, a, b),
            _ => {
                let sign = match op {
                    Binary::Add => "+",
                    Binary::Sub => "-",
                    Binary::Mul => "*",
                    Binary::Div => "/",
                    Binary::FloorDiv => "//",
                    Binary::Rem => "%",
                    Binary::Pow => "**",
                };
                Err(failed(format!("`{sign}` does not work for a {} and a {}", a.kind(), b.kind())))
            }
        }
    }

    /// Pays for something of this cost that is repeated.
    fn repeats(&mut self, times: i128, cost: u64) -> Outcome<usize> {
        let times = u64::try_from(times.max(0)).unwrap_or(u64::MAX);
        self.spend(times.saturating_mul(cost.max(1)))?;
        Ok(times as usize)
    }

    fn compare(&mut self, comparison: Comparison, a: &Value<'t>, b: &Value<'t>) -> Outcome<bool> {
        if matches!(comparison, Comparison::In | Comparison::NotIn) {
            return Ok(self.contains(b, a)? == (comparison == Comparison::In));
        }
        self.spend(a.weight().min(b.weight()) * 4)?;
        if matches!(comparison, Comparison::Eq | Comparison::Ne) {
            return Ok(a.equals(b) == (comparison == Comparison::Eq));
        }
        let order = a.defined()?.compare(b.defined()?)?;
        Ok(match comparison {
            Comparison::Lt => order == Some(Ordering::Less),
            Comparison::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Gt => order == Some(Ordering::Greater),
            _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        })
    }

    /// `item in container`.
    pub fn contains(&mut self, container: &Value<'t>, item: &Value<'t>) -> Outcome<bool> {
        self.spend(4 * container.weight())?;
        Ok(match (container, item) {
            (Value::Str(text), Value::Str(part)) => text.contains(&**part),
            (Value::Str(_), other) => {
                return Err(failed(format!("a str contains no {}", other.kind())));
            }
            (Value::List(list) | Value::Tuple(list) | Value::Iter(list), item) => {
                list.items.iter().any(|found| found.equals(item))
            }
            (Value::Dict(dict), key) => dict.get(key).is_some(),
            (Value::Undefined(_), _) => false,
            (other, _) => return Err(failed(format!("a {} contains nothing", other.kind()))),
        })
    }
}

fn too_large() -> Fault {
    failed("a number is too large")
}

fn arithmetic<'t>(op: Binary, a: Number, b: Number) -> Outcome<Value<'t>> {
    let by_zero = matches!(b, Number::Int(0)) || b.float() == 0.0;
    if by_zero && matches!(op, Binary::Div | Binary::FloorDiv | Binary::Rem) {
        return Err(failed("division by zero"));
    }
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let result = match op {
            Binary::Add => a.checked_add(b),
            Binary::Sub => a.checked_sub(b),
            Binary::Mul => a.checked_mul(b),
            // Rounded down, and the rest has the divisor's sign.
            Binary::FloorDiv => a.checked_div(b).map(|q| q - i128::from(a % b != 0 && (a < 0) != (b < 0))),
            Binary::Rem => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
            Binary::Pow if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            Binary::Pow | Binary::Div => return Ok(Value::Float(float(op, a as f64, b as f64))),
        };
        return result.map(Value::Int).ok_or_else(too_large);
    }
    Ok(Value::Float(float(op, a.float(), b.float())))
}

fn float(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::FloorDiv => libm::floor(a / b),
        Binary::Rem => a - b * libm::floor(a / b),
        Binary::Pow => libm::pow(a, b),
    }
}
