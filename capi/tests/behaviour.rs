//! Runs the C program that checks what the header promises, and sees that nothing is written.

use std::process::Command;

mod support;

#[test]
fn c_programs_get_what_the_header_promises_and_nothing_is_printed() {
    let source = support::root().join("capi/tests/c/behaviour.c");
    let program = support::compile(&source, &support::scratch("behaviour"));
    let output = support::run(Command::new(program).arg(support::model()));
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(texts, ["", ""]);
}
