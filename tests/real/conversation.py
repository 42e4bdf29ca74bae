#!/usr/bin/env python3
"""A conversation of three turns in which the third answer is in the first turn and nowhere else.

    python tests/real/conversation.py MODEL.gguf --cli target/release/pumice

`pumice chat` has to remember what it was told, over a turn about something else, and must not know it when it was not told.
Greedy, so the answers are the same on every machine. The questions are ones that SmolLM2-135M-Instruct can answer: of names
of persons, say, it makes up others.

Standard library only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

TURNS = [
    "My favourite fruit is the mango. Tell me one fact about it.",
    "How many legs does a spider have?",
    "What is my favourite fruit?",
]


def last_answer(cli: Path, model: Path, turns: list[str]) -> str:
    command = [cli, "chat", "-m", model, "--temp", "0", "-n", "100"]
    done = subprocess.run(command, input="\n".join(turns) + "\n", capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cli", type=Path, required=True)
    args = parser.parse_args()

    told = last_answer(args.cli, args.model, TURNS)
    not_told = last_answer(args.cli, args.model, TURNS[1:])
    if "mango" not in told or "mango" in not_told:
        print(f"FAILED: told its favourite fruit, the model answers {told!r}, and else {not_told!r}")
        return 1
    print(f"{args.model.name}: {told!r}, and untold {not_told!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
