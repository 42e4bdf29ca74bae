"""Generated text on its way."""

from __future__ import annotations

import codecs
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, Iterator, List, Optional, Sequence, Tuple, Union

from ._closing import Owner
from ._handle import Handle

if TYPE_CHECKING:
    from .session import Session

Stop = Union[str, Sequence[str]]


class Finish(IntEnum):
    """Why a generation ended."""

    #: The model ended its text.
    END = 0
    #: ``max_tokens``, or the context is full.
    LENGTH = 1
    #: One of the stop texts appeared.
    STOP = 2


class Stream(Owner, Iterator[str]):
    """An iterator of text, in pieces of whole characters, which are computed when they are asked for."""

    def __init__(self, pieces: Generator[str, None, Finish], owned: Sequence[Handle]) -> None:
        self._pieces = pieces
        self._parts: List[str] = []
        self._owned = list(owned)
        #: Is told of each piece, and of the end with an empty one.
        self._told: Callable[[str], object] = lambda _piece: None
        self._open = True
        #: Why the text ended; ``None`` before it has, and if it was closed before.
        self.finish: Optional[Finish] = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> str:
        try:
            piece = next(self._pieces)
        except StopIteration as end:
            if self._open:
                self.finish = end.value
                self._told("")
                self.close()
            raise StopIteration from None
        except BaseException:
            self.close()
            raise
        self._parts.append(piece)
        self._told(piece)
        return piece

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    @property
    def message(self) -> Dict[str, Any]:
        """The text so far as an assistant's message of a chat."""
        return {"role": "assistant", "content": self.text}

    def read(self) -> str:
        """The whole text, when it has ended."""
        for _ in self:
            pass
        return self.text

    def close(self) -> None:
        """Ends the text here. It may go on in the session, which has been fed all tokens but the last."""
        if self._open:
            self._open = False
            self._pieces.close()
            for handle in self._owned:
                handle.close()


def pieces(
    session: "Session", sampler: Any, prompt: List[int], replace: bool, max_tokens: int, stop: Stop, special: bool
) -> Generator[str, None, Finish]:
    """The same loop as in pumice_session_generate, which tests compare it with. ``replace`` has the prompt follow on as
    much of itself as the sequence begins with, instead of all of it."""
    start = 0
    if replace:
        held = session.tokens()
        # One token is fed in any case: it brings the logits.
        longest = min(len(held), len(prompt) - 1)
        start = next((at for at in range(longest) if held[at] != prompt[at]), max(longest, 0))
        session.truncate(start)
    session.decode(prompt[start:])
    sampler.accept(prompt)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = _StopText(stops(stop))
    used, n_ctx, count = len(session.tokens()), session.n_ctx, 0
    finish = Finish.LENGTH
    while not (count and count == max_tokens):
        token = sampler.sample(session)
        sampler.accept(token)
        count += 1
        if session.model.is_end(token):
            finish = Finish.END
            break
        shown, stopped = text.push(decoder.decode(session.model.detokenize_bytes([token], special=special)))
        if shown:
            yield shown
        if stopped:
            return Finish.STOP
        if count != max_tokens:
            if used == n_ctx:
                break
            session.decode([token])
            used += 1
    shown, stopped = text.push(decoder.decode(b"", final=True))
    if not stopped:
        shown += text.held
    if shown:
        yield shown
    return Finish.STOP if stopped else finish


def stops(stop: Stop) -> List[str]:
    """One text is not a list of letters."""
    return [stop] if isinstance(stop, str) else list(stop)


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
