"""What a model's file says of itself."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from ctypes import byref, c_double, c_int32, c_int64, c_size_t
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Iterator, List, Union

from ._ffi import borrowed, call
from .errors import NotFoundError

if TYPE_CHECKING:
    from .model import Model

MetadataValue = Union[int, float, bool, str, bytes, List[Any]]


class _Type(IntEnum):
    """GGUF's types."""

    U8 = 0
    I8 = 1
    U16 = 2
    I16 = 3
    U32 = 4
    I32 = 5
    F32 = 6
    BOOL = 7
    STRING = 8
    NESTED = 9
    U64 = 10
    I64 = 11
    F64 = 12
    #: Is added to the type of the elements of an array.
    ARRAY = 256


class Metadata(AbstractMapping):  # type: ignore[type-arg]
    """The metadata of a model's file. Strings are ``str``, or ``bytes`` where they are not UTF-8; arrays are lists."""

    def __init__(self, model: "Model") -> None:
        self._model = model

    def __len__(self) -> int:
        out = c_size_t()
        call("pumice_model_meta_count", self._model._handle, byref(out))
        return out.value

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self)):
            yield borrowed("pumice_model_meta_key", self._model._handle, index).decode()

    def __getitem__(self, key: str) -> MetadataValue:
        kind, count = c_int32(), c_size_t()
        if "\0" in key:  # in C it would end there
            raise KeyError(key)
        try:
            call("pumice_model_meta_type", self._model._handle, key.encode(), byref(kind), byref(count))
        except NotFoundError:
            raise KeyError(key) from None
        element = kind.value & ~_Type.ARRAY
        if kind.value & _Type.ARRAY:
            return [self._read(key.encode(), element, index) for index in range(count.value)]
        return self._read(key.encode(), element, 0)

    def _read(self, key: bytes, kind: int, index: int) -> MetadataValue:
        handle = self._model._handle
        if kind == _Type.STRING:
            raw = borrowed("pumice_model_meta_string", handle, key, index)
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return raw
        if kind in (_Type.F32, _Type.F64):
            real = c_double()
            call("pumice_model_meta_float", handle, key, index, byref(real))
            return real.value
        out = c_int64()
        call("pumice_model_meta_int", handle, key, index, byref(out))
        return bool(out.value) if kind == _Type.BOOL else out.value
