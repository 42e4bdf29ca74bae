//! The built libraries, and running other programs against them.
#![allow(dead_code)] // each test file uses some of it

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use pumice::gguf::{Encoded, Header};
use pumice::quant::GgmlType;
use pumice::{Model, ModelOptions};

pub mod interface;

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The model that all tests use.
pub fn model() -> PathBuf {
    root().join("cli/model/austen.gguf")
}

/// Writes a classification head of two classes, "no" and "yes", for that model: a file for `model.head`.
pub fn write_head(path: &Path) {
    let n_embd = Model::open(model(), &ModelOptions::default()).unwrap().params().n_embd;
    let mut header = Header::new();
    header.set("general.architecture", "llama");
    header.set("llama.classifier.output_labels", Encoded::array(["no", "yes"]));
    header.tensor("cls.output.weight", &[n_embd, 2], GgmlType::F32).unwrap();
    let mut data = header.write(Vec::new()).unwrap();
    let weights = (0..2 * n_embd).flat_map(|i| (i as f32 % 7.0 - 3.0).to_le_bytes());
    data.write(&weights.collect::<Vec<u8>>()).unwrap();
    std::fs::write(path, data.finish().unwrap()).unwrap();
}

/// The directory with this profile's libraries. `cargo test` makes no shared library for tests to load, so it is built
/// here; what has been compiled already is not compiled again.
pub fn library_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let exe = std::env::current_exe().unwrap();
        let dir = exe.parent().and_then(Path::parent).unwrap().to_owned(); // target/<profile>/deps/<test>
        let profile = match dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            Some(profile) => profile,
            None => panic!("{} is not in a profile's directory", exe.display()),
        };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "pumice-capi", "--profile", profile, "--target-dir"]);
        run(cargo.arg(dir.parent().unwrap()).current_dir(root()));
        dir
    })
}

/// The shared library.
pub fn library() -> PathBuf {
    library_dir().join("libpumice_capi.so")
}

/// The functions that the header declares.
pub fn declared() -> BTreeSet<String> {
    interface::read().functions.into_iter().map(|function| function.name).collect()
}

/// The symbols that `nm` lists.
pub fn symbols(arguments: &[&str], library: &Path) -> BTreeSet<String> {
    let output = run(Command::new("nm").args(arguments).arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, name)| name.to_owned()).collect()
}

/// A directory of its own for a test, empty.
pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _not_there = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Puts the shared library's own name, which the loader looks for, into a directory.
pub fn named_library(dir: &Path) -> PathBuf {
    let soname = dir.join("libpumice.so.0");
    if !soname.exists() {
        std::os::unix::fs::symlink(library(), &soname).unwrap();
    }
    soname
}

/// Whether this machine has a program.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The same, where it is needed for a test: CI has to have it; others go without what is more than a C compiler.
pub fn have(program: &str) -> bool {
    let has = has(program);
    assert!(has || std::env::var_os("CI").is_none(), "CI needs {program}");
    if !has {
        eprintln!("no {program} on this machine: what takes it was not tested");
    }
    has
}

/// Compiles C sources against the shared library, whose own name is put beside the program for the loader.
pub fn compile(source: &Path, dir: &Path) -> PathBuf {
    compile_as("gcc", &["-std=c99", "-pedantic-errors"], source, dir)
}

/// The same with this compiler and these options.
pub fn compile_as(compiler: &str, options: &[&str], source: &Path, dir: &Path) -> PathBuf {
    let program = dir.join(source.file_stem().unwrap());
    let soname = named_library(dir);
    let mut command = Command::new(compiler);
    command.args(["-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]).args(options);
    command.arg("-I").arg(root().join("include")).arg(source).args(["-x", "none", "-o"]).arg(&program).arg(&soname);
    run(command.arg(format!("-Wl,-rpath,{}", dir.display())).args(["-lm", "-lpthread"]));
    program
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// Runs one of the C test programs, which check what the header promises; sees that nothing is written.
pub fn check_silently(name: &str) {
    let source = root().join(format!("capi/tests/c/{name}.c"));
    let output = run(Command::new(compile(&source, &scratch(name))).arg(model()));
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(texts, ["", ""]);
}
