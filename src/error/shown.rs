//! Text that a file brought along, in messages.

/// Text out of a file, for a message: on one line, and no longer than anybody reads.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let mut out = String::new();
    for c in text.chars().take(MOST) {
        // What breaks lines, commands terminals or reverses text.
        let unseen = matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if unseen || c.is_control() { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, GgufDefect, GgufPlace};

    #[test]
    fn text_out_of_a_file_cannot_break_or_flood_a_message() {
        assert_eq!(shown("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
        assert_eq!(shown("a\nb\x1b[31m\u{202e}ü`"), "a\\nb\\u{1b}[31m\\u{202e}ü`");
        assert_eq!(shown(&"ü".repeat(100)), "ü".repeat(100));
        assert_eq!(shown(&"ü".repeat(101)), "ü".repeat(100) + "…");

        let text = "\n".repeat(1 << 20);
        let place = GgufPlace::Value { key: text.clone() };
        let errors = [
            Error::MissingKey { file: "f".into(), key: text.clone() },
            Error::MissingTensor { file: "f".into(), name: text.clone() },
            Error::Gguf { file: "f".into(), defect: GgufDefect::BadValueType { at: 1, place, id: 99 } },
            Error::Gguf { file: "f".into(), defect: GgufDefect::DuplicateKey { at: 1, key: text } },
        ];
        for error in errors {
            let message = error.to_string();
            assert!(!message.contains('\n') && message.len() < 500 && message.contains("\\n…"), "{message}");
        }
    }
}
