#!/usr/bin/env python3
"""Damages a good model in some hundred ways and opens every one: the answer is always a model or a named error.

    PYTHONPATH=bindings/python/src python tests/real/hostile_files.py MODEL.gguf --cli target/release/pumice [--count 150]

The damage: cut off in the header and in the data; counts, lengths, dimensions, types and offsets set to extremes;
entries of keys and tensors, and offsets, swapped; keys renamed; random bits flipped (--count times, from --seed).

Each file is opened by the command line (Rust) and by the Python package (which is the C library underneath) and, if it
opens, two tokens are computed with it. Both run with little address space, so that a size taken from the file cannot
take the machine's memory. Fails if a process dies by a signal, panics, hangs, says something else than one line,
reports an internal error, or if the two disagree on whether the file is usable.

Needs the `pumice` package and its library; standard library otherwise. Takes half a minute for 100 MB, and as much
disk space as the model.
"""

import argparse
import json
import math
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gguf_header

PROMPT = "Once upon a time"
SECONDS = 30
EXTREMES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
# What a file may be refused with, as the Python package and pumice.h name it. INVALID and CONTEXT_FULL: it opens, and
# then has fewer tokens or positions than the prompt.
REFUSALS = {"FORMAT", "UNSUPPORTED", "IO", "NO_MEMORY", "NOT_FOUND", "INVALID", "CONTEXT_FULL"}


