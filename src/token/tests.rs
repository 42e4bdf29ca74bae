//! Tokenizers over small vocabularies that each test builds.

use super::byte_level::CHARS;
use super::*;
use crate::map::Bytes;

/// The metadata of a file without tensors.
#[derive(Default, Clone)]
struct File {
    count: u64,
    entries: Vec<u8>,
}

impl File {
    fn entry(mut self, key: &str, ty: u32, value: &[u8]) -> File {
        self.count += 1;
        self.entries.extend(str(key.as_bytes()));
        self.entries.extend(ty.to_le_bytes());
        self.entries.extend(value);
        self
    }

    fn str(self, key: &str, value: &str) -> File {
        self.entry(key, 8, &str(value.as_bytes()))
    }

    fn u32(self, key: &str, value: u32) -> File {
        self.entry(key, 4, &value.to_le_bytes())
    }

    fn bool(self, key: &str, value: bool) -> File {
        self.entry(key, 7, &[value.into()])
    }

    fn array(self, key: &str, ty: u32, values: impl ExactSizeIterator<Item = Vec<u8>>) -> File {
        let mut bytes = ty.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.flatten());
        self.entry(key, 9, &bytes)
    }

    fn strs(self, key: &str, values: &[impl AsRef<[u8]>]) -> File {
        self.array(key, 8, values.iter().map(|value| str(value.as_ref())))
    }

    fn open(&self) -> Result<Tokenizer> {
        let mut bytes = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(&self.entries);
        Tokenizer::from_gguf(&Arc::new(Gguf::parse("test.gguf", Bytes::from_vec(bytes))?))
    }
}

