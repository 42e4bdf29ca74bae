"""Models."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping as AbstractMapping
from ctypes import byref, c_double, c_int32, c_int64, c_size_t, c_void_p
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Optional, Sequence, Union

from ._ffi import DropFn, borrowed, c_name, call, get_int, read_bytes, read_tokens, token_array
from ._handle import Handle, Options
from .errors import NotFoundError

if TYPE_CHECKING:
    from .sampler import Sampler
    from .session import Session

MetadataValue = Union[int, float, bool, str, bytes, List[Any]]


class TokenFlag(IntFlag):
    """What a token is. Exactly one of the flags but ``END`` is set."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 4
    USER_DEFINED = 8
    UNUSED = 16
    BYTE = 32
    #: It ends a generation.
    END = 64


# Buffers that models read from, by a number that the library hands back when it is done with one.
_lent: Dict[int, Any] = {}
_next_number = iter(range(1, 2**62))


def _forget(number: int) -> None:
    _lent.pop(number, None)


_give_back = DropFn(_forget)


class Model(Handle):
    """A model: weights and vocabulary of a GGUF file. Immutable; any number of threads may use it at once.

    ``mmap=False`` reads the file into memory instead of mapping it.
    """

    _free = "pumice_model_free"
    _kind = "model"

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, mmap: Optional[bool] = None) -> None:
        out = c_void_p()
        with Options("model", {"mmap": mmap}) as options:
            # Paths are UTF-8 in the library on every system.
            call("pumice_model_open", c_name(os.fspath(path)), options._handle, byref(out))
        super().__init__(out)

    @classmethod
    def from_bytes(cls, data: Union[bytes, bytearray, memoryview]) -> "Model":
        """A model whose file is in memory. The bytes are not copied, unless they are read-only and not ``bytes``; they
        must not be changed while the model lives."""
        view = memoryview(data)
        address: Any
        if view.readonly:
            keep: Any = data if isinstance(data, bytes) else bytes(view)
            address = ctypes.cast(ctypes.c_char_p(keep), c_void_p)
        else:
            keep = (ctypes.c_char * view.nbytes).from_buffer(view)
            address = ctypes.cast(keep, c_void_p)
        number = next(_next_number)
        _lent[number] = keep
        out = c_void_p()
        call("pumice_model_open_memory", address, view.nbytes, _give_back, number, None, byref(out))
        model = cls.__new__(cls)
        Handle.__init__(model, out)
        return model

    def __enter__(self) -> "Model":
        return self

    def _int(self, name: str) -> int:
        return get_int("pumice_model_get_int", self._handle, name)

    @property
    def arch(self) -> str:
        """The architecture: ``"llama"``, ``"gpt2"``."""
        return borrowed("pumice_model_get_string", self._handle, b"arch").decode()

    @property
    def quant(self) -> str:
        """The tensor type that most of the file is made of: ``"Q4_K"``."""
        return borrowed("pumice_model_get_string", self._handle, b"quant").decode()

    @property
    def n_ctx_train(self) -> int:
        """Positions the model was trained on."""
        return self._int("n_ctx_train")

    @property
    def n_embd(self) -> int:
        """The width of the residual stream."""
        return self._int("n_embd")

    @property
    def n_layer(self) -> int:
        """Layers."""
        return self._int("n_layer")

    @property
    def n_head(self) -> int:
        """Heads of queries."""
        return self._int("n_head")

    @property
    def n_head_kv(self) -> int:
        """Heads of keys and values, which groups of queries share."""
        return self._int("n_head_kv")

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self._int("head_dim")

    @property
    def n_ff(self) -> int:
        """The inner width of the feed-forward blocks."""
        return self._int("n_ff")

    @property
    def n_vocab(self) -> int:
        """Tokens."""
        return self._int("n_vocab")

    @property
    def weight_bytes(self) -> int:
        """The size of the file."""
        return self._int("memory.weights")

    @property
    def metadata(self) -> "Metadata":
        """The file's metadata, as a read-only mapping."""
        return Metadata(self)

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> List[int]:
        """The tokens of a text. ``add_special`` adds the tokens that begin and end a text, as far as the model wants
        them; ``parse_special`` reads control tokens that are spelled out in the text."""
        data = text.encode()
        flags = int(add_special) | int(parse_special) << 1
        # A token has at least one byte of text, and two may be added.
        size = len(data) + 3
        return read_tokens("pumice_model_tokenize", self._handle, data, len(data), flags, size=size)

    def detokenize_bytes(self, tokens: Iterable[int], *, special: bool = False) -> bytes:
        """The bytes of tokens, which may end inside a character. ``special`` shows control tokens."""
        array, count = token_array(tokens)
        return read_bytes("pumice_model_detokenize", self._handle, array, count, int(special))

    def detokenize(self, tokens: Iterable[int], *, special: bool = False) -> str:
        """The text of tokens; U+FFFD stands for bytes that are no character."""
        return self.detokenize_bytes(tokens, special=special).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for, which may be a part of a character; a control token's name."""
        return self.detokenize_bytes([token], special=True)

    def is_end(self, token: int) -> bool:
        """Whether a token ends a generation."""
        return bool(self.token_flags(token) & TokenFlag.END)

    def token_text(self, token: int) -> bytes:
        """A token's name in the vocabulary, as the file has it."""
        return borrowed("pumice_model_token_text", self._handle, token)

    def token_flags(self, token: int) -> TokenFlag:
        """What a token is."""
        out = c_int32()
        call("pumice_model_token_flags", self._handle, token, byref(out))
        return TokenFlag(out.value)

    def special_token(self, name: str) -> Optional[int]:
        """The token with a role, such as ``"bos"``, ``"eos"``, ``"eot"``; ``None`` if the model has none."""
        out = c_int32()
        call("pumice_model_special_token", self._handle, c_name(name), byref(out))
        return out.value if out.value >= 0 else None

    def session(
        self,
        *,
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        kernels: Optional[str] = None,
        chunk: Optional[int] = None,
    ) -> "Session":
        """A session, in which sequences are fed to the model. See ``pumice.describe()`` for the options."""
        from .session import Session

        return Session(self, n_ctx=n_ctx, threads=threads, kernels=kernels, chunk=chunk)

    def sampler(self, **options: Any) -> "Sampler":
        """A sampler; see ``Sampler`` for the options."""
        from .sampler import Sampler

        return Sampler(self, **options)

    def generate(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        max_tokens: int = 0,
        stop: Union[str, Sequence[str]] = (),
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """Streams the text that follows a prompt, from a session of its own; as ``Session.generate``."""
        with self.session(n_ctx=n_ctx, threads=threads) as session:
            yield from session.generate(prompt, max_tokens=max_tokens, stop=stop, **sampling)


_ARRAY = 256
_FLOATS = (6, 12)
_BOOL, _STRING, _NESTED = 7, 8, 9


class Metadata(AbstractMapping):  # type: ignore[type-arg]
    """The metadata of a model's file. Strings are ``str``, or ``bytes`` where they are not UTF-8; arrays are lists."""

    def __init__(self, model: Model) -> None:
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
        element = kind.value & ~_ARRAY
        if kind.value & _ARRAY:
            return [self._read(key.encode(), element, index) for index in range(count.value)]
        return self._read(key.encode(), element, 0)

    def _read(self, key: bytes, kind: int, index: int) -> MetadataValue:
        handle = self._model._handle
        if kind == _STRING:
            raw = borrowed("pumice_model_meta_string", handle, key, index)
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return raw
        if kind in _FLOATS:
            real = c_double()
            call("pumice_model_meta_float", handle, key, index, byref(real))
            return real.value
        out = c_int64()
        call("pumice_model_meta_int", handle, key, index, byref(out))
        return bool(out.value) if kind == _BOOL else out.value
