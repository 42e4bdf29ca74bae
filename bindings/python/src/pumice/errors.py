"""What goes wrong: one exception for each status that programs act on."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Dict, Tuple, Type, Union


class Status(IntEnum):
    """The statuses of the C library."""

    OK = 0
    INTERNAL = -1
    NULL = -2
    INVALID = -3
    BAD_HANDLE = -4
    BUSY = -5
    POISONED = -6
    NO_MEMORY = -7
    IO = -8
    FORMAT = -9
    UNSUPPORTED = -10
    MISMATCH = -11
    BUFFER_TOO_SMALL = -12
    CONTEXT_FULL = -13
    CANCELLED = -14
    UNKNOWN_KEY = -15
    WRONG_TYPE = -16
    UTF8 = -17
    SYNTAX = -18
    NOT_FOUND = -19


class Error(Exception):
    """A call of the library failed. ``status`` is its status, or a plain number that this package does not know."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.status: Union[Status, int]
        try:
            self.status = Status(status)
        except ValueError:
            self.status = status

    @property
    def name(self) -> str:
        """The status as the C header calls it: ``"PUMICE_ERR_FORMAT"``."""
        return f"PUMICE_ERR_{self.status.name}" if isinstance(self.status, Status) else "PUMICE_ERR_UNKNOWN"

    def __reduce__(self) -> Tuple[Any, ...]:
        # Exceptions cross processes, and the usual way forgets the status.
        return type(self), (int(self.status), self.message)


class InternalError(Error, RuntimeError):
    """A defect of the library, caught before it could do harm."""


class NullError(Error, ValueError):
    """A pointer that must not be NULL is. (This package passes none.)"""


class InvalidError(Error, ValueError):
    """An argument or an option is outside its range."""


class BadHandleError(Error):
    """A handle is of another type, or was freed. (This package has ``ValueError`` for what is closed.)"""


class BusyError(Error):
    """Another call is using the same session."""


class PoisonedError(Error):
    """An internal error left the object unusable, or it is a session from before a fork. It can only be closed."""


class OutOfMemoryError(Error, MemoryError):
    """Memory could not be had, or would exceed the session's limit."""


class FileError(Error, OSError):
    """The operating system refused to open, map, read or write a file."""

    __str__ = Exception.__str__


class FormatError(Error, ValueError):
    """A file, or a saved state, is broken or incomplete."""


class UnsupportedError(Error):
    """The file is sound, but this version or this computer cannot use it."""


class MismatchError(Error, ValueError):
    """Two things that do not belong together, such as the session of one model and the saved state of another."""


class BufferTooSmallError(Error):
    """A buffer is too small. (This package makes them large enough.)"""


class ContextFullError(Error):
    """The sequence would outgrow the session's context."""


class CancelledError(Error):
    """``Session.cancel`` stopped the call."""


class UnknownKeyError(Error, KeyError):
    """There is no option of this name."""

    __str__ = Exception.__str__  # KeyError's shows quotes


class WrongTypeError(Error, TypeError):
    """An option, or a metadata value, is of another type."""


class Utf8Error(Error, ValueError):
    """Text is not UTF-8."""


class InvalidSyntaxError(Error, ValueError):
    """A chat template, or JSON, cannot be parsed."""


class NotFoundError(Error, LookupError):
    """What was asked for by name or number does not exist."""


_CLASSES: Dict[int, Type[Error]] = {
    Status.INTERNAL: InternalError,
    Status.NULL: NullError,
    Status.INVALID: InvalidError,
    Status.BAD_HANDLE: BadHandleError,
    Status.BUSY: BusyError,
    Status.POISONED: PoisonedError,
    Status.NO_MEMORY: OutOfMemoryError,
    Status.IO: FileError,
    Status.FORMAT: FormatError,
    Status.UNSUPPORTED: UnsupportedError,
    Status.MISMATCH: MismatchError,
    Status.BUFFER_TOO_SMALL: BufferTooSmallError,
    Status.CONTEXT_FULL: ContextFullError,
    Status.CANCELLED: CancelledError,
    Status.UNKNOWN_KEY: UnknownKeyError,
    Status.WRONG_TYPE: WrongTypeError,
    Status.UTF8: Utf8Error,
    Status.SYNTAX: InvalidSyntaxError,
    Status.NOT_FOUND: NotFoundError,
}


def error(status: int, message: str) -> Error:
    """The exception for a status."""
    return _CLASSES.get(status, Error)(status, message)
