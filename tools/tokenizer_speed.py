#!/usr/bin/env python3
"""How fast pumice's tokenizers are, beside the libraries that others use, on one thread and in the same process.

    pip install tokenizers tiktoken sentencepiece gguf        and npm, which fetches two of the vocabularies
    PYTHONPATH=bindings/python/src python tools/tokenizer_speed.py CACHE [--rounds 7] [--size 2] [--only NAME]

With the vocabularies of tools/compare_tokenizers.py, and of English prose, source code and Chinese and Japanese, --size
MB each: one long text to ids, the same as many lines (200 characters at most), and ids back to text. The runs
alternate; MB/s are of the fastest one, and `times` is the median of the ratios: above 1, pumice is faster. Everything
goes through the Python packages of both. The prose is tools/data/persuasion_8.txt over and over, the code that of
Python's library, the Chinese and Japanese are put together at random from the vocabulary's own words.
"""

import argparse
import os
import random
import statistics
import sys
import sysconfig
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import pumice  # noqa: E402
from compare_tokenizers import gpt1, gpt2, llama, llama1, smollm2  # noqa: E402

SOURCES = {
    "SmolLM2": smollm2,
    "GPT-2": gpt2,
    "Llama 1": llama1,
    "Llama 3": lambda cache: llama(cache, 3, "llama-bpe"),
    "GPT-1": gpt1,
}


def prose(size):
    text = (Path(__file__).parent / "data" / "persuasion_8.txt").read_text(encoding="utf-8")
    return (text * (size // len(text) + 1))[:size]


def code(size):
    parts, total = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        parts.append(path.read_text(encoding="utf-8", errors="replace"))
        total += len(parts[-1])
    return ("".join(parts) * (size // total + 1))[:size]


def east_asian(model, size):
    """Words of the vocabulary that are of ideographs and kana, with marks between; if it has none, any ideographs."""
    words = []
    for token in range(model.n_vocab):
        text = model.token_bytes(token).decode("utf-8", "ignore")
        if text and all("\u3040" <= c <= "\u9fff" for c in text):
            words.append(text)
    words = words or [chr(c) for c in range(0x4E00, 0x5200)]
    rng, parts, total = random.Random(1), [], 0
    while total < size:
        parts.append(rng.choice(words) + rng.choice([""] * 12 + ["，", "。", "、\n"]))
        total += 3 * len(parts[-1])
    return "".join(parts)


def lines_of(text):
    return [line[at : at + 200] for line in text.splitlines() for at in range(0, len(line), 200)]


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(name, what, size, ours, theirs, rounds):
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    a, b = (size / 1e6 / min(times) for times in zip(*pairs))
    times = statistics.median(theirs / ours for ours, theirs in pairs)
    print(f"{name:26} {what:20} {a:8.1f} {b:8.1f} MB/s {times:6.2f} times", flush=True)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=float, default=2, help="MB of each text")
    parser.add_argument("--only", help="the one vocabulary of this name")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    size, least = int(args.size * 1e6), []
    print(f"{'':47} {'pumice':>8} {'other':>8}")
    for name, source in SOURCES.items():
        if args.only not in (None, name):
            continue
        path, references = source(args.cache)
        with pumice.Model(path, metadata_only=True) as model:
            ours = lambda text: model.tokenize(text, add_special=False)
            for what, text in [
                ("prose", prose(size)),
                ("code", code(size)),
                ("Chinese, Japanese", east_asian(model, size)),
            ]:
                lines, n_bytes = lines_of(text), len(text.encode())
                for reference in references:
                    theirs = lambda text: reference.encode(text)
                    if theirs(text) is None:
                        theirs = lambda text: reference.model.encode(text, disallowed_special=())
                    label = f"{name}, {reference.name}"
                    least += [
                        report(label, what, n_bytes, lambda: ours(text), lambda: theirs(text), args.rounds),
                        report(
                            label,
                            "  in lines",
                            n_bytes,
                            lambda: [*map(ours, lines)],
                            lambda: [*map(theirs, lines)],
                            args.rounds,
                        ),
                    ]
                    ids = ours(text)
                    least.append(
                        report(
                            label,
                            "  back",
                            n_bytes,
                            lambda: model.detokenize(ids),
                            lambda: reference.decode(ids),
                            args.rounds,
                        )
                    )
    print(f"least: {min(least):.2f} times")


if __name__ == "__main__":
    sys.exit(main())
