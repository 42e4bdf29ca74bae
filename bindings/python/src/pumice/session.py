"""Sessions."""

from __future__ import annotations

import codecs
import ctypes
import signal
import threading
from ctypes import POINTER, byref, c_float, c_int32, c_size_t, c_void_p
from enum import IntEnum
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from ._ffi import CONTINUE, ProgressFn, TextFn, call, get_int, read_tokens, token_array
from ._handle import Handle, Options
from .model import Model
from .sampler import Sampler

Prompt = Union[str, Sequence[int]]
Stop = Union[str, Sequence[str]]


class Finish(IntEnum):
    """Why a generation ended."""

    #: The model ended its text.
    END = 0
    #: ``max_tokens``, or the context is full.
    LENGTH = 1
    #: One of the stop texts appeared.
    STOP = 2


class Outputs(IntEnum):
    """Which tokens of a run get an output."""

    NONE = 0
    LAST = 1
    ALL = 2


class Session(Handle):
    """Sequences being fed to a model, and the threads that do it. One thread at a time: a second one that comes
    meanwhile gets ``BusyError``. Use ``Model.session`` to make one."""

    _free = "pumice_session_free"
    _kind = "session"

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: Optional[int] = None,
        threads: Optional[int] = None,
        kernels: Optional[str] = None,
        chunk: Optional[int] = None,
    ) -> None:
        values = {"n_ctx": n_ctx, "threads": threads, "kernels": kernels, "chunk": chunk}
        out = c_void_p()
        with Options("session", values) as options:
            call("pumice_session_new", model._handle, options._handle, byref(out))
        super().__init__(out)
        self.model = model

    def __enter__(self) -> "Session":
        return self

    @property
    def n_ctx(self) -> int:
        """Positions that a sequence may have."""
        return get_int("pumice_session_get_int", self._handle, "n_ctx")

    @property
    def threads(self) -> int:
        """Threads, the caller's included."""
        return get_int("pumice_session_get_int", self._handle, "threads")

    @property
    def kv_bytes(self) -> int:
        """Bytes that the keys and values of all sequences take now."""
        return get_int("pumice_session_get_int", self._handle, "memory.kv")

    def decode(self, tokens: Iterable[int]) -> None:
        """Feeds tokens to sequence 0; afterwards output 0 belongs to the last one. If it fails, the sequence is as it
        was."""
        call("pumice_session_decode", self._handle, *token_array(tokens))

    def decode_batch(self, runs: Iterable[Tuple[int, Iterable[int], Outputs]]) -> None:
        """Feeds runs of tokens, each ``(sequence, tokens, outputs)``, at once; afterwards the outputs that they ask for
        can be read, in this order."""
        batch = c_void_p()
        call("pumice_batch_new", byref(batch))
        with _Batch(batch) as owner:
            for sequence, tokens, outputs in runs:
                call("pumice_batch_add", owner._handle, sequence, *token_array(tokens), int(outputs))
            call("pumice_session_decode_batch", self._handle, owner._handle)

    def decode_all(self, tokens: Iterable[int]) -> None:
        """Feeds tokens to sequence 0 and leaves an output for each of them: what scoring a text needs."""
        self.decode_batch([(0, tokens, Outputs.ALL)])

    @property
    def output_count(self) -> int:
        """How many outputs the last call that fed tokens has left."""
        out = c_size_t()
        call("pumice_session_output_count", self._handle, byref(out))
        return out.value

    def logits(self, index: int = 0, *, copy: bool = False) -> "memoryview[float]":
        """The logits of an output: ``n_vocab`` f32 without a copy, so ``numpy.asarray(session.logits())`` costs nothing.
        They are the session's own memory: read them before tokens are fed to it again, or it is reset or closed.
        (A session that is merely forgotten stays open for them.) ``copy=True`` gives memory that lasts."""
        out, count = POINTER(c_float)(), c_size_t()
        call("pumice_session_logits", self._handle, index, byref(out), byref(count))
        array = ctypes.cast(out, POINTER(c_float * count.value)).contents
        if copy:
            array = type(array).from_buffer_copy(array)
        else:
            array._session = self  # type: ignore[attr-defined]
        # ctypes says "<f", which memoryview itself cannot index.
        return memoryview(array).cast("B").cast("f")

    def tokens(self, sequence: int = 0) -> List[int]:
        """The tokens that a sequence has been fed."""
        return read_tokens("pumice_session_seq_tokens", self._handle, sequence)

    def truncate(self, keep: int, sequence: int = 0) -> None:
        """Forgets all but the first ``keep`` tokens of a sequence."""
        call("pumice_session_seq_truncate", self._handle, sequence, keep)

    def reset(self) -> None:
        """Forgets all sequences and outputs."""
        call("pumice_session_reset", self._handle)

    def cancel(self) -> None:
        """Makes the call that another thread is in raise ``CancelledError`` soon; does nothing if there is none."""
        from ._ffi import load_library

        load_library().pumice_session_cancel(self._handle)

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
    ) -> Iterator[str]:
        """Streams the text that follows a prompt, in pieces of whole characters.

        The prompt, text or tokens, is fed to sequence 0. Ends when the model ends its text, at one of the ``stop``
        texts (which is not shown), after ``max_tokens`` tokens (0: no such bound), or when the context is full.
        ``sampling`` makes the sampler (``temperature=0.7, seed=1``; see ``Sampler``) unless one is given.

        Between two pieces the session is free; the generator may be dropped at any time.
        """
        tokens = self._prompt(prompt)
        own = self._own_sampler(sampler, sampling)
        try:
            _generate_options(max_tokens, stop, special).close()  # the library's own checks
            yield from self._stream(tokens, own or sampler, max_tokens, stop, special)
        finally:
            if own is not None:
                own.close()

    def _stream(
        self, prompt: List[int], sampler: Any, max_tokens: int, stop: Stop, special: bool
    ) -> Iterator[str]:
        # The same loop as in pumice_session_generate, which tests compare it with.
        self.decode(prompt)
        sampler.accept(prompt)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = _StopText(_stops(stop))
        used, n_ctx, count = len(self.tokens()), self.n_ctx, 0
        while True:
            if count and count == max_tokens:
                break
            token = sampler.sample(self)
            sampler.accept(token)
            count += 1
            if self.model.is_end(token):
                break
            shown, stopped = text.push(decoder.decode(self.model.detokenize_bytes([token], special=special)))
            if shown:
                yield shown
            if stopped:
                return
            if count != max_tokens:
                if used == n_ctx:
                    break
                self.decode([token])
                used += 1
        shown, stopped = text.push(decoder.decode(b"", final=True))
        if not stopped:
            shown += text.held
        if shown:
            yield shown

    def complete(
        self,
        prompt: Prompt,
        *,
        on_text: Optional[Callable[[str], object]] = None,
        on_progress: Optional[Callable[[int, int], object]] = None,
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
        raised: List[BaseException] = []

        interrupt = _Interrupt(self)

        def guarded(action: Callable[..., object], *arguments: Any) -> int:
            try:
                interrupt.can_raise = True
                action(*arguments)
                interrupt.can_raise = False
                return CONTINUE
            except BaseException as exception:
                interrupt.can_raise = False
                raised.append(exception)
                return 0

        def on_piece(_user_data: Any, data: int, length: int, _tokens: Any, _count: int) -> int:
            if not length:
                return CONTINUE
            piece = ctypes.string_at(data, length).decode()
            pieces.append(piece)
            return guarded(on_text, piece) if on_text else CONTINUE

        def on_prompt(_user_data: Any, done: int, total: int) -> int:
            return guarded(on_progress, done, total) if on_progress else CONTINUE

        own = self._own_sampler(sampler, sampling)
        finish = c_int32()
        text_fn, progress_fn = TextFn(on_piece), ProgressFn(on_prompt)
        try:
            with interrupt, _generate_options(max_tokens, stop, special) as options:
                call("pumice_options_set_progress", options._handle, progress_fn, None)
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
        except Exception:
            if raised:
                raise raised[0] from None
            raise
        finally:
            if own is not None:
                own.close()
        return "".join(pieces), Finish(finish.value)


def _stops(stop: Stop) -> List[str]:
    return [stop] if isinstance(stop, str) else list(stop)


def _generate_options(max_tokens: int, stop: Stop, special: bool) -> Options:
    return Options("generate", {"max_tokens": max_tokens, "stop": _stops(stop), "special": special})


class _Interrupt:
    """Ctrl-C while the library runs. Python notices it at the very start of a callback, before any ``try``, and there
    ``KeyboardInterrupt`` would be printed and lost. So meanwhile Ctrl-C cancels the session's call, and the exception is
    raised after it. Handlers other than Python's own are left alone."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._came = False
        self._replaced = False
        #: A callback of the user's runs, from which exceptions come out.
        self.can_raise = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._replaced = True
                signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _number: int, _frame: Any) -> None:
        if self.can_raise:
            raise KeyboardInterrupt
        self._came = True
        self._session.cancel()

    def __exit__(self, *_exception: object) -> None:
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            raise KeyboardInterrupt


class _Batch(Handle):
    _free = "pumice_batch_free"
    _kind = "batch"


class _StopText:
    """Text on its way out, held back as long as it may be the beginning of a stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""

    def push(self, text: str) -> Tuple[str, bool]:
        """Takes new text; gives what can be shown, and whether a stop text has appeared."""
        held = self.held + text
        found = [at for at in map(held.find, self.stops) if at >= 0]
        if found:
            self.held = ""
            return held[: min(found)], True
        longest = max(map(len, self.stops), default=0)
        starts = range(max(0, len(held) - longest), len(held))
        keep = next((at for at in starts if any(stop.startswith(held[at:]) for stop in self.stops)), len(held))
        self.held = held[keep:]
        return held[:keep], False
