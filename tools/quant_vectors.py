#!/usr/bin/env python3
"""Writes what tests/quant_golden.rs checks dequantization against: tests/golden/quant/<type>.bin.

    python tools/quant_vectors.py tests/golden/quant

Each file holds n whole blocks (or n float elements) as a GGUF file would, then their n * block length values as
little-endian f32, as computed by the `gguf` package's numpy code. There is no header: n is the file's length divided
by what one block and its values take. Needs `numpy` and `gguf`; the same seed gives the same files.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where each format keeps its f16 fields, from the block's start.
F16_FIELDS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip

# f16: 1, -1, 0, -0, smallest and largest subnormal of both signs, smallest normal, largest of both signs, 0.1.
F16_SPECIAL = np.array(
    [0x3C00, 0xBC00, 0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x2E66], np.uint16
)
E8M0_SPECIAL = np.array([0, 1, 2, 126, 127, 128, 253, 254, 255], np.uint8)


def bytes_of(u16: np.ndarray) -> np.ndarray:
    return u16.astype("<u2").view(np.uint8).reshape(-1, 2)


def finite_f16(rng: np.random.Generator, n: int) -> np.ndarray:
    """n f16 patterns, any sign and exponent except that of infinities and NaN."""
    sign, exponent, mantissa = rng.integers(0, 2, n), rng.integers(0, 31, n), rng.integers(0, 1024, n)
    return (sign << 15 | exponent << 10 | mantissa).astype(np.uint16)


def random_blocks(rng: np.random.Generator, name: str, n: int, size: int) -> np.ndarray:
    blocks = rng.integers(0, 256, (n, size), np.uint8)
    for i, at in enumerate(F16_FIELDS.get(name, [])):
        scales = finite_f16(rng, n)
        scales[: len(F16_SPECIAL)] = np.roll(F16_SPECIAL, 5 * i)
        blocks[:, at : at + 2] = bytes_of(scales)
    if name == "MXFP4":
        blocks[: len(E8M0_SPECIAL), 0] = E8M0_SPECIAL
    # Last: a block of zeros, and every bit set with scales of 1.
    blocks[-2] = 0
    blocks[-1] = 0xFF
    for at in F16_FIELDS.get(name, []):
        blocks[-1, at : at + 2] = [0x00, 0x3C]
    return blocks


def float_elements(rng: np.random.Generator, name: str) -> np.ndarray:
    """Random and special finite elements, and the infinities; no NaN, since readers may quiet it."""
    infinity = 0x7C00 if name == "F16" else 0x7F80
    special = [0, 1, infinity - 1, infinity] + [2**k for k in range(15)]
    bits = np.concatenate([np.array(special), rng.integers(0, infinity, 400)]).astype(np.uint16)
    return bytes_of(np.concatenate([bits, bits | 0x8000]))


def main(out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in [*F16_FIELDS, "MXFP4", "F16", "BF16"]:
        ty = GGMLQuantizationType[name]
        length, size = GGML_QUANT_SIZES[ty]
        rng = np.random.default_rng(ty.value)
        if length == 1:
            blocks = float_elements(rng, name)
        else:
            blocks = random_blocks(rng, name, {32: 40, 256: 20}[length], size)
        with np.errstate(over="ignore"):  # MXFP4 scales reach 2^128
            values = dequantize(blocks, ty)
        assert values.dtype == np.float32 and values.size == blocks.size // size * length
        assert not np.isnan(values).any(), name
        (out_dir / f"{name.lower()}.bin").write_bytes(blocks.tobytes() + values.astype("<f4").tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
