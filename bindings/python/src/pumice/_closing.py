"""What is closed when it is no longer needed."""

from __future__ import annotations

from typing import TypeVar

_Self = TypeVar("_Self", bound="Closing")


class Closing:
    """Closes with its ``with`` block, or with ``close()``."""

    def close(self) -> None:
        """Frees what the library holds; a second time does nothing."""
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Owner(Closing):
    """Closes when it is forgotten, too."""

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter may be gone half already
            pass
