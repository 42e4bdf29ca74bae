"""pumice runs language models from GGUF files on CPU threads.

    import pumice

    with pumice.Model("model.gguf") as model:
        for text in model.generate("Once upon a time", max_tokens=100):
            print(text, end="", flush=True)

Nothing but the standard library is needed. The shared library is the one that ``load_library`` names; else that
which the environment variable ``PUMICE_LIBRARY`` names; else one beside this package, one that the repository around
it has built, or one that the system finds.
"""

from ._ffi import load_library
from .errors import (
    BusyError,
    CancelledError,
    ContextFullError,
    Error,
    FileError,
    FormatError,
    InvalidError,
    NotFoundError,
    OutOfMemoryError,
    Status,
    UnknownKeyError,
    UnsupportedError,
    WrongTypeError,
)
from .library import describe, has_feature, version
from .model import Metadata, Model, TokenFlag
from .sampler import Sampler
from .session import Finish, Outputs, Session

__all__ = [
    "BusyError",
    "CancelledError",
    "ContextFullError",
    "Error",
    "FileError",
    "Finish",
    "FormatError",
    "InvalidError",
    "Metadata",
    "Model",
    "NotFoundError",
    "OutOfMemoryError",
    "Outputs",
    "Sampler",
    "Session",
    "Status",
    "TokenFlag",
    "UnknownKeyError",
    "UnsupportedError",
    "WrongTypeError",
    "describe",
    "has_feature",
    "load_library",
    "version",
]
