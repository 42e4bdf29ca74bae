//! The header and the libraries fit together, and compilers of all kinds take the header.

use std::collections::BTreeSet;
use std::process::Command;

mod support;

fn header() -> String {
    std::fs::read_to_string(support::root().join("include/pumice.h")).unwrap()
}

/// The symbols of a built library.
fn symbols(arguments: &[&str], file: &str) -> BTreeSet<String> {
    support::symbols(arguments, &support::library_dir().join(file))
}

#[test]
fn every_standard_takes_the_header_twice() {
    let dir = support::scratch("standards");
    let text = "#include <pumice.h>\n#include <pumice.h>\n\
        int main(void) { return (int)(pumice_version_number() != PUMICE_VERSION_NUMBER); }\n";
    let (c, cpp) = (dir.join("twice.c"), dir.join("twice.cpp"));
    std::fs::write(&c, text).unwrap();
    std::fs::write(&cpp, text).unwrap();
    let compilers = [("gcc", &c, &["c89", "c99", "c11", "c17"][..]), ("g++", &cpp, &["c++11", "c++17", "c++20"][..])];
    for (compiler, source, standards) in compilers {
        // Users need no C++ compiler; CI has to have one.
        if compiler == "g++" && std::env::var_os("CI").is_none() && Command::new(compiler).arg("-v").output().is_err() {
            eprintln!("no g++ on this machine: the header was not compiled as C++");
            continue;
        }
        for standard in standards {
            for more in ["-fsyntax-only", "-fshort-enums"] {
                let mut command = Command::new(compiler);
                command.arg(format!("-std={standard}")).args(["-pedantic-errors", "-Wall", "-Wextra", "-Werror"]);
                command.args(["-Wstrict-aliasing", "-fsyntax-only", more, "-I"]).arg(support::root().join("include"));
                support::run(command.arg(source));
            }
        }
    }
}

#[test]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let declared = support::declared();
    assert!(declared.len() > 50, "{declared:?}");
    assert_eq!(symbols(&["-D", "--defined-only"], "libpumice_capi.so"), declared);
}

#[test]
fn the_static_library_has_every_function() {
    let found = symbols(&["-g", "--defined-only"], "libpumice_capi.a");
    let found: BTreeSet<_> = found.into_iter().filter(|name| name.starts_with("pumice_")).collect();
    assert_eq!(found, support::declared());
}

#[test]
fn the_library_names_itself() {
    let output = support::run(Command::new("readelf").arg("-d").arg(support::library()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|line| line.contains("SONAME") && line.contains("[libpumice.so.0]")), "{text}");
}

#[test]
fn signatures_have_no_layout_and_errors_come_last() {
    let allowed = [
        "void",
        "char",
        "float",
        "double",
        "int32_t",
        "int64_t",
        "uint32_t",
        "uint64_t",
        "size_t",
        "const",
        "pumice_status",
        "pumice_token",
        "pumice_seq",
        "pumice_progress_fn",
        "pumice_text_fn",
        "pumice_drop_fn",
        "pumice_read_fn",
        "pumice_log_fn",
        "pumice_error",
        "pumice_options",
        "pumice_model",
        "pumice_session",
        "pumice_batch",
        "pumice_sampler",
        "PUMICE_API",
        "PUMICE_CALL",
    ];
    // One declaration a line.
    let text = header().replace(",\n    ", ", ");
    for line in text.lines().filter(|line| line.starts_with("PUMICE_API ")) {
        let (head, arguments) = line.trim_end_matches(");").split_once('(').unwrap();
        let (result, name) = head.rsplit_once(|c: char| !c.is_alphanumeric() && c != '_').unwrap();
        let arguments: Vec<_> = if arguments == "void" { Vec::new() } else { arguments.split(", ").collect() };
        for part in arguments.iter().map(|a| a.rsplit_once([' ', '*']).unwrap().0).chain([result]) {
            for word in part.split([' ', '*']).filter(|word| !word.is_empty()) {
                assert!(allowed.contains(&word), "{name} has {word}");
            }
        }
        if name.starts_with("pumice_error_") {
            continue;
        }
        let fallible = result.contains("pumice_status");
        assert_eq!(fallible, arguments.last() == Some(&"pumice_error *err"), "{name}");
    }
    for banned in ["struct {", "enum ", "union ", "...", "//", "bool"] {
        let found = text.lines().find(|line| !line.starts_with(" *") && line.contains(banned));
        assert_eq!(found, None, "{banned}");
    }
}

/// Each exported function's body is one guard: its first token is the macro, and its last the macro's end.
#[test]
fn every_function_is_guarded() {
    let mut guarded = BTreeSet::new();
    for file in std::fs::read_dir(support::root().join("capi/src")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for function in text.split("#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn ").skip(1) {
            let name = &function[..function.find('(').unwrap()];
            let body = &function[function.find(" {\n").unwrap() + 3..function.find("\n}\n").unwrap()];
            // Values may be put together before, but nothing that can panic or is unsafe.
            let statements = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
            let openings: Vec<_> = statements.map(str::trim).filter(|s| !["})", "}", ")"].contains(s)).collect();
            let plain = |s: &&str| {
                s.starts_with("let memory = Memory {")
                    || s.starts_with("let listener = Listener {")
                    || s.starts_with("const VERSION: &CStr = ")
                    || *s == "};"
            };
            let rest: Vec<_> = openings.iter().filter(|s| !plain(s)).collect();
            assert!(rest.len() == 1 && rest[0].starts_with("guard"), "{name}: {rest:?}");
            assert!(guarded.insert(name.to_owned()), "{name} twice");
        }
        assert_eq!(text.matches("no_mangle").count(), text.matches("#[unsafe(no_mangle)]\npub unsafe extern").count());
    }
    assert_eq!(guarded, support::declared());
}

#[test]
fn aborting_panics_do_not_compile() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--quiet", "--package", "pumice-capi", "--lib", "--target-dir"]);
    cargo.arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/abort")).current_dir(support::root());
    let output = cargo.args(["--config", "profile.dev.panic=\"abort\""]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("takes panic = \"unwind\""), "{text}");
}