fn str(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Tokens and their kinds, then the scores of SentencePiece or the merges of byte-level BPE.
fn vocab(tokens: &[(&str, i32)]) -> File {
    File::default().strs("tokenizer.ggml.tokens", &tokens.iter().map(|(text, _)| *text).collect::<Vec<_>>()).array(
        "tokenizer.ggml.token_type",
        5,
        tokens.iter().map(|(_, kind)| kind.to_le_bytes().to_vec()),
    )
}

/// The 256 bytes, then `low`, `lower`, `<|im_start|>`, `<|im_start|>user`, `<tool>`.
fn bpe(pre: &str) -> File {
    let bytes = CHARS.map(String::from);
    let mut tokens: Vec<(&str, i32)> = bytes.iter().map(|text| (text.as_str(), NORMAL)).collect();
    tokens.extend([("lo", NORMAL), ("low", NORMAL), ("er", NORMAL), ("lower", NORMAL), ("Ġlow", NORMAL)]);
    tokens.extend([("<|im_start|>", CONTROL), ("<|im_start|>user", CONTROL), ("<tool>", USER_DEFINED)]);
    vocab(&tokens)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", pre)
        .strs("tokenizer.ggml.merges", &["l o", "lo w", "e r", "low er", "Ġ low", "nospace", "", "l o"])
        .u32("tokenizer.ggml.bos_token_id", 261)
}

/// `<unk>`, `<s>`, `</s>`, the bytes if wanted, then words made of `▁`, `l`, `o`, `w`.
fn spm(with_bytes: bool) -> File {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let mut tokens = vec![("<unk>", 2), ("<s>", CONTROL), ("</s>", CONTROL)];
    tokens.extend(bytes.iter().filter(|_| with_bytes).map(|text| (text.as_str(), 6)));
    let words = ["▁", "l", "o", "w", "lo", "ow", "▁l", "▁lo", "▁low", "▁▁"];
    tokens.extend(words.iter().map(|text| (*text, NORMAL)));
    let n = tokens.len();
    let scores = (0..n).map(move |i| (-(i as f32)).to_le_bytes().to_vec());
    vocab(&tokens).str("tokenizer.ggml.model", "llama").array("tokenizer.ggml.scores", 6, scores)
}

/// The same with a token that has a space inside, so that the whole text is one piece.
fn spaced_spm() -> File {
    let tokens =
        [("<unk>", 2), ("▁", NORMAL), ("l", NORMAL), ("o", NORMAL), ("lo", NORMAL), ("o▁", NORMAL), ("▁l", NORMAL)];
    let scores = (0..tokens.len()).map(|i| (-(i as f32)).to_le_bytes().to_vec());
    vocab(&tokens).str("tokenizer.ggml.model", "llama").array("tokenizer.ggml.scores", 6, scores)
}

/// GPT-1's kind: `<unk>`, then letters and words with and without the mark of their end.
fn words() -> File {
    let tokens =
        ["<unk>", "l", "o", "w", "l</w>", "o</w>", "w</w>", "lo", "low</w>", "low", "e", "r</w>", "er</w>", "!</w>"];
    let tokens: Vec<_> = tokens.iter().map(|text| (*text, if *text == "<unk>" { 2 } else { NORMAL })).collect();
    vocab(&tokens)
        .str("tokenizer.ggml.model", "gpt1")
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .strs("tokenizer.ggml.merges", &["l o", "lo w</w>", "lo w", "e r</w>"])
}

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSED: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
const FULL: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// The names of a text's tokens.
fn names(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> Vec<String> {
    let tokens = tokenizer.encode(text, options).unwrap();
    tokens.iter().map(|&token| String::from_utf8(tokenizer.token_name(token).unwrap().to_vec()).unwrap()).collect()
}

/// Random text of all that makes tokenizers stumble.
fn random_text(state: &mut u64) -> String {
    let mut random = |below: u32| {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*state >> 33) as u32 % below
    };
    let known =
        ["lower", " low", "'ll", "\r\n", "  ", "é", "e\u{301}", "👨‍👩‍👧", "日本", "12345", "▁", "\0", "Ġ", "ª", "ǅ"];
    let length = random(20);
    let mut text = String::new();
    for _ in 0..length {
        match random(3) {
            0 => text.extend(char::from_u32(random(0x110000))),
            1 => text.extend(char::from_u32(random(0x3000))),
            _ => text.push_str(known[random(known.len() as u32) as usize]),
        }
    }
    text
}

#[test]
fn merges_apply_in_their_order() {
    let tokenizer = bpe("gpt-2").open().unwrap();
    assert_eq!(names(&tokenizer, "lower low slow", PLAIN), ["lower", "Ġlow", "Ġ", "s", "low"]);
    let tokenizer = spm(true).open().unwrap();
    // `lo` has a higher score than `ow` and `▁l`, and `▁lo` is made before `▁low`.
    assert_eq!(names(&tokenizer, "low  low", PLAIN), ["▁low", "▁", "▁low"]);
    assert_eq!(names(&tokenizer, "oé\n", PLAIN), ["▁", "o", "<0xC3>", "<0xA9>", "<0x0A>"]);
}

#[test]
fn special_tokens_are_read_from_text_only_on_demand() {
    let tokenizer = bpe("gpt-2").open().unwrap();
    assert_eq!(
        names(&tokenizer, "<|im_start|>x<|im_start|>user<tool>", PARSED),
        ["<|im_start|>", "x", "<|im_start|>user", "<tool>"]
    );
    let plain = tokenizer.encode("<|im_start|><tool>", PLAIN).unwrap();
    assert_eq!((plain.len(), plain[12]), (13, 263)); // twelve letters, and the user-defined token even so
    assert_eq!(tokenizer.decode(&plain, false).unwrap(), b"<|im_start|><tool>");
    assert_eq!(tokenizer.decode(&[261, 263], false).unwrap(), b"<tool>");
    assert_eq!(tokenizer.decode(&[261, 263], true).unwrap(), b"<|im_start|><tool>");
    assert_eq!(tokenizer.kind(261), Some(TokenKind::Control));
    assert_eq!((tokenizer.kind(263), tokenizer.kind(264)), (Some(TokenKind::UserDefined), None));
}

#[test]
fn beginning_and_end_are_added_as_the_file_says_and_never_doubled() {
    let tokenizer = bpe("gpt-2").open().unwrap();
    assert!(!tokenizer.adds_bos() && !tokenizer.adds_eos());
    assert_eq!(names(&tokenizer, "a", FULL), ["a"]);
    let file = bpe("gpt-2").bool("tokenizer.ggml.add_bos_token", true).bool("tokenizer.ggml.add_eos_token", true);
    let tokenizer = file.u32("tokenizer.ggml.eos_token_id", 262).open().unwrap();
    let (bos, eos) = ("<|im_start|>", "<|im_start|>user");
    assert_eq!(names(&tokenizer, "a", FULL), [bos, "a", eos]);
    assert_eq!(names(&tokenizer, "<|im_start|>a<|im_start|>user", FULL), [bos, "a", eos]);
    assert_eq!(names(&tokenizer, "", FULL), [bos, eos]);
    assert_eq!(names(&bpe("llama-bpe").open().unwrap(), "a", FULL), [bos, "a"]);

    let tokenizer = spm(true).open().unwrap();
    assert_eq!(names(&tokenizer, "o<s>o", FULL), ["<s>", "▁", "o", "<s>", "▁", "o"]);
    assert_eq!(names(&tokenizer, "<s>o", FULL), ["<s>", "▁", "o"]);
    let file = spm(true).bool("tokenizer.ggml.add_space_prefix", false);
    let tokenizer = file.bool("tokenizer.ggml.add_bos_token", false).open().unwrap();
    assert_eq!(names(&tokenizer, "o", FULL), ["o"]);
}

#[test]
fn phi_3_strips_whitespace_behind_its_tokens() {
    let tokenizer = spm(true).str("general.name", "Phi3 mini").open().unwrap();
    assert_eq!(names(&tokenizer, "o</s> \n o<s> o", PARSED), ["▁", "o", "</s>", "▁", "o", "<s>", "▁▁", "o"]);
}

#[test]
fn bytes_that_a_vocabulary_lacks_are_unknown() {
    let tokenizer = spm(false).open().unwrap();
    assert_eq!(names(&tokenizer, "oéo", PLAIN), ["▁", "o", "<unk>", "o"]);
    let tokenizer = spm(false).u32("tokenizer.ggml.unknown_token_id", 5).open().unwrap();
    assert_eq!(tokenizer.encode("🦙", PLAIN).unwrap(), [3, 5]);

    let file =
        vocab(&[("a", NORMAL), ("b", NORMAL), ("c", NORMAL), ("ab", NORMAL)]).str("tokenizer.ggml.model", "gpt2");
    let tokenizer = file.strs("tokenizer.ggml.merges", &["a b", "ab c"]).open().unwrap();
    assert_eq!(names(&tokenizer, "ab", PLAIN), ["ab"]);
    assert_eq!(names(&tokenizer, "abc é", PLAIN), ["a", "b", "c"]); // `abc` is merged, but is no token
    assert_eq!(names(&tokenizer, "aéb", PLAIN), ["ab"]); // what lies on both sides of missing bytes is merged
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, None)); // the default, 11, is beyond it
}

