"""What all objects with a C handle have in common."""

from __future__ import annotations

import logging
from ctypes import c_void_p
from typing import Any, Callable, List, Mapping, Optional, Union

from ._closing import Owner
from ._ffi import ProgressFn, attempt, call, create
from ._lend import give_back, lend
from ._watch import guarded
from .log import Log, LogLevel, log_fn

OptionValue = Union[int, float, str, "list[str]"]
#: Progress of a call: how much is done, of how much.
Progress = Callable[[int, int], object]


class Handle(Owner):
    """Owns a C handle. Closes with its ``with`` block, with ``close()``, or when it is forgotten."""

    _free: str
    _kind: str

    def __init__(self, handle: c_void_p) -> None:
        self._pointer: Optional[int] = handle.value

    @property
    def _handle(self) -> c_void_p:
        if self._pointer is None:
            raise ValueError(f"this {self._kind} is closed")
        return c_void_p(self._pointer)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._pointer is None

    def close(self) -> None:
        """Frees what the library holds; a second time does nothing."""
        pointer, self._pointer = getattr(self, "_pointer", None), None
        if pointer is not None:
            attempt(self._free, pointer)


class Options(Handle):
    """The options of one scope, from those given: ``Options("session", {"n_ctx": 512})``. ``None`` is the default."""

    _free = "pumice_options_free"
    _kind = "options"

    def __init__(self, scope: str, values: Mapping[str, Optional[OptionValue]]) -> None:
        super().__init__(create(self._free, "pumice_options_new"))
        self._kept: List[Any] = []
        for name, value in values.items():
            if value is not None:
                self._set(f"{scope}.{name}".encode(), value)

    def _set(self, key: bytes, value: OptionValue) -> None:
        if isinstance(value, int):  # bool too
            call("pumice_options_set_int", self._handle, key, value)
        elif isinstance(value, float):
            call("pumice_options_set_float", self._handle, key, value)
        elif isinstance(value, str):
            text = value.encode()
            call("pumice_options_set_string", self._handle, key, text, len(text))
        else:
            for item in value:
                self._set(key, item)

    def set_progress(self, progress: Optional[Progress]) -> None:
        """Calls a function while a call with these options runs. Without one, Ctrl-C can still stop it there."""

        def tell(_user_data: Any, done: int, total: int) -> int:
            return guarded(progress or _nothing, done, total)

        function = ProgressFn(tell)
        self._kept.append(function)
        call("pumice_options_set_progress", self._handle, function, None)

    def set_log(self, log: Optional[Log], level: Optional[int]) -> None:
        """Messages go to ``log``, also from what is made with these options."""
        if log is None:
            return
        if level is None:
            level = LogLevel.DEBUG if isinstance(log, logging.Logger) else LogLevel.INFO
        call("pumice_options_set_log", self._handle, int(level), log_fn, lend(log), give_back)


def _nothing(_done: int, _total: int) -> None:
    pass
