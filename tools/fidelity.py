#!/usr/bin/env python3
"""How faithful pumice is to the weights in a file: its logits against an f32 run of the same weights, dequantized.

    PYTHONPATH=bindings/python/src python tools/fidelity.py MODEL.gguf [--text FILE] [--tokens 1000] [--no-llama-cpp]

Feeds the text (a chapter of Jane Austen's Persuasion, tools/data/persuasion_8.txt) teacher-forced: every
position's logits, given the true text so far, with up to --tokens tokens of context, BOS in front for all if the
model wants one. Reports, for pumice and for llama.cpp on the same tokens in the same run,

    KL          the mean Kullback-Leibler divergence of the distribution from f32's, in nats
    argmax      the share of positions whose most likely token is f32's
    perplexity  of the text, and by how much it is off f32's

and exits with 1 unless pumice's KL is at most 1.05 times llama.cpp's (0.0042 with --no-llama-cpp: what llama.cpp has on
SmolLM2-135M Q4_1, with a margin) and its perplexity is within 0.5 % of f32's.

Needs `numpy`, `torch`, `transformers`, `accelerate` and `gguf` for the f32 run, `llama-cpp-python` for llama.cpp, and
the `pumice` package and its library. Memory: the weights in f32 and four bytes a vocabulary entry and position for
each runtime; SmolLM2-135M takes 2.5 GB and a minute or two.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pumice

TEXT = Path(__file__).parent / "data" / "persuasion_8.txt"


def run_f32(path: Path, tokens: list[int], threads: int) -> np.ndarray:
    os.environ["TQDM_DISABLE"] = "1"  # no progress bars
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def run_llama_cpp(path: Path, tokens: list[int], threads: int) -> np.ndarray:
    from llama_cpp import Llama

    threads = {"n_threads": threads, "n_threads_batch": threads}
    model = Llama(str(path), n_ctx=len(tokens), logits_all=True, verbose=False, **threads)
    model.eval(tokens)
    return model.scores[: len(tokens)].copy()


def run_pumice(model: pumice.Model, tokens: list[int], threads: int) -> np.ndarray:
    with model.session(threads=threads) as session:
        session.decode_all(tokens)
        return np.array([session.logits(i) for i in range(len(tokens))], np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    x = logits.astype(np.float64)
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def compare(logits: np.ndarray, truth: np.ndarray, tokens: list[int]) -> dict[str, float]:
    """`logits` against `truth`, both [position, vocabulary]; position i is followed by token i + 1."""
    divergence, agree, likelihood = [], [], []
    for i, following in enumerate(tokens[1:]):
        ours, exact = log_softmax(logits[i]), log_softmax(truth[i])
        divergence.append(float((np.exp(exact) * (exact - ours)).sum()))
        agree.append(ours.argmax() == exact.argmax())
        likelihood.append(ours[following])
    return {
        "kl": float(np.mean(divergence)),
        "argmax": float(np.mean(agree)),
        "perplexity": float(np.exp(-np.mean(likelihood))),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-llama-cpp", action="store_true", help="compare with a fixed bound instead")
    args = parser.parse_args()

    model = pumice.Model(args.model)
    tokens = model.tokenize(args.text.read_text(encoding="utf-8"), add_special=True)[: args.tokens]
    truth = run_f32(args.model, tokens, args.threads)
    exact = compare(truth, truth, tokens)["perplexity"]
    results = {"pumice": compare(run_pumice(model, tokens, args.threads), truth, tokens)}
    if not args.no_llama_cpp:
        results["llama.cpp"] = compare(run_llama_cpp(args.model, tokens, args.threads), truth, tokens)

    print(f"{args.model.name}, {len(tokens)} tokens of {args.text.name}")
    print(f"{'':<10} {'KL':>9} {'argmax':>8} {'perplexity':>11} {'off f32':>8}")
    print(f"{'f32':<10} {0:9.6f} {1:8.2%} {exact:11.4f} {0:8.3%}")
    for name, r in results.items():
        off = r["perplexity"] / exact - 1
        print(f"{name:<10} {r['kl']:9.6f} {r['argmax']:8.2%} {r['perplexity']:11.4f} {off:+8.3%}")

    ours = results["pumice"]
    bound = 0.0042 if args.no_llama_cpp else 1.05 * results["llama.cpp"]["kl"]
    failures = []
    if not ours["kl"] <= bound:
        failures.append(f"KL {ours['kl']:.6f} is above {bound:.6f}")
    if not abs(ours["perplexity"] / exact - 1) <= 0.005:
        failures.append("the perplexity is more than 0.5 % off f32's")
    for failure in failures:
        print("FAILED:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
