//! Every C test program, in every way: as C and as C++, with sanitizers and under valgrind; nothing may be written.
//!
//! Freed handles leave their heads behind for a while, so that stale ones are known. That hides nothing: what is behind
//! a handle is dropped at once, the heads can be reached from a static and are no leaks, and nothing but the library
//! looks at them. `mistakes.c` proves it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod support;

/// All that are run as PROGRAM MODEL: but for the one that is not linked with the library.
fn programs() -> Vec<PathBuf> {
    let files = std::fs::read_dir(support::root().join("capi/tests/c")).unwrap().map(|file| file.unwrap().path());
    let mut sources: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "c")).collect();
    sources.retain(|path| !path.ends_with("load.c"));
    sources.sort();
    assert!(sources.len() >= 3, "{sources:?}");
    sources
}

/// The command for a program: those that say so get a directory too.
fn command(source: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(support::model());
    if std::fs::read_to_string(source).unwrap().contains("argc != 3") {
        command.arg(program.parent().unwrap());
    }
    command
}

fn mistakes() -> PathBuf {
    support::root().join("capi/tests/mistakes/mistakes.c")
}

fn assert_silent(command: &mut Command) {
    let output = support::run(command);
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(texts, ["", ""], "{command:?}");
}

const CPP: [&str; 5] = ["-std=c++11", "-pedantic-errors", "-Wno-missing-field-initializers", "-x", "c++"];

#[test]
fn c_and_cpp_are_served_in_silence() {
    let dir = support::scratch("programs");
    for source in programs() {
        assert_silent(&mut command(&source, &support::compile(&source, &dir)));
    }
    if support::have("g++") {
        let dir = support::scratch("programs-cpp");
        for source in programs() {
            assert_silent(&mut command(&source, &support::compile_as("g++", &CPP, &source, &dir)));
        }
    }
}

const SANITIZERS: [&str; 3] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DNO_LEAKS"];

/// Compiles with the sanitizers, and sees that they are in.
fn sanitized(compiler: &str, options: &[&str], source: &Path, dir: &Path) -> PathBuf {
    let program = support::compile_as(compiler, &[&SANITIZERS, options].concat(), source, dir);
    let symbols = String::from_utf8(support::run(Command::new("nm").arg(&program)).stdout).unwrap();
    assert!(symbols.contains("__asan_init") && symbols.contains("__ubsan_handle_"), "{}", program.display());
    program
}

#[test]
fn sanitizers_find_nothing() {
    let dir = support::scratch("sanitized");
    for source in programs() {
        assert_silent(&mut command(&source, &sanitized("gcc", &["-std=c99"], &source, &dir)));
    }
    if support::have("g++") {
        let dir = support::scratch("sanitized-cpp");
        for source in programs() {
            assert_silent(&mut command(&source, &sanitized("g++", &CPP, &source, &dir)));
        }
    }
}

#[test]
fn sanitizers_find_mistakes() {
    let program = sanitized("gcc", &["-std=c99"], &mistakes(), &support::scratch("mistakes"));
    let run = |mistake: &str| Command::new(&program).arg(support::model()).arg(mistake).output().unwrap();
    let found = |mistake: &str| {
        let Output { status, stderr, .. } = run(mistake);
        assert!(!status.success() && status.signal().is_none(), "{mistake}: {status}");
        String::from_utf8_lossy(&stderr).into_owned()
    };
    assert!(found("leak").contains("detected memory leaks"));
    assert!(found("use-of-what-was-lent").contains("heap-use-after-free"));
    assert!(found("overrun").contains("heap-buffer-overflow"));
    assert!(found("overflow").contains("signed integer overflow"));
    for none in ["freed-handle", "none"] {
        assert_silent(Command::new(&program).arg(support::model()).arg(none));
    }
}

/// Runs under valgrind; gives what it says of the process itself, and of those that it forked. Valgrind does not have
/// AVX-512 and hides it, so that the library computes with what is left. Blocks that only an inner pointer leads to are
/// no leaks: that is how Rust keeps a thread's name.
fn valgrind(program: &Command) -> (String, Vec<String>) {
    let logs = Path::new(program.get_program()).with_extension("valgrind");
    std::fs::create_dir(&logs).unwrap();
    let mut command = Command::new("valgrind");
    // Threads run one at a time there: unless they take turns, one that waits for another keeps it waiting for minutes.
    command.arg(format!("--log-file={}/%p", logs.display())).args(["--fair-sched=yes", "--leak-check=full"]);
    command.arg("--errors-for-leak-kinds=definite,indirect");
    let child = command.arg(program.get_program()).args(program.get_args()).spawn().unwrap();
    let process = child.id().to_string();
    assert!(child.wait_with_output().unwrap().status.success(), "{program:?}: see {}", logs.display());
    let (mut own, mut others) = (String::new(), Vec::new());
    for file in std::fs::read_dir(&logs).unwrap() {
        let file = file.unwrap();
        let log = std::fs::read_to_string(file.path()).unwrap();
        match file.file_name() == *process {
            true => own = log,
            false => others.push(log),
        }
    }
    std::fs::remove_dir_all(logs).unwrap();
    (own, others)
}

/// What valgrind finds that is no leak: processes that were forked hold what is not theirs to free.
const WRONG: [&str; 4] = ["Invalid ", "uninitialised", "overlap", "unrecognised instruction"];

#[test]
#[ignore = "takes minutes"]
fn valgrind_finds_nothing() {
    if !support::have("valgrind") {
        return;
    }
    let dir = support::scratch("valgrind");
    for source in programs() {
        let program = support::compile_as("gcc", &["-std=c99", "-DNO_LEAKS", "-DFEW_ORDERS"], &source, &dir);
        let (own, others) = valgrind(&command(&source, &program));
        assert!(own.contains("ERROR SUMMARY: 0 errors from 0 contexts"), "{own}");
        for log in others {
            assert!(WRONG.iter().all(|wrong| !log.contains(wrong)), "{log}");
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn valgrind_finds_mistakes() {
    if !support::have("valgrind") {
        return;
    }
    let program = support::compile(&mistakes(), &support::scratch("mistakes-valgrind"));
    let found = |mistake: &str| valgrind(Command::new(&program).arg(support::model()).arg(mistake)).0;
    assert!(found("leak").contains("are definitely lost"));
    assert!(found("use-of-what-was-lent").contains("Invalid read of size 4"));
    assert!(found("overrun").contains("Invalid write"));
    for none in ["freed-handle", "none"] {
        let log = found(none);
        assert!(log.contains("ERROR SUMMARY: 0 errors from 0 contexts"), "{log}");
    }
}
