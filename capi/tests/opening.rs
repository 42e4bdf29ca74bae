//! Runs the C program that checks the ways to open a model, and logs.

mod support;

#[test]
fn ways_to_open_a_model_and_logs() {
    support::check_silently("opening");
}
