#!/usr/bin/env python3
"""Checks pumice's forward pass, for every weight format, against numpy (tools/numpy_reference.py).

    PYTHONPATH=bindings/python/src python tools/check_formats.py [--only Q4_K] [--keep FOLDER]

For each format it writes a small Llama and a small GPT-2 whose matrices are random blocks of that format, and a Llama
with what the first lacks (fused and biased query/key/value matrix, heads wider than n_embd / n_head, part of each head
rotated, the divisors of Llama 3.1); runs the same random tokens through pumice and through the reference; and prints

    pumice      the distance of pumice's logits from those of exact arithmetic on the dequantized weights
    explained   the same for the reference with activations and a KV cache rounded in the same way
    rest        the distance of pumice's from that simulation

as root mean squares over the logits' own; with activations of sixteen and eight bits and of eight only, and for F32 and
F16, whose activations are not rounded, with a cache of f16 and of Q8_0. The rest is not zero, because float rounding moves a value to the
neighbouring integer now and then, and from there on the two differ by a part of what quantization itself does. Bounds:
pumice at most 1.2 times as far off as explained, the rest at most 0.8 of it; for F32 and F16, where only an f16 cache is
rounded, the rest at most 1e-4. Exits with 1 beyond them.

Needs `numpy`, `gguf`, the `pumice` package and its library; runs for fifteen seconds.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import pumice
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize
from numpy_reference import Reference

# The f16 fields of a block: (offset, size relative to the block's scale). Those with a minimum have one that centres
# the weights on zero. MXFP4 has an exponent byte instead.
BLOCKS = {
    "Q4_0": [(0, 1)],
    "Q4_1": [(0, 1), (2, -7.5)],
    "Q5_0": [(0, 1)],
    "Q5_1": [(0, 1), (2, -15.5)],
    "Q8_0": [(0, 1)],
    "Q2_K": [(80, 1), (82, 1.5)],
    "Q3_K": [(108, 1)],
    "Q4_K": [(0, 1), (2, 7.5)],
    "Q5_K": [(0, 1), (2, 15.5)],
    "Q6_K": [(208, 1)],
    "IQ4_NL": [(0, 1)],
    "IQ4_XS": [(0, 1)],
    "MXFP4": [],
}
EXACT = ["F32", "F16"]
FLOATS = [*EXACT, "BF16"]
TOKENS = 40
VOCAB = 1003  # not a multiple of any tile


class Maker:
    """Writes tensors of random weights."""

    def __init__(self, path: Path, arch: str, kind: str, seed: int):
        self.writer = gguf.GGUFWriter(path, arch)
        self.kind = kind
        self.rng = np.random.default_rng(seed)

    def close(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()

    def vector(self, name: str, n: int, mean: float, spread: float) -> None:
        self.writer.add_tensor(name, (mean + spread * self.rng.standard_normal(n)).astype(np.float32))

    def matrix(self, name: str, rows: int, cols: int) -> None:
        """Weights of root mean square 1 / sqrt(cols), so that activations keep their size."""
        kind = T[self.kind]
        if self.kind in FLOATS:
            weights = (self.rng.standard_normal((rows, cols)) / cols**0.5).astype(np.float32)
            raw = gguf.quants.quantize(weights, kind)
        else:
            raw = self.blocks(rows, cols, kind)
        self.writer.add_tensor(name, raw, raw_dtype=kind)

    def blocks(self, rows: int, cols: int, kind: T) -> np.ndarray:
        per, size = GGML_QUANT_SIZES[kind]
        n = rows * cols // per
        raw = self.rng.integers(0, 256, (n, size), np.uint8)

        def put(scale: np.ndarray) -> None:
            for at, factor in BLOCKS[self.kind]:
                raw[:, at : at + 2] = (scale * factor).astype("<f2").view(np.uint8).reshape(n, 2)

        if self.kind == "MXFP4":
            half = np.rint(np.log2(0.3 / cols**0.5)).astype(int)
            raw[:, 0] = 127 + half + self.rng.integers(-1, 2, n)
        else:
            put(np.ones(n))
            unit = np.sqrt((dequantize(raw, kind).astype(np.float64) ** 2).mean())
            sign = self.rng.choice([-1, 1], n)
            put(sign * np.exp(self.rng.uniform(-0.7, 0.7, n)) / (unit * cols**0.5))
        return raw.reshape(rows, cols // per * size)


def common(m: Maker, n_ctx: int, n_embd: int, n_ff: int, n_head: int, n_head_kv: int) -> None:
    w = m.writer
    w.add_tokenizer_model("none")
    w.add_context_length(n_ctx)
    w.add_embedding_length(n_embd)
    w.add_block_count(2)
    w.add_feed_forward_length(n_ff)
    w.add_head_count(n_head)
    w.add_head_count_kv(n_head_kv)
    m.matrix("token_embd.weight", VOCAB, n_embd)


def llama(path: Path, kind: str, full: bool = False) -> None:
    """`full`: with what files of newer models have and older ones lack."""
    n_embd, n_ff, n_head, n_head_kv = 512, 768, 8, 2
    head_dim = 96 if full else n_embd // n_head
    n_q, n_kv = n_head * head_dim, n_head_kv * head_dim
    m = Maker(path, "llama", kind, 1)
    common(m, 256, n_embd, n_ff, n_head, n_head_kv)
    m.writer.add_layer_norm_rms_eps(1e-5)
    if full:
        m.writer.add_key_length(head_dim)
        m.writer.add_value_length(head_dim)
        m.writer.add_rope_dimension_count(64)
        m.writer.add_rope_freq_base(500000.0)
        m.writer.add_tensor("rope_freqs.weight", np.linspace(1, 8, 32, dtype=np.float32))
    else:
        m.matrix("output.weight", VOCAB, n_embd)
    m.vector("output_norm.weight", n_embd, 1, 0.2)
    for i in range(2):
        b = f"blk.{i}."
        m.vector(b + "attn_norm.weight", n_embd, 1, 0.2)
        m.vector(b + "ffn_norm.weight", n_embd, 1, 0.2)
        if full:
            m.matrix(b + "attn_qkv.weight", n_q + 2 * n_kv, n_embd)
            m.vector(b + "attn_qkv.bias", n_q + 2 * n_kv, 0, 0.3)
        else:
            m.matrix(b + "attn_q.weight", n_q, n_embd)
            m.matrix(b + "attn_k.weight", n_kv, n_embd)
            m.matrix(b + "attn_v.weight", n_kv, n_embd)
        m.matrix(b + "attn_output.weight", n_embd, n_q)
        m.matrix(b + "ffn_gate.weight", n_ff, n_embd)
        m.matrix(b + "ffn_up.weight", n_ff, n_embd)
        m.matrix(b + "ffn_down.weight", n_embd, n_ff)
    m.close()


def llama_full(path: Path, kind: str) -> None:
    llama(path, kind, full=True)


def gpt2(path: Path, kind: str) -> None:
    n_ctx, n_embd, n_ff, n_head = 64, 256, 1024, 4
    m = Maker(path, "gpt2", kind, 2)
    common(m, n_ctx, n_embd, n_ff, n_head, n_head)
    m.writer.add_layer_norm_eps(1e-5)
    positions = 0.02 * m.rng.standard_normal((n_ctx, n_embd))
    m.writer.add_tensor("position_embd.weight", positions.astype(np.float32))
    m.vector("output_norm.weight", n_embd, 1, 0.2)
    m.vector("output_norm.bias", n_embd, 0, 0.2)
    for i in range(2):
        b = f"blk.{i}."
        for norm in ("attn_norm", "ffn_norm"):
            m.vector(b + norm + ".weight", n_embd, 1, 0.2)
            m.vector(b + norm + ".bias", n_embd, 0, 0.2)
        for name, rows, cols in (
            ("attn_qkv", 3 * n_embd, n_embd),
            ("attn_output", n_embd, n_embd),
            ("ffn_up", n_ff, n_embd),
            ("ffn_down", n_embd, n_ff),
        ):
            m.matrix(b + name + ".weight", rows, cols)
            m.vector(b + name + ".bias", rows, 0, 0.2)
    m.close()


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((np.asarray(x, np.float64) ** 2).mean()))


def check(path: Path, kind: str) -> bool:
    tokens = np.random.default_rng(3).integers(0, VOCAB, TOKENS).tolist()
    reference = Reference(path)
    exact = reference.logits(tokens)
    size = rms(exact)
    all_fine = True
    for activations, cache in [("mixed", "f16"), ("mixed", "q8_0") if kind in EXACT else ("int8", "f16")]:
        with pumice.Model(path) as model, model.session(activations=activations, kv_type=cache) as session:
            session.decode_all(tokens)
            ours = np.array([session.logits(i) for i in range(len(tokens))], np.float64)
        simulated = reference.set(activations, cache).logits(tokens)
        off, explained, rest = rms(ours - exact) / size, rms(simulated - exact) / size, rms(ours - simulated) / size
        if kind in EXACT and cache == "f16":
            fine = off < 1e-3 and rest < 1e-4
        else:
            fine = off < 1.2 * explained and rest < 0.8 * explained
        what = f"{path.stem}, {activations}, {cache}"
        print(f"{what:<32} {off:10.6f} {explained:10.6f} {rest:10.6f}  {'ok' if fine else 'TOO FAR'}", flush=True)
        all_fine &= bool(fine)
    return all_fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*FLOATS, *BLOCKS], help="one format instead of all")
    parser.add_argument("--keep", type=Path, help="write the models here and leave them")
    args = parser.parse_args()
    print(f"{'model':<32} {'pumice':>10} {'explained':>10} {'rest':>10}")
    fine = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        for kind in [args.only] if args.only else [*FLOATS, *BLOCKS]:
            for make in (llama, llama_full, gpt2):
                path = folder / f"{make.__name__}.{kind}.gguf"
                make(path, kind)
                fine &= check(path, kind)
                if not args.keep:
                    path.unlink()
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
