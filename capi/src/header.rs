//! `include/pumice.h` is made from this crate: this test makes it anew and compares.
//!
//! `PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header` writes it.

use std::path::Path;

use cbindgen::{Config, DocumentationStyle, Language, Layout, SortKey, Style};

use crate::keys::{KEYS, Kind};
use crate::library::VERSION_NUMBER;

/// Groups of the header, in this order.
const MODULES: [&str; 15] = [
    "abi",
    "library",
    "error",
    "options",
    "model",
    "metadata",
    "tokenizer",
    "chat",
    "session",
    "sequence",
    "state",
    "batch",
    "sampler",
    "generate",
    "task",
];

/// What stands before everything else.
const INTRODUCTION: &str = "\
/*
 * pumice: runs language models from GGUF files on CPU threads.
 *
 * Rules that hold for all functions:
 *
 * Errors. Functions that can fail return a pumice_status and take a pumice_error last, which may be NULL. A call
 * that fails stores NULL in its handle outputs and leaves other outputs alone, except for the size that a buffer
 * would need. Besides the statuses that each function names, every one may return PUMICE_ERR_NULL,
 * PUMICE_ERR_BAD_HANDLE, PUMICE_ERR_BUSY, PUMICE_ERR_POISONED, PUMICE_ERR_INVALID and PUMICE_ERR_INTERNAL.
 * Nothing is ever written to stdout or stderr, and no error ends the process.
 *
 * Ownership. A function that stores a handle gives it to the caller, who frees it with the one function for its
 * type; handles may be freed in any order, or never. Pointers that are lent say how long they are valid. What the
 * caller passes in is used during the call only (but for pumice_model_open_memory and pumice_options_set_log).
 *
 * Threads. A model may be used by any number of threads at once. Every other handle is for one thread at a time
 * and may move between threads; a function that takes it as const only reads it, and several may at once. Use of
 * a session by two threads at once is refused with PUMICE_ERR_BUSY.
 *
 * Text is UTF-8, paths too. Names and paths end with NUL; other text has a length and may contain NUL.
 *
 * Callbacks run on the thread that made the call. They must not throw exceptions or jump out.
 */";

/// Between the includes and the first type.
const MACROS: &str = "\
/* Define PUMICE_STATIC when linking the static library on Windows. */
#if defined(_WIN32)
#define PUMICE_CALL __cdecl
#if defined(PUMICE_STATIC)
#define PUMICE_API
#else
#define PUMICE_API __declspec(dllimport)
#endif
#else
#define PUMICE_CALL
#define PUMICE_API
#endif";

const OPEN: &str = "#ifdef __cplusplus\nextern \"C\" {\n#endif";
const CLOSE: &str = "#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* PUMICE_H */";

/// The options, for which there is no item that cbindgen could see.
fn key_macros() -> String {
    let defaults = crate::keys::Options::default();
    let mut out = String::new();
    for key in KEYS {
        let default = match key.kind {
            Kind::Int { get, .. } => get(&defaults).to_string(),
            Kind::Float { get, .. } => get(&defaults).to_string(),
            Kind::Text { get, .. } => format!("\"{}\"", get(&defaults)),
        };
        let comment = format!("{} ({}, default {default})", key.doc, key.kind.name());
        let name = key.name.replace('.', "_").to_uppercase();
        out += &format!("\n{}\n#define PUMICE_KEY_{name} \"{}\"\n", block_comment(&comment), key.name);
    }
    out.trim_end().to_owned()
}

/// A C comment of lines of at most 110 characters.
fn block_comment(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 106 => *line = format!("{line} {word}"),
            _ => lines.push(format!(" {word}")),
        }
    }
    format!("/**\n{}\n */", lines.iter().map(|line| format!(" *{line}")).collect::<Vec<_>>().join("\n"))
}

fn config() -> Config {
    let version = env!("CARGO_PKG_VERSION");
    let numbers = format!(
        "/** The version of this header, comparable with pumice_version_number(): 0xMMmmpp00. */\n\
         #define PUMICE_VERSION_NUMBER 0x{VERSION_NUMBER:08x}\n\
         #define PUMICE_VERSION_STRING \"{version}\""
    );
    let mut config = Config {
        language: Language::C,
        header: Some(format!("{INTRODUCTION}\n\n#ifndef PUMICE_H\n#define PUMICE_H")),
        trailer: Some(CLOSE.to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(format!("\n{MACROS}\n\n{numbers}\n{}\n\n{OPEN}", key_macros())),
        documentation_style: DocumentationStyle::Doxy,
        style: Style::Type,
        usize_is_size_t: true,
        line_length: 1000, // `wrapped` knows better
        ..Config::default()
    };
    config.function.args = Layout::Horizontal;
    config.function.sort_by = Some(SortKey::None);
    config
}

fn generate() -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut builder = cbindgen::Builder::new().with_config(config());
    for module in MODULES {
        builder = builder.with_src(sources.join(module).with_extension("rs"));
    }
    let mut bytes = Vec::new();
    builder.generate().expect("the sources parse").write(&mut bytes);
    let text = String::from_utf8(bytes).expect("the sources are UTF-8");
    text.lines().map(|line| declaration(line.trim_end()) + "\n").collect()
}

/// Adds what cbindgen has no place for, the calling convention, and breaks long lines. Prototypes are the only lines
/// that begin with a type's name.
fn declaration(line: &str) -> String {
    if line.starts_with("typedef") {
        return wrapped(&line.replace("(*pumice_", "(PUMICE_CALL *pumice_"));
    }
    match line.find('(').and_then(|end| line[..end].rfind("pumice_")) {
        Some(name) if line.starts_with(|c: char| c.is_ascii_lowercase()) => {
            let (before, after) = line.split_at(name);
            wrapped(&format!("PUMICE_API {before}PUMICE_CALL {after}"))
        }
        _ => line.to_owned(),
    }
}

/// The line, broken at its commas so that none is longer than 110 characters.
fn wrapped(line: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for part in line.split_inclusive(", ") {
        if width + part.trim_end().len() > 110 {
            out.truncate(out.trim_end().len());
            out += "\n    ";
            width = 4;
        }
        out += part;
        width += part.len();
    }
    out
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/pumice.h");
    let expected = generate();
    if std::env::var_os("PUMICE_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(
        found == expected,
        "include/pumice.h is out of date, first at {differing:?}; \
         run PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header"
    );
}

#[test]
fn option_names_say_their_scope() {
    for key in KEYS {
        let scope = key.name.split('.').next().unwrap_or_default();
        assert!(["model", "session", "sampler", "generate"].contains(&scope), "{}", key.name);
        assert_eq!(KEYS.iter().filter(|other| other.name == key.name).count(), 1, "{}", key.name);
    }
}
