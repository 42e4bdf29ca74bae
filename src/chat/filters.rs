//! Jinja's filters.

use std::rc::Rc;

use super::call::{Given, flag, int, size, str};
use super::eval::{Engine, SLOT};
use super::fault::{Outcome, failed};
use super::json;
use super::text::{self, is_space};
use super::value::{Number, Value};

impl<'t> Engine<'t> {
    pub fn filter(&mut self, name: &str, value: Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        match name {
            "default" | "d" => {
                let [default, boolean] = given.bind(["default_value", "boolean"])?;
                let missing = value.is_undefined() || flag(&boolean) && !value.is_true();
                Ok(if missing { default.unwrap_or_else(|| Value::str("")) } else { value })
            }
            "tojson" => self.tojson(&value, given),
            "map" => self.map(&value, given),
            "select" | "reject" => self.select(&value, None, given, name == "select"),
            "selectattr" | "rejectattr" => {
                let mut given = given;
                let attribute = given.shift().ok_or_else(|| failed(format!("`{name}` takes an attribute")))?;
                self.select(&value, Some(&attribute), given, name == "selectattr")
            }
            "join" => {
                let [separator, attribute] = given.bind(["d", "attribute"])?;
                let separator = self.string(&separator.unwrap_or_else(|| Value::str("")))?;
                self.join(&separator, &value, attribute.as_ref())
            }
            "sort" | "unique" | "min" | "max" => self.ordered(name, &value, given),
            "sum" => {
                let [attribute, start] = given.bind(["attribute", "start"])?;
                let mut sum = start.unwrap_or(Value::Int(0));
                for item in &self.items(value.defined()?)?.items {
                    let item = self.path(item, attribute.as_ref())?;
                    sum = self.add(&sum, &item)?;
                }
                Ok(sum)
            }
            "length" | "count" => {
                let [] = given.bind([])?;
                match &value {
                    Value::Undefined(_) => Ok(Value::Int(0)),
                    Value::Str(text) => {
                        self.spend(text.len() as u64 / 8)?;
                        Ok(Value::int(text.chars().count()))
                    }
                    Value::List(list) | Value::Tuple(list) => Ok(Value::int(list.items.len())),
                    Value::Dict(dict) => Ok(Value::int(dict.entries().len())),
                    other => Err(failed(format!("a {} has no length", other.kind()))),
                }
            }
            "first" | "last" => {
                let [] = given.bind([])?;
                let items = self.items(&value)?;
                let found = if name == "first" { items.items.first() } else { items.items.last() };
                Ok(found.cloned().unwrap_or_else(|| Value::Undefined(format!("the {name} item of nothing").into())))
            }
            "list" => {
                let items = self.items(&value)?;
                self.list(items.items.clone())
            }
            "reverse" => {
                if let Value::Str(text) = &value {
                    return self.text(text.chars().rev().collect::<String>());
                }
                let items = self.items(&value)?;
                self.spend(SLOT * items.items.len() as u64)?;
                Value::iter(items.items.iter().rev().cloned().collect())
            }
            "items" => match &value {
                Value::Undefined(_) => Value::iter(Vec::new()),
                Value::Dict(_) => self.method(&value, "items", given),
                other => Err(failed(format!("a {} has no items by name", other.kind()))),
            },
            "dictsort" => self.dictsort(&value, given),
            "batch" => {
                let [size, fill] = given.bind(["linecount", "fill_with"])?;
                let size = self::size(&size.unwrap_or(Value::None))?.max(1);
                let items = self.items(&value)?;
                let mut rows = Vec::new();
                for row in items.items.chunks(size) {
                    let mut row = row.to_vec();
                    if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
                        row.resize(size, fill.clone());
                    }
                    rows.push(self.list(row)?);
                }
                Value::iter(rows)
            }
            "groupby" => self.groupby(&value, given),
            "attr" => {
                let [name] = given.bind(["name"])?;
                self.attribute(&value, str(&name.unwrap_or(Value::None))?)
            }
            "int" | "float" => self.numeric(name == "int", &value, given),
            "abs" => match value.defined()?.number() {
                Some(Number::Int(number)) => Ok(Value::Int(number.saturating_abs())),
                Some(Number::Float(number)) => Ok(Value::Float(number.abs())),
                None => Err(failed(format!("a {} has no absolute value", value.kind()))),
            },
            "round" => {
                let [precision, method] = given.bind(["precision", "method"])?;
                let precision = precision.as_ref().map(size).transpose()?.unwrap_or(0).min(15);
                let method = method.unwrap_or_else(|| Value::str("common"));
                let number = value.defined()?.number().map(Number::float);
                let number = number.ok_or_else(|| failed(format!("a {} cannot be rounded", value.kind())))?;
                let scale = libm::pow(10.0, precision as f64);
                let rounded = match str(&method)? {
                    "ceil" => libm::ceil(number * scale) / scale,
                    "floor" => libm::floor(number * scale) / scale,
                    // Half to even, of the decimal digits, as Python does.
                    _ => format!("{number:.precision$}").parse().unwrap_or(number),
                };
                Ok(Value::Float(rounded))
            }
            "string" => self.string(&value).map(Value::Str),
            "safe" => Ok(value),
            "pprint" => {
                self.spend(4 * value.weight())?;
                let mut out = String::new();
                value.print_repr(&mut out);
                self.text(out)
            }
            _ => self.text_filter(name, &value, given),
        }
    }

    /// Filters of text; other values are printed first.
    fn text_filter(&mut self, name: &str, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let shown = self.string(value)?;
        let text = &*shown;
        self.spend(4 * text.len() as u64)?;
        let result = match name {
            "upper" => text.to_uppercase(),
            "lower" => text.to_lowercase(),
            "capitalize" => text::capitalized(text, true),
            "title" => {
                // Words are what is between these, unlike for `str.title`.
                let mut out = String::with_capacity(text.len());
                let mut inside = false;
                for c in text.chars() {
                    if inside {
                        out.extend(c.to_lowercase())
                    } else {
                        out.extend(c.to_uppercase())
                    }
                    inside = !(is_space(c) || "-({[<".contains(c));
                }
                out
            }
            "trim" => {
                let [chars] = given.bind(["chars"])?;
                match chars {
                    None | Some(Value::None) => text.trim_matches(is_space).to_owned(),
                    Some(chars) => {
                        let chars = str(&chars)?;
                        text.trim_matches(|c| chars.contains(c)).to_owned()
                    }
                }
            }
            "replace" => {
                let [old, new, count] = given.bind(["old", "new", "count"])?;
                let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
                let (old, new) = (self.string(&old)?, self.string(&new)?);
                let count = count.filter(|count| !matches!(count, Value::None));
                return self.replaced(text, &old, &new, count.as_ref().map(int).transpose()?);
            }
            "indent" => {
                let [width, first, blank] = given.bind(["width", "first", "blank"])?;
                let indent = match &width {
                    Some(Value::Str(text)) => text.to_string(),
                    Some(width) => " ".repeat(size(width)?),
                    None => " ".repeat(4),
                };
                let lines = text::lines(text, false);
                self.spend((indent.len() * lines.len()) as u64)?;
                let mut out = String::new();
                for (at, line) in lines.iter().enumerate() {
                    out.push_str(if at > 0 { "\n" } else { "" });
                    if (at > 0 || flag(&first)) && (!line.is_empty() || flag(&blank)) {
                        out.push_str(&indent);
                    }
                    out.push_str(line);
                }
                // Jinja adds a line end before it splits.
                if text.ends_with('\n') {
                    out.push('\n');
                    out.push_str(if flag(&blank) { &indent } else { "" });
                }
                out
            }
            "center" => {
                let [width] = given.bind(["width"])?;
                let width = width.as_ref().map(size).transpose()?.unwrap_or(80);
                return self.text(super::methods::padded(text, width, ' ', '^'));
            }
            "escape" | "e" | "forceescape" => text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('\'', "&#39;")
                .replace('"', "&#34;"),
            "wordcount" => {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                return Ok(Value::int(text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).count()));
            }
            "format" => {
                let Given { plain, named } = given;
                let args = if named.is_empty() {
                    Value::tuple(plain)?
                } else {
                    Value::dict(named.into_iter().map(|(name, value)| (Value::str(name), value)).collect())?
                };
                super::format::percent(self, text, &args)?
            }
            _ => return Err(failed(format!("there is no filter `{name}`"))),
        };
        self.text(result)
    }

    /// `str.replace`, paid for before.
    pub fn replaced(&mut self, text: &str, old: &str, new: &str, count: Option<i128>) -> Outcome<Value<'t>> {
        let most = if old.is_empty() { text.len() + 1 } else { text.len() / old.len() };
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(most).min(most);
        self.spend((text.len() as u64).saturating_add((count as u64).saturating_mul(new.len() as u64)))?;
        Ok(Value::str(text.replacen(old, new, count)))
    }

    pub fn join(&mut self, separator: &str, value: &Value<'t>, attribute: Option<&Value<'t>>) -> Outcome<Value<'t>> {
        let mut out = String::new();
        for (at, item) in self.items(value)?.items.iter().enumerate() {
            if at > 0 {
                self.spend(separator.len() as u64)?;
                out.push_str(separator);
            }
            let item = self.path(item, attribute)?;
            self.print(&item, &mut out)?;
        }
        self.text(out)
    }

    fn add(&mut self, a: &Value<'t>, b: &Value<'t>) -> Outcome<Value<'t>> {
        match (a.defined()?.number(), b.defined()?.number()) {
            (Some(Number::Int(a)), Some(Number::Int(b))) => {
                a.checked_add(b).map(Value::Int).ok_or_else(|| failed("a number is too large"))
            }
            (Some(a), Some(b)) => Ok(Value::Float(a.float() + b.float())),
            _ => Err(failed(format!("a {} and a {} have no sum", a.kind(), b.kind()))),
        }
    }

    /// An attribute of a value, also of its attributes: "function.name". Without one, the value itself.
    fn path(&mut self, value: &Value<'t>, attribute: Option<&Value<'t>>) -> Outcome<Value<'t>> {
        let mut value = value.clone();
        match attribute {
            None | Some(Value::None) => (),
            Some(Value::Str(path)) => {
                self.spend(16)?;
                for part in path.split('.') {
                    let key = part.parse().map(Value::Int).unwrap_or_else(|_| Value::str(part));
                    value = self.item(&value, &key)?;
                }
            }
            Some(key) => value = self.item(&value, key)?,
        }
        Ok(value)
    }

    fn map(&mut self, value: &Value<'t>, mut given: Given<'t>) -> Outcome<Value<'t>> {
        let items = self.items(value)?;
        let mut out = Vec::new();
        if given.plain.is_empty() {
            let [attribute, default] = given.bind(["attribute", "default"])?;
            let attribute = attribute.ok_or_else(|| failed("`map` takes a filter or an attribute"))?;
            for item in &items.items {
                let found = self.path(item, Some(&attribute))?;
                out.push(match &default {
                    Some(default) if found.is_undefined() => default.clone(),
                    _ => found,
                });
            }
        } else {
            let filter = given.shift().unwrap_or(Value::None);
            let filter: Rc<str> = str(&filter)?.into();
            for item in &items.items {
                let given = Given { plain: given.plain.clone(), named: given.named.clone() };
                self.spend(SLOT * given.plain.len() as u64)?;
                out.push(self.filter(&filter, item.clone(), given)?);
            }
        }
        self.spend(SLOT * out.len() as u64)?;
        Value::iter(out)
    }

    /// The items, or those of them, whose attribute passes a test or fails it.
    fn select(
        &mut self,
        value: &Value<'t>,
        attribute: Option<&Value<'t>>,
        mut given: Given<'t>,
        wanted: bool,
    ) -> Outcome<Value<'t>> {
        let test: Option<Rc<str>> = given.shift().map(|test| str(&test).map(Rc::from)).transpose()?;
        let mut out = Vec::new();
        for item in &self.items(value)?.items {
            let tested = self.path(item, attribute)?;
            let passes = match &test {
                None => tested.is_true(),
                Some(test) => {
                    let given = Given { plain: given.plain.clone(), named: given.named.clone() };
                    self.spend(SLOT * (1 + given.plain.len()) as u64)?;
                    self.test(test, &tested, given)?
                }
            };
            if passes == wanted {
                out.push(item.clone());
            }
        }
        self.spend(SLOT * out.len() as u64)?;
        Value::iter(out)
    }

    /// Items with what they are ordered by, paid for.
    fn keyed(
        &mut self,
        value: &Value<'t>,
        attribute: Option<&Value<'t>>,
        case_sensitive: bool,
    ) -> Outcome<Vec<(Value<'t>, Value<'t>)>> {
        let mut out = Vec::new();
        let items = self.items(value)?;
        for item in &items.items {
            let mut key = self.path(item, attribute)?;
            if let (Value::Str(text), false) = (&key, case_sensitive) {
                key = self.text(text.to_lowercase())?;
            }
            let rounds = u64::from(items.items.len().ilog2()) + 1;
            self.spend(key.weight().saturating_mul(4 * rounds) + 2 * SLOT)?;
            out.push((key, item.clone()));
        }
        Ok(out)
    }

    fn ordered(&mut self, name: &str, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let [reverse, case_sensitive, attribute] = match name {
            "sort" => given.bind(["reverse", "case_sensitive", "attribute"])?,
            _ => {
                let [case_sensitive, attribute] = given.bind(["case_sensitive", "attribute"])?;
                [None, case_sensitive, attribute]
            }
        };
        let mut keyed = self.keyed(value, attribute.as_ref(), flag(&case_sensitive))?;
        if name == "unique" {
            let mut seen: Vec<Value<'t>> = Vec::new();
            let mut out = Vec::new();
            for (key, item) in keyed {
                self.spend(seen.len() as u64 * 4 * key.weight())?;
                if !seen.iter().any(|found| found.equals(&key)) {
                    seen.push(key);
                    out.push(item);
                }
            }
            return Value::iter(out);
        }
        sort(&mut keyed)?;
        let mut items = keyed.into_iter().map(|(_, item)| item);
        match name {
            "sort" => {
                let mut items: Vec<_> = items.collect();
                if flag(&reverse) {
                    items.reverse();
                }
                self.list(items)
            }
            "min" => Ok(items.next().unwrap_or_else(|| Value::Undefined("the least item of nothing".into()))),
            _ => Ok(items.last().unwrap_or_else(|| Value::Undefined("the greatest item of nothing".into()))),
        }
    }

    fn dictsort(&mut self, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let [case_sensitive, by, reverse] = given.bind(["case_sensitive", "by", "reverse"])?;
        let by_value = matches!(&by, Some(Value::Str(by)) if &**by == "value");
        let pairs = self.method(value, "items", Given { plain: Vec::new(), named: Vec::new() })?;
        let mut keyed = self.keyed(&pairs, Some(&Value::int(by_value.into())), flag(&case_sensitive))?;
        sort(&mut keyed)?;
        let mut items: Vec<_> = keyed.into_iter().map(|(_, item)| item).collect();
        if flag(&reverse) {
            items.reverse();
        }
        self.list(items)
    }

    /// Pairs of an attribute's values and the items that have them.
    fn groupby(&mut self, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let [attribute] = given.bind(["attribute"])?;
        let mut keyed = self.keyed(value, attribute.as_ref(), false)?;
        sort(&mut keyed)?;
        let mut groups: Vec<(Value<'t>, Vec<Value<'t>>)> = Vec::new();
        for (key, item) in keyed {
            match groups.last_mut() {
                Some((found, items)) if found.equals(&key) => items.push(item),
                _ => groups.push((key, vec![item])),
            }
        }
        let mut out = Vec::new();
        for (_, items) in groups {
            let name = self.path(&items[0], attribute.as_ref())?;
            let items = self.list(items)?;
            out.push(Value::tuple(vec![name, items])?);
        }
        self.list(out)
    }

    fn numeric(&mut self, whole: bool, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let [default, _base] = given.bind(["default", "base"])?;
        let text = value.as_str().map(|text| text.trim_matches(is_space).replace('_', ""));
        let number = match (value.number(), text) {
            (Some(number), _) => Some(number),
            (None, Some(text)) => match text.parse::<i128>() {
                Ok(number) => Some(Number::Int(number)),
                Err(_) => text.parse::<f64>().ok().map(Number::Float),
            },
            _ => None,
        };
        let found = match (number, whole) {
            (Some(Number::Int(number)), true) => Some(Value::Int(number)),
            (Some(Number::Float(number)), true) if number.is_finite() => Some(Value::Int(number as i128)),
            (Some(number), false) => Some(Value::Float(number.float())),
            _ => None,
        };
        let zero = if whole { Value::Int(0) } else { Value::Float(0.0) };
        Ok(found.or(default).unwrap_or(zero))
    }

    fn tojson(&mut self, value: &Value<'t>, given: Given<'t>) -> Outcome<Value<'t>> {
        let [ascii, indent, separators, sorted] = given.bind(["ensure_ascii", "indent", "separators", "sort_keys"])?;
        let mut style = json::Style { ascii: flag(&ascii), sorted: flag(&sorted), ..json::Style::default() };
        match &indent {
            None | Some(Value::None) => (),
            Some(Value::Str(text)) => style.indent = Some(text.to_string()),
            Some(width) => style.indent = Some(" ".repeat(size(width)?)),
        }
        if style.indent.is_some() {
            style.item = ",".to_owned();
        }
        if let Some(Value::Tuple(pair) | Value::List(pair)) = &separators {
            let [item, key] = &pair.items[..] else { return Err(failed("`separators` are two texts")) };
            (style.item, style.key) = (str(item)?.to_owned(), str(key)?.to_owned());
        }
        let each = 8 + style.item.len() + style.key.len() + 100 * style.indent.as_ref().map_or(0, String::len);
        self.spend(value.defined()?.weight().saturating_mul(each as u64))?;
        let mut out = String::new();
        json::write(value, &style, 0, &mut out)?;
        Ok(Value::str(out))
    }
}

/// Sorts by the first of each pair. Items that are equal stay in their order.
fn sort<'t>(keyed: &mut [(Value<'t>, Value<'t>)]) -> Outcome<()> {
    let mut result = Ok(());
    keyed.sort_by(|(a, _), (b, _)| match a.compare(b) {
        Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
        Err(fault) => {
            result = Err(fault);
            std::cmp::Ordering::Equal
        }
    });
    result
}
