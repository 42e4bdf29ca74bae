//! Runs the C program that checks sequences and saved state, and sees that nothing is written.

use std::process::Command;

mod support;

#[test]
fn c_programs_fork_sequences_and_save_them() {
    let (source, folder) = (support::root().join("capi/tests/c/sequences.c"), support::scratch("sequences"));
    let program = support::compile(&source, &folder);
    let output = support::run(Command::new(program).arg(support::model()).arg(&folder));
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(texts, ["", ""]);
}
