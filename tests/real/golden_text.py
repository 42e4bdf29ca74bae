#!/usr/bin/env python3
"""The text that a model continues a prompt with, always taking the most likely token, is the one committed here.

    python tests/real/golden_text.py MODEL.gguf --cli target/release/pumice

tests/real/golden/<the model file's name without .gguf>.txt holds prompt and continuation of 32 tokens, as
`pumice generate --echo -p "Once upon a time" -n 32 --temp 0` prints them. The text is the same on every machine,
since logits are, to the last bit. It may change with a version that computes differently; tools/greedy.py then tells
whether each of its tokens is also the choice of an f32 run, or as good as that. --write makes the file anew.

SmolLM2-135M-Instruct.Q4_1's text has two near ties. Its fifth token is " Nova" or " New": in an f32 run of the same weights
their logits are 5.768 and 5.609, here 5.869 and 5.596; llama.cpp takes the one or the other, depending on its build (5.713
and 5.699 in one of them). Its thirtieth is " decline" or " lose": 23.419 and 23.489 in an f32 run, here 23.438 and 23.269.

Standard library only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

PROMPT = "Once upon a time"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cli", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the golden file instead of comparing with it")
    args = parser.parse_args()

    golden = Path(__file__).parent / "golden" / f"{args.model.stem}.txt"
    command = [args.cli, "generate", "-m", args.model, "--echo", "-p", PROMPT, "-n", "32", "--temp", "0"]
    runs = {}
    for threads in ("1", "2"):
        done = subprocess.run([*command, "-t", threads], capture_output=True, stdin=subprocess.DEVNULL, check=True)
        runs[threads] = done.stdout.decode()
        if done.stderr:
            print(f"FAILED: stderr is not empty: {done.stderr.decode()!r}")
            return 1
    if args.write:
        golden.write_text(runs["1"], encoding="utf-8")
    expected = golden.read_text(encoding="utf-8")
    for threads, text in runs.items():
        if text != expected:
            print(f"FAILED: with {threads} threads\n  {text!r}\ninstead of\n  {expected!r}")
            return 1
    print(f"{args.model.name}: {expected!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
