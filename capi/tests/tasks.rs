//! Runs the C program that checks what models are good for besides text.

mod support;

#[test]
fn tasks() {
    support::check_silently("tasks");
}
