//! `capi/abi/symbols-in-versions` says what the ABI is made of and since when. It agrees with the header, and after 1.0
//! it keeps every line that a release had.
//!
//! `PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header` writes it, together with the header.

use std::collections::BTreeMap;
use std::process::Command;

mod support;

use support::interface::{self, Interface};

const PATH: &str = "capi/abi/symbols-in-versions";

const INTRODUCTION: &str = "\
# What the ABI is made of: each function, callback, type, constant and option key of pumice.h; the version that it has
# been there since, as it is written here; the version that it is deprecated since, or `-`.
#
# PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header    writes this file, as it writes the header.
#
# Before 1.0 nothing is promised: a line that is changed or taken away in the header is so here, and a changed one is
# new. From 1.0 on lines may only be added, or be marked as deprecated: what a release had must stay to the letter until
# 2.0, and the tests compare with the ledgers of all releases of the same major version.
";

/// A line without its versions, and these.
type Ledger = BTreeMap<String, [String; 2]>;

fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"))
}

/// What the header says; since the version in `known`, or since `version`.
fn ledger(interface: &Interface, known: &Ledger, version: &str) -> Ledger {
    let mut out = Ledger::new();
    let mut add = |name: &str, line: String| {
        let since = known.get(&line).map_or(version, |versions| &versions[0]).to_owned();
        let deprecated = interface.deprecated(name).unwrap_or_else(|| "-".to_owned());
        assert!(out.insert(line, [since, deprecated]).is_none(), "{name} twice");
    };
    for function in &interface.functions {
        add(&function.name, format!("function {}", function.prototype()));
    }
    for callback in &interface.callbacks {
        add(&callback.name, format!("callback {}", callback.prototype()));
    }
    for name in &interface.handles {
        add(name, format!("type {name}"));
    }
    for (name, ty) in &interface.numbers {
        add(name, format!("type {name} {ty}"));
    }
    for (name, value) in &interface.constants {
        add(name, format!("constant {name} {value}"));
    }
    for key in &interface.keys {
        let line = format!("option {} {} {} default {}", key.macro_name, key.name, key.kind, key.default);
        add(&key.macro_name, line);
    }
    out
}

fn write(ledger: &Ledger) -> String {
    let lines = ledger.iter().map(|(line, [since, deprecated])| format!("{since:<4} {deprecated:<4} {line}\n"));
    format!("{INTRODUCTION}\n{}", lines.collect::<String>())
}

fn read(text: &str) -> Ledger {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| {
        let (since, rest) = line.split_once(' ').unwrap();
        let (deprecated, line) = rest.trim_start().split_once(' ').unwrap();
        (line.trim_start().to_owned(), [since.to_owned(), deprecated.to_owned()])
    });
    parts.collect()
}

/// What the ledger of a release has and the newer one lacks.
fn broken(release: &Ledger, newer: &Ledger) -> Vec<String> {
    let kept = |(line, old): &(&String, &[String; 2])| {
        newer.get(*line).is_some_and(|new| old[0] == new[0] && (old[1] == "-" || old[1] == new[1]))
    };
    release.iter().filter(|entry| !kept(entry)).map(|(line, _)| line.clone()).collect()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(support::root()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_ledger_says_what_the_header_says() {
    let path = support::root().join(PATH);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = write(&ledger(&interface::read(), &read(&found), version()));
    if std::env::var_os("PUMICE_UPDATE_HEADER").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let differing: Vec<_> = found.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    let missing: Vec<_> = expected.lines().filter(|line| !found.lines().any(|other| other == *line)).collect();
    assert!(
        found == expected,
        "{PATH} is not what the header says: it has {differing:#?} and lacks {missing:#?}; \
         run PUMICE_UPDATE_HEADER=1 cargo test -p pumice-capi header"
    );
}

#[test]
fn the_ledger_keeps_what_releases_had() {
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    if major == "0" {
        return; // nothing is promised
    }
    let now = read(&std::fs::read_to_string(support::root().join(PATH)).unwrap());
    let tags = git(&["tag", "--list", &format!("v{major}.*")]).unwrap_or_default();
    for tag in tags.lines() {
        let then = git(&["show", &format!("{tag}:{PATH}")]).unwrap_or_else(|| panic!("{tag} has no {PATH}"));
        assert_eq!(broken(&read(&then), &now), [""; 0], "{tag} had these");
    }
    // Lines of earlier releases, but no releases: the tags have not been fetched.
    let earlier = now.values().any(|[since, _]| since.starts_with(&format!("{major}.")) && since != version());
    assert!(!tags.is_empty() || !earlier || std::env::var_os("CI").is_none(), "git has no tags v{major}.*");
}

#[test]
fn changes_are_broken_promises_and_additions_are_not() {
    let header = |text: &str| ledger(&interface::parse(text), &Ledger::new(), "1.0");
    let old = "PUMICE_API int32_t PUMICE_CALL pumice_f(const char *a, size_t b);\n#define PUMICE_X 1\n\
        /** Of it. (int, default 7) */\n#define PUMICE_KEY_A_B \"a.b\"\n\
        typedef void (PUMICE_CALL *pumice_g)(void *user_data);\ntypedef struct pumice_h pumice_h;\n\
        typedef int32_t pumice_i;\n";
    let release = header(old);
    assert_eq!(release.len(), 6);
    assert_eq!(read(&write(&release)), release);
    let changed = |from: &str, to: &str| {
        assert!(old.contains(from));
        broken(&release, &header(&old.replace(from, to))).len()
    };
    assert_eq!(changed("#define PUMICE_X", "#define PUMICE_Y 2\n#define PUMICE_X"), 0);
    assert_eq!(changed("#define PUMICE_X", "/** Deprecated since 1.1. */\n#define PUMICE_X"), 0);
    for (from, to) in [
        ("const char *a", "char *a"),
        ("size_t b", "uint32_t b"),
        ("char *a,", "char *c,"),
        ("int32_t PUMICE_CALL", "void PUMICE_CALL"),
        ("PUMICE_X 1", "PUMICE_X 2"),
        ("(int, ", "(float, "),
        ("default 7", "default 8"),
        ("\"a.b\"", "\"a.c\""),
        ("void *user_data", "const void *user_data"),
        ("typedef struct pumice_h pumice_h;\n", ""),
        ("typedef int32_t", "typedef int64_t"),
    ] {
        assert_eq!(changed(from, to), 1, "{from} to {to}");
    }
    // Once deprecated, always deprecated; and never of a later version than it was.
    let deprecated = header(&old.replace("#define PUMICE_X", "/** Deprecated since 1.1. */\n#define PUMICE_X"));
    assert_eq!(broken(&deprecated, &release), ["constant PUMICE_X 1"]);
    assert_eq!(broken(&release, &ledger(&interface::parse(old), &Ledger::new(), "1.1")).len(), 6);
}
