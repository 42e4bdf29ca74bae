"""What is lent to the library until it says that it is done: memory that models read from, and log callbacks."""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_ssize_t, c_void_p
from itertools import count
from typing import Any, Dict, Optional, Tuple

from ._ffi import DropFn

_lent: Dict[int, Any] = {}
_numbers = count(1)


def lend(thing: Any) -> int:
    """Keeps a thing. The number that it gives is the ``user_data`` for callbacks, and for ``give_back``."""
    number = next(_numbers)
    _lent[number] = thing
    return number


def lent(number: int) -> Any:
    """The thing behind a number."""
    return _lent[number]


def _forget(number: int) -> None:
    thing = _lent.pop(number, None)
    if isinstance(thing, Buffer):
        thing.release()


give_back = DropFn(_forget)


class _PyBuffer(ctypes.Structure):
    """``Py_buffer`` of Python's stable C interface."""

    _fields_ = [
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_void_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    ]


def _buffer_functions() -> Optional[Tuple[Any, Any]]:
    try:
        get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    except AttributeError:  # not CPython
        return None
    get.argtypes, get.restype = [ctypes.py_object, ctypes.POINTER(_PyBuffer), c_int], c_int
    release.argtypes, release.restype = [ctypes.POINTER(_PyBuffer)], None
    return get, release


_functions = _buffer_functions()


class Buffer:
    """The memory of an object with the buffer protocol, held in place. ctypes itself finds the address of memory that
    can be written to only; a read-only mapping is what one would rather not copy."""

    def __init__(self, data: Any) -> None:
        self._view: Optional[_PyBuffer] = None
        if _functions is None:
            copy = bytes(memoryview(data))
            self._kept: Any = copy
            self.address, self.size = ctypes.cast(ctypes.c_char_p(copy), c_void_p).value or 0, len(copy)
            return
        view = _PyBuffer()
        _functions[0](data, ctypes.byref(view), 0)  # raises what is wrong
        self._view = view
        self.address, self.size = view.buf or 0, view.len

    def release(self) -> None:
        """Lets go of the memory."""
        view, self._view = self._view, None
        if view is not None and _functions is not None:
            _functions[1](ctypes.byref(view))
