"""Models."""

from __future__ import annotations

import json
import os
from ctypes import byref, c_char, c_int32, c_int64, c_void_p
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ._ffi import ReadFn, borrowed, c_name, call, create, get_int, read_bytes, read_tokens, token_array
from ._handle import Handle, Options, OptionValue, Progress
from ._lend import Buffer, give_back, lend
from ._watch import Watch, guarded
from .log import Log
from .metadata import Metadata

if TYPE_CHECKING:
    from .chat import Chat
    from .sampler import Sampler
    from .session import Session
    from .stream import Stream

#: A message of a chat: at least ``{"role": "user", "content": "…"}``.
Message = Mapping[str, Any]
#: Text, or tokens.
Prompt = Union[str, Sequence[int]]
Path = Union[str, "os.PathLike[str]"]


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


class _Tokenize(IntFlag):
    """How a text is cut into tokens."""

    ADD_SPECIAL = 1
    PARSE_SPECIAL = 2


_DETOKENIZE_SPECIAL = 1


def _path(path: Optional[Path]) -> Optional[str]:
    return None if path is None else os.fspath(path)


class Memory(NamedTuple):
    """What a session will take, in bytes."""

    #: The model's file.
    weights: int
    #: Keys and values of one sequence as long as the context.
    kv: int
    #: A step's buffers.
    scratch: int
    total: int


