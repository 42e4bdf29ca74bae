//! Runs the C program that checks chat templates.
#![cfg(feature = "chat")]

mod support;

#[test]
fn chat_templates() {
    support::check_silently("chat");
}
