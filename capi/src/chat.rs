//! Chat templates.

use std::ffi::c_char;

use crate::abi::*;
use crate::call::{flags, guard};
use crate::model::Shared;

/// Writes a conversation out as the text that the model continues: `count` messages, each with a role ("system",
/// "user", "assistant", or what else the template knows) and a content, all NUL-terminated UTF-8. `tmpl` is a chat
/// template in Jinja2's language, NUL-terminated; NULL for the model's own. `flags`: PUMICE_CHAT_GENERATION_PROMPT or 0.
/// Stores the size in bytes in `len`, and the text in `buf` if it has room for it (`cap` bytes), with a NUL behind it if
/// that fits too; NULL and 0 just ask for the size. Tokenize it with PUMICE_TOKENIZE_ADD_SPECIAL and
/// PUMICE_TOKENIZE_PARSE_SPECIAL, which does not double the token that begins a text. PUMICE_ERR_BUFFER_TOO_SMALL,
/// PUMICE_ERR_UTF8, PUMICE_ERR_NOT_FOUND if the model has no template, PUMICE_ERR_SYNTAX if it cannot be parsed,
/// PUMICE_ERR_INVALID if it refuses the messages (the message says why) or asks for too much work,
/// PUMICE_ERR_UNSUPPORTED if the library was built without chat templates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_chat_format(
    model: *const pumice_model,
    tmpl: *const c_char,
    roles: *const *const c_char,
    contents: *const *const c_char,
    count: usize,
    flags: i32,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let model = call.shared::<Shared>(model)?;
        let tmpl = if tmpl.is_null() { None } else { Some(call.name("tmpl", tmpl)?) };
        let (roles, contents) = (call.slice("roles", roles, count)?, call.slice("contents", contents, count)?);
        let mut messages = Vec::new();
        for (role, content) in roles.iter().zip(contents) {
            messages.push((call.name("a role", *role)?, call.name("a content", *content)?));
        }
        let flags = self::flags(flags, PUMICE_CHAT_GENERATION_PROMPT)?;
        call.room("buf", buf, cap, len)?;
        let text = format(model, tmpl, &messages, flags & PUMICE_CHAT_GENERATION_PROMPT != 0)?;
        call.fill_text(text.as_bytes(), buf, cap, len)
    })
}

/// As pumice_model_chat_format, for conversations that are more than roles and texts: `json`, `json_len` bytes of UTF-8,
/// is a JSON object whose members become the template's variables: "messages" (required: a list of objects), "tools",
/// "add_generation_prompt" (a truth value), and any other that the template knows. If the model has a template of its
/// own for tools, it is used where there are some. PUMICE_ERR_SYNTAX also if the JSON cannot be parsed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pumice_model_chat_format_json(
    model: *const pumice_model,
    tmpl: *const c_char,
    json: *const c_char,
    json_len: usize,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut pumice_error,
) -> pumice_status {
    guard!(err, |call| {
        let model = call.shared::<Shared>(model)?;
        let tmpl = if tmpl.is_null() { None } else { Some(call.name("tmpl", tmpl)?) };
        let json = call.text("json", json, json_len)?;
        call.room("buf", buf, cap, len)?;
        let text = format_json(model, tmpl, json)?;
        call.fill_text(text.as_bytes(), buf, cap, len)
    })
}

#[cfg(feature = "chat")]
use with_templates::{format, format_json};

#[cfg(feature = "chat")]
mod with_templates {
    use pumice::{ChatMessage, ChatOptions, ChatTemplate, Model, Result};

    /// Renders with the template that is given, or else the model's own.
    fn with(model: &Model, tmpl: Option<&str>, render: impl Fn(&ChatTemplate) -> Result<String>) -> Result<String> {
        match tmpl {
            Some(text) => render(&model.chat_with(text)?),
            None => render(model.chat()?),
        }
    }

    pub fn format(model: &Model, tmpl: Option<&str>, messages: &[(&str, &str)], prompt: bool) -> Result<String> {
        let messages: Vec<_> = messages.iter().map(|&(role, content)| ChatMessage { role, content }).collect();
        let options = ChatOptions { add_generation_prompt: prompt, ..ChatOptions::default() };
        with(model, tmpl, |template| template.render(&messages, &options))
    }

    pub fn format_json(model: &Model, tmpl: Option<&str>, json: &str) -> Result<String> {
        with(model, tmpl, |template| template.render_json(json, &ChatOptions::default()))
    }
}

#[cfg(not(feature = "chat"))]
use without_templates::{format, format_json};

#[cfg(not(feature = "chat"))]
mod without_templates {
    use pumice::Model;

    use crate::abi::PUMICE_ERR_UNSUPPORTED;
    use crate::call::{Fail, fail};

    fn unsupported() -> Fail {
        fail(PUMICE_ERR_UNSUPPORTED, "this library was built without chat templates")
    }

    pub fn format(_: &Model, _: Option<&str>, _: &[(&str, &str)], _: bool) -> Result<String, Fail> {
        Err(unsupported())
    }

    pub fn format_json(_: &Model, _: Option<&str>, _: &str) -> Result<String, Fail> {
        Err(unsupported())
    }
}
