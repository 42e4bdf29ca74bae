//! The shared library against `capi/abi/baseline.xml`: what programs that were linked before rely on is still there, and
//! takes the same arguments in the same places. Functions may have come; that is no difference.
//!
//! `PUMICE_UPDATE_BASELINE=1 cargo test --release -p pumice-capi --test binary` writes the baseline. Before 1.0 that is
//! done with every change, afterwards when functions have been added, and only then.

use std::path::{Path, PathBuf};
use std::process::Command;

mod support;

use support::interface;

fn baseline() -> PathBuf {
    support::root().join("capi/abi/baseline.xml")
}

/// What libabigail reads in the debug information, without what differs from build to build: units without exported
/// functions, and where the compiler was.
fn describe() -> String {
    let mut abidw = Command::new("abidw");
    abidw.args(["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed", "--no-parameter-names"]);
    abidw.args(["--drop-undefined-syms", "--no-write-default-sizes", "--type-id-style", "hash"]);
    let output = support::run(abidw.arg(support::library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, units) = text.split_once("  <abi-instr ").unwrap();
    let mut out = head.to_owned();
    let mut number = 0; // two units of the same path are taken for one
    for unit in units.split("  <abi-instr ") {
        let content = &unit[unit.find(">\n").unwrap() + 2..];
        if content.trim_start().starts_with("</abi-instr>") {
            out.push_str(content.strip_prefix("  </abi-instr>\n").unwrap());
        } else {
            number += 1;
            out += &format!("  <abi-instr address-size='64' path='{number}' language='LANG_Rust'>\n{content}");
        }
    }
    out
}

/// What abidiff returns, which must be 0, and says.
fn differences(old: &Path) -> (Option<i32>, String) {
    let mut abidiff = Command::new("abidiff");
    let output = abidiff.args(["--no-added-syms"]).arg(old).arg(support::library()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn programs_find_what_they_were_linked_with() {
    if !support::have("abidw") {
        return;
    }
    if std::env::var_os("PUMICE_UPDATE_BASELINE").is_some() {
        std::fs::write(baseline(), describe()).unwrap();
    }
    let (code, text) = differences(&baseline());
    assert!(
        code == Some(0),
        "{text}\nIf that is meant, before 1.0: \
         PUMICE_UPDATE_BASELINE=1 cargo test --release -p pumice-capi --test binary"
    );
}

/// Without debug information libabigail would see names and no types: then nothing would ever differ.
#[test]
fn libabigail_sees_every_function() {
    if !support::have("abidw") {
        return;
    }
    let seen = describe();
    for function in interface::read().functions {
        let symbol = format!("elf-symbol-id='{}'>\n", function.name);
        let (_, parameters) = seen.split_once(&symbol).unwrap_or_else(|| panic!("{} is not seen", function.name));
        let parameters = &parameters[..parameters.find("</function-decl>").unwrap()];
        assert_eq!(parameters.matches("<parameter ").count(), function.parameters.len(), "{}", function.name);
    }
}

/// The other way round: a baseline that had something else.
#[test]
fn changes_are_differences() {
    if !support::have("abidw") {
        return;
    }
    let changed = support::scratch("binary").join("changed.xml");
    let now = describe();
    let differs = |from: &str, to: &str| {
        assert!(now.contains(from), "{from}");
        std::fs::write(&changed, now.replacen(from, to, 1)).unwrap();
        differences(&changed)
    };
    assert_eq!(differs("<elf-function-symbols>", "<elf-function-symbols>").0, Some(0));
    // A function that is not there any more.
    let symbol = "    <elf-symbol name='pumice_version_number'";
    let one_more = format!("{}\n{symbol}", symbol.replace("number'", "name' type='func-type' is-defined='yes'/>"));
    let (code, text) = differs(symbol, &one_more);
    assert!(code != Some(0) && text.contains("pumice_version_name"), "{text}");
    // A parameter of another type: the result's, which is a number instead of a pointer.
    let at = now.find("elf-symbol-id='pumice_batch_add'>").unwrap();
    let function = &now[at..at + now[at..].find("</function-decl>").unwrap()];
    let id = |text: &str| text.split('\'').nth(1).unwrap().to_owned();
    let (parameter, result) =
        (id(&function[function.find("type-id=").unwrap()..]), id(&function[function.rfind("type-id=").unwrap()..]));
    let (code, text) = differs(function, &function.replacen(&parameter, &result, 1));
    assert!(code != Some(0) && text.contains("parameter 1"), "{text}");
    let (code, text) = differs(function, &function.replacen(&format!("<parameter type-id='{parameter}'/>\n"), "", 1));
    assert!(code != Some(0) && text.contains("pumice_batch_add"), "{text}");
}
