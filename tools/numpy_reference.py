"""Llama and GPT-2 in numpy: the forward pass that pumice's is compared with.

Weights are whatever the file holds, dequantized by the `gguf` package. Everything is computed in float64 unless
rounding is asked for, which simulates what pumice rounds on purpose and nothing else:

    activations="int8"   what a quantized matrix is multiplied with is rounded to int8, 32 values to a scale
                         and what BF16 is multiplied with to bfloat16
    activations="mixed"  the same; and where keys, values or logits are made, what that leaves is rounded again
    cache="f16"          keys and values are rounded to half precision, as the KV cache holds them
    cache="q8_0"         queries, keys and values are rounded to int8, 32 to a scale, which is rounded to half precision
                         for keys and values; queries and keys are turned by a Hadamard matrix before

So the distance between the two settings is what activation quantization explains, and the distance between pumice and
the simulation is what it does not. Shapes are [position, ...]; matrices are [outputs, inputs], as in the file.

Needs `numpy` and `gguf`. Written to be read, for models of a few megabytes.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

EXACT_TYPES = (GGMLQuantizationType.F32, GGMLQuantizationType.F16)


def round_int8(x: np.ndarray) -> np.ndarray:
    """The nearest multiples of the scale, which is the greatest magnitude of 32 values over 127."""
    blocks = x.astype(np.float32).reshape(-1, 32)
    greatest = np.abs(blocks).max(axis=1, keepdims=True)
    inverse = np.divide(127, greatest, out=np.zeros_like(greatest), where=greatest > 0)
    scale = (greatest / np.float32(127)).astype(np.float64)
    return (np.rint(blocks * inverse) * scale).reshape(x.shape)


def round_bf16(x: np.ndarray) -> np.ndarray:
    """The nearest numbers of eight bits, ties to even: the high halves of f32."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def round_q8_0(x: np.ndarray) -> np.ndarray:
    """The nearest multiples of the same scale as a half."""
    blocks = x.astype(np.float32).reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float16).astype(np.float64)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    return (np.clip(np.rint(blocks * inverse), -127, 127) * scale).reshape(x.shape)


def hadamard(x: np.ndarray) -> np.ndarray:
    """The last axis turned, in blocks of the greatest power of two that divides it."""
    n = x.shape[-1] & -x.shape[-1]
    matrix = np.ones((1, 1))
    while len(matrix) < n:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return (x.reshape(-1, n) @ (matrix / n**0.5)).reshape(x.shape)


