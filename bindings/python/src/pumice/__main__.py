"""Streams text on a terminal: ``python -m pumice MODEL PROMPT``."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from typing import List, Optional

from .errors import Error
from .library import version
from .model import Model


def _arguments(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pumice", description="Streams the text that follows a prompt.")
    parser.add_argument("model", metavar="MODEL", help="a GGUF file")
    parser.add_argument("prompt", metavar="PROMPT", help="the text to go on from; - reads it from stdin")
    parser.add_argument("-n", "--max-tokens", type=int, default=0, metavar="N", help="tokens at most; 0: no bound")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 always takes the most likely token")
    parser.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same text")
    parser.add_argument("--threads", type=int, metavar="N", help="threads; 0: as many as this process may use")
    parser.add_argument("--n-ctx", type=int, metavar="N", help="positions; 0: as many as the model was trained on")
    parser.add_argument("--chat", action="store_true", help="the prompt is a message, by the model's chat template")
    parser.add_argument("--system", metavar="TEXT", help="what the assistant is told before; with --chat")
    parser.add_argument("--version", action="version", version=f"pumice {version()}")
    return parser.parse_args(arguments)


def _stream(options: argparse.Namespace) -> None:
    prompt = sys.stdin.buffer.read().decode() if options.prompt == "-" else options.prompt
    # Every run has its own text, unless a seed is asked for.
    sampling = {"temperature": options.temperature, "seed": options.seed}
    if options.seed is None:
        sampling["seed"] = secrets.randbits(63)
    with Model(options.model) as model, model.session(n_ctx=options.n_ctx, threads=options.threads) as session:
        if options.chat or options.system is not None:
            messages = [{"role": "user", "content": prompt}]
            if options.system is not None:
                messages.insert(0, {"role": "system", "content": options.system})
            stream = session.chat(messages, max_tokens=options.max_tokens, **sampling)
        else:
            stream = session.generate(prompt, max_tokens=options.max_tokens, **sampling)
        for text in stream:
            print(text, end="", flush=True)
        print()


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command line; gives the exit code."""
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal may not know every character
        _stream(_arguments(arguments))
        return 0
    except KeyboardInterrupt:
        print(flush=True)
        return 130
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Error, OSError, ValueError, OverflowError) as error:
        print(f"pumice: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