class Model(Handle):
    """A model: weights and vocabulary of a GGUF file. Immutable; any number of threads may use it at once.

    ``mmap=False`` reads the file into memory instead of mapping it; ``preload=True`` brings all of a mapped file into
    memory before it returns. While either goes on, ``progress`` is called with the bytes done, and how many there are.
    ``metadata_only=True`` reads the file's header only: metadata, ``tokenize``, ``chat_format`` and ``memory`` work;
    there are no sessions. ``log`` gets what the library has to say, also of sessions that have no log of their own: a
    function of a ``LogLevel`` and a text, or a ``logging.Logger``. ``log_level`` is the limit: ``INFO``; for a logger
    everything, as it has a limit of its own. ``head`` is a file with a classification head, for ``Session.classify``, in
    place of the model's own if it has one.

    An exception that ``progress`` or ``log`` raises, and Ctrl-C, end the opening and come out here.
    """

    _free = "pumice_model_free"
    _kind = "model"

    def __init__(
        self,
        path: Path,
        *,
        mmap: Optional[bool] = None,
        preload: Optional[bool] = None,
        metadata_only: Optional[bool] = None,
        head: Optional[Path] = None,
        progress: Optional[Progress] = None,
        log: Optional[Log] = None,
        log_level: Optional[int] = None,
    ) -> None:
        values = {"mmap": mmap, "preload": preload, "metadata_only": metadata_only, "head": _path(head)}
        # Paths are UTF-8 in the library on every system.
        self._open(values, progress, log, log_level, "pumice_model_open", c_name(os.fspath(path)))

    def _open(
        self,
        values: Mapping[str, Optional[OptionValue]],
        progress: Optional[Progress],
        log: Optional[Log],
        log_level: Optional[int],
        name: str,
        *arguments: Any,
    ) -> None:
        #: For sessions too, unless they have their own.
        self._log = (log, log_level)
        with Watch(long=False), Options("model", values) as options:
            options.set_progress(progress)
            options.set_log(log, log_level)
            super().__init__(create(self._free, name, *arguments, options._handle))

    @classmethod
    def from_buffer(
        cls,
        data: Any,
        *,
        metadata_only: Optional[bool] = None,
        head: Optional[Path] = None,
        log: Optional[Log] = None,
        log_level: Optional[int] = None,
    ) -> "Model":
        """A model whose file is in memory: ``bytes``, an ``mmap``, anything with the buffer protocol whose memory is in
        one piece. It is not copied (on CPython), and must not be changed while the model, or a session of it, lives.
        The other arguments are those of ``Model``."""
        buffer = Buffer(data)
        number = lend(buffer)
        model = cls.__new__(cls)
        memory = (c_void_p(buffer.address), buffer.size, give_back, number)
        values = {"metadata_only": metadata_only, "head": _path(head)}
        model._open(values, None, log, log_level, "pumice_model_open_memory", *memory)
        return model

    @classmethod
    def from_bytes(cls, data: Any, **options: Any) -> "Model":
        """As ``from_buffer``."""
        return cls.from_buffer(data, **options)

    @classmethod
    def from_file(
        cls,
        file: Any,
        *,
        size: Optional[int] = None,
        metadata_only: Optional[bool] = None,
        head: Optional[Path] = None,
        progress: Optional[Progress] = None,
        log: Optional[Log] = None,
        log_level: Optional[int] = None,
    ) -> "Model":
        """A model whose file is read, into memory, through an object with ``seek`` and ``readinto``: a file in an
        archive, an encrypted or a remote one. ``size`` is in bytes; without it, ``seek`` to the end has to tell.
        With ``metadata_only``, no more than the header is read. The object is not used any more when this returns.
        An exception that it raises comes out here. The other arguments are those of ``Model``."""
        if size is None:
            file.seek(0, os.SEEK_END)
            size = int(file.tell())

        def read(_user_data: Any, offset: int, target: int, length: int) -> int:
            return guarded(_read_into, file, offset, target, length)

        read_fn = ReadFn(read)
        model = cls.__new__(cls)
        values = {"metadata_only": metadata_only, "head": _path(head)}
        model._open(values, progress, log, log_level, "pumice_model_open_reader", read_fn, None, size)
        return model

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
    def labels(self) -> List[str]:
        """The names of the classification head's classes; none without a head."""
        count = self._int("n_labels")
        return [borrowed("pumice_model_label", self._handle, index).decode() for index in range(count)]

    @property
    def weight_bytes(self) -> int:
        """The size of the file."""
        return self._int("memory.weights")

    def memory(
        self,
        *,
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        chunk: Optional[int] = None,
        kernels: Optional[str] = None,
        kv_type: Optional[str] = None,
        activations: Optional[str] = None,
        embeddings: Optional[bool] = None,
    ) -> Memory:
        """Whether it will fit: what a session with these options takes, in bytes, before it is made. A model that was
        opened with ``metadata_only`` knows too."""
        values = {
            "n_ctx": n_ctx,
            "threads": threads,
            "chunk": chunk,
            "kernels": kernels,
            "kv_type": kv_type,
            "activations": activations,
            "embeddings": embeddings,
        }
        out = c_int64()
        found = []
        with Options("session", values) as options:
            for name in Memory._fields:
                call("pumice_model_memory", self._handle, options._handle, name.encode(), byref(out))
                found.append(out.value)
        return Memory(*found)

    @property
    def metadata(self) -> "Metadata":
        """The file's metadata, as a read-only mapping."""
        return Metadata(self)

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> List[int]:
        """The tokens of a text. ``add_special`` adds the tokens that begin and end a text, as far as the model wants
        them; ``parse_special`` reads control tokens that are spelled out in the text."""
        data = text.encode()
        flags = _Tokenize.ADD_SPECIAL * add_special | _Tokenize.PARSE_SPECIAL * parse_special
        # A token has at least one byte of text, and two may be added.
        size = len(data) + 3
        return read_tokens("pumice_model_tokenize", self._handle, data, len(data), flags, size=size)

    def _split(self, prompt: Prompt, continuations: Iterable[Prompt]) -> Tuple[List[int], List[List[int]]]:
        """The tokens that a prompt and all its continuations begin with, and what each continuation is behind them. The
        tokens are those of whole texts, which may be cut differently than the prompt alone."""
        eos = self.special_token("eos")

        def whole(text: str) -> List[int]:
            tokens = self.tokenize(text)
            if len(tokens) > 1 and tokens[-1] == eos:
                tokens.pop()  # it goes on
            return tokens

        def joined(way: Prompt) -> List[int]:
            if isinstance(prompt, str) and isinstance(way, str):
                return whole(prompt + way)
            return before + (self.tokenize(way, add_special=False) if isinstance(way, str) else list(way))

        before = whole(prompt) if isinstance(prompt, str) else list(prompt)
        ways = [joined(way) for way in continuations]
        differing = (at for at, tokens in enumerate(zip(before, *ways)) if len(set(tokens)) > 1)
        shared = next(differing, min(map(len, [before, *ways])))
        return before[:shared], [way[shared:] for way in ways]

    def detokenize_bytes(self, tokens: Iterable[int], *, special: bool = False) -> bytes:
        """The bytes of tokens, which may end inside a character. ``special`` shows control tokens."""
        array, count = token_array(tokens)
        flags = _DETOKENIZE_SPECIAL if special else 0
        return read_bytes("pumice_model_detokenize", self._handle, array, count, flags, size=8 * count + 64)

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

    def chat_format(
        self,
        messages: Iterable[Message],
        *,
        tools: Optional[Sequence[Any]] = None,
        add_generation_prompt: bool = True,
        template: Optional[str] = None,
        **variables: Any,
    ) -> str:
        """The text of a chat, by the model's chat template or by another ``template``.

        Messages are mappings, at least ``{"role": "user", "content": "…"}``; ``tools`` are functions as JSON schemas
        describe them; ``variables`` are what else the template knows. ``add_generation_prompt`` ends the text where the
        assistant's answer begins. Cut it into tokens with ``tokenize(text, parse_special=True)``.

        ``NotFoundError`` if the model has no template, ``InvalidSyntaxError`` if it cannot be parsed, ``InvalidError``
        with the template's own words if it refuses the messages.
        """
        values = dict(variables, messages=[dict(message) for message in messages])
        values["add_generation_prompt"] = add_generation_prompt
        if tools is not None:
            values["tools"] = list(tools)
        data = json.dumps(values, ensure_ascii=False).encode()
        own = None if template is None else c_name(template)
        size = 2 * len(data) + 1024
        return read_bytes("pumice_model_chat_format_json", self._handle, own, data, len(data), size=size).decode()

    def session(self, **options: Any) -> "Session":
        """A session, in which sequences are fed to the model; see ``Session`` for the options."""
        from .session import Session

        return Session(self, **options)

    def sampler(self, **options: Any) -> "Sampler":
        """A sampler; see ``Sampler`` for the options."""
        from .sampler import Sampler

        return Sampler(self, **options)

    def chat(
        self,
        *,
        system: Optional[str] = None,
        messages: Iterable[Message] = (),
        tools: Optional[Sequence[Any]] = None,
        template: Optional[str] = None,
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        memory_limit: Optional[int] = None,
        **sampling: Any,
    ) -> "Chat":
        """A conversation in a session of its own, which closes with it; see ``Chat``."""
        from .chat import Chat

        session = self.session(n_ctx=n_ctx, threads=threads, memory_limit=memory_limit)
        try:
            chat = Chat(session, system=system, messages=messages, tools=tools, template=template, **sampling)
        except BaseException:
            session.close()
            raise
        chat._owned = session
        return chat

    def generate(
        self,
        prompt: Union[str, Sequence[int]],
        *,
        max_tokens: int = 0,
        stop: Union[str, Sequence[str]] = (),
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        **sampling: Any,
    ) -> "Stream":
        """Streams the text that follows a prompt, from a session of its own; as ``Session.generate``."""
        session = self.session(n_ctx=n_ctx, threads=threads)
        try:
            stream = session.generate(prompt, max_tokens=max_tokens, stop=stop, **sampling)
        except BaseException:
            session.close()
            raise
        stream._owned.append(session)
        return stream


def _read_into(file: Any, offset: int, target: int, length: int) -> None:
    """Fills memory of the library's from a file."""
    file.seek(offset)
    at = 0
    with memoryview((c_char * length).from_address(target)).cast("B") as memory:
        while at < length:
            with memory[at:] as rest:
                count = file.readinto(rest)
            if not count:
                raise EOFError(f"the file ends at byte {offset + at}")
            at += count
