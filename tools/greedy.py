#!/usr/bin/env python3
"""Whether pumice's greedy text is f32's too, and where it is not, by how little.

    PYTHONPATH=bindings/python/src python tools/greedy.py MODEL.gguf [--prompt TEXT] [-n 32] [--margin 0.15]

Lets pumice continue the prompt, always with the most likely token, and gives the f32 run (of the same weights,
dequantized) the same text: at each token whose f32 logit is not the greatest, it may be --margin below the greatest at
most; more fails. The same figures are printed for llama.cpp's greedy text. Needs what tools/fidelity.py needs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pumice
from fidelity import run_f32


def greedy_pumice(model: pumice.Model, tokens: list[int], n: int) -> list[int]:
    session = pumice.Session(model)
    out: list[int] = []
    session.decode(tokens)
    for _ in range(n):
        out.append(int(np.argmax(session.logits())))
        session.decode([out[-1]])
    return out


def greedy_llama_cpp(path: Path, tokens: list[int], n: int) -> list[int]:
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=len(tokens) + n, logits_all=True, verbose=False)
    out: list[int] = []
    model.eval(tokens)
    for _ in range(n):
        out.append(int(model.scores[model.n_tokens - 1].argmax()))
        model.eval([out[-1]])
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("-n", type=int, default=32)
    parser.add_argument("--margin", type=float, default=0.15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-llama-cpp", action="store_true")
    args = parser.parse_args()

    model = pumice.Model(args.model)
    prompt = model.tokenize(args.prompt, add_special=True)
    texts = {"pumice": greedy_pumice(model, prompt, args.n)}
    if not args.no_llama_cpp:
        texts["llama.cpp"] = greedy_llama_cpp(args.model, prompt, args.n)

    def show(token: int) -> str:
        return repr(model.detokenize([token]))

    worst = {}
    for name, text in texts.items():
        print(f"{name}: {model.detokenize(text)!r}")
        logits = run_f32(args.model, prompt + text, args.threads)[len(prompt) - 1 :]
        worst[name] = 0.0
        for i, (token, row) in enumerate(zip(text, logits)):
            best = int(row.argmax())
            if token != best:
                worst[name] = max(worst[name], float(row[best] - row[token]))
                print(f"  token {i}: {show(token)} (f32 {row[token]:.3f}), f32 prefers {show(best)} ({row[best]:.3f})")
        print(f"  at most {worst[name]:.3f} below f32's choice")
    if worst["pumice"] > args.margin:
        print(f"FAILED: above {args.margin}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
