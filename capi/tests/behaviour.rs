//! Runs the C program that checks what the header promises, and sees that nothing is written.

mod support;

#[test]
fn c_programs_get_what_the_header_promises_and_nothing_is_printed() {
    support::check_silently("behaviour");
}
