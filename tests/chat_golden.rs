//! Chat templates of well-known models, byte for byte as jinja2 renders them: see tools/chat_corpus.py.
#![cfg(feature = "chat")]

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use pumice::{ChatOptions, ChatTemplate, Error};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat")
}

struct Case {
    name: String,
    /// `text`, `refused` or `failed`.
    end: String,
    json: String,
    result: String,
}

fn cases(path: &Path) -> Vec<Case> {
    let mut text = std::fs::read_to_string(path).unwrap();
    let mut out = Vec::new();
    while let Some((head, rest)) = text.split_once('\n') {
        let (json, rest) = rest.split_once('\n').unwrap();
        let (len, head) = head.split_once(' ').unwrap();
        let (end, name) = head.split_once(' ').unwrap();
        let (result, rest) = rest.split_at(len.parse().unwrap());
        out.push(Case { name: name.into(), end: end.into(), json: json.into(), result: result.into() });
        text = rest.strip_prefix('\n').unwrap().to_owned();
    }
    out
}

#[test]
fn templates_of_known_models_render_as_in_jinja2() {
    // 31 December 2024, as in the script.
    let now = Some(UNIX_EPOCH + Duration::from_secs(1_735_603_200));
    let options = ChatOptions { now, ..ChatOptions::default() };
    let mut seen = [0; 3];
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder().join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let template = ChatTemplate::new(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for case in cases(&folder().join(format!("{stem}.txt"))) {
            let result = template.render_json(&case.json, &options);
            let (end, found) = match &result {
                Ok(text) => (0, text.as_str()),
                Err(Error::TemplateRefused { message }) => (1, message.as_str()),
                Err(Error::TemplateFailed { .. }) => (2, ""),
                Err(other) => panic!("{stem}, {}: {other}", case.name),
            };
            seen[end] += 1;
            let ends = ["text", "refused", "failed"];
            if (ends[end], found) != (&case.end, &case.result) {
                let Case { name, end, result: expected, .. } = &case;
                wrong.push(format!("{stem}, {name}: {result:?}, expected {end} {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen[0] > 300 && seen[1] > 30 && seen[2] > 30, "{seen:?}");
}

/// What the language is, on small templates.
#[test]
fn the_language_is_jinja2s() {
    let now = Some(UNIX_EPOCH + Duration::from_secs(1_735_603_200));
    let options = ChatOptions { now, ..ChatOptions::default() };
    let conversation = cases(&folder().join("chatml.txt")).into_iter().find(|case| case.name == "several turns");
    let json = conversation.unwrap().json;
    let text = std::fs::read_to_string(folder().join("language.txt")).unwrap();
    let (mut rest, mut wrong, mut count) = (text.as_str(), Vec::new(), 0);
    while let Some((head, after)) = rest.split_once('\n') {
        let [template, result, end] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
        let (template, after) = after.split_at(template.parse().unwrap());
        let (expected, after) = after[1..].split_at(result.parse().unwrap());
        rest = &after[1..];
        let result = ChatTemplate::new(template).and_then(|template| template.render_json(&json, &options));
        let (found_end, found) = match &result {
            Ok(text) => ("text", text.as_str()),
            Err(Error::TemplateRefused { message }) => ("refused", message.as_str()),
            Err(Error::TemplateFailed { .. }) => ("failed", ""),
            Err(Error::TemplateSyntax { .. }) => ("syntax", ""),
            Err(other) => panic!("{template}: {other}"),
        };
        count += 1;
        if (found_end, found) != (end, expected) {
            wrong.push(format!("{template}\n  found    {result:?}\n  expected {end} {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 70, "{count}");
}
