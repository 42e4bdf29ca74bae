"""Samplers."""

from __future__ import annotations

from ctypes import byref, c_float, c_int32
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional

from ._ffi import call, create, token_array
from ._handle import Handle, Options

if TYPE_CHECKING:
    from .model import Model
    from .session import Session


def _real(value: Optional[float]) -> Optional[float]:
    return None if value is None else float(value)


class Sampler(Handle):
    """Chooses tokens from logits. One thread at a time. ``temperature=0`` is greedy; ``None`` is the library's
    default; ``pumice.describe()`` says what each option means."""

    _free = "pumice_sampler_free"
    _kind = "sampler"

    def __init__(
        self,
        model: "Model",
        *,
        temperature: Optional[float] = None,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        min_p: Optional[float] = None,
        repeat_penalty: Optional[float] = None,
        frequency_penalty: Optional[float] = None,
        presence_penalty: Optional[float] = None,
        penalty_last_n: Optional[int] = None,
        seed: Optional[int] = None,
        logit_bias: Optional[Mapping[int, float]] = None,
    ) -> None:
        values = {
            "temperature": _real(temperature),
            "top_k": top_k,
            "top_p": _real(top_p),
            "min_p": _real(min_p),
            "repeat_penalty": _real(repeat_penalty),
            "frequency_penalty": _real(frequency_penalty),
            "presence_penalty": _real(presence_penalty),
            "penalty_last_n": penalty_last_n,
            "seed": seed,
        }
        if seed is not None and 2**63 <= seed < 2**64:  # the same 64 bits, as C takes them
            values["seed"] = seed - 2**64
        with Options("sampler", values) as options:
            super().__init__(create(self._free, "pumice_sampler_new", model._handle, options._handle))
        if logit_bias:
            self.set_bias(logit_bias)

    def copy(self) -> "Sampler":
        """A sampler with the same history and random numbers: both go on alike."""
        clone = Sampler.__new__(Sampler)
        Handle.__init__(clone, create(self._free, "pumice_sampler_clone", self._handle))
        return clone

    def set_bias(self, bias: Mapping[int, float]) -> None:
        """Replaces the biases, which are added to the logits of tokens; ``-inf`` forbids a token."""
        tokens, count = token_array(bias.keys())
        values = (c_float * count)(*bias.values())
        call("pumice_sampler_set_bias", self._handle, tokens, values, count)

    def sample(self, session: "Session", index: int = 0) -> int:
        """Chooses a token by the session's output number ``index``. Tell ``accept`` if it is used."""
        out = c_int32()
        call("pumice_sampler_sample", self._handle, session._handle, index, byref(out))
        return out.value

    def sample_logits(self, logits: Any) -> int:
        """Chooses a token by logits of one's own: a C-contiguous buffer of f32 (a numpy array, ``Session.logits()``) or
        any iterable of numbers, one for each token."""
        out = c_int32()
        try:
            view = memoryview(logits)
            contiguous = view.format == "f" and view.contiguous and not view.readonly
        except TypeError:
            contiguous = False
        if contiguous:
            count = view.nbytes // 4
            array = (c_float * count).from_buffer(view)
        else:
            values = [float(value) for value in logits]
            count = len(values)
            array = (c_float * count)(*values)
        call("pumice_sampler_sample_logits", self._handle, array, count, byref(out))
        return out.value

    def accept(self, tokens: "int | Iterable[int]") -> None:
        """Tells the penalties that the text goes on with a token, or several."""
        for token in [tokens] if isinstance(tokens, int) else tokens:
            call("pumice_sampler_accept", self._handle, token)

    def reset(self) -> None:
        """As if just made; biases stay."""
        call("pumice_sampler_reset", self._handle)
