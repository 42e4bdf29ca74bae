//! Tokens with a role, what is added to text, and the chat template: from tokenizer.json, tokenizer_config.json and
//! config.json, found as llama.cpp's converter finds them.

use std::collections::{BTreeMap, HashSet};

use pumice::gguf::{Encoded, Header};
use serde_json::Value;

use super::{Folder, Vocabulary};
use crate::convert::json::{Json, shown};
use crate::failure::Failure;

/// The roles, with what GGUF calls them.
const ROLES: [(&str, &str); 6] =
    [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("sep", "seperator"), ("pad", "padding"), ("mask", "mask")];

/// What a file says about special tokens.
pub struct Special {
    /// By GGUF's names of the roles.
    ids: Vec<(&'static str, u32)>,
    /// Whether text gets BOS, EOS and so on.
    adds: BTreeMap<&'static str, bool>,
    /// Names and texts; the one named `default` is the model's own.
    templates: Vec<(String, String)>,
}

impl Special {
    pub fn read(folder: &Folder, tokenizer: Option<&Json>, vocabulary: &Vocabulary) -> Result<Special, Failure> {
        let config = folder.json("tokenizer_config.json")?;
        let mut texts = BTreeMap::new();
        for (role, _) in ROLES.iter().chain(&[("cls", "cls")]) {
            texts
                .extend(config.as_ref().and_then(|c| token_text(c.get(&format!("{role}_token"))?)).map(|t| (*role, t)));
        }
        let mut adds = BTreeMap::new();
        if let Some(tokenizer) = tokenizer {
            post_processor(tokenizer, config.is_some(), &mut texts, &mut adds);
        }
        if let Some(config) = &config {
            for role in ["bos", "eos", "sep"] {
                adds.extend(config.get(&format!("add_{role}_token")).and_then(Value::as_bool).map(|add| (role, add)));
            }
        }
        // The text's id among the added tokens; what config.json says; and for the two that no model does without, the
        // text's id in the vocabulary.
        let added = tokenizer.and_then(|t| t.get("added_tokens")?.as_array());
        let added_id = |text: &str| {
            let token = added?.iter().find(|t| t.get("content").and_then(Value::as_str) == Some(text))?;
            token.get("id")?.as_u64()
        };
        let mut ids = Vec::new();
        for (role, name) in ROLES.iter().chain(&[("eot", "eot"), ("eom", "eom")]) {
            let text = texts.get(role);
            let named = text.and_then(|text| added_id(text));
            let id = named.or_else(|| folder.config.get(&format!("{role}_token_id"))?.as_u64());
            let needed = text.filter(|_| ["bos", "eos"].contains(role));
            let id = id.or_else(|| vocabulary.find(needed?).map(u64::from));
            ids.extend(id.filter(|id| *id < folder.n_vocab as u64).map(|id| (*name, id as u32)));
        }
        Ok(Special { ids, adds, templates: templates(folder, config.as_ref())? })
    }

    /// The ids of all tokens with a role, but for the padding's, which may be any.
    pub fn ids(&self) -> impl Iterator<Item = usize> {
        self.ids.iter().filter(|(role, _)| *role != "padding").map(|(_, id)| *id as usize)
    }

    /// Sets the keys.
    pub fn write(&self, header: &mut Header) {
        for (role, id) in &self.ids {
            header.set(format!("tokenizer.ggml.{role}_token_id"), *id);
        }
        for (role, add) in &self.adds {
            header.set(format!("tokenizer.ggml.add_{role}_token"), *add);
        }
        let mut others = Vec::new();
        for (name, template) in &self.templates {
            match &**name {
                "default" => header.set("tokenizer.chat_template", template.as_str()),
                name => {
                    header.set(format!("tokenizer.chat_template.{name}"), template.as_str());
                    others.push(name);
                }
            }
        }
        if !others.is_empty() {
            header.set("tokenizer.chat_templates", Encoded::array(others));
        }
    }
}

/// A token as tokenizer_config.json and special_tokens_map.json name it: its text, or an object that has it.
fn token_text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The texts of all tokens that tokenizer_config.json or special_tokens_map.json names as special.
pub fn named_tokens(folder: &Folder) -> Result<HashSet<String>, Failure> {
    let mut named = HashSet::new();
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some(file) = folder.json(file)? else { continue };
        for (role, _) in ROLES.iter().chain(&[("cls", "cls")]) {
            named.extend(file.get(&format!("{role}_token")).and_then(token_text));
        }
        for list in ["additional_special_tokens", "extra_special_tokens"] {
            let tokens = file.get(list).and_then(Value::as_array);
            named.extend(tokens.into_iter().flatten().filter_map(token_text));
        }
    }
    Ok(named)
}

