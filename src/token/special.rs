//! Tokens with a role: beginning and end of a text, end of a turn, padding and so on.

use super::vocab::{Vocab, attr};
use super::{Kind, Token};
use crate::error::Result;
use crate::order::order;

/// A role, the keys that name its token (the last one counts), and the texts of tokens that have it in files where no
/// key says so. These texts are llama.cpp's; the first that the vocabulary has counts.
pub(super) struct Role {
    pub name: &'static str,
    keys: &'static [&'static str],
    texts: &'static [&'static str],
}

#[rustfmt::skip]
pub(super) const ROLES: [Role; 14] = [
    Role { name: "bos", keys: &["tokenizer.ggml.bos_token_id"], texts: &[] },
    Role { name: "eos", keys: &["tokenizer.ggml.eos_token_id"], texts: &[] },
    Role { name: "unk", keys: &["tokenizer.ggml.unknown_token_id"], texts: &[] },
    Role { name: "sep", keys: &["tokenizer.ggml.seperator_token_id"], texts: &[] },
    Role { name: "pad", keys: &["tokenizer.ggml.padding_token_id"], texts: &[] },
    Role { name: "mask", keys: &["tokenizer.ggml.mask_token_id"], texts: &[] },
    Role { name: "eot", keys: &["tokenizer.ggml.eot_token_id"], texts: &["<|eot_id|>", "<|im_end|>", "<|end|>",
        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]",
        "<｜end▁of▁sentence｜>", "<end_of_utterance>"] },
    Role { name: "eom", keys: &["tokenizer.ggml.eom_token_id"], texts: &["<|eom_id|>"] },
    Role { name: "fim_pre", keys: &["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"],
        texts: &["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
            "<|code_prefix|>", "<|prefix|>"] },
    Role { name: "fim_suf", keys: &["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"],
        texts: &["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
            "<|code_suffix|>", "<|suffix|>"] },
    Role { name: "fim_mid", keys: &["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"],
        texts: &["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
            "<|code_middle|>", "<|middle|>"] },
    Role { name: "fim_pad", keys: &["tokenizer.ggml.fim_pad_token_id"],
        texts: &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"] },
    Role { name: "fim_rep", keys: &["tokenizer.ggml.fim_rep_token_id"],
        texts: &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"] },
    Role { name: "fim_sep", keys: &["tokenizer.ggml.fim_sep_token_id"], texts: &["<|file_sep|>"] },
];

/// Roles that end generation.
const ENDING_ROLES: [&str; 6] = ["eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"];

/// Texts of tokens that end generation.
#[rustfmt::skip]
const ENDING_TEXTS: [&str; 22] = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>",
    "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["];

/// Tokens of the harmony format that are always shown, whatever the file calls them.
const SHOWN_TEXTS: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The tokens with a role, and what is added to text.
pub(super) struct Special {
    ids: [Option<Token>; ROLES.len()],
    /// The tokens that end generation, in ascending order.
    endings: Vec<Token>,
    /// Tokens that are looked for in text as a whole, the longest first.
    pub in_text: Vec<Token>,
    pub add_bos: bool,
    pub add_eos: bool,
}