def mutants(head: bytes, layout: gguf_header.Header, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged headers, as long as the original, each with what was done to it."""

    def put(at: int, code: str, value: int) -> bytes:
        raw = struct.pack("<" + code, value % 2 ** (8 * struct.calcsize(code)))
        return head[:at] + raw + head[at + len(raw) :]

    def swap(a: tuple[int, int], b: tuple[int, int]) -> bytes:
        """Exchange two ranges that do not overlap, `a` before `b`."""
        parts = head[: a[0]], head[b[0] : b[1]], head[a[1] : b[0]], head[a[0] : a[1]], head[b[1] :]
        return b"".join(parts)

    rng = random.Random(seed)
    yield "nothing", head
    yield "magic", b"GGML" + head[4:]
    for version in (0, 1, 2, 4, 3 << 24):
        yield f"version {version}", put(4, "I", version)
    for what, at in (("tensor", 8), ("key", 16)):
        for extreme in EXTREMES:
            yield f"{what} count {extreme}", put(at, "Q", extreme)

    for key in layout.keys:
        yield f"{key.name} renamed", put(key.start + 8, "B", ord("X"))
        for kind in (4, 6, 8, 9, 13):
            if kind != key.type:
                yield f"{key.name} of type {kind}", put(key.type_at, "I", kind)
        if key.type == gguf_header.STRING or key.type == gguf_header.ARRAY:
            at = key.value_at + (4 if key.type == gguf_header.ARRAY else 0)
            for extreme in (0, 2**32, 2**63, 2**64 - 1):
                yield f"{key.name} of length {extreme}", put(at, "Q", extreme)
        elif key.type in gguf_header.SCALARS:
            code = gguf_header.SCALARS[key.type]
            integer = {"f": "I", "d": "Q"}.get(code, code)  # all bits set is a NaN
            for extreme in (0, 1, 3, 2**31 - 1, 2**32 - 1):
                yield f"{key.name} = {extreme}", put(key.value_at, integer, extreme)
    for a, b in zip(layout.keys, layout.keys[1:]):
        yield f"{a.name} and {b.name} swapped", swap((a.start, a.end), (b.start, b.end))

    for tensor in rng.sample(layout.tensors, min(8, len(layout.tensors))) + layout.tensors[:2]:
        for n_dims in (0, 1, 5, 2**32 - 1):
            yield f"{tensor.name}: {n_dims} dimensions", put(tensor.dims_at - 4, "I", n_dims)
        for extreme in EXTREMES:
            yield f"{tensor.name}: dimension {extreme}", put(tensor.dims_at, "Q", extreme)
            yield f"{tensor.name}: offset {extreme}", put(tensor.offset_at, "Q", extreme)
        for kind in (0, 1, 2, 4, 12, 14, 24, 28, 39, 40, 2**31):
            yield f"{tensor.name}: type {kind}", put(tensor.type_at, "I", kind)
        yield f"{tensor.name}: renamed", put(tensor.start + 8, "B", ord("X"))
    for _ in range(10):
        a, b = sorted(rng.sample(layout.tensors, 2), key=lambda t: t.start)
        yield f"{a.name} and {b.name}: places swapped", swap((a.start, a.end), (b.start, b.end))
        yield f"{a.name} and {b.name}: offsets swapped", swap(
            (a.offset_at, a.offset_at + 8), (b.offset_at, b.offset_at + 8)
        )

    # Most of a header is vocabulary, which is robust; half of the flips go to the rest.
    tokens = max(layout.keys, key=lambda key: key.end - key.start)
    for i in range(count):
        out = bytearray(head)
        for _ in range(rng.choice([1, 1, 3, 30])):
            at = rng.randrange(len(head))
            while i % 2 and tokens.start <= at < tokens.end:
                at = rng.randrange(len(head))
            out[at] ^= 1 << rng.randrange(8)
        yield f"random flips {i} (seed {seed})", bytes(out)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


def by_cli(cli: Path, path: Path) -> str:
    """"ok", "refused", or what is wrong with the answer."""
    command = [cli, "generate", "-m", path, "-p", PROMPT, "-n", "2", "--temp", "0", "-t", "2"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL, preexec_fn=limit_memory
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        return "ok" if not said else f"success, but said {said!r}"
    if done.returncode not in (1, 2) or said.count("\n") != 1 or "internal error" in said or "panicked" in said:
        return f"exit code {done.returncode}: {said!r}"
    return "refused"


class Python:
    """A process that opens files through the Python package, one a line, and is replaced when it dies."""

    def __init__(self):
        self.process = None

    def ask(self, path: Path) -> str:
        if self.process is None:
            command = ["timeout", "600", sys.executable, __file__, "--answer"]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=limit_memory
            )
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code, self.process = self.process.wait(), None
        return f"Python died with {code}"


def most_likely(logits) -> int | None:
    """As the command line chooses: None if there is nothing to choose, since damaged weights made every logit NaN."""
    logits = list(logits)
    best = max((x for x in logits if not math.isnan(x)), default=-math.inf)
    return None if best == -math.inf else logits.index(best)


def answer() -> None:
    """The other end of `Python`."""
    import pumice

    for line in sys.stdin:
        try:
            with pumice.Model(line.rstrip("\n")) as model, pumice.Session(model, threads=2) as session:
                session.decode(model.tokenize(PROMPT))
                token = most_likely(session.logits())
                if token is not None:
                    session.decode([token])
                    token = most_likely(session.logits())
            result = "refused" if token is None else "ok"
        except pumice.Error as error:
            name = getattr(error.status, "name", str(error.status))
            result = "refused" if name in REFUSALS and str(error) else f"{name}: {error}"
        print(json.dumps(result), flush=True)


def main() -> int:
    if sys.argv[1:] == ["--answer"]:
        answer()
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cli", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    size = args.model.stat().st_size
    with open(args.model, "rb") as file:
        head = file.read(min(size, 64 << 20))
    layout = gguf_header.read(head)
    head = head[: layout.data_at]
    python, answers, failures = Python(), Counter(), []

    def check(what: str, path: Path, expected: set[str]) -> None:
        cli, other = by_cli(args.cli, path), python.ask(path)
        answers[cli if cli in ("ok", "refused") else "wrong"] += 1
        if cli != other or cli not in expected:
            failures.append(f"{what}: {cli[:300]} by the command line, {other[:300]} by Python")
            print("FAILED", failures[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.gguf"
        shutil.copyfile(args.model, path)
        for what, mutant in mutants(head, layout, args.count, args.seed):
            with open(path, "r+b") as file:
                file.write(mutant)
            check(what, path, {"ok"} if what == "nothing" else {"ok", "refused"})
        with open(path, "r+b") as file:
            file.write(head)
        # From the end to the start: the file only ever gets shorter.
        step = max(1, len(head) // 40)
        cuts = [*range(0, 41), *range(41, len(head), step), len(head) - 1, len(head), len(head) + 1]
        cuts += [size // 4, size // 2, size - 32, size - 1]
        for cut in sorted(set(cuts), reverse=True):
            with open(path, "r+b") as file:
                file.truncate(cut)
            check(f"cut off after {cut} bytes", path, {"refused"})
    print(f"{answers.total()} files: {dict(answers)}, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