#[test]
fn generation_ends_at_a_set_of_tokens() {
    let tokens = ["</s>", "<|eot_id|>", "<|return|>", "<|call|>", "<|end|>", "<|start|>", "a", "<PAD>"];
    let file = vocab(&tokens.map(|text| (text, NORMAL))).str("tokenizer.ggml.model", "gpt2");
    let file = file.strs("tokenizer.ggml.merges", &["a a"]).u32("tokenizer.ggml.eos_token_id", 6);
    let tokenizer = file.open().unwrap();
    let ends: Vec<bool> = (0..9).map(|token| tokenizer.is_eog(token)).collect();
    assert_eq!(ends, [true, true, true, true, false, false, true, true, false]);
    assert_eq!(tokenizer.special("eot"), Some(1));
    assert_eq!((tokenizer.kind(1), tokenizer.kind(4)), (Some(TokenKind::Control), Some(TokenKind::UserDefined)));
    assert_eq!((tokenizer.kind(5), tokenizer.special("nonsense")), (Some(TokenKind::UserDefined), None));
}

#[test]
fn byte_level_text_survives_the_round_trip() {
    let mut state = 1;
    for pre in split::names() {
        let tokenizer = bpe(pre).open().unwrap();
        for _ in 0..40 {
            let text = random_text(&mut state);
            let tokens = tokenizer.encode(&text, PLAIN).unwrap();
            assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text.as_bytes(), "{pre}: {text:?}");
            let mut decoder = tokenizer.decoder();
            let mut streamed = String::new();
            for token in tokens {
                streamed.push_str(decoder.push(&tokenizer, token).unwrap());
            }
            streamed.push_str(decoder.finish());
            assert_eq!(streamed, text);
        }
    }
}

#[test]
fn sentencepiece_text_survives_the_round_trip_but_for_the_space_in_front() {
    let tokenizer = spm(true).open().unwrap();
    assert!(tokenizer.adds_space_prefix());
    let mut state = 2;
    for _ in 0..500 {
        let text = random_text(&mut state);
        let tokens = tokenizer.encode(&text, PLAIN).unwrap();
        let expected = if text.is_empty() { text } else { format!(" {text}").replace('▁', " ") };
        assert_eq!(String::from_utf8(tokenizer.decode(&tokens, false).unwrap()).unwrap(), expected);
    }
}

