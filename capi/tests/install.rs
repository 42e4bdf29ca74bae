//! `make install`: what it puts where, and that C and C++ programs build and run against it: by pkg-config and by CMake,
//! shared and static, wherever it has been moved to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod support;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `make TARGET PREFIX=prefix`, with more variables; builds where this test was built.
fn make(target: &str, prefix: &str, more: &[&str]) -> Output {
    let mut make = Command::new("make");
    make.arg("-C").arg(support::root()).args([target, &format!("PREFIX={prefix}")]).args(more);
    make.arg(format!("CARGO={}", env!("CARGO"))).arg(format!("BUILD={}", target_dir().display()));
    support::run(make.env_remove("MAKEFLAGS"))
}

fn target_dir() -> &'static Path {
    support::library_dir().parent().unwrap()
}

/// Every file below a directory by its name from there, with what a link points to.
fn tree(dir: &Path) -> BTreeMap<String, Option<PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(path),
                kind => drop(found.insert(name, kind.is_symlink().then(|| std::fs::read_link(&path).unwrap()))),
            }
        }
    }
    found
}

/// Whether these programs are here. CI has to have them; elsewhere a test without them says so and ends.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !support::has(program)).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "CI has to have {missing:?}");
    if !missing.is_empty() {
        eprintln!("this machine has no {missing:?}: what needs them was not tested");
    }
    missing.is_empty()
}

/// Runs a program that generates text, as the examples do, and gives the text.
fn generate(program: &Path, libraries: Option<&Path>) -> String {
    let mut command = Command::new(program);
    command.arg(support::model()).args(["It was a fine morning, and", "20", "0"]);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    String::from_utf8(support::run(&mut command).stdout).unwrap()
}

/// The shared libraries that a program or library asks for, and its own name.
fn dynamic(file: &Path) -> String {
    String::from_utf8(support::run(Command::new("readelf").arg("-d").arg(file)).stdout).unwrap()
}

fn examples() -> [(&'static str, PathBuf); 2] {
    let root = support::root().join("examples");
    [("gcc", root.join("c/generate.c")), ("g++", root.join("cpp/stream.cpp"))]
}

#[test]
fn every_file_is_where_it_belongs() {
    let dir = support::scratch("install files"); // with a space
    let prefix = dir.join("prefix");
    make("install", prefix.to_str().unwrap(), &[]);
    let link = |to: &str| Some(PathBuf::from(to));
    let full = format!("libpumice.so.{VERSION}");
    let expected = BTreeMap::from([
        ("include/pumice.h".to_owned(), None),
        ("include/pumice.hpp".to_owned(), None),
        ("lib/cmake/pumice/pumice-config-version.cmake".to_owned(), None),
        ("lib/cmake/pumice/pumice-config.cmake".to_owned(), None),
        ("lib/libpumice.a".to_owned(), None),
        ("lib/libpumice.so".to_owned(), link("libpumice.so.0")),
        ("lib/libpumice.so.0".to_owned(), link(&full)),
        (format!("lib/{full}"), None),
        ("lib/pkgconfig/pumice-static.pc".to_owned(), None),
        ("lib/pkgconfig/pumice.pc".to_owned(), None),
        ("share/licenses/pumice/LICENSE-APACHE".to_owned(), None),
        ("share/licenses/pumice/LICENSE-MIT".to_owned(), None),
    ]);
    assert_eq!(tree(&prefix), expected);

    let shared = prefix.join("lib").join(full);
    assert!(dynamic(&shared).contains("Library soname: [libpumice.so.0]"));
    assert_eq!(support::symbols(&["-D", "--defined-only"], &shared), support::declared());
    let found = support::symbols(&["-g", "--defined-only"], &prefix.join("lib/libpumice.a"));
    assert!(support::declared().is_subset(&found));
    // Stripped, and without anything large that nobody meant to add.
    let size = std::fs::metadata(&shared).unwrap().len();
    assert!(size < 3_000_000, "the shared library takes {size} bytes");

    let text = std::fs::read_to_string(prefix.join("lib/pkgconfig/pumice.pc")).unwrap();
    assert!(text.contains(&format!("\nVersion: {VERSION}\n")), "{text}");
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        let native = "\nLibs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc\n";
        assert!(text.contains(native), "{text}");
    }
    for (name, _) in expected.iter().filter(|(name, _)| name.ends_with(".pc") || name.ends_with(".cmake")) {
        let text = std::fs::read_to_string(prefix.join(name)).unwrap();
        let place = dir.to_str().unwrap();
        assert!(!text.contains('@') && !text.contains(place), "{name} has a place or a blank in it:\n{text}");
    }

    // A second time, over what is there; then away with it.
    make("install", prefix.to_str().unwrap(), &[]);
    assert_eq!(tree(&prefix), expected);
    make("uninstall", prefix.to_str().unwrap(), &[]);
    assert_eq!(tree(&prefix), BTreeMap::new());
}

