"""The functions of pumice.h, and the shared library that has them."""

from __future__ import annotations

import ctypes
import os
import sys
from array import array
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ._watch import thread
from .errors import error

# Callbacks.
ProgressFn = ctypes.CFUNCTYPE(c_int32, c_void_p, c_uint64, c_uint64)
ReadFn = ctypes.CFUNCTYPE(c_int32, c_void_p, c_uint64, c_void_p, c_size_t)
TextFn = ctypes.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t, POINTER(c_int32), c_size_t)
LogFn = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_void_p, c_size_t)
DropFn = ctypes.CFUNCTYPE(None, c_void_p)

# Handles and text that is not NUL-terminated are plain addresses.
_H = c_void_p
_OUT = POINTER(c_void_p)
_SIZE = POINTER(c_size_t)
_TOKENS = POINTER(c_int32)
_S = c_int32

#: name -> (result, arguments), in the order of the header.
PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {
    "pumice_version_number": (c_uint32, []),
    "pumice_version_string": (c_char_p, []),
    "pumice_status_name": (c_char_p, [c_int32]),
    "pumice_has_feature": (c_int32, [c_char_p]),
    "pumice_describe": (_S, [c_char_p, c_size_t, _SIZE, _H]),
    "pumice_error_new": (_H, []),
    "pumice_error_status": (_S, [_H]),
    "pumice_error_message": (c_char_p, [_H]),
    "pumice_error_free": (None, [_H]),
    "pumice_options_new": (_S, [_OUT, _H]),
    "pumice_options_set_int": (_S, [_H, c_char_p, c_int64, _H]),
    "pumice_options_set_float": (_S, [_H, c_char_p, c_double, _H]),
    "pumice_options_set_string": (_S, [_H, c_char_p, c_char_p, c_size_t, _H]),
    "pumice_options_unset": (_S, [_H, c_char_p, _H]),
    "pumice_options_set_progress": (_S, [_H, ProgressFn, c_void_p, _H]),
    "pumice_options_set_log": (_S, [_H, c_int32, LogFn, c_void_p, DropFn, _H]),
    "pumice_options_free": (None, [_H]),
    "pumice_model_open": (_S, [c_char_p, _H, _OUT, _H]),
    "pumice_model_open_memory": (_S, [c_void_p, c_size_t, DropFn, c_void_p, _H, _OUT, _H]),
    "pumice_model_open_reader": (_S, [ReadFn, c_void_p, c_uint64, _H, _OUT, _H]),
    "pumice_model_ref": (_H, [_H]),
    "pumice_model_free": (None, [_H]),
    "pumice_model_get_int": (_S, [_H, c_char_p, POINTER(c_int64), _H]),
    "pumice_model_memory": (_S, [_H, _H, c_char_p, POINTER(c_int64), _H]),
    "pumice_model_get_string": (_S, [_H, c_char_p, _OUT, _SIZE, _H]),
    "pumice_model_meta_count": (_S, [_H, _SIZE, _H]),
    "pumice_model_meta_key": (_S, [_H, c_size_t, _OUT, _SIZE, _H]),
    "pumice_model_meta_type": (_S, [_H, c_char_p, POINTER(c_int32), _SIZE, _H]),
    "pumice_model_meta_int": (_S, [_H, c_char_p, c_size_t, POINTER(c_int64), _H]),
    "pumice_model_meta_float": (_S, [_H, c_char_p, c_size_t, POINTER(c_double), _H]),
    "pumice_model_meta_string": (_S, [_H, c_char_p, c_size_t, _OUT, _SIZE, _H]),
    "pumice_model_tokenize": (_S, [_H, c_char_p, c_size_t, c_int32, _TOKENS, c_size_t, _SIZE, _H]),
    "pumice_model_detokenize": (_S, [_H, _TOKENS, c_size_t, c_int32, c_char_p, c_size_t, _SIZE, _H]),
    "pumice_model_token_text": (_S, [_H, c_int32, _OUT, _SIZE, _H]),
    "pumice_model_token_flags": (_S, [_H, c_int32, POINTER(c_int32), _H]),
    "pumice_model_special_token": (_S, [_H, c_char_p, _TOKENS, _H]),
    "pumice_model_chat_format": (
        _S,
        [_H, c_char_p, _OUT, _OUT, c_size_t, c_int32, c_char_p, c_size_t, _SIZE, _H],
    ),
    "pumice_model_chat_format_json": (_S, [_H, c_char_p, c_char_p, c_size_t, c_char_p, c_size_t, _SIZE, _H]),
    "pumice_session_new": (_S, [_H, _H, _OUT, _H]),
    "pumice_session_configure": (_S, [_H, _H, _H]),
    "pumice_session_reset": (_S, [_H, _H]),
    "pumice_session_cancel": (None, [_H]),
    "pumice_session_free": (None, [_H]),
    "pumice_session_decode": (_S, [_H, _TOKENS, c_size_t, _H]),
    "pumice_session_decode_batch": (_S, [_H, _H, _H]),
    "pumice_session_output_count": (_S, [_H, _SIZE, _H]),
    "pumice_session_logits": (_S, [_H, c_size_t, POINTER(POINTER(c_float)), _SIZE, _H]),
    "pumice_session_embedding": (_S, [_H, c_size_t, POINTER(POINTER(c_float)), _SIZE, _H]),
    "pumice_session_top_logprobs": (_S, [_H, c_size_t, _TOKENS, POINTER(c_float), c_size_t, _SIZE, _H]),
    "pumice_session_get_int": (_S, [_H, c_char_p, POINTER(c_int64), _H]),
    "pumice_session_perf_reset": (_S, [_H, _H]),
    "pumice_session_seq_tokens": (_S, [_H, c_int32, _TOKENS, c_size_t, _SIZE, _H]),
    "pumice_session_seq_truncate": (_S, [_H, c_int32, c_size_t, _H]),
    "pumice_session_seq_fork": (_S, [_H, c_int32, c_int32, c_size_t, _H]),
    "pumice_session_state_save": (_S, [_H, c_int32, c_void_p, c_size_t, _SIZE, _H]),
    "pumice_session_state_load": (_S, [_H, c_int32, c_void_p, c_size_t, _H]),
    "pumice_session_state_save_file": (_S, [_H, c_int32, c_char_p, _H]),
    "pumice_session_state_load_file": (_S, [_H, c_int32, c_char_p, _H]),
    "pumice_batch_new": (_S, [_OUT, _H]),
    "pumice_batch_add": (_S, [_H, c_int32, _TOKENS, c_size_t, c_int32, _H]),
    "pumice_batch_clear": (_S, [_H, _H]),
    "pumice_batch_free": (None, [_H]),
    "pumice_sampler_new": (_S, [_H, _H, _OUT, _H]),
    "pumice_sampler_clone": (_S, [_H, _OUT, _H]),
    "pumice_sampler_set_bias": (_S, [_H, _TOKENS, POINTER(c_float), c_size_t, _H]),
    "pumice_sampler_sample": (_S, [_H, _H, c_size_t, _TOKENS, _H]),
    "pumice_sampler_sample_logits": (_S, [_H, POINTER(c_float), c_size_t, _TOKENS, _H]),
    "pumice_sampler_accept": (_S, [_H, c_int32, _H]),
    "pumice_sampler_reset": (_S, [_H, _H]),
    "pumice_sampler_free": (None, [_H]),
    "pumice_session_generate": (
        _S,
        [_H, _H, _TOKENS, c_size_t, _H, TextFn, c_void_p, POINTER(c_int32), _H],
    ),
    "pumice_session_score": (_S, [_H, _TOKENS, c_size_t, _OUT, _SIZE, c_size_t, POINTER(c_double), _H]),
    "pumice_session_embed": (_S, [_H, _TOKENS, c_size_t, POINTER(c_float), c_size_t, _SIZE, _H]),
    "pumice_session_classify": (_S, [_H, _TOKENS, c_size_t, POINTER(c_float), c_size_t, _SIZE, _H]),
    "pumice_model_label": (_S, [_H, c_size_t, _OUT, _SIZE, _H]),
}