/// What the post-processor of tokenizer.json puts around a text. It may correct `texts`; where it ends texts with another
/// token than EOS, that is the end of a text, and EOS the end of a turn.
fn post_processor(
    tokenizer: &Json,
    has_config: bool,
    texts: &mut BTreeMap<&'static str, String>,
    adds: &mut BTreeMap<&'static str, bool>,
) {
    let Some(post) = tokenizer.get("post_processor") else { return };
    for (role, other) in [("bos", "cls"), ("eos", "sep")] {
        if !texts.contains_key(role)
            && let Some(text) = texts.get(other).cloned()
        {
            texts.insert(role, text);
        }
    }
    let steps = post.get("processors").and_then(Value::as_array);
    for step in steps.map_or_else(|| vec![post], |steps| steps.iter().collect()) {
        match step.get("type").and_then(Value::as_str) {
            Some("RobertaProcessing") => adds.extend([("bos", true), ("eos", true), ("sep", true)]),
            Some("TemplateProcessing") => {
                let list = |key: &str| step.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let (single, pair) = (list("single"), list("pair"));
                let outer = if single.len() > 1 { [single.first(), single.last()] } else { [None, None] };
                let [first, last] = outer.map(|entry| special_id(entry?));
                if let Some(first) = first {
                    if !has_config {
                        texts.insert("bos", first.to_owned());
                    }
                    adds.insert("bos", ["bos", "cls"].iter().any(|role| texts.get(role).is_some_and(|t| t == first)));
                }
                if let Some(last) = last {
                    if has_config && let Some(eos) = texts.get("eos").filter(|eos| *eos != last).cloned() {
                        let role = if texts.contains_key("eot") { "eom" } else { "eot" };
                        texts.insert(role, eos);
                    }
                    texts.insert("eos", last.to_owned());
                    adds.insert("eos", true);
                }
                adds.extend(separates(pair, first, last, texts).map(|add| ("sep", add)));
            }
            _ => {}
        }
    }
}

/// Whether two texts are separated by a token; `None` where the template does not put anything between them.
fn separates(
    pair: &[Value],
    first: Option<&str>,
    last: Option<&str>,
    texts: &BTreeMap<&'static str, String>,
) -> Option<bool> {
    let mut inner = pair;
    if first.is_some() && inner.first().and_then(special_id) == first {
        inner = &inner[1..];
    }
    if last.is_some() && inner.last().and_then(special_id) == last {
        inner = &inner[..inner.len() - 1];
    }
    let text = |entry: Option<&Value>, id: &str| {
        entry.and_then(|entry| entry.get("Sequence")?.get("id")?.as_str()).is_some_and(|found| found == id)
    };
    if !text(inner.first(), "A") || !text(inner.last(), "B") {
        return None;
    }
    let between = inner.get(1..inner.len() - 1).filter(|between| !between.is_empty())?;
    let is = |entry: &Value| {
        let id = special_id(entry);
        id.is_some_and(|id| ["sep", "eos"].iter().any(|role| texts.get(role).is_some_and(|text| text == id)))
    };
    Some((is(&between[0]) && last.is_none()) || (between.len() == 2 && is(&between[1])))
}

fn special_id(entry: &Value) -> Option<&str> {
    entry.get("SpecialToken")?.get("id")?.as_str()
}

/// The chat templates: those of tokenizer_config.json, or chat_template.jinja, or chat_template.json.
fn templates(folder: &Folder, config: Option<&Json>) -> Result<Vec<(String, String)>, Failure> {
    let default = |text: String| vec![("default".to_owned(), text)];
    let key = "chat_template";
    if let Some((config, found)) = config.and_then(|config| Some((config, config.get(key)?))) {
        return match found {
            Value::String(text) => Ok(default(text.clone())),
            Value::Array(list) => Ok(list.iter().filter_map(named_template).collect()),
            other => Err(config.bad(key, shown(other), "a template, or a list of named ones")),
        };
    }
    if let Some(text) = folder.text("chat_template.jinja")? {
        return Ok(default(text));
    }
    let Some(file) = folder.json("chat_template.json")? else { return Ok(Vec::new()) };
    Ok(file.text(key)?.map(|text| default(text.to_owned())).unwrap_or_default())
}

/// A template of a list; other characters in its name than letters and digits of ASCII become underscores.
fn named_template(entry: &Value) -> Option<(String, String)> {
    let (name, template) = (entry.get("name")?.as_str()?, entry.get("template")?.as_str()?);
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Some((name, template.to_owned())).filter(|(name, _)| !name.is_empty())
}
