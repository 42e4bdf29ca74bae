"""Where things are in a GGUF file, so that they can be damaged on purpose. Standard library only."""

import struct
from dataclasses import dataclass

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass
class Key:
    """A metadata entry: offsets of its name's length, its value type and its value."""

    name: str
    start: int
    type_at: int
    value_at: int
    type: int
    end: int


@dataclass
class Tensor:
    """An entry of the tensor table: offsets of its name's length, its dimensions, its type and its data offset."""

    name: str
    start: int
    dims_at: int
    n_dims: int
    type_at: int
    offset_at: int
    end: int


@dataclass
class Header:
    keys: list[Key]
    tensors: list[Tensor]
    data_at: int


def read(data: bytes) -> Header:
    """The layout of a sound file of version 2 or 3 that begins with `data`."""

    def number(at: int, code: str) -> int:
        return struct.unpack_from("<" + code, data, at)[0]

    def string(at: int) -> tuple[str, int]:
        end = at + 8 + number(at, "Q")
        return data[at + 8 : end].decode(), end

    def value_end(kind: int, at: int) -> int:
        if kind == STRING:
            return at + 8 + number(at, "Q")
        if kind == ARRAY:
            element, count, at = number(at, "I"), number(at + 4, "Q"), at + 12
            if element in SCALARS:
                return at + count * struct.calcsize(SCALARS[element])
            for _ in range(count):
                at = value_end(element, at)
            return at
        return at + struct.calcsize(SCALARS[kind])

    assert data[:4] == b"GGUF" and number(4, "I") in (2, 3), "a GGUF file of version 2 or 3"
    n_tensors, n_keys, at = number(8, "Q"), number(16, "Q"), 24
    keys, tensors, alignment = [], [], 32
    for _ in range(n_keys):
        start = at
        name, type_at = string(at)
        kind = number(type_at, "I")
        at = value_end(kind, type_at + 4)
        keys.append(Key(name, start, type_at, type_at + 4, kind, at))
        if name == "general.alignment":
            alignment = number(type_at + 4, "I")
    for _ in range(n_tensors):
        start = at
        name, dims_at = string(at)
        n_dims = number(dims_at, "I")
        type_at = dims_at + 4 + 8 * n_dims
        at = type_at + 12
        tensors.append(Tensor(name, start, dims_at + 4, n_dims, type_at, type_at + 4, at))
    return Header(keys, tensors, -(-at // alignment) * alignment)