def _file_names() -> List[str]:
    if sys.platform == "win32":
        return ["pumice.dll", "pumice_capi.dll"]
    if sys.platform == "darwin":
        return ["libpumice.0.dylib", "libpumice.dylib", "libpumice_capi.dylib"]
    return ["libpumice.so.0", "libpumice.so", "libpumice_capi.so"]


def _find() -> str:
    """The library inside the package; else the newest one that the repository around it has built; else a name that the
    system may know."""
    here = Path(__file__).resolve().parent
    names = _file_names()
    bundled = [here / name for name in names]
    built: List[Path] = []
    for parent in here.parents:
        if (parent / "include" / "pumice.h").is_file():
            built = [parent / "target" / profile / name for profile in ("release", "dist", "debug") for name in names]
    built.sort(key=lambda file: file.stat().st_mtime if file.is_file() else 0, reverse=True)
    return next((str(file) for file in bundled + built if file.is_file()), names[0])


_library: Optional[ctypes.CDLL] = None


def load_library(path: Optional[os.PathLike[str] | str] = None) -> ctypes.CDLL:
    """Loads the shared library, once for the process: ``path``, or what ``PUMICE_LIBRARY`` names, or the one inside
    this package, or the newest that the repository around it has built, or one that the system finds.

    Needs to be called only to name a path; then before anything else. Raises ``OSError`` if there is none, and
    ``RuntimeError`` if another one has been loaded.
    """
    global _library
    wanted = None if path is None else os.fspath(path)
    if _library is not None:
        if wanted is not None and os.path.realpath(wanted) != os.path.realpath(_library._name):
            raise RuntimeError(f"{_library._name} is loaded already")
        return _library
    if wanted is None:
        wanted = os.environ.get("PUMICE_LIBRARY")
    if wanted is None:
        wanted = _find()
    library = ctypes.CDLL(wanted)
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise OSError(f"{wanted} is another version of pumice: it has no {name}") from None
        function.restype = result
        function.argtypes = arguments
    _library = library
    return library


