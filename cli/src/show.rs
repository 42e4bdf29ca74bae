//! What terminals are shown: text without control characters, sizes, progress.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// The text with its control characters written out, so that none of them reaches a terminal.
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, char::is_control)
}

/// The same for running text, which keeps its line breaks and tabs.
pub fn visible_text(text: &str) -> Cow<'_, str> {
    escape(text, |c| c.is_control() && c != '\n' && c != '\t')
}

fn escape(text: &str, hide: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hide) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hide(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A size for people: "98.3 MB".
pub fn bytes(n: u64) -> String {
    scaled(n, "B", ["kB", "MB", "GB", "TB"])
}

/// A count for people: "134.5M".
pub fn count(n: u64) -> String {
    scaled(n, "", ["k", "M", "G", "T"]).replace(' ', "")
}

fn scaled(n: u64, one: &str, units: [&str; 4]) -> String {
    let mut scaled = (n as f64, one);
    for unit in units {
        if scaled.0 < 1000.0 {
            break;
        }
        scaled = (scaled.0 / 1000.0, unit);
    }
    if n < 1000 { format!("{n} {one}") } else { format!("{:.1} {}", scaled.0, scaled.1) }
}

/// A number with its thousands apart: "134,515,008".
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A bar on stderr, if that is a terminal; dropping it clears it.
pub fn bar(total: u64, what: &'static str) -> ProgressBar {
    progress(Some(total), what, "{msg} [{wide_bar}] {pos}/{len}")
}

/// A bar that counts bytes.
pub fn bytes_bar(total: u64, what: &'static str) -> ProgressBar {
    progress(Some(total), what, "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes}")
}

/// A spinner on stderr for work of unknown length, if that is a terminal; dropping it clears it.
pub fn spinner(what: &'static str) -> ProgressBar {
    let spinner = progress(None, what, "{spinner} {msg}");
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner
}

fn progress(total: Option<u64>, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style.progress_chars("=> "))
        .with_message(what)
        .with_finish(ProgressFinish::AndClear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_stays() {
        assert_eq!(visible("plain – ünï 🦙"), "plain – ünï 🦙");
        assert_eq!(visible("a\u{1b}[31m\nb\t\u{7f}\u{9b}"), "a\\u{1b}[31m\\nb\\t\\u{7f}\\u{9b}");
        assert_eq!(visible_text("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u{1b}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 98_304_000, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "98.3 MB", "18446744.1 TB"]
        );
        assert_eq!([7, 134_515_008].map(count), ["7", "134.5M"]);
        assert_eq!([0, 999, 1000, 134_515_008].map(grouped), ["0", "999", "1,000", "134,515,008"]);
    }
}