#[test]
fn what_was_encoded_before_changes_nothing() {
    let mut state = 3;
    for file in [bpe("gpt-2"), bpe("llama-bpe"), spm(true), spm(false), spaced_spm(), words()] {
        let used = file.open().unwrap();
        for _ in 0..100 {
            let text = random_text(&mut state);
            let tokens = file.open().unwrap().encode(&text, PARSED).unwrap();
            assert_eq!(used.encode(&text, PARSED).unwrap(), tokens, "{text:?}");
            assert_eq!(used.encode(&text, PARSED).unwrap(), tokens, "{text:?}");
        }
    }
    // A word that is a token, and yet comes out as others.
    let file =
        vocab(&["a", "b", "c", "ab", "abc", "bc"].map(|text| (text, NORMAL))).str("tokenizer.ggml.model", "gpt2");
    let tokenizer = file.strs("tokenizer.ggml.merges", &["a b", "b c"]).open().unwrap();
    for _ in 0..3 {
        assert_eq!(names(&tokenizer, "abc", PLAIN), ["ab", "c"]);
        assert_eq!(names(&tokenizer, "bc", PLAIN), ["bc"]);
    }
}

/// What texts without any structure are made of.
const UNITS: [&str; 18] = [
    "a",
    "A",
    "lA",
    " ",
    "\n",
    "\r",
    " \n",
    "7",
    "🦙",
    "日A",
    "low",
    "\u{301}",
    "'",
    ".",
    "<|im_start|>",
    "<|",
    "▁",
    "\u{a0}\t",
];

#[test]
fn work_grows_as_the_text_does() {
    let mut tokenizers: Vec<(&str, Tokenizer)> = split::names().map(|pre| (pre, bpe(pre).open().unwrap())).collect();
    tokenizers.push(("words of pieces", spm(true).open().unwrap()));
    tokenizers.push(("pieces", spaced_spm().open().unwrap()));
    tokenizers.push(("words", words().open().unwrap()));
    for (name, tokenizer) in &tokenizers {
        for unit in UNITS {
            let work = |times| {
                let text = unit.repeat(times);
                let (mut tokens, mut decoder) = (Vec::new(), tokenizer.decoder());
                let encode = work::steps(|| tokens = tokenizer.encode(&text, PARSED).unwrap());
                let decode = work::steps(|| drop(tokenizer.decode(&tokens, true).unwrap()));
                let stream = work::steps(|| {
                    tokens.iter().for_each(|&token| assert!(decoder.push(tokenizer, token).is_ok()));
                });
                [encode, decode, stream]
            };
            let (once, twice) = (work(3000), work(6000));
            assert!(once[0] >= 3000 || unit.starts_with('<') || *name == "words", "{name}, {unit:?}: {once:?} steps");
            for (once, twice) in once.into_iter().zip(twice) {
                assert!(twice <= 2 * once + 100, "{name}, {unit:?}: {once} steps, and {twice} for twice the text");
            }
        }
    }
}

