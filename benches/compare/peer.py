#!/usr/bin/env python3
"""llama.cpp's side of the comparison: what `pumice bench --json` measures, through llama-cpp-python's low-level API.

    peer.py MODEL.gguf [-t THREADS] [-p 512] [-n 64] [-d DEPTH] [-s SEQUENCES] [-r RUNS] [--kv-type f16|f32|q8_0]
    peer.py MODEL.gguf [-t THREADS] --load
    peer.py --version

Everything that is not named is as llama.cpp has it by default: mapped files, repacked weights, flash attention as it
chooses, batches of 2048 in parts of 512. Prints one JSON object. --load measures in this process, from before the model
is opened until the first token's logits are there: neither Python nor what is imported counts, in time or in memory.
"""

import argparse
import json
import random
import resource
import statistics
import sys
import time
from pathlib import Path

import llama_cpp as L

KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}


class Model:
    """A model and a context for some sequences of so many positions each."""

    def __init__(self, path, threads, positions, sequences=1, kv_type="f16"):
        self.silence = L.llama_log_callback(lambda *_: None)
        L.llama_log_set(self.silence, None)
        L.llama_backend_init()
        self.model = L.llama_model_load_from_file(str(path).encode(), L.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}")
        params = L.llama_context_default_params()
        params.n_ctx, params.n_seq_max = positions * sequences, sequences
        params.n_batch, params.n_ubatch = 2048, 512
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = KV_TYPES[kv_type]
        self.context = L.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"llama.cpp makes no context of {positions} positions")
        self.memory = L.llama_get_memory(self.context)
        self.vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))
        self.batch = L.llama_batch_init(2048, 0, 1)

    def decode(self, tokens):
        """Feeds (sequence, position, token, whether it has logits), at most 2048 at once."""
        for at in range(0, len(tokens), 2048):
            part = tokens[at : at + 2048]
            self.batch.n_tokens = len(part)
            for i, (sequence, position, token, output) in enumerate(part):
                self.batch.token[i], self.batch.pos[i] = token, position
                self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
                self.batch.logits[i] = output
            if L.llama_decode(self.context, self.batch):
                sys.exit("llama_decode failed")
        L.llama_synchronize(self.context)

    def prefix(self, tokens, depth, sequences):
        """Gives each sequence a prefix, from a token of its own on, and nothing else."""
        L.llama_memory_clear(self.memory, True)
        for s in range(sequences):
            self.decode([(s, at, tokens[s + at], at + 1 == depth) for at in range(depth)])

    def truncate(self, depth, sequences):
        for s in range(sequences):
            L.llama_memory_seq_rm(self.memory, s, depth, -1)


def rate(samples):
    return {"best": max(samples), "median": statistics.median(samples), "worst": min(samples)}


def bench(a):
    positions = a.depth + max(a.prompt, a.generate)
    model = Model(a.model, a.threads, positions, a.sequences, a.kv_type)
    numbers = random.Random(1)
    tokens = [numbers.randrange(model.vocabulary) for _ in range(positions + a.sequences)]

    def prompt(count):
        model.decode([(0, a.depth + i, tokens[a.depth + i], i + 1 == count) for i in range(count)])

    def generate(count):
        for at in range(a.depth, a.depth + count):
            model.decode([(s, at, tokens[s + at], True) for s in range(a.sequences)])

    result = {"threads": a.threads, "depth": a.depth, "sequences": a.sequences, "kv_type": a.kv_type}
    suffix = "" if a.sequences == 1 else f"x{a.sequences}"
    for name, run, count, sequences, warm in (
        (f"pp{a.prompt}", prompt, a.prompt, 1, 64),
        (f"tg{a.generate}{suffix}", generate, a.generate, a.sequences, 4),
    ):
        if not count:
            continue
        model.prefix(tokens, a.depth, sequences)
        run(min(count, warm))
        samples = []
        for _ in range(a.repeat):
            model.truncate(a.depth, sequences)
            begin = time.perf_counter()
            run(count)
            samples.append(count * sequences / (time.perf_counter() - begin))
        result[name] = rate(samples)
    return result


def load(a):
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    before = pages * resource.getpagesize()
    begin = time.perf_counter()
    model = Model(a.model, a.threads, 512)
    model.decode([(0, 0, 1, True)])
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "bytes": peak - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=64)
    parser.add_argument("-d", "--depth", type=int, default=0)
    parser.add_argument("-s", "--sequences", type=int, default=1)
    parser.add_argument("-r", "--repeat", type=int, default=3)
    parser.add_argument("--kv-type", choices=KV_TYPES, default="f16")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--version", action="store_true")
    a = parser.parse_args()
    if a.version:
        system = L.llama_print_system_info().decode().strip()
        result = {"llama-cpp-python": L.__version__, "llama.cpp": L.llama_version().decode(), "system": system}
    elif a.model is None:
        parser.error("no model")
    else:
        result = load(a) if a.load else bench(a)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
