//! The Python package's own tests, against the library of this build.

use std::process::Command;

mod support;

#[test]
fn the_python_package_passes_its_tests() {
    let package = support::root().join("bindings/python");
    let mut python = Command::new("python3");
    python.args(["-B", "-W", "error", "-m", "unittest", "discover", "-v", "-s", "tests"]).current_dir(&package);
    python.env("PUMICE_LIBRARY", support::library()).env("PYTHONPATH", package.join("src"));
    python.env("PUMICE_TEST_MODEL", support::model());
    let output = support::run(&mut python);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("\nOK") && !text.contains("Ran 0 tests") && !text.contains("skipped"), "{text}");
}