class Reference:
    def __init__(self, path: Path, activations: str = "exact", cache: str = "exact"):
        self.reader = GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.weights = {n: dequantize(t.data, t.tensor_type).astype(np.float64) for n, t in self.tensors.items()}
        self.arch = self.reader.fields["general.architecture"].contents()
        self.set(activations, cache)

        self.n_embd = self.key("embedding_length")
        self.n_layer = self.key("block_count")
        self.n_head = self.key("attention.head_count")
        self.n_head_kv = self.key("attention.head_count_kv", self.n_head)
        self.head_dim = self.key("attention.key_length", self.n_embd // self.n_head)

    def set(self, activations: str, cache: str) -> "Reference":
        """Choose what is rounded, keeping the weights."""
        self.activations, self.cache = activations, cache
        return self

    def key(self, name: str, default=None):
        field = self.reader.fields.get(f"{self.arch}.{name}")
        if field is None and default is None:
            raise KeyError(f"{self.arch}.{name}")
        return default if field is None else field.contents()

    def linear(self, name: str, x: np.ndarray, fine: bool = False) -> np.ndarray:
        tensor = self.tensors[name + ".weight"]
        if self.activations != "exact" and tensor.tensor_type not in EXACT_TYPES:
            nearest = round_bf16 if tensor.tensor_type == GGMLQuantizationType.BF16 else round_int8
            rounded = nearest(x)
            if self.activations == "mixed" and fine:
                rounded += nearest(x - rounded)
            x = rounded
        return x @ self.weights[name + ".weight"].T + self.weights.get(name + ".bias", 0)

    def attention(self, block: str, h: np.ndarray, rotate) -> np.ndarray:
        n, n_q, n_kv = len(h), self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        if block + "attn_qkv.weight" in self.weights:
            q = self.linear(block + "attn_qkv", h)[:, :n_q]
            k, v = np.split(self.linear(block + "attn_qkv", h, fine=True)[:, n_q:], 2, axis=1)
        else:
            q = self.linear(block + "attn_q", h)
            k, v = (self.linear(block + part, h, fine=True) for part in ("attn_k", "attn_v"))
        q = rotate(q.reshape(n, self.n_head, self.head_dim))
        k = rotate(k.reshape(n, self.n_head_kv, self.head_dim))
        v = v.reshape(n, self.n_head_kv, self.head_dim)
        if self.cache == "f16":
            k, v = (x.astype(np.float32).astype(np.float16).astype(np.float64) for x in (k, v))
        if self.cache == "q8_0":
            q, k, v = round_int8(hadamard(q)), round_q8_0(hadamard(k)), round_q8_0(v)
        # Every group of queries shares a key and a value head.
        k, v = (np.repeat(x, self.n_head // self.n_head_kv, axis=1) for x in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / self.head_dim**0.5
        scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf  # nobody sees what comes later
        p = np.exp(scores - scores.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        return self.linear(block + "attn_output", np.einsum("hqk,khd->qhd", p, v).reshape(n, n_q))

    def logits(self, tokens) -> np.ndarray:
        """[position, vocabulary], of one sequence from its start."""
        tokens = np.asarray(tokens)
        x = {"llama": self.llama, "gpt2": self.gpt2}[self.arch](tokens)
        return self.linear("output" if "output.weight" in self.weights else "token_embd", x, fine=True)

    def llama(self, tokens: np.ndarray) -> np.ndarray:
        eps = self.key("attention.layer_norm_rms_epsilon")
        n_rot = self.key("rope.dimension_count", self.head_dim)
        frequency = self.key("rope.freq_base", 10000.0) ** (-np.arange(0, n_rot, 2) / n_rot)
        frequency = frequency / self.weights.get("rope_freqs.weight", 1.0)
        angle = np.arange(len(tokens))[:, None, None] * frequency

        def norm(name, x):
            return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + eps) * self.weights[name + ".weight"]

        def rotate(x):
            out, even, odd = x.copy(), x[..., 0:n_rot:2], x[..., 1:n_rot:2]  # adjacent pairs
            out[..., 0:n_rot:2] = even * np.cos(angle) - odd * np.sin(angle)
            out[..., 1:n_rot:2] = even * np.sin(angle) + odd * np.cos(angle)
            return out

        x = self.weights["token_embd.weight"][tokens]
        for block in (f"blk.{i}." for i in range(self.n_layer)):
            x = x + self.attention(block, norm(block + "attn_norm", x), rotate)
            h = norm(block + "ffn_norm", x)
            gate = self.linear(block + "ffn_gate", h)
            x = x + self.linear(block + "ffn_down", gate / (1 + np.exp(-gate)) * self.linear(block + "ffn_up", h))
        return norm("output_norm", x)

    def gpt2(self, tokens: np.ndarray) -> np.ndarray:
        eps = self.key("attention.layer_norm_epsilon")

        def norm(name, x):
            x = x - x.mean(axis=1, keepdims=True)
            scaled = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + eps)
            return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

        def gelu(x):
            return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))

        x = self.weights["token_embd.weight"][tokens] + self.weights["position_embd.weight"][: len(tokens)]
        for block in (f"blk.{i}." for i in range(self.n_layer)):
            x = x + self.attention(block, norm(block + "attn_norm", x), lambda head: head)
            h = gelu(self.linear(block + "ffn_up", norm(block + "ffn_norm", x)))
            x = x + self.linear(block + "ffn_down", h)
        return norm("output_norm", x)
