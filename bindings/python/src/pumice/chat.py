"""Conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from ._closing import Closing
from .model import Message
from .sampler import Sampler
from .stream import Stop, Stream

if TYPE_CHECKING:
    from .session import Session


class Chat(Closing):
    """A conversation: the messages so far, and the session that has read them. ``Model.chat`` makes one with a session
    of its own.

    The session's sequence 0 belongs to it. ``tools`` and ``template`` are those of ``Model.chat_format``; ``sampling``
    makes the sampler, which serves all turns.
    """

    def __init__(
        self,
        session: "Session",
        *,
        system: Optional[str] = None,
        messages: Iterable[Message] = (),
        tools: Optional[Sequence[Any]] = None,
        template: Optional[str] = None,
        **sampling: Any,
    ) -> None:
        self.session = session
        #: The messages so far, which may be changed between two turns.
        self.messages: List[Dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        self.messages += [dict(message) for message in messages]
        self.tools = tools
        self.template = template
        self._sampler = Sampler(session.model, **sampling)
        self._stream: Optional[Stream] = None
        self._owned: Optional["Session"] = None

    def send(
        self,
        message: Union[str, Mapping[str, Any]],
        *,
        max_tokens: int = 0,
        stop: Stop = (),
        special: bool = False,
    ) -> Stream:
        """Says something, and streams the answer.

        ``message`` is the user's text, or a whole message (``{"role": "tool", "content": "…"}``). It becomes part of
        the conversation with the answer, or as much of the answer as has been read from the stream; if it fails before
        there is any, because the context is full for instance, the conversation stays as it was.
        """
        if self._stream is not None:
            self._stream.close()
        said = {"role": "user", "content": message} if isinstance(message, str) else dict(message)
        messages = [*self.messages, said]
        stream = self.session.chat(
            messages,
            tools=self.tools,
            template=self.template,
            max_tokens=max_tokens,
            stop=stop,
            special=special,
            sampler=self._sampler,
        )

        answer = {"role": "assistant", "content": ""}

        def keep(piece: str) -> None:
            if not answer["content"]:
                self.messages += [said, answer]
            answer["content"] += piece

        stream._told = keep
        self._stream = stream
        return stream

    def close(self) -> None:
        """Frees the sampler, and the session that ``Model.chat`` made."""
        if self._stream is not None:
            self._stream.close()
        self._sampler.close()
        if self._owned is not None:
            self._owned.close()
