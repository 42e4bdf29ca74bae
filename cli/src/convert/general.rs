//! The keys that say what a model is called, as far as its folder tells.

use std::path::Path;

use pumice::gguf::Header;

use super::json::Json;
use crate::failure::Failure;

/// The parts of a model's name: `Llama-3.1-8B-Instruct` has a base name, a version, a size and a finetune.
#[derive(Default, Debug, PartialEq)]
struct Name {
    full: Option<String>,
    organization: Option<String>,
    basename: Option<String>,
    finetune: Option<String>,
    version: Option<String>,
    size: Option<String>,
}

/// Sets `general.*`: recommended sampling from generation_config.json, the name and its parts from `_name_or_path` and from
/// the folder's name, the size from the number of weights unless the name tells it.
pub fn describe(folder: &Path, config: &Json, parameters: u64, header: &mut Header) -> Result<(), Failure> {
    sampling(folder, header)?;
    let mut names = Vec::new();
    // A name, and not some path on the computer where it was saved.
    names.extend(config.text("_name_or_path").ok().flatten().filter(|name| name.matches('/').count() <= 1));
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    names.extend(absolute.file_name().and_then(|name| name.to_str()));
    let names: Vec<Name> = names.into_iter().map(|name| Name::read(name, parameters)).collect();
    let first = |part: fn(&Name) -> Option<&String>| names.iter().find_map(part);
    let title = |text: Option<&String>| text.map(|text| in_title_case(text)).filter(|text| !text.is_empty());

    header.set("general.name", title(first(|n| n.full.as_ref())).as_deref().unwrap_or("model"));
    let parts = [
        ("version", first(|n| n.version.as_ref()).cloned()),
        ("organization", title(first(|n| n.organization.as_ref()))),
        ("finetune", first(|n| n.finetune.as_ref()).cloned()),
        ("basename", first(|n| n.basename.as_ref()).cloned()),
        ("size_label", first(|n| n.size.as_ref()).cloned().or_else(|| Some(size_label(parameters)))),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            header.set(format!("general.{key}"), value.as_str());
        }
    }
    Ok(())
}

fn sampling(folder: &Path, header: &mut Header) -> Result<(), Failure> {
    let Some(config) = Json::read(&folder.join("generation_config.json"))? else { return Ok(()) };
    let floats = [("top_p", "top_p"), ("min_p", "min_p"), ("temp", "temperature")];
    if let Some(top_k) = config.get("top_k").and_then(|value| i32::try_from(value.as_i64()?).ok()) {
        header.set("general.sampling.top_k", top_k);
    }
    for (key, name) in floats {
        if let Some(value) = config.get(name).and_then(|value| value.as_f64()) {
            header.set(format!("general.sampling.{key}"), value as f32);
        }
    }
    Ok(())
}

impl Name {
    /// Takes a name apart; `parameters` tells sizes from context lengths.
    fn read(name: &str, parameters: u64) -> Name {
        if name.contains(' ') {
            return Name { full: Some(name.to_owned()), ..Name::default() };
        }
        let (organization, full) = match name.split_once('/') {
            Some((organization, full)) => (Some(organization).filter(|o| !o.starts_with('.')), full),
            None => (None, name),
        };
        let mut parts: Vec<(String, Option<Part>)> = full
            .split('-')
            .filter(|part| !part.is_empty())
            .enumerate()
            .map(|(i, part)| Part::of(part, i == 0, parameters))
            .collect();
        // A size in words means nothing beside one in numbers.
        let numbered =
            |part: &(String, Option<Part>)| part.1 == Some(Part::Size) && part.0.contains(|c: char| c.is_ascii_digit());
        if parts.iter().any(numbered) {
            for (text, part) in &mut parts {
                if *part == Some(Part::Size) && text.chars().all(char::is_alphabetic) {
                    *part = None;
                }
            }
        }
        // The base name is what comes first, versions included unless they end it.
        let based = |(text, part): &(String, Option<Part>)| match part {
            None => text.starts_with(char::is_alphabetic),
            Some(part) => *part == Part::Version,
        };
        let mut base = parts.iter().take_while(|part| based(part)).count();
        if base == parts.len() {
            base -= parts.iter().rev().take_while(|part| part.1 == Some(Part::Version)).count();
        }
        for (_, part) in parts[base..].iter_mut() {
            part.get_or_insert(Part::Finetune);
        }
        let join = |texts: Vec<&str>| (!texts.is_empty()).then(|| texts.join("-"));
        let those = |wanted: Part| {
            let texts = parts[base..].iter().filter(|(_, part)| *part == Some(wanted)).map(|(text, _)| text.as_str());
            let mut texts: Vec<&str> = texts.collect();
            if wanted == Part::Size {
                let mut seen = std::collections::HashSet::new();
                texts.retain(|text| seen.insert(*text));
            }
            join(texts)
        };
        let (size, finetune, version) = (those(Part::Size), those(Part::Finetune), those(Part::Version));
        let telling = size.is_some() || finetune.is_some() || version.is_some();
        let basename = join(parts[..base].iter().map(|(text, _)| text.as_str()).collect()).filter(|_| telling);
        Name {
            full: Some(full.to_owned()),
            organization: organization.map(str::to_owned),
            basename,
            finetune,
            version,
            size,
        }
    }
}

