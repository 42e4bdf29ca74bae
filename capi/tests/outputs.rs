//! Runs the C program that checks what a session gives back.

mod support;

#[test]
fn outputs_and_counters() {
    support::check_silently("outputs");
}
