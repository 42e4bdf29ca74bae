#!/usr/bin/env python3
"""Compares builds of pumice with each other: their libraries in one process, a token or a prompt of each in turn.

    builds.py MODEL.gguf before=FOLDER/libpumice_capi.so after=target/release/libpumice_capi.so [--turns 60]

A memory's or a clock's speed may change within seconds, as neighbours come and go, by more than a change of a kernel
makes. Turns of some tens of milliseconds meet all of that alike: what differs by a hundredth is seen. Before and after
each turn, all threads read half a gigabyte with a plain loop, in large pages if there are; the turns are shown together,
and as the half of them with slow memory and the half with fast. Ratios are medians of the turns' ratios to the first build.
"""

import argparse
import contextlib
import ctypes
import mmap
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from results import machine

READ = 512 << 20
# What is fed: any tokens that every vocabulary has.
TOKENS = range(1, 32)


class Build:
    """A library, the model opened by it, and a session."""

    def __init__(self, text, model, options, depth):
        self.name, is_named, path = text.partition("=")
        if not is_named:
            sys.exit(f"{text}: a build is NAME=LIBRARY")
        try:
            self.pumice = ctypes.CDLL(os.path.abspath(path))
        except OSError as error:
            sys.exit(f"{self.name}: {error}")
        self.pumice.pumice_error_new.restype = ctypes.c_void_p
        self.pumice.pumice_error_message.restype = ctypes.c_char_p
        self.error = ctypes.c_void_p(self.pumice.pumice_error_new())
        self.options, self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("pumice_options_new", ctypes.byref(self.options))
        for key, value in options.items():
            if isinstance(value, int):
                self.call("pumice_options_set_int", self.options, key.encode(), ctypes.c_int64(value))
            else:
                text = value.encode()
                self.call("pumice_options_set_string", self.options, key.encode(), text, ctypes.c_size_t(len(text)))
        self.call("pumice_model_open", os.fsencode(model), None, ctypes.byref(self.model))
        self.call("pumice_session_new", self.model, self.options, ctypes.byref(self.session))
        self.depth = depth
        if depth:
            self.feed(some(depth))

    def call(self, function, *args):
        if getattr(self.pumice, function)(*args, self.error):
            sys.exit(f"{self.name}: {self.pumice.pumice_error_message(self.error).decode()}")

    def seconds(self, steps, count):
        """Of so many steps of so many tokens, after a step of one, which brings back what caches had of the model."""
        self.call("pumice_session_seq_truncate", self.session, ctypes.c_int32(0), ctypes.c_size_t(self.depth))
        self.feed(some(1))
        tokens = some(count)
        begin = time.perf_counter()
        for _ in range(steps):
            self.feed(tokens)
        return time.perf_counter() - begin

    def feed(self, tokens):
        self.call("pumice_session_decode", self.session, tokens, ctypes.c_size_t(len(tokens)))


def some(count):
    """So many tokens, as the library takes them."""
    return (ctypes.c_int32 * count)(*(TOKENS[i % len(TOKENS)] for i in range(count)))


class Memory:
    """Half a gigabyte, and threads that read it."""

    def __init__(self, threads):
        self.bytes = mmap.mmap(-1, READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux, but perhaps without them
            with contextlib.suppress(OSError):
                self.bytes.madvise(mmap.MADV_HUGEPAGE)
        self.bytes.write(bytes([1]) * READ)
        self.find = ctypes.CDLL(None).memchr
        self.find.argtypes, self.find.restype = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], ctypes.c_void_p
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        piece = -(-READ // threads)
        self.pieces = [(begin + at, min(piece, READ - at)) for at in range(0, READ, piece)]
        self.pool = ThreadPoolExecutor(threads)

    def gb_s(self):
        """What a search for a byte that is not there reads: it runs as fast as memory does."""
        begin = time.perf_counter()
        list(self.pool.map(lambda piece: self.find(piece[0], 0, piece[1]), self.pieces))
        return READ / (time.perf_counter() - begin) / 1e9


def line(builds, turns, which):
    """A row of the table: what these turns have."""
    reads = statistics.median(read for read, _ in turns)
    cells = [f"{which:12} {reads:7.1f} "]
    for build in builds:
        rate = statistics.median(rates[build.name] for _, rates in turns)
        ratio = statistics.median(rates[build.name] / rates[builds[0].name] for _, rates in turns)
        cells.append(f"{rate:9.1f} ({ratio:.3f})")
    return " ".join(cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("build", nargs="+", metavar="NAME=LIBRARY")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--prompt", type=int, metavar="TOKENS", help="a prompt of so many, not tokens one by one")
    parser.add_argument("--tokens", type=int, default=2, help="so many, one by one, in a build's turn")
    parser.add_argument("--depth", type=int, default=0, help="behind so many tokens, which every build is fed once")
    parser.add_argument("--kernels", help="the table of kernels, as session.kernels takes it")
    parser.add_argument("--kv-type", help="what keys and values are kept as, as session.kv_type takes it")
    parser.add_argument("--threads", type=int, default=machine()["cores"])
    args = parser.parse_args()
    options = {"session.threads": args.threads, "session.kernels": args.kernels, "session.kv_type": args.kv_type}
    options = {key: value for key, value in options.items() if value is not None}
    builds = [Build(build, args.model, options, args.depth) for build in args.build]
    steps, count = (1, args.prompt) if args.prompt else (args.tokens, 1)
    memory = Memory(args.threads)
    for build in builds:
        build.seconds(steps, count)
    turns, read = [], memory.gb_s()
    for number in range(args.turns):
        rates = {}
        first = number % len(builds)
        for build in builds[first:] + builds[:first]:
            rates[build.name] = steps * count / build.seconds(steps, count)
        before, read = read, memory.gb_s()
        turns.append(((before + read) / 2, rates))
    turns.sort(key=lambda turn: turn[0])
    half = len(turns) // 2
    print(f"{'tokens/s':12} {'GB/s':>7} " + " ".join(f"{build.name:>17}" for build in builds))
    print(line(builds, turns, "all"))
    if half:
        print(line(builds, turns[:half], "slow memory"))
        print(line(builds, turns[half:], "fast memory"))


if __name__ == "__main__":
    main()