impl Special {
    /// Reads the keys, and where they are silent, guesses from the texts; corrects kinds in `vocab` accordingly.
    pub fn new(vocab: &mut Vocab, kind: &Kind) -> Result<Special> {
        let gguf = vocab.gguf.clone();
        let in_range = |id: u64| Token::try_from(id).ok().filter(|&id| (id as usize) < vocab.len());
        let mut ids = [None; ROLES.len()];
        for (id, role) in ids.iter_mut().zip(&ROLES) {
            *id = kind.default_id(role.name).and_then(|default| in_range(default.into()));
            for key in role.keys {
                // An id beyond the vocabulary is as good as none: such files are common, and llama.cpp reads them.
                let Some(value) = gguf.get(key) else { continue };
                if value.as_u64().is_none() && value.as_i64().is_none() {
                    return Err(gguf.bad_key(key, value.to_string(), "a token"));
                }
                *id = value.as_u64().and_then(in_range).or(*id);
            }
        }
        let flag = |key, default| Ok(gguf.get_bool(key)?.unwrap_or(default));
        let mut special = Special {
            ids,
            endings: Vec::new(),
            in_text: Vec::new(),
            add_bos: flag("tokenizer.ggml.add_bos_token", kind.adds_bos())?,
            add_eos: flag("tokenizer.ggml.add_eos_token", false)?,
        };
        special.guess(vocab);
        special.find_endings(vocab);

        let whole = attr::CONTROL | attr::USER_DEFINED | attr::UNKNOWN;
        // A token whose text is not UTF-8 cannot be a part of text that is.
        let is_text = |token: Token| std::str::from_utf8(vocab.text(token)).is_ok_and(|text| !text.is_empty());
        let in_text: Vec<_> = (0..vocab.len() as Token).filter(|&t| vocab.is(t, whole) && is_text(t)).collect();
        let len = |i: usize| vocab.text(in_text[i]).len();
        special.in_text = order(in_text.len(), &|a, b| len(b).cmp(&len(a))).into_iter().map(|i| in_text[i]).collect();
        let name = gguf.get_str("general.name")?.unwrap_or_default().to_ascii_lowercase();
        if name.contains("phi-3") || name.contains("phi3") {
            special.strip_right(vocab);
        }
        Ok(special)
    }

    /// Fills the roles that no key fills.
    fn guess(&mut self, vocab: &mut Vocab) {
        for (id, role) in self.ids.iter_mut().zip(&ROLES) {
            if id.is_none()
                && let Some(token) = role.texts.iter().find_map(|text| vocab.find(text.as_bytes()))
            {
                vocab.attrs[token as usize] |= attr::CONTROL;
                *id = Some(token);
            }
        }
    }

    fn find_endings(&mut self, vocab: &mut Vocab) {
        let named = |vocab: &Vocab, texts: &[&str]| -> Vec<Token> {
            texts.iter().filter_map(|text| vocab.find(text.as_bytes())).collect()
        };
        for token in named(vocab, &ENDING_TEXTS) {
            vocab.attrs[token as usize] |= attr::CONTROL;
            self.endings.push(token);
        }
        for token in named(vocab, &SHOWN_TEXTS) {
            vocab.attrs[token as usize] = attr::USER_DEFINED;
        }
        let by_role: Vec<Token> = ENDING_ROLES.iter().filter_map(|role| self.id(role)).collect();
        self.endings.extend(by_role);
        self.endings.sort_unstable();
        self.endings.dedup();

        let ending = |text: &str| vocab.find(text.as_bytes()).filter(|token| self.endings.contains(token));
        let has = |text| ending(text).is_some();
        // Where `<|return|>` or `<|flush|>` ends the turn, `<|end|>` only ends a message of it.
        let calls = has("<|call|>") || has("<|calls|>");
        let message_end = ending("<|end|>").filter(|_| calls && (has("<|return|>") || has("<|flush|>")));
        // Where the vocabulary has its own end, `</s>` is the HTML tag.
        let tag = ending("</s>").filter(|_| has("<|tool_response>") || has("<|plamo:eos|>"));
        for (token, kind) in [(message_end, attr::USER_DEFINED), (tag, attr::NORMAL)] {
            if let Some(token) = token {
                vocab.attrs[token as usize] = kind;
                self.endings.retain(|&ending| ending != token);
            }
        }
    }

    /// Phi-3 was trained so; its files do not say it, only their name does.
    fn strip_right(&self, vocab: &mut Vocab) {
        let end = vocab.find(b"</s>");
        for &token in self.in_text.iter().chain(&end) {
            if !matches!(vocab.text(token), b"<unk>" | b"<s>" | b"<|endoftext|>") {
                vocab.attrs[token as usize] |= attr::STRIPS_RIGHT;
            }
        }
    }

    /// The token with this role.
    pub fn id(&self, role: &str) -> Option<Token> {
        self.ids[ROLES.iter().position(|r| r.name == role)?]
    }

    /// Whether the token ends generation.
    pub fn is_ending(&self, token: Token) -> bool {
        self.endings.binary_search(&token).is_ok()
    }
}
