//! The C++ wrapper: every compiler and standard takes it without a warning, and its test programs pass, also under the
//! address and undefined-behaviour sanitizers. Needs a C++ compiler, which users need not have; CI has to.

use std::path::Path;
use std::process::Command;

mod support;

/// The compilers that are here: CI has both, other machines what they have.
fn compilers() -> Vec<&'static str> {
    let all = ["g++", "clang++"];
    let here: Vec<_> = all.into_iter().filter(|name| support::has(name)).collect();
    if here.len() < all.len() {
        assert!(std::env::var_os("CI").is_none(), "CI has to have g++ and clang++");
        eprintln!("not every C++ compiler is on this machine: only {here:?} took the wrapper");
    }
    here
}

/// A compiler with the warnings that users may have turned on.
fn compiler(name: &str, standard: &str) -> Command {
    let mut command = Command::new(name);
    command.arg(format!("-std={standard}")).args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]);
    command.args(["-Wold-style-cast", "-Werror"]);
    for dir in ["include", "bindings/cpp"] {
        command.arg("-I").arg(support::root().join(dir));
    }
    command
}

#[test]
fn compilers_take_the_wrapper_with_and_without_exceptions() {
    let program = support::root().join("bindings/cpp/tests/results.cpp");
    let twice = support::scratch("wrapper-twice").join("twice.cpp");
    std::fs::write(&twice, "#include <pumice.hpp>\n#include <pumice.hpp>\nint main() {}\n").unwrap();
    for name in compilers() {
        for standard in ["c++17", "c++20"] {
            for more in [&["-fno-exceptions", "-fno-rtti"][..], &["-DPUMICE_NO_EXCEPTIONS"], &[]] {
                support::run(compiler(name, standard).args(more).arg("-fsyntax-only").arg(&twice));
            }
            support::run(
                compiler(name, standard).args(["-fno-exceptions", "-fno-rtti", "-fsyntax-only"]).arg(&program),
            );
        }
    }
}

#[test]
fn the_wrapper_does_what_it_says() {
    let mut sources: Vec<_> = std::fs::read_dir(support::root().join("bindings/cpp/tests")).unwrap().collect();
    sources.retain(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "cpp"));
    assert!(sources.len() >= 6, "{sources:?}");
    for (i, name) in compilers().into_iter().enumerate() {
        let dir = support::scratch(&format!("wrapper-{name}"));
        for source in &sources {
            let source = source.as_ref().unwrap().path();
            // Each program plainly with one compiler's standard, under the sanitizers with the first compiler.
            check(compiler(name, ["c++17", "c++20"][i % 2]).arg("-O1"), &source, &dir);
            if i == 0 {
                check(compiler(name, "c++17").args(["-g", "-fsanitize=address,undefined"]), &source, &dir);
            }
        }
    }
}

/// Compiles a test program and runs it; it must not write anything.
fn check(compiler: &mut Command, source: &Path, dir: &Path) {
    let program = dir.join(source.file_stem().unwrap());
    let library = support::named_library(dir);
    compiler.arg(source).arg("-o").arg(&program).arg(&library).arg(format!("-Wl,-rpath,{}", dir.display()));
    support::run(compiler.arg("-lpthread"));
    let output = support::run(Command::new(&program).arg(support::model()));
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(texts, ["", ""], "{}", source.display());
}