/// A quadratic step would take minutes here.
#[test]
fn a_megabyte_without_any_structure_is_encoded() {
    // Each kind of rule is in one of these.
    let pres = ["default", "llama-bpe", "gpt-4o", "deepseek-llm", "deepseek-v3"];
    let tokenizers = pres.map(|pre| bpe(pre).open().unwrap());
    let others = [spm(true), spaced_spm(), words()].map(|file| file.open().unwrap());
    for unit in UNITS {
        let text = unit.repeat((1 << 20) / unit.len());
        for tokenizer in &tokenizers {
            let tokens = tokenizer.encode(&text, PARSED).unwrap();
            assert!(tokenizer.decode(&tokens, true).unwrap() == text.as_bytes(), "{unit:?}");
        }
        for tokenizer in &others {
            let tokens = tokenizer.encode(&text, PARSED).unwrap();
            assert!(tokenizer.decode(&tokens, true).unwrap().len() <= 7 * tokens.len()); // the longest is `<0x0A>`
        }
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let bad_key = |result: Result<Tokenizer>| match result.unwrap_err() {
        Error::BadKey { key, .. } | Error::MissingKey { key, .. } => {
            key.trim_start_matches("tokenizer.ggml.").to_owned()
        }
        other => panic!("{other}"),
    };
    let tokens = || vocab(&[("a", NORMAL), ("b", NORMAL)]);
    let (gpt2, llama) = (("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.model", "llama"));
    assert!(matches!(tokens().open(), Err(Error::NoTokenizer { .. })));
    assert!(matches!(tokens().str("tokenizer.ggml.model", "none").open(), Err(Error::NoTokenizer { .. })));
    let unsupported = tokens().str("tokenizer.ggml.model", "bert").open();
    assert!(matches!(unsupported, Err(Error::Unsupported { what: "tokenizer", .. })));
    let Err(Error::Unsupported { what: "pre-tokenizer", found, supported, .. }) = bpe("klingon").open() else {
        panic!()
    };
    assert!(found == "klingon" && supported.contains("gpt-2, "));

    assert_eq!(bad_key(File::default().str(gpt2.0, gpt2.1).open()), "tokens");
    assert_eq!(bad_key(vocab(&[]).str(gpt2.0, gpt2.1).open()), "tokens");
    assert_eq!(bad_key(tokens().str(gpt2.0, gpt2.1).open()), "merges");
    let numbers = |n: usize| std::iter::repeat_n(1i32.to_le_bytes().to_vec(), n);
    assert_eq!(bad_key(tokens().str(gpt2.0, gpt2.1).array("tokenizer.ggml.merges", 5, numbers(2)).open()), "merges");
    assert_eq!(bad_key(tokens().str(llama.0, llama.1).open()), "scores");
    assert_eq!(bad_key(tokens().str(llama.0, llama.1).array("tokenizer.ggml.scores", 5, numbers(1)).open()), "scores");
    assert!(tokens().str(llama.0, llama.1).array("tokenizer.ggml.scores", 5, numbers(2)).open().is_ok());
    let short = File::default().strs("tokenizer.ggml.tokens", &["a", "b"]).str(llama.0, llama.1);
    assert_eq!(bad_key(short.array("tokenizer.ggml.token_type", 5, numbers(1)).open()), "token_type");
    assert_eq!(bad_key(bpe("gpt-2").str("tokenizer.ggml.eos_token_id", "x").open()), "eos_token_id");

    let tokenizer = bpe("gpt-2").u32("tokenizer.ggml.eos_token_id", 264).open().unwrap();
    assert_eq!(tokenizer.eos(), Some(11)); // beyond the vocabulary: as if the key were not there
    let error = tokenizer.token_bytes(264).unwrap_err();
    assert!(matches!(error, Error::TokenOutOfRange { token: 264, n_vocab: 264 }));
}

#[test]
fn words_are_lowered_and_carry_their_ends() {
    let tokenizer = words().open().unwrap();
    assert_eq!(names(&tokenizer, " Low  LÖWER!w", FULL), ["low</w>", "low", "er</w>", "!</w>", "w</w>"]);
    assert_eq!(names(&tokenizer, "lox ro", FULL), ["lo", "<unk>", "<unk>", "o</w>"]);
    assert_eq!(names(&tokenizer, "<unk>", PARSED), ["<unk>"]);
    let tokens = tokenizer.encode("Low lower!", FULL).unwrap();
    assert_eq!(tokenizer.decode(&tokens, false).unwrap(), b"low lower ! ");
    assert!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()) == (None, None, false));
    let tokens = tokenizer.encode(&"low".repeat(1 << 18), FULL).unwrap();
    assert_eq!(tokens.len(), 1 << 18);
}

#[test]
fn tokens_need_be_neither_text_nor_unique() {
    let file = File::default().str("tokenizer.ggml.model", "gpt2").strs("tokenizer.ggml.merges", &[b"a b"]);
    let tokens: [&[u8]; 7] = [b"", b"a", b"\xff\xfe", b"", b"b", b"a", "日".as_bytes()];
    let tokenizer = file.strs("tokenizer.ggml.tokens", &tokens).open().unwrap();
    assert_eq!(tokenizer.encode("ba", PLAIN).unwrap(), [4, 5]);
    assert_eq!(tokenizer.decode(&[2, 3, 6], false).unwrap(), b"\xff\xfe\xe6\x97\xa5");
    let mut decoder = tokenizer.decoder();
    assert_eq!(decoder.push(&tokenizer, 2).unwrap(), "\u{fffd}\u{fffd}");
}
