//! What the header declares, as data. The checks are made of it, so that nothing new escapes them.

use std::collections::BTreeMap;

/// A function, or the type of a callback.
pub struct Function {
    pub name: String,
    pub result: String,
    pub parameters: Vec<Parameter>,
}

pub struct Parameter {
    /// As declared: `const char **`.
    pub ty: String,
    pub name: String,
}

/// An option: `int`, `float` or `string`, and the default as the header writes it.
pub struct Key {
    pub macro_name: String,
    pub name: String,
    pub kind: String,
    pub default: String,
}

/// The header.
pub struct Interface {
    pub functions: Vec<Function>,
    pub callbacks: Vec<Function>,
    /// Names of the opaque types.
    pub handles: Vec<String>,
    /// Names for numbers: `pumice_status` is `int32_t`.
    pub numbers: BTreeMap<String, String>,
    /// All macros with a value but the version, which changes, and the option keys.
    pub constants: Vec<(String, String)>,
    pub keys: Vec<Key>,
    /// Comments by name, on one line.
    pub comments: BTreeMap<String, String>,
}

impl Parameter {
    /// As C writes it: `const char **out`.
    pub fn declaration(&self) -> String {
        joined(&self.ty, &self.name)
    }
}

impl Function {
    /// As C writes it, on one line.
    pub fn prototype(&self) -> String {
        let parameters: Vec<_> = self.parameters.iter().map(Parameter::declaration).collect();
        let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
        format!("{}({parameters})", joined(&self.result, &self.name))
    }
}

fn joined(ty: &str, name: &str) -> String {
    let space = if ty.ends_with('*') { "" } else { " " };
    format!("{ty}{space}{name}")
}

/// Reads the header. Everything that is not understood is an error, so that nothing is left out.
pub fn read() -> Interface {
    parse(&std::fs::read_to_string(super::root().join("include/pumice.h")).unwrap())
}

pub fn parse(header: &str) -> Interface {
    let mut interface = Interface {
        functions: Vec::new(),
        callbacks: Vec::new(),
        handles: Vec::new(),
        numbers: BTreeMap::new(),
        constants: Vec::new(),
        keys: Vec::new(),
        comments: BTreeMap::new(),
    };
    let mut rest = header;
    let mut comment = "";
    while let Some(line) = rest.lines().next() {
        if line.starts_with("/*") {
            let end = rest.find("*/").expect("comments end") + 2;
            (comment, rest) = rest.split_at(end);
            continue;
        }
        let declaration = line.starts_with("typedef ") || line.starts_with("PUMICE_API ");
        let end = if declaration { rest.find(';').expect("declarations end") + 1 } else { line.len() };
        let (text, after) = rest.split_at(end);
        rest = after.strip_prefix('\n').unwrap_or(after);
        let declared = if declaration {
            interface.declaration(&text[..text.len() - 1].split_whitespace().collect::<Vec<_>>().join(" "))
        } else if let Some(definition) = text.strip_prefix("#define ") {
            interface.definition(definition, comment)
        } else {
            let known = ["#include <", "#if", "#else", "#endif", "extern \"C\" {", "} "];
            assert!(text.is_empty() || known.iter().any(|known| text.starts_with(known)), "{text}");
            continue;
        };
        interface.comments.insert(declared, on_one_line(comment));
        comment = "";
    }
    interface
}

/// A comment without its stars.
fn on_one_line(comment: &str) -> String {
    let text = comment.trim_start_matches(['/', '*']).trim_end_matches(['*', '/', ' ', '\n']);
    let lines = text.lines().map(|line| line.strip_prefix(" *").unwrap_or(line).trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl Interface {
    /// The version since which something is deprecated, if its comment says "Deprecated since 1.2".
    pub fn deprecated(&self, name: &str) -> Option<String> {
        let (_, since) = self.comments.get(name)?.split_once("Deprecated since ")?;
        let since: String = since.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        Some(since.trim_end_matches('.').to_owned())
    }

    fn declaration(&mut self, text: &str) -> String {
        if let Some(text) = text.strip_prefix("PUMICE_API ") {
            self.functions.push(function(&text.replacen("PUMICE_CALL ", "", 1)));
            self.functions[self.functions.len() - 1].name.clone()
        } else if text.contains("(PUMICE_CALL *") {
            let text = text["typedef ".len()..].replacen("(PUMICE_CALL *", "", 1).replacen(')', "", 1);
            self.callbacks.push(function(&text));
            self.callbacks[self.callbacks.len() - 1].name.clone()
        } else {
            match text.split(' ').collect::<Vec<_>>()[..] {
                ["typedef", "struct", tag, name] if tag == name => {
                    self.handles.push(name.to_owned());
                    name.to_owned()
                }
                ["typedef", number, name] => {
                    self.numbers.insert(name.to_owned(), number.to_owned());
                    name.to_owned()
                }
                _ => panic!("{text}"),
            }
        }
    }

    fn definition(&mut self, text: &str, comment: &str) -> String {
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        if name.starts_with("PUMICE_KEY_") {
            let about = on_one_line(comment);
            let (kind, default) = about[about.rfind('(').unwrap()..].split_once(", default ").unwrap();
            self.keys.push(Key {
                macro_name: name.to_owned(),
                name: value.trim_matches('"').to_owned(),
                kind: kind[1..].to_owned(),
                default: default.strip_suffix(')').unwrap().to_owned(),
            });
        } else if !["PUMICE_H", "PUMICE_CALL", "PUMICE_API"].contains(&name) && !name.starts_with("PUMICE_VERSION_") {
            self.constants.push((name.to_owned(), value.to_owned()));
        }
        name.to_owned()
    }

    /// The handle type that a parameter points to, and whether it is constant: not for places to store a handle.
    pub fn handle<'a>(&self, ty: &'a str) -> Option<(&'a str, bool)> {
        let (name, constant) = match ty.strip_prefix("const ") {
            Some(name) => (name, true),
            None => (ty, false),
        };
        let name = name.strip_suffix(" *")?;
        self.handles.iter().any(|handle| handle == name).then_some((name, constant))
    }
}

fn function(text: &str) -> Function {
    let (head, parameters) = text.strip_suffix(')').and_then(|text| text.split_once('(')).expect(text);
    let declared = |text: &str| {
        let at = text.rfind([' ', '*']).expect(text) + 1;
        (text[..at].trim_end().to_owned(), text[at..].to_owned())
    };
    let (result, name) = declared(head);
    let parameters = parameters.split(", ").filter(|text| *text != "void").map(|text| {
        let (ty, name) = declared(text);
        Parameter { ty, name }
    });
    Function { name, result, parameters: parameters.collect() }
}
