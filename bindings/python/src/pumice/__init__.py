"""pumice runs language models from GGUF files on CPU threads.

    import pumice

    with pumice.Model("model.gguf") as model, model.chat(system="You are brief.") as chat:
        for text in chat.send("What is pumice?", max_tokens=100):
            print(text, end="", flush=True)

Nothing but the standard library is needed. The shared library is the one that ``load_library`` names; else that which
the environment variable ``PUMICE_LIBRARY`` names; else the one inside this package, the newest that the repository
around it has built, or one that the system finds. ``python -m pumice MODEL PROMPT`` streams text on a terminal.
"""

from ._ffi import load_library
from .chat import Chat
from .errors import (
    BadHandleError,
    BufferTooSmallError,
    BusyError,
    CancelledError,
    ContextFullError,
    Error,
    FileError,
    FormatError,
    InternalError,
    InvalidError,
    InvalidSyntaxError,
    MismatchError,
    NotFoundError,
    NullError,
    OutOfMemoryError,
    PoisonedError,
    Status,
    UnknownKeyError,
    UnsupportedError,
    Utf8Error,
    WrongTypeError,
)
from .library import describe, has_feature, version
from .log import LogLevel
from .metadata import Metadata
from .model import Memory, Model, TokenFlag
from .sampler import Sampler
from .session import LabelScore, Outputs, Perf, Session, TokenLogprob
from .stream import Finish, Stream

__all__ = [
    "BadHandleError",
    "BufferTooSmallError",
    "BusyError",
    "CancelledError",
    "Chat",
    "ContextFullError",
    "Error",
    "FileError",
    "Finish",
    "FormatError",
    "InternalError",
    "InvalidError",
    "InvalidSyntaxError",
    "LabelScore",
    "LogLevel",
    "Memory",
    "Metadata",
    "MismatchError",
    "Model",
    "NotFoundError",
    "NullError",
    "OutOfMemoryError",
    "Outputs",
    "Perf",
    "PoisonedError",
    "Sampler",
    "Session",
    "Status",
    "Stream",
    "TokenFlag",
    "TokenLogprob",
    "UnknownKeyError",
    "UnsupportedError",
    "Utf8Error",
    "WrongTypeError",
    "describe",
    "has_feature",
    "load_library",
    "version",
]
