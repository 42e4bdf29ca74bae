"""pumice runs language models from GGUF files on CPU threads.

    import pumice

    with pumice.Model("model.gguf") as model:
        for text in model.generate("Once upon a time", max_tokens=100):
            print(text, end="", flush=True)

Nothing but the standard library is needed. The shared library is looked for beside this package, then where
``PUMICE_LIBRARY`` points, then in the build directory of the repository that this file is in; ``load_library`` names
it explicitly.
"""

from ._ffi import load_library
from .errors import (
    BusyError,
    CancelledError,
    ContextFullError,
    Error,
    FormatError,
    InvalidError,
    NotFoundError,
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
    "Finish",
    "FormatError",
    "InvalidError",
    "Metadata",
    "Model",
    "NotFoundError",
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
