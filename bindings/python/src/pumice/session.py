"""Sessions."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_double, c_float, c_int32, c_size_t, c_void_p
from enum import IntEnum
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import stream
from ._ffi import (
    TextFn,
    attempt,
    c_name,
    call,
    create,
    get_int,
    load_library,
    read_bytes,
    read_floats,
    read_tokens,
    token_array,
)
from ._handle import Handle, Options, Progress
from ._lend import Buffer
from ._watch import CONTINUE, Watch, guarded
from .log import Log
from .model import Message, Model, Prompt
from .sampler import Sampler
from .stream import Finish, Stop, Stream


class Outputs(IntEnum):
    """Which tokens of a run get an output."""

    NONE = 0
    LAST = 1
    ALL = 2


class Perf(NamedTuple):
    """What a session has done since it was made, or since ``reset_perf``. A step is of the prompt if some sequence has
    more than one token in it."""

    prompt_tokens: int
    prompt_seconds: float
    decode_tokens: int
    decode_seconds: float


class TokenLogprob(NamedTuple):
    """A token, and the natural logarithm of its probability."""

    token: int
    logprob: float


class LabelScore(NamedTuple):
    """A class's name, and what the classification head says of it: a logit, not a probability."""

    label: str
    score: float


#: The number that stands for all sequences.
_ALL = -1


