//! Which pre-tokenizer each value of `tokenizer.ggml.pre` means, and what else that name implies.

use super::chars::*;
use super::{Class, Pass, Rule};
use Rule::{Cased, Contraction, Newlines, Pair, SpaceBeforeWord};

/// A pre-tokenizer, and what a file that names it means where it says nothing else.
pub(crate) struct PreTokenizer {
    /// The values of `tokenizer.ggml.pre` that name it.
    names: &'static [&'static str],
    /// The regular expressions, each applied to the pieces the one before left.
    pub passes: &'static [Pass],
    /// A piece that is a token is that token, whatever the merges would make of it.
    pub ignore_merges: bool,
    /// Text starts with BOS.
    pub add_bos: bool,
    /// Token 11 is BOS in files that name none.
    pub default_bos: bool,
}

/// The pre-tokenizer with this name.
pub(crate) fn find(name: &str) -> Option<&'static PreTokenizer> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// Every name there is.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| row.names.iter().copied())
}

const fn row(names: &'static [&'static str], passes: &'static [Pass]) -> PreTokenizer {
    PreTokenizer { names, passes, ignore_merges: false, add_bos: false, default_bos: true }
}

#[rustfmt::skip]
static TABLE: [PreTokenizer; 24] = [
    row(&["default"], &DEFAULT),
    row(&["gpt-2", "phi-2", "gigachat", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "mellum",
        "a.x-4.0", "modern-bert", "roberta-bpe", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de",
        "jina-v2-code"], &[GPT2]),
    row(&["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[DIGITS, GPT2]),
    PreTokenizer { ignore_merges: true, add_bos: true, ..row(&["llama3", "llama-v3", "llama-bpe", "falcon3",
        "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"], &[LLAMA3]) },
    row(&["dbrx", "smaug-bpe"], &[LLAMA3]),
    PreTokenizer { default_bos: false, ..row(&["chatglm-bpe"], &[LLAMA3]) },
    PreTokenizer { default_bos: false, ignore_merges: true, ..row(&["glm4", "glm5"], &[LLAMA3]) },
    PreTokenizer { ignore_merges: true, ..row(&["minicpm5"], &[DIGIT_TRIPLES, MINICPM5]) },
    row(&["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        &[QWEN2]),
    row(&["laguna"], &[LINES, QWEN2]),
    row(&["qwen35"], &[QWEN35]),
    row(&["bailingmoe", "bailingmoe2", "llada-moe"], &[QWEN2]), // `\s*[\r\n]` ends where `\s*[\r\n]+` does
    row(&["seed-coder"], &[SEED_CODER]),
    row(&["ufakzeka"], &[UFAKZEKA]),
    row(&["falcon"], &[FALCON_PUNCTUATION, GPT2, ASCII_DIGIT_TRIPLES]),
    row(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    row(&["viking"], &[BLOOM, DIGITS]),
    row(&["deepseek-llm"], &DEEPSEEK_LLM),
    row(&["deepseek-coder"], &DEEPSEEK_CODER),
    row(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[DIGIT_TRIPLES, HAN_AND_KANA, DEEPSEEK_V3]),
    row(&["spark2_5"], &[DIGIT_TRIPLES, HAN_AND_KANA, SPARK, DIGITS]),
    PreTokenizer { ignore_merges: true, add_bos: true, ..row(&["tekken"], &[TEKKEN]) },
    row(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    PreTokenizer { ignore_merges: true, ..row(&["granite-embed-multi-97m"], &[GPT4O]) },
];

/// `body+`
const fn some(body: Class) -> Rule {
    Rule::Run { lead: None, body, min: 1, max: usize::MAX, tail: None }
}

/// `body{1,max}`
const fn up_to(max: usize, body: Class) -> Rule {
    Rule::Run { lead: None, body, min: 1, max, tail: None }
}

/// `lead?body+`
const fn led(lead: Class, body: Class) -> Rule {
    Rule::Run { lead: Some(lead), body, min: 1, max: usize::MAX, tail: None }
}

/// `lead?body+tail*`
const fn led_tailed(lead: Class, body: Class, tail: Class) -> Rule {
    Rule::Run { lead: Some(lead), body, min: 1, max: usize::MAX, tail: Some(tail) }
}

const SPACE: Class = |c| c == ' ';
const CONTRACTION: Rule = Contraction { any_case: false };
const ANY_CASE_CONTRACTION: Rule = Contraction { any_case: true };

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
const GPT2: Pass =
    Pass::Rules(&[CONTRACTION, led(SPACE, is_letter), led(SPACE, is_number), led(SPACE, is_other), SpaceBeforeWord]);

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+`
const LLAMA3: Pass = Pass::Rules(&[
    ANY_CASE_CONTRACTION,
    led(is_word_lead, is_letter),
    up_to(3, is_number),
    led_tailed(SPACE, is_other, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As llama3, but `\p{N}`.
const QWEN2: Pass = Pass::Rules(&[
    ANY_CASE_CONTRACTION,
    led(is_word_lead, is_letter),
    up_to(1, is_number),
    led_tailed(SPACE, is_other, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As qwen2, but `\p{N}+`.
const MINICPM5: Pass = Pass::Rules(&[
    ANY_CASE_CONTRACTION,
    led(is_word_lead, is_letter),
    some(is_number),
    led_tailed(SPACE, is_other, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As qwen2, but marks go with letters: `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+` and ` ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*`.
const QWEN35: Pass = Pass::Rules(&[
    ANY_CASE_CONTRACTION,
    led(is_word_lead, is_letter_or_mark),
    up_to(1, is_number),
    led_tailed(SPACE, is_other_no_mark, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As qwen2, but ` ?[^\s\p{L}\p{N}]+` takes no newlines.
const SEED_CODER: Pass = Pass::Rules(&[
    ANY_CASE_CONTRACTION,
    led(is_word_lead, is_letter),
    up_to(1, is_number),
    led(SPACE, is_other),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As qwen2, but without contractions.
const UFAKZEKA: Pass = Pass::Rules(&[
    led(is_word_lead, is_letter),
    up_to(1, is_number),
    led_tailed(SPACE, is_other, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|
/// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|
/// \s*[\r\n]+|\s+(?!\S)|\s+`
const TEKKEN: Pass = Pass::Rules(&[
    Cased { lead: is_word_lead, upper: is_upper, lower: is_lower, contraction: false },
    up_to(1, is_number),
    led_tailed(SPACE, is_other, NEWLINE_OR_SLASH),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As tekken, but a contraction belongs to its word, and `\p{N}{1,3}`.
const GPT4O: Pass = Pass::Rules(&[
    Cased { lead: is_word_lead, upper: is_upper, lower: is_lower, contraction: true },
    up_to(3, is_number),
    led_tailed(SPACE, is_other, NEWLINE_OR_SLASH),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

const NEWLINE_OR_SLASH: Class = |c| is_newline(c) || c == '/';

/// `\p{N}`
const DIGITS: Pass = Pass::Rules(&[up_to(1, is_number)]);
/// `\p{N}{1,3}`
const DIGIT_TRIPLES: Pass = Pass::Rules(&[up_to(3, is_number)]);
/// `[0-9][0-9][0-9]`
const ASCII_DIGIT_TRIPLES: Pass =
    Pass::Rules(&[Rule::Run { lead: None, body: |c| c.is_ascii_digit(), min: 3, max: 3, tail: None }]);
/// `[^\n]+|[\n]+`
const LINES: Pass = Pass::Rules(&[some(|c| c != '\n'), some(|c| c == '\n')]);
/// `[\r\n]`
const NEWLINE: Pass = Pass::Rules(&[up_to(1, is_newline)]);

/// `[\p{P}$+<=>^~|`]+`
const FALCON_PUNCTUATION: Pass = Pass::Rules(&[some(|c| is_punctuation(c) || "$+<=>^~|`".contains(c))]);

const DEFAULT: [Pass; 4] = [
    // `[\p{P}$+<=>^~|]+`
    Pass::Rules(&[some(|c| is_punctuation(c) || "$+<=>^~|".contains(c))]),
    GPT2,
    // `\p{N}+`
    Pass::Rules(&[some(is_number)]),
    ASCII_DIGIT_TRIPLES,
];

/// ` ?[^(\s|.,!?…。，、।۔،)]+`: the parentheses and the bar stand inside the brackets.
const BLOOM: Pass = Pass::Rules(&[led(SPACE, |c| !is_space(c) && !"(|.,!?…。，、।۔،)".contains(c))]);

/// `[一-龥ࠀ-一가-퟿]+`
const EAST_ASIAN: Pass = Pass::Rules(&[some(|c| matches!(c, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}'))]);

const DEEPSEEK_LLM: [Pass; 6] = [
    NEWLINE,
    Pass::Rules(&[led(is_space, is_listed_letter)]),
    // `\s?[!-/:-~！-／：-～‘-‟　-。]+`
    Pass::Rules(&[led(
        is_space,
        |c| matches!(c, '!'..='/' | ':'..='~' | '！'..='／' | '：'..='～' | '‘'..='‟' | '\u{3000}'..='。'),
    )]),
    Pass::TrailingSpace,
    EAST_ASIAN,
    Pass::Rules(&[some(is_number)]),
];

const DEEPSEEK_CODER: [Pass; 5] = [
    NEWLINE,
    Pass::Rules(&[led(is_space, is_letter)]),
    Pass::Rules(&[led(is_space, is_punctuation)]),
    EAST_ASIAN,
    DIGITS,
];

/// `[一-龥぀-ゟ゠-ヿ]+`
const HAN_AND_KANA: Pass = Pass::Rules(&[some(|c| matches!(c, '一'..='龥' | '\u{3040}'..='\u{30ff}'))]);

/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+``
const PUNCTUATED: Rule = Pair { first: |c| c.is_ascii_punctuation(), body: |c| c.is_ascii_alphabetic() };

/// The above, then `[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const DEEPSEEK_V3: Pass = Pass::Rules(&[
    PUNCTUATED,
    led(is_word_lead_no_symbol, is_letter_or_mark),
    led_tailed(SPACE, is_punctuation_or_symbol, is_newline),
    Newlines,
    SpaceBeforeWord,
    some(is_space),
]);

/// As deepseek-v3, but every newline on its own: `| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`
const SPARK: Pass = Pass::Rules(&[
    PUNCTUATED,
    led(is_word_lead_no_symbol, is_letter_or_mark),
    led(SPACE, is_punctuation_or_symbol),
    up_to(1, is_newline),
    SpaceBeforeWord,
    some(is_space),
]);
