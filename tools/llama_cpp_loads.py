#!/usr/bin/env python3
"""Load what `pumice convert` makes of fixtures in llama.cpp: the same argmax at every position.

Needs numpy and xllamacpp (llama.cpp in a wheel), by hand:

    python3 tools/llama_cpp_loads.py [FIXTURE ...]

Expected are the logits of `transformers` that the fixtures have. Only GPT-2's and Llama's files are for llama.cpp, which
keeps keys and values as f32 here.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import xllamacpp

ROOT = pathlib.Path(__file__).parent.parent


def log_probabilities(file, tokens, n_vocab):
    """[position][n_vocab], each position from a prompt of its own."""
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel, params.warmup = 64, 1, False
    params.cpuparams.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    rows = np.full((len(tokens), n_vocab), -np.inf, np.float32)
    for position in range(len(tokens)):
        answer = server.handle_completions({
            "prompt": tokens[: position + 1], "n_predict": 1, "n_probs": n_vocab, "temperature": 0, "cache_prompt": False,
            "logit_bias": [[tokens[-1], 1000]],  # chosen and shown, whatever is likely: a full stop
        })
        for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            rows[position, entry["id"]] = entry["logprob"]
    return rows


def main():
    failed = False
    for name in sys.argv[1:] or ["gpt2", "gpt2-untied", "llama1", "llama2", "llama3"]:
        folder = ROOT / "tests/fixtures" / name
        expected = json.loads((folder / "expected.json").read_text())
        logits = np.fromfile(folder / "logits.f32", dtype="<f4").reshape(-1, expected["n_vocab"])
        truth = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(
            1, keepdims=True
        )
        for ty in ["f32", "f16", "q8_0"]:
            with tempfile.TemporaryDirectory() as out:
                file = f"{out}/{name}.gguf"
                subprocess.run([ROOT / "target/release/pumice", "convert", folder, file, "--type", ty], check=True)
                found = log_probabilities(file, expected["tokens"], expected["n_vocab"])
            same = int((found.argmax(1) == truth.argmax(1)).sum())
            finite = np.isfinite(found)
            error = np.abs(found - truth)[finite].max() / np.ptp(logits)
            failed |= ty == "f32" and same < len(truth)
            print(f"{name} {ty}: argmax {same} of {len(truth)}, log-probabilities within {error:.1e} of the spread")
    sys.exit(failed)


if __name__ == "__main__":
    main()