/// What a part of a name tells.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Version,
    /// A type of weights, which says nothing about the model.
    Type,
    Size,
    Finetune,
}

impl Part {
    /// The part as it is to be written, and what it is; `None` if that depends on where it stands.
    fn of(part: &str, first: bool, parameters: u64) -> (String, Option<Part>) {
        let lower = part.to_ascii_lowercase();
        if is_version(&lower) {
            return (part.to_owned(), Some(Part::Version));
        }
        if is_type(&lower) {
            return (part.to_ascii_uppercase(), Some(Part::Type));
        }
        if first {
            return (part.to_owned(), None);
        }
        if matches!(&*lower, "small" | "mini" | "medium" | "large" | "xl" | "xxl") {
            return (part.to_owned(), Some(Part::Size));
        }
        if matches!(&*lower, "chat" | "instruct" | "vision" | "lora") {
            return (part.to_owned(), Some(Part::Finetune));
        }
        let Some((number, unit)) = sized(&lower) else { return (part.to_owned(), None) };
        // `7b1` is 7.1B.
        let text = part.replace('_', ".");
        let mut text = match text.char_indices().next_back() {
            Some((end, digit)) if digit.is_ascii_digit() => {
                format!("{}.{digit}{}", &text[..end - 1], &text[end - 1..end])
            }
            _ => text,
        };
        let last = text.pop().unwrap_or(unit);
        let weights = number.map(|number| number * 1000f64.powi(" kmbt".find(unit).unwrap_or(0) as i32));
        // Far from the number of weights, it is a length of context.
        let far = |weights: f64| parameters > 0 && (weights - parameters as f64).abs() > (7 * parameters / 8) as f64;
        if weights.is_some_and(far) {
            return (format!("{text}{}", last.to_ascii_lowercase()), Some(Part::Finetune));
        }
        (format!("{text}{}", last.to_ascii_uppercase()), Some(Part::Size))
    }
}