#[test]
fn packagers_choose_the_root_and_the_folder_for_libraries() {
    let dir = support::scratch("install-destdir");
    let destdir = format!("DESTDIR={}", dir.display());
    make("install", "/usr", &[&destdir, "LIBDIR=lib/some-arch"]);
    let files = tree(&dir);
    for name in ["lib/some-arch/libpumice.so.0", "lib/some-arch/cmake/pumice/pumice-config.cmake", "include/pumice.h"] {
        assert!(files.contains_key(&format!("usr/{name}")), "{files:?}");
    }
    if have(&["pkg-config"]) {
        let mut pkg_config = Command::new("pkg-config");
        pkg_config.args(["--cflags", "pumice"]).env("PKG_CONFIG_PATH", dir.join("usr/lib/some-arch/pkgconfig"));
        let flags = String::from_utf8(support::run(&mut pkg_config).stdout).unwrap();
        let include = Path::new(flags.trim().strip_prefix("-I").unwrap()).canonicalize().unwrap();
        assert_eq!(include, dir.join("usr/include").canonicalize().unwrap());
    }

    // A relative prefix is one from the top of the repository.
    let up = "../".repeat(support::root().components().count() - 1);
    make("install", &format!("{up}{}/relative", dir.display()), &[]);
    assert!(dir.join("relative/lib/libpumice.so.0").exists());
}

