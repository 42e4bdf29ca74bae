//! JSON files of a checkpoint, whose values are asked for by name.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;

/// A JSON file that holds an object. Keys inside objects are named with dots: `rope_scaling.factor`. What is `null`
/// counts as missing.
pub struct Json {
    path: PathBuf,
    root: Value,
}

impl Json {
    /// Reads a file; `None` if it is not there.
    pub fn read(path: &Path) -> Result<Option<Json>, Failure> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let root: Value =
            serde_json::from_slice(&bytes).map_err(|error| invalid(path, format!("not JSON: {error}")))?;
        if !root.is_object() {
            return Err(invalid(path, format!("is {}, expected an object", shown(&root))));
        }
        Ok(Some(Json { path: path.to_owned(), root }))
    }

    /// Reads a file that has to be there.
    pub fn need(path: &Path) -> Result<Json, Failure> {
        Self::read(path)?.ok_or_else(|| missing_file(path))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let value = key.split('.').try_fold(&self.root, |value, part| value.get(part));
        value.filter(|value| !value.is_null())
    }

    /// All keys and values.
    pub fn members(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.root.as_object().into_iter().flatten()
    }

    /// The error for a key that has to be there.
    pub fn missing(&self, key: &str) -> Failure {
        invalid(&self.path, format!("the key `{key}` is missing"))
    }

    /// The error for a key whose value cannot be used.
    pub fn bad(&self, key: &str, found: impl Display, expected: impl Display) -> Failure {
        invalid(&self.path, format!("the key `{key}` is {found}, expected {expected}"))
    }

    /// The error for something wrong with the file as a whole.
    pub fn invalid(&self, what: impl Display) -> Failure {
        invalid(&self.path, what)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.bad(key, shown(value), expected))
    }

    /// A number from 1 to 2^31, if it is there.
    pub fn size_if(&self, key: &str) -> Result<Option<usize>, Failure> {
        let size = |value: &Value| value.as_u64().filter(|n| (1..=1 << 31).contains(n)).map(|n| n as usize);
        self.typed(key, "a number from 1 to 2147483648", size)
    }

    /// A number from 1 to 2^31.
    pub fn size(&self, key: &str) -> Result<usize, Failure> {
        self.size_if(key)?.ok_or_else(|| self.missing(key))
    }

    /// A positive number, if it is there.
    pub fn positive_if(&self, key: &str) -> Result<Option<f64>, Failure> {
        let positive = |value: &Value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0 && (*x as f32).is_finite());
        self.typed(key, "a positive number", positive)
    }

    /// A positive number.
    pub fn positive(&self, key: &str) -> Result<f64, Failure> {
        self.positive_if(key)?.ok_or_else(|| self.missing(key))
    }

    /// A truth value, if it is there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Text, if it is there.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Failure> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Text.
    pub fn need_text(&self, key: &str) -> Result<&str, Failure> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// Refuses a flag that asks for something else than `only`, which is also what a missing one means.
    pub fn only(&self, key: &str, only: bool) -> Result<(), Failure> {
        match self.flag(key)? {
            Some(found) if found != only => Err(self.bad(key, found, only)),
            _ => Ok(()),
        }
    }

    /// Refuses a name that is none of `known`; the first of them is what a missing one means.
    pub fn one_of(&self, key: &str, known: &[&str]) -> Result<(), Failure> {
        match self.text(key)? {
            Some(found) if !known.contains(&found) => Err(self.bad(key, format!("{found:?}"), known.join(" or "))),
            _ => Ok(()),
        }
    }
}

/// A file's bytes; `None` if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => Ok(None),
        Err(source) => Err(Failure::Library(pumice::Error::Io { path: path.to_owned(), action: "read", source })),
    }
}

/// The error for a file that has to be there.
pub fn missing_file(path: &Path) -> Failure {
    invalid(path, "the file is missing")
}

/// The error for a file that cannot be used.
pub fn invalid(path: &Path, what: impl Display) -> Failure {
    Failure::Input(format!("{}: {what}", path.display()))
}

/// A value for a message, cut off where it gets long.
pub fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    match value {
        Value::Array(elements) if elements.len() > 8 => format!("an array of {}", elements.len()),
        Value::Object(members) if members.len() > 8 => format!("an object of {}", members.len()),
        value => {
            let text = value.to_string();
            match text.char_indices().nth(MOST) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}