/// `3`, `3.1`, `v2`, `iter3`
fn is_version(lower: &str) -> bool {
    let number = lower.strip_prefix("iter").or_else(|| lower.strip_prefix('v')).unwrap_or(lower);
    number.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// `q8_0`, `iq4_xs`, `f16`, `bf16`, `fp32`
fn is_type(lower: &str) -> bool {
    let float = lower.strip_prefix('b').unwrap_or(lower).strip_prefix('f');
    if float.map(|rest| rest.strip_prefix('p').unwrap_or(rest)).is_some_and(|bits| matches!(bits, "16" | "32")) {
        return true;
    }
    let Some(rest) = lower.strip_prefix('i').unwrap_or(lower).strip_prefix('q') else { return false };
    let mut parts = rest.split('_');
    parts.next().is_some_and(|bits| bits.len() == 1 && bits.as_bytes()[0].is_ascii_digit())
        && parts.all(|part| part.chars().count() == 1)
}

/// `7b`, `1.5b`, `7b1`, and `8x7b` or `a3b` of experts: the unit and, of all but the last two, the number.
fn sized(lower: &str) -> Option<(Option<f64>, char)> {
    let mut number = lower;
    let mut tenth = String::new();
    if number.ends_with(|c: char| c.is_ascii_digit()) && number.len() > 2 {
        let (rest, digit) = number.split_at(number.len() - 1);
        (number, tenth) = (rest, format!(".{digit}"));
    }
    let unit = number.chars().next_back().filter(|c| "kmbt".contains(*c))?;
    let whole = &number[..number.len() - 1];
    let number = whole.strip_prefix('a').unwrap_or(whole);
    let number = match number.split_once('x') {
        Some((experts, number)) if !experts.is_empty() && experts.bytes().all(|b| b.is_ascii_digit()) => number,
        _ => number,
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (units, part) = number.split_once(['.', '_']).map_or((number, None), |(units, part)| (units, Some(part)));
    if !digits(units) || !part.is_none_or(digits) {
        return None;
    }
    Some((format!("{}{tenth}", whole.replace('_', ".")).parse().ok(), unit))
}

/// `llama-3-8B-chat` becomes `Llama 3 8B Chat`: words in lower case are capitalised.
fn in_title_case(name: &str) -> String {
    let word = |word: &str| {
        let lower = word.chars().any(char::is_alphabetic) && !word.chars().any(char::is_uppercase);
        if !lower || word.starts_with(|c: char| c.is_ascii_digit()) || (word.starts_with('v') && is_version(word)) {
            return word.to_owned();
        }
        // After anything that is no letter, a word begins anew.
        let mut begins = true;
        word.chars()
            .flat_map(|c| {
                let upper = std::mem::replace(&mut begins, !c.is_alphabetic());
                let (up, low) = if upper { (Some(c.to_uppercase()), None) } else { (None, Some(c.to_lowercase())) };
                up.into_iter().flatten().chain(low.into_iter().flatten())
            })
            .collect()
    };
    name.replace('-', " ").split_whitespace().map(word).collect::<Vec<String>>().join(" ")
}

/// A number of weights with at least two digits: `135M`, `1.1B`.
fn size_label(parameters: u64) -> String {
    let n = parameters as f64;
    let (scaled, unit) = match parameters {
        1_000_000_000_001.. => (n * 1e-12, "T"),
        1_000_000_001.. => (n * 1e-9, "B"),
        1_000_001.. => (n * 1e-6, "M"),
        _ => (n * 1e-3, "K"),
    };
    let whole = format!("{}", scaled.round_ties_even());
    let digits = whole.trim_start_matches('0').len();
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let read = |name, parameters| {
            let Name { organization, basename, finetune, version, size, .. } = Name::read(name, parameters);
            [organization, basename, finetune, version, size].map(|part| part.unwrap_or_default())
        };
        assert_eq!(
            read("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_312),
            ["meta-llama", "Llama-3.1", "Instruct", "", "8B"]
        );
        assert_eq!(read("Llama-2-7b-chat-hf", 6_738_415_616), ["", "Llama-2", "chat-hf", "", "7B"]);
        assert_eq!(read("openai-community/gpt2-medium", 354_823_168), ["openai-community", "gpt2", "", "", "medium"]);
        assert_eq!(read("bloom-7b1", 7_069_016_064), ["", "bloom", "", "", "7.1B"]);
        assert_eq!(read("LLaMA-2-7B-32K-v1.0", 6_738_415_616), ["", "LLaMA-2", "32k", "v1.0", "7B"]);
        assert_eq!(read("Mixtral-8x7B-v0.1", 46_702_792_704), ["", "Mixtral", "", "v0.1", "8x7B"]);
        assert_eq!(read("A-1.5B-A2-8x7B-mini", 100_000), ["", "A", "1.5b-A2-mini", "", "8x7B"]);
        assert_eq!(read("gpt2", 124_439_808), [""; 5]);
        assert_eq!(read("some-name", 1), [""; 5]);
        assert_eq!(read("a name for people", 1), [""; 5]);
        assert_eq!(read("-", 1), [""; 5]);
    }

    #[test]
    fn titles_and_sizes_read_well() {
        assert_eq!(in_title_case("meta-llama"), "Meta Llama");
        assert_eq!(in_title_case("gpt-neo-125m_v2 3b v1.0 LLaMA"), "Gpt Neo 125m_v2 3b v1.0 LLaMA");
        assert_eq!([134_515_008, 1_100_048_384, 9_999, 100].map(size_label), ["135M", "1.1B", "10K", "0.10K"]);
    }
}