class Session(Handle):
    """Sequences being fed to a model, and the threads that do it. One thread at a time: a second one that comes
    meanwhile gets ``BusyError``; different sessions do not wait for each other.

    ``n_ctx`` is how many positions a sequence may have (default: as many as the model was trained on); ``threads``
    includes the caller's (default: as many as this process may use); ``chunk`` is how many tokens of a prompt go
    through the model together; ``kernels`` names the instruction set; ``kv_type`` is what keys and values are kept as,
    ``"f16"``, ``"f32"`` (twice the memory) or ``"q8_0"`` (about half of it); ``activations`` is how activations are rounded
    that meet quantized weights or BF16, ``"mixed"`` or, up to a tenth faster with prompts and less faithful, ``"int8"``.
    ``memory_limit`` is how many bytes keys, values, buffers and outputs may take (``OutOfMemoryError``; default: no limit);
    ``embeddings=True`` keeps what ``embedding`` gives. ``pooling`` and ``normalize`` are for ``embed``. ``log`` is as for
    ``Model``, whose log it has if none is given. Results do not depend on ``threads``, ``chunk`` and ``kernels``.
    """

    _free = "pumice_session_free"
    _kind = "session"

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        chunk: Optional[int] = None,
        kernels: Optional[str] = None,
        kv_type: Optional[str] = None,
        activations: Optional[str] = None,
        memory_limit: Optional[int] = None,
        embeddings: Optional[bool] = None,
        pooling: Optional[str] = None,
        normalize: Optional[bool] = None,
        log: Optional[Log] = None,
        log_level: Optional[int] = None,
    ) -> None:
        values = {
            "n_ctx": n_ctx,
            "threads": threads,
            "chunk": chunk,
            "kernels": kernels,
            "kv_type": kv_type,
            "activations": activations,
            "memory_limit": memory_limit,
            "embeddings": embeddings,
            "pooling": pooling,
            "normalize": normalize,
        }
        if log is None:
            log, log_level = model._log
        with Watch(long=False), Options("session", values) as options:
            options.set_log(log, log_level)
            super().__init__(create(self._free, "pumice_session_new", model._handle, options._handle))
        self.model = model

    def configure(
        self,
        *,
        threads: Optional[int] = None,
        chunk: Optional[int] = None,
        kernels: Optional[str] = None,
        memory_limit: Optional[int] = None,
        pooling: Optional[str] = None,
        normalize: Optional[bool] = None,
    ) -> None:
        """Changes options; those that are not given stay as they are."""
        values = {
            "threads": threads,
            "chunk": chunk,
            "kernels": kernels,
            "memory_limit": memory_limit,
            "pooling": pooling,
            "normalize": normalize,
        }
        with Options("session", values) as options:
            call("pumice_session_configure", self._handle, options._handle)

    def _int(self, name: str) -> int:
        return get_int("pumice_session_get_int", self._handle, name)

    def _watch(self, long: bool) -> Watch:
        return Watch(self._stop, long=long)

    @property
    def n_ctx(self) -> int:
        """Positions that a sequence may have."""
        return self._int("n_ctx")

    @property
    def threads(self) -> int:
        """Threads, the caller's included."""
        return self._int("threads")

    @property
    def chunk(self) -> int:
        """Tokens of a prompt that go through the model together."""
        return self._int("chunk")

    @property
    def kv_bytes(self) -> int:
        """Bytes that the keys and values of all sequences take now."""
        return self._int("memory.kv")

    @property
    def scratch_bytes(self) -> int:
        """Bytes that a step's buffers take now."""
        return self._int("memory.scratch")

    @property
    def memory_limit(self) -> int:
        """Bytes that keys, values, buffers and outputs may take; 0: no limit."""
        return self._int("memory.limit")

    @property
    def perf(self) -> Perf:
        """Tokens and seconds so far."""
        return Perf(
            self._int("perf.prompt_tokens"),
            self._int("perf.prompt_ns") / 1e9,
            self._int("perf.decode_tokens"),
            self._int("perf.decode_ns") / 1e9,
        )

    def reset_perf(self) -> None:
        """Sets the counters of ``perf`` to 0."""
        call("pumice_session_perf_reset", self._handle)

    def decode(self, tokens: Iterable[int]) -> None:
        """Feeds tokens to sequence 0; afterwards output 0 belongs to the last one. If it fails, or is interrupted, the
        sequence is as it was."""
        array, count = token_array(tokens)
        with self._watch(count > 8):
            call("pumice_session_decode", self._handle, array, count)

    def decode_batch(self, runs: Iterable[Tuple[int, Iterable[int], Outputs]]) -> None:
        """Feeds runs of tokens, each ``(sequence, tokens, outputs)``, at once; afterwards the outputs that they ask for
        can be read, in this order. If it fails, or is interrupted, all sequences are as they were."""
        with _Batch(create(_Batch._free, "pumice_batch_new")) as batch:
            total = 0
            for sequence, tokens, outputs in runs:
                array, count = token_array(tokens)
                call("pumice_batch_add", batch._handle, sequence, array, count, int(outputs))
                total += count
            with self._watch(total > 8):
                call("pumice_session_decode_batch", self._handle, batch._handle)

    def decode_all(self, tokens: Iterable[int]) -> None:
        """Feeds tokens to sequence 0 and leaves an output for each of them: what scoring a text needs."""
        self.decode_batch([(0, tokens, Outputs.ALL)])

    @property
    def output_count(self) -> int:
        """How many outputs the last call that fed tokens has left."""
        out = c_size_t()
        call("pumice_session_output_count", self._handle, byref(out))
        return out.value

    def _floats(self, name: str, index: int, copy: bool) -> "memoryview[float]":
        out, count = POINTER(c_float)(), c_size_t()
        call(name, self._handle, index, byref(out), byref(count))
        array = ctypes.cast(out, POINTER(c_float * count.value)).contents
        if copy:
            array = type(array).from_buffer_copy(array)
        else:
            array._session = self  # type: ignore[attr-defined]
        # ctypes says "<f", which memoryview itself cannot index.
        return memoryview(array).cast("B").cast("f")

    def logits(self, index: int = 0, *, copy: bool = False) -> "memoryview[float]":
        """The logits of an output: ``n_vocab`` f32 without a copy, and ``numpy.asarray(session.logits())`` makes none.
        They are the session's own memory: read them before tokens are fed to it again, or it is reset or closed.
        (A session that is merely forgotten stays open for them.) ``copy=True`` gives memory that lasts."""
        return self._floats("pumice_session_logits", index, copy)

    def embedding(self, index: int = 0, *, copy: bool = False) -> "memoryview[float]":
        """The hidden state of an output, as the output matrix gets it: ``n_embd`` f32, lent as those of ``logits`` are.
        ``InvalidError`` if the session was not made with ``embeddings=True``."""
        return self._floats("pumice_session_embedding", index, copy)

    def top_logprobs(self, count: int, index: int = 0) -> List[TokenLogprob]:
        """The ``count`` most likely tokens of an output, or as many as there are, most likely first."""
        size = min(count, self.model.n_vocab)
        if size < 0:
            raise OverflowError(f"{count} is no number of tokens")
        tokens, logprobs, stored = (c_int32 * size)(), (c_float * size)(), c_size_t()
        call("pumice_session_top_logprobs", self._handle, index, tokens, logprobs, size, byref(stored))
        return [TokenLogprob(*pair) for pair in zip(tokens[: stored.value], logprobs[: stored.value])]

    def score(self, prompt: Prompt, continuations: Iterable[Prompt]) -> List[float]:
        """How likely a prompt goes on in each of several ways: the natural logarithm of each continuation's probability
        after it. Prompt and continuations are texts (a continuation usually with a space in front) or tokens.

        The prompt is fed to sequence 0, once for all continuations; what the sequence has in common with it already is
        not computed again, so that prompts which share a beginning cost what sets them apart. Where a token of text
        would reach across, the prompt ends earlier and the continuations begin there. Afterwards there are no outputs.
        """
        before, ways = self.model._split(prompt, continuations)
        tokens, count = token_array(before)
        arrays = [token_array(way) for way in ways]
        pointers = (c_void_p * len(arrays))(*(ctypes.addressof(array) for array, _count in arrays))
        counts = (c_size_t * len(arrays))(*(count for _array, count in arrays))
        logprobs = (c_double * len(arrays))()
        with self._watch(True):
            call("pumice_session_score", self._handle, tokens, count, pointers, counts, len(arrays), logprobs)
        return list(logprobs)

    def embed(self, prompt: Prompt) -> "memoryview[float]":
        """A text, or tokens, as a vector: the final hidden states of the tokens, as the output matrix would get them,
        made one by the session's ``pooling``: ``"mean"``, ``"last"``, ``"cls"`` (the first) or ``"none"``, which keeps
        a row for each token; by default what the model's file says, and the mean if it says nothing. Unless
        ``normalize`` is false, each vector is divided by its length.

        ``n_embd`` f32, or ``(tokens, n_embd)``; ``numpy.asarray`` makes no copy. No logits are computed, and
        ``embeddings`` makes no difference. All sequences stay as they are; afterwards there are no outputs.
        """
        tokens, count = token_array(self._prompt(prompt))
        with self._watch(True):
            array = read_floats("pumice_session_embed", self._handle, tokens, count)
        view = memoryview(array).cast("B")
        return view.cast("f", (count, self.model.n_embd)) if self._keeps_rows() else view.cast("f")

    def _keeps_rows(self) -> bool:
        """Whether ``embed`` gives a vector for each token: how much two tokens take, the library says without work."""
        size = c_size_t()
        call("pumice_session_embed", self._handle, (c_int32 * 2)(), 2, None, 0, byref(size))
        return size.value > self.model.n_embd

    def classify(self, prompt: Prompt) -> List[LabelScore]:
        """What the model's classification head, or that of ``Model(head=…)``, makes of a text, or of tokens: a score for
        each class, in the order of ``Model.labels``. They are logits: the greatest decides, and their softmax are the
        probabilities. ``InvalidError`` if there is no head. Otherwise as ``embed``.
        """
        tokens, count = token_array(self._prompt(prompt))
        with self._watch(True):
            scores = read_floats("pumice_session_classify", self._handle, tokens, count)
        return [LabelScore(*pair) for pair in zip(self.model.labels, scores)]

    def tokens(self, sequence: int = 0) -> List[int]:
        """The tokens that a sequence has been fed."""
        return read_tokens("pumice_session_seq_tokens", self._handle, sequence)

    def truncate(self, keep: int, sequence: int = 0) -> None:
        """Forgets all but the first ``keep`` tokens of a sequence."""
        call("pumice_session_seq_truncate", self._handle, sequence, keep)

    def fork(self, source: int, target: int, prefix: Optional[int] = None) -> None:
        """Makes sequence ``target`` the first ``prefix`` tokens of ``source`` (default: all), whose keys and values the
        two share; what it held before is forgotten."""
        if prefix is None:
            prefix = len(self.tokens(source))
        call("pumice_session_seq_fork", self._handle, source, target, prefix)

    def save(self, path: Union[str, "os.PathLike[str]"], sequence: Optional[int] = None) -> None:
        """Writes a sequence, or all of them, to a file: tokens, keys and values, so that they need not be computed
        again. The file is replaced as a whole, or left as it was."""
        which = _ALL if sequence is None else sequence
        call("pumice_session_state_save_file", self._handle, which, c_name(os.fspath(path)))

    def load(self, path: Union[str, "os.PathLike[str]"], sequence: Optional[int] = None) -> None:
        """Reads what ``save`` wrote: all sequences, in place of those there are; or a single one as ``sequence``,
        whatever number it had. ``FormatError`` if it is damaged, ``MismatchError`` if it is another model's; then the
        session is as it was. There are no outputs afterwards: ``truncate`` the last token and ``decode`` it again."""
        which = _ALL if sequence is None else sequence
        call("pumice_session_state_load_file", self._handle, which, c_name(os.fspath(path)))

    def save_bytes(self, sequence: Optional[int] = None) -> bytes:
        """As ``save``, into memory."""
        return read_bytes("pumice_session_state_save", self._handle, _ALL if sequence is None else sequence)

    def load_bytes(self, data: Any, sequence: Optional[int] = None) -> None:
        """As ``load``, from anything with the buffer protocol."""
        which = _ALL if sequence is None else sequence
        buffer = Buffer(data)
        try:
            call("pumice_session_state_load", self._handle, which, c_void_p(buffer.address), buffer.size)
        finally:
            buffer.release()

    def reset(self) -> None:
        """Forgets all sequences and outputs."""
        call("pumice_session_reset", self._handle)

    def cancel(self) -> None:
        """Makes the call that another thread is in raise ``CancelledError`` soon; does nothing if there is none."""
        attempt("pumice_session_cancel", self._handle)

    def _stop(self) -> None:
        if self._pointer is not None:  # a callback may have closed the session
            load_library().pumice_session_cancel(self._pointer)

    def _prompt(self, prompt: Prompt) -> List[int]:
        return self.model.tokenize(prompt) if isinstance(prompt, str) else list(prompt)

    def _own_sampler(self, sampler: Optional[Sampler], sampling: Dict[str, Any]) -> Optional[Sampler]:
        if sampler is not None and sampling:
            raise TypeError("options of a sampler, and a sampler too")
        return Sampler(self.model, **sampling) if sampler is None else None

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 0,
        stop: Stop = (),
        special: bool = False,
        sampler: Optional[Sampler] = None,
        **sampling: Any,
    ) -> Stream:
        """Streams the text that follows a prompt, in pieces of whole characters.

        The prompt, text or tokens, is fed to sequence 0. Ends when the model ends its text, at one of the ``stop``
        texts (which is not shown), after ``max_tokens`` tokens (0: no such bound), or when the context is full.
        ``sampling`` makes the sampler (``temperature=0.7, seed=1``; see ``Sampler``) unless one is given.

        Nothing is computed before the first piece is asked for. Between two pieces the session is free; the stream may
        be dropped at any time. Afterwards its ``text`` is the whole text, and ``finish`` says why it ended.
        """
        return self._stream(self._prompt(prompt), False, max_tokens, stop, special, sampler, sampling)

    def chat(
        self,
        messages: Iterable[Message],
        *,
        tools: Optional[Sequence[Any]] = None,
        template: Optional[str] = None,
        variables: Optional[Dict[str, Any]] = None,
        max_tokens: int = 0,
        stop: Stop = (),
        special: bool = False,
        sampler: Optional[Sampler] = None,
        **sampling: Any,
    ) -> Stream:
        """Streams the assistant's answer to a chat; the rest is as for ``generate``.

        The messages, put into text by ``Model.chat_format``, replace what sequence 0 holds; of it, the tokens that they
        begin with stay, so that a chat that goes on computes only what is new. The stream's ``message`` is the answer,
        to be appended to the messages for the next turn. ``Chat`` does this by itself.
        """
        values = variables or {}
        text = self.model.chat_format(messages, tools=tools, template=template, **values)
        # Control tokens that somebody writes into a message become real, as in every runtime with text templates.
        tokens = self.model.tokenize(text, parse_special=True)
        return self._stream(tokens, True, max_tokens, stop, special, sampler, sampling)

    def _stream(
        self,
        tokens: List[int],
        replace: bool,
        max_tokens: int,
        stop: Stop,
        special: bool,
        sampler: Optional[Sampler],
        sampling: Dict[str, Any],
    ) -> Stream:
        _generate_options(max_tokens, stop, special).close()  # the library's own checks
        own = self._own_sampler(sampler, sampling)
        pieces = stream.pieces(self, own or sampler, tokens, replace, max_tokens, stop, special)
        return Stream(pieces, [own] if own is not None else [])

    def complete(
        self,
        prompt: Prompt,
        *,
        on_text: Optional[Callable[[str], object]] = None,
        on_progress: Optional[Progress] = None,
        max_tokens: int = 0,
        stop: Stop = (),
        special: bool = False,
        sampler: Optional[Sampler] = None,
        **sampling: Any,
    ) -> Tuple[str, Finish]:
        """As ``generate``, in one call of the library: returns the whole text, and why it ended.

        ``on_text`` gets the pieces as they come, ``on_progress`` the number of the prompt's tokens that are done, and
        how many there are. An exception that they raise ends the generation and comes out here.
        """
        tokens, count = token_array(self._prompt(prompt))
        pieces: List[str] = []

        def on_piece(_user_data: Any, data: int, length: int, _tokens: Any, _count: int) -> int:
            if not length:
                return CONTINUE
            piece = ctypes.string_at(data, length).decode()
            pieces.append(piece)
            return guarded(on_text, piece) if on_text else CONTINUE

        own = self._own_sampler(sampler, sampling)
        finish = c_int32()
        text_fn = TextFn(on_piece)
        try:
            with self._watch(True), _generate_options(max_tokens, stop, special) as options:
                options.set_progress(on_progress)
                call(
                    "pumice_session_generate",
                    self._handle,
                    (own or sampler)._handle,  # type: ignore[union-attr]
                    tokens,
                    count,
                    options._handle,
                    text_fn,
                    None,
                    byref(finish),
                )
        finally:
            if own is not None:
                own.close()
        return "".join(pieces), Finish(finish.value)


def _generate_options(max_tokens: int, stop: Stop, special: bool) -> Options:
    return Options("generate", {"max_tokens": max_tokens, "stop": stream.stops(stop), "special": special})


class _Batch(Handle):
    _free = "pumice_batch_free"
    _kind = "batch"
