"""The library as a whole."""

from __future__ import annotations

import json
from typing import Any, Dict

from ._ffi import c_name, load_library, read_bytes


def version() -> str:
    """The version of the shared library."""
    text: bytes = load_library().pumice_version_string()
    return text.decode()


def has_feature(name: str) -> bool:
    """Whether the library, on this computer, has a feature: ``"arch:llama"``, ``"cpu:avx2"``, ``"quant:q4_k"``,
    ``"key:session.n_ctx"``."""
    return bool(load_library().pumice_has_feature(c_name(name)))


def describe() -> Dict[str, Any]:
    """What the library can run, and its options with their types, defaults and meanings."""
    description: Dict[str, Any] = json.loads(read_bytes("pumice_describe", size=8192))
    return description
