//! Models split into several files: finding the parts beside the first, and checking that they belong together.

use std::path::Path;

use super::Gguf;
use crate::error::{Error, GgufDefect, Result};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// Opens a model by its only or first file; `load` opens one of its files, by path and number.
pub(super) fn open(path: &Path, mut load: impl FnMut(&Path, usize) -> Result<Gguf>) -> Result<Gguf> {
    let first = load(path, 0)?;
    let Some((number, count)) = first.split()? else { return first.join(Vec::new()) };
    if number != 0 {
        return Err(first.defect(GgufDefect::NotFirstPart { number: number + 1, count }));
    }
    let Some(prefix) = prefix(path, count) else {
        return Err(first.defect(GgufDefect::SplitName { count, expected: suffix(1, count) }));
    };
    let mut others = Vec::new();
    for number in 1..count {
        let path = path.with_file_name(format!("{prefix}{}", suffix(number + 1, count)));
        others.push(part(&path, &mut load, number, count)?);
    }
    let expected = first.get_u64(TENSORS)?;
    let found = first.tensors().len() + others.iter().map(|part| part.tensors().len()).sum::<usize>();
    if let Some(expected) = expected.filter(|n| *n != found as u64) {
        return Err(first.defect(GgufDefect::SplitTensorCount { found: found as u64, expected }));
    }
    first.join(others)
}

/// Part `number` (from 0) of `count`, if that is what the file says too.
fn part(path: &Path, load: &mut impl FnMut(&Path, usize) -> Result<Gguf>, number: u64, count: u64) -> Result<Gguf> {
    let file = path.display().to_string();
    // parts are opened one after the other, so their number is a usize
    let part = load(path, number as usize).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::Gguf { file: file.clone(), defect: GgufDefect::MissingPart { number: number + 1, count } }
        }
        other => other,
    })?;
    for (key, expected) in [(NUMBER, number), (COUNT, count)] {
        let found = part.get_u64(key)?;
        if found != Some(expected) {
            let found = found.map_or("missing".to_owned(), |n| n.to_string());
            return Err(part.defect(GgufDefect::SplitMismatch { key, found, expected }));
        }
    }
    Ok(part)
}

impl Gguf {
    /// The number of this part, from 0, and how many there are; `None` if the file is a whole model.
    pub(super) fn split(&self) -> Result<Option<(u64, u64)>> {
        match self.get_u64(COUNT)? {
            None | Some(0 | 1) => Ok(None),
            // GGUF counts parts as u16: more are a defect, not many files to look for
            Some(count) if count > u16::MAX.into() => {
                Err(self.bad_key(COUNT, count.to_string(), "at most 65535 parts"))
            }
            Some(count) => Ok(Some((self.need_u64(NUMBER)?, count))),
        }
    }
}

/// How the name of part `number`, here counted from 1, ends.
fn suffix(number: u64, count: u64) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}

/// The bytes of all files that a name promises, as far as they are there: for reports of progress.
pub(super) fn file_bytes(path: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".gguf"));
    let count = name.and_then(|name| name.rsplit_once("-of-")).and_then(|(_, count)| count.parse().ok()).unwrap_or(1);
    match prefix(path, count) {
        Some(prefix) if count <= u16::MAX.into() => {
            (1..=count).map(|number| size(&path.with_file_name(format!("{prefix}{}", suffix(number, count))))).sum()
        }
        _ => size(path),
    }
}

/// What the names of all parts start with, from the name of the first.
fn prefix(path: &Path, count: u64) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(&suffix(1, count)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        assert_eq!(suffix(2, 12), "-00002-of-00012.gguf");
        assert_eq!(prefix(Path::new("/m/llama-00001-of-00003.gguf"), 3).as_deref(), Some("llama"));
        assert_eq!(prefix(Path::new("/m/llama-00001-of-00004.gguf"), 3), None);
        assert_eq!(prefix(Path::new("/m/llama-00002-of-00003.gguf"), 3), None);
        assert_eq!(prefix(Path::new("/m/llama.gguf"), 3), None);
    }
}