# What ctypes would cut down to the type's width without a word.
_LIMITS = {
    c_int32: (-(2**31), 2**31),
    c_int64: (-(2**63), 2**63),
    c_size_t: (0, 2 ** (8 * ctypes.sizeof(c_size_t))),
}


def _check(name: str, arguments: Tuple[Any, ...]) -> None:
    for kind, argument in zip(PROTOTYPES[name][1], arguments):
        if kind in _LIMITS and isinstance(argument, int):
            low, high = _LIMITS[kind]
            if not low <= argument < high:
                raise OverflowError(f"{argument} is outside {low} to {high - 1}")


def c_name(text: str) -> bytes:
    """A name or a path for C, where a NUL would end it early."""
    if "\0" in text:
        raise ValueError("embedded null character")
    return text.encode()


def attempt(name: str, *arguments: Any) -> Any:
    """Calls a function, and raises what a callback has raised meanwhile."""
    function = getattr(load_library(), name)
    try:
        result = function(*arguments)
    finally:
        raised, thread.raised = thread.raised, None
    if raised is not None:
        raise raised
    return result


def call(name: str, *arguments: Any) -> None:
    """Calls a function that takes a ``pumice_error`` last and returns a status; raises if that is not 0."""
    _check(name, arguments)
    library = load_library()
    err = library.pumice_error_new()
    try:
        status = attempt(name, *arguments, err)
        if status != 0:
            raise error(status, library.pumice_error_message(err).decode("utf-8", "replace"))
    finally:
        library.pumice_error_free(err)


def create(free: str, name: str, *arguments: Any) -> c_void_p:
    """Calls a function that stores a handle, which ``free`` frees."""
    out = c_void_p()
    try:
        call(name, *arguments, ctypes.byref(out))
    except BaseException:
        if out.value:  # a callback has raised, though the call succeeded
            attempt(free, out)
        raise
    return out


def read_bytes(name: str, *arguments: Any, size: int = 256) -> bytes:
    """Calls a function that fills a buffer with bytes, with as large a buffer as it takes."""
    length = c_size_t()
    buffer = ctypes.create_string_buffer(size)
    _check(name, arguments)
    status = attempt(name, *arguments, buffer, size, ctypes.byref(length), None)
    if status != 0:
        buffer = ctypes.create_string_buffer(max(length.value, 1))
        call(name, *arguments, buffer, len(buffer), ctypes.byref(length))
    return ctypes.string_at(buffer, length.value)


def read_tokens(name: str, *arguments: Any, size: int = 256) -> List[int]:
    """Calls a function that fills a buffer with tokens, with as large a buffer as it takes."""
    count = c_size_t()
    buffer = array("i", bytes(4 * size))
    _check(name, arguments)
    status = attempt(name, *arguments, _place(buffer), size, ctypes.byref(count), None)
    if status != 0:
        buffer = array("i", bytes(4 * max(count.value, 1)))
        call(name, *arguments, _place(buffer), len(buffer), ctypes.byref(count))
    return buffer[: count.value].tolist()


def _place(tokens: "array[int]") -> Any:
    """Where they are, for C. (An array type of ctypes for each length would cost more than the call.)"""
    return ctypes.byref(c_int32.from_buffer(tokens)) if tokens else None


def read_floats(name: str, *arguments: Any) -> Any:
    """Calls a function that computes floats and fills a buffer with them; how large that is, it tells beforehand."""
    count = c_size_t()
    call(name, *arguments, None, 0, ctypes.byref(count))
    buffer = (c_float * count.value)()
    call(name, *arguments, buffer, count, ctypes.byref(count))
    return buffer


def borrowed(name: str, *arguments: Any) -> bytes:
    """Calls a function that stores an address and a length, and copies the bytes there."""
    address, length = c_void_p(), c_size_t()
    call(name, *arguments, ctypes.byref(address), ctypes.byref(length))
    return ctypes.string_at(address.value or 0, length.value) if length.value else b""


def get_int(name: str, handle: c_void_p, key: str) -> int:
    """Calls one of the ``get_int`` functions."""
    out = c_int64()
    call(name, handle, key.encode(), ctypes.byref(out))
    return out.value


def token_array(tokens: Any) -> Tuple[Any, int]:
    """Tokens as the C functions take them, and their number."""
    try:
        numbers = array("i", tokens if isinstance(tokens, (list, tuple)) else list(tokens))
    except OverflowError:
        raise OverflowError("a token does not fit into 32 bits") from None
    return (c_int32 * len(numbers)).from_buffer(numbers), len(numbers)