#[test]
fn programs_build_by_pkg_config_wherever_it_is() {
    if !have(&["pkg-config", "g++"]) {
        return;
    }
    let dir = support::scratch("install-pkg-config");
    let mut prefix = dir.join("first/prefix");
    make("install", prefix.to_str().unwrap(), &[]);
    let mut texts = Vec::new();
    for place in ["second", "third"] {
        for (compiler, source) in examples() {
            for package in ["pumice", "pumice-static"] {
                let mut pkg_config = Command::new("pkg-config");
                pkg_config.args(["--cflags", "--libs", package]);
                pkg_config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
                let flags = String::from_utf8(support::run(&mut pkg_config).stdout).unwrap();
                let program = dir.join(format!("{place}-{compiler}-{package}"));
                let mut command = Command::new(compiler);
                command.arg(&source).arg("-o").arg(&program).args(flags.split_whitespace());
                support::run(command.current_dir(&dir));
                assert_eq!(dynamic(&program).contains("libpumice.so.0"), package == "pumice");
                let libraries = prefix.join("lib");
                texts.push(generate(&program, (package == "pumice").then_some(&libraries)));
            }
        }
        let moved = dir.join(place);
        std::fs::rename(&prefix, &moved).unwrap();
        prefix = moved;
    }
    assert!(texts.len() == 8 && texts[0].len() > 20, "{texts:?}");
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn programs_build_by_cmake_wherever_it_is() {
    if !have(&["cmake", "g++"]) {
        return;
    }
    let dir = support::scratch("install-cmake");
    let mut prefix = dir.join("first/prefix");
    make("install", prefix.to_str().unwrap(), &[]);
    let [(_, c), (_, cpp)] = examples();
    let series = VERSION.rsplit_once('.').unwrap().0;
    let project = format!(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C CXX)\nset(CMAKE_CXX_STANDARD 17)\n\
         find_package(pumice {series} REQUIRED)\n\
         foreach(kind shared static pumice)\n\
         add_executable(c-${{kind}} {})\nadd_executable(cpp-${{kind}} {})\n\
         target_link_libraries(c-${{kind}} PRIVATE pumice::${{kind}})\n\
         target_link_libraries(cpp-${{kind}} PRIVATE pumice::${{kind}})\n\
         endforeach()\n\
         foreach(other 99 0 0.99 1000.0)\n\
         find_package(pumice ${{other}} QUIET)\n\
         if(pumice_FOUND)\nmessage(FATAL_ERROR \"this is no ${{other}}\")\nendif()\n\
         endforeach()\n",
        c.display(),
        cpp.display()
    );
    let project_dir = dir.join("project");
    std::fs::create_dir(&project_dir).unwrap();
    std::fs::write(project_dir.join("CMakeLists.txt"), project).unwrap();
    let mut texts = Vec::new();
    for (place, linkage) in [("second", "OFF"), ("third", "ON")] {
        let build = dir.join(format!("build-{place}"));
        let mut cmake = Command::new("cmake");
        cmake.arg("-S").arg(&project_dir).arg("-B").arg(&build).arg(format!("-DPUMICE_USE_STATIC={linkage}"));
        support::run(cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
        support::run(Command::new("cmake").arg("--build").arg(&build));
        for kind in ["shared", "static", "pumice"] {
            for language in ["c", "cpp"] {
                let program = build.join(format!("{language}-{kind}"));
                let shared = kind == "shared" || kind == "pumice" && linkage == "OFF";
                assert_eq!(dynamic(&program).contains("libpumice.so.0"), shared, "{}", program.display());
                texts.push(generate(&program, None));
            }
        }
        let moved = dir.join(place);
        std::fs::rename(&prefix, &moved).unwrap();
        prefix = moved;
    }
    assert!(texts.len() == 12 && texts[0].len() > 20, "{texts:?}");
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

/// A host that loads the library, uses it, frees everything and lets it go, again and again.
#[test]
fn hosts_load_and_unload_the_library() {
    let dir = support::scratch("install-dlopen");
    make("install", dir.join("prefix").to_str().unwrap(), &[]);
    let program = dir.join("load");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-I"]).arg(support::root().join("include"));
    gcc.arg(support::root().join("capi/tests/c/load.c")).arg("-o").arg(&program);
    support::run(gcc.args(["-ldl", "-lpthread"]));
    let mut command = Command::new(&program);
    let output = support::run(command.arg(dir.join("prefix/lib/libpumice.so")).arg(support::model()));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

/// One file that holds program, library and model, and asks for no other than the system's libraries.
#[test]
fn a_device_runs_from_one_file() {
    if !have(&["pkg-config"]) {
        return;
    }
    let dir = support::scratch("install-device");
    make("install", dir.join("prefix").to_str().unwrap(), &[]);
    std::fs::copy(support::model(), dir.join("model.gguf")).unwrap();
    let mut ld = Command::new("ld");
    ld.args(["-r", "-z", "noexecstack", "-b", "binary", "model.gguf", "-o", "model.o"]);
    support::run(ld.current_dir(&dir));
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "pumice-static"]).env("PKG_CONFIG_PATH", dir.join("prefix/lib/pkgconfig"));
    let flags = String::from_utf8(support::run(&mut pkg_config).stdout).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Os", "-Wall", "-Wextra", "-Werror", "-pedantic-errors"]);
    gcc.arg(support::root().join("examples/c/device.c")).args(["model.o", "-o", "device"]);
    support::run(gcc.args(flags.split_whitespace()).args(["-Wl,--gc-sections", "-s"]).current_dir(&dir));
    for name in ["model.gguf", "model.o", "prefix"] {
        let path = dir.join(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
    let program = dir.join("device");
    assert!(!dynamic(&program).contains("libpumice"));
    let size = std::fs::metadata(&program).unwrap().len() - std::fs::metadata(support::model()).unwrap().len();
    assert!(size < 3_200_000, "without its model, the program takes {size} bytes");
    let text = String::from_utf8(support::run(&mut Command::new(&program)).stdout).unwrap();
    assert!(text.ends_with('\n') && text.len() > 60, "{text}");
}
