"""What the library has to say, handed to Python."""

from __future__ import annotations

import ctypes
import logging
from enum import IntEnum
from typing import Any, Callable, Union

from ._ffi import LogFn
from ._lend import lent
from ._watch import guarded


class LogLevel(IntEnum):
    """How much a message matters; as a limit, that messages of this level and of those above are wanted."""

    OFF = 0
    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4


_LOGGING = {
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARN: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
}

#: Who gets messages: a function of the level and the text, or a logger, which has its own opinion of levels.
Log = Union[Callable[[LogLevel, str], object], logging.Logger]


def _message(number: int, level: int, data: int, size: int) -> None:
    def tell() -> None:
        text = ctypes.string_at(data, size).decode("utf-8", "replace") if size else ""
        log: Any = lent(number)
        if isinstance(log, logging.Logger):
            log.log(_LOGGING.get(LogLevel(level), logging.INFO), "%s", text)
        else:
            log(LogLevel(level), text)

    guarded(tell)


log_fn = LogFn(_message)
