//! The header and the libraries fit together, and compilers of all kinds take the header.

use std::collections::BTreeSet;
use std::process::Command;

mod support;

use support::interface;

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
    let c = (&c, &["c89", "c99", "c11", "c17", "c2x"][..]);
    let cpp = (&cpp, &["c++11", "c++17", "c++20"][..]);
    for (compiler, (source, standards)) in [("gcc", c), ("clang", c), ("g++", cpp), ("clang++", cpp)] {
        if compiler != "gcc" && !support::have(compiler) {
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

/// Numbers of fixed width, characters, handles, callbacks, and pointers to those; nothing that has a layout.
#[test]
fn signatures_have_no_layout_and_errors_come_last() {
    let interface = interface::read();
    let plain = ["void", "char", "float", "double", "int32_t", "int64_t", "uint32_t", "uint64_t", "size_t", "const"];
    let mut allowed: BTreeSet<&str> = plain.into_iter().collect();
    allowed.extend(interface.handles.iter().map(String::as_str));
    allowed.extend(interface.numbers.keys().map(String::as_str));
    for number in interface.numbers.values() {
        assert!(plain[4..8].contains(&number.as_str()), "a type that is {number}");
    }
    for callback in &interface.callbacks {
        assert_eq!(callback.parameters[0].declaration(), "void *user_data", "{}", callback.name);
    }
    let callbacks: BTreeSet<_> = interface.callbacks.iter().map(|callback| callback.name.as_str()).collect();
    for function in interface.functions.iter().chain(&interface.callbacks) {
        let types = function.parameters.iter().map(|parameter| &parameter.ty).chain([&function.result]);
        for word in types.flat_map(|ty| ty.split([' ', '*'])).filter(|word| !word.is_empty()) {
            assert!(allowed.contains(word) || callbacks.contains(word), "{} has {word}", function.name);
        }
    }
    for function in interface.functions.iter().filter(|function| !function.name.starts_with("pumice_error_")) {
        let last = function.parameters.last().map(|parameter| parameter.declaration());
        let fallible = function.result == "pumice_status";
        assert_eq!(fallible, last.as_deref() == Some("pumice_error *err"), "{}", function.name);
        // What a callback is given comes right behind it; what drops it, before or after.
        for three in function.parameters.windows(3).filter(|three| callbacks.contains(three[1].ty.as_str())) {
            let near = [&three[0], &three[2]].iter().any(|beside| beside.declaration() == "void *user_data");
            assert!(near || three[2].ty == "pumice_drop_fn", "{}: {}", function.name, three[1].name);
        }
    }
    let names = interface.functions.iter().map(|f| &f.name).chain(&interface.handles).chain(interface.numbers.keys());
    for name in names {
        assert!(name.starts_with("pumice_") && name.chars().all(|c| c == '_' || c.is_ascii_lowercase()), "{name}");
    }
    for name in interface.constants.iter().map(|(name, _)| name).chain(interface.keys.iter().map(|key| &key.macro_name))
    {
        assert!(name.starts_with("PUMICE_"), "{name}");
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
