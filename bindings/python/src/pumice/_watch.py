"""Calls of the library that call back, or take long: what Python code raises in them, and Ctrl-C."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from typing import Any, Callable, Optional, Set

#: What callbacks return to go on. One that raises returns 0, which stops.
CONTINUE = 1


class _Thread(threading.local):
    """The call that this thread is in."""

    #: What a callback raised; ``_ffi.call`` raises it when the library has returned.
    raised: Optional[BaseException] = None
    watch: Optional["Watch"] = None


thread = _Thread()


def guarded(action: Callable[..., object], *arguments: Any) -> int:
    """Runs the Python side of a callback, and answers for it."""
    watch = thread.watch or Watch()
    if thread.raised is not None or watch.interrupted:
        return 0
    outer = watch.in_callback
    try:
        watch.in_callback = True
        action(*arguments)
        watch.in_callback = outer
        return CONTINUE
    except BaseException as exception:
        watch.in_callback = outer
        thread.raised = exception
        watch.cancel()  # for callbacks whose answer the library does not ask for
        return 0


class Watch:
    """A ``with`` block around one call, which Ctrl-C ends; ``KeyboardInterrupt`` comes out of the block.

    Python handles a signal between two steps of its own code. While the library runs there are none but those of
    callbacks; and a callback starts with the handler, before any ``try``, where ``KeyboardInterrupt`` would be printed
    and lost. So meanwhile Ctrl-C leaves a mark and cancels. To do so at once it needs a thread that hears of signals
    from Python's wakeup file descriptor, which is had for ``long`` calls unless somebody else uses it. Handlers of
    Ctrl-C other than Python's own are left alone.

    When the interpreter ends, calls of daemon threads end before: a callback that finds no interpreter any more would
    end its thread with the library's frames on the stack, and with them the process.
    """

    def __init__(self, cancel: Callable[[], object] = lambda: None, *, long: bool = True) -> None:
        self.cancel = cancel
        self.interrupted = False
        #: A callback of the user's runs, from which exceptions come out.
        self.in_callback = False
        self._long = long
        self._outer: Optional[Watch] = None
        self._replaced = False
        self._listener: Optional[_Listener] = None

    def __enter__(self) -> "Watch":
        if _ending and threading.current_thread() is not threading.main_thread():
            raise SystemExit
        _active.add(self)
        self._outer, thread.watch = thread.watch, self
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._replaced = True
                signal.signal(signal.SIGINT, _on_interrupt)
                if self._long and os.name == "posix":
                    self._listener = _Listener.start(self.cancel)
        return self

    def __exit__(self, *_exception: object) -> None:
        _active.discard(self)
        try:
            if self._listener is not None:
                self._listener.stop()
            if self._replaced:
                # Until here Ctrl-C finds this watch and leaves its mark: raised in between, it would leave the handler.
                signal.signal(signal.SIGINT, signal.default_int_handler)
        finally:
            thread.watch = self._outer
        if self.interrupted:
            raise (SystemExit if _ending else KeyboardInterrupt) from None


#: The calls that go on, of all threads.
_active: Set[Watch] = set()
_ending = False
_PATIENCE = 5.0  # seconds; a callback of the user's may hang


def _end() -> None:
    """Ends the calls of daemon threads, and has those threads end silently."""
    global _ending
    _ending = True
    deadline = time.monotonic() + _PATIENCE
    while _active and time.monotonic() < deadline:
        for watch in list(_active):
            watch.interrupted = True
            watch.cancel()
        time.sleep(0.001)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_active.clear)  # the child has none of the threads


def _on_interrupt(_number: int, _frame: Any) -> None:
    watch = thread.watch
    if watch is None or watch.in_callback:
        raise KeyboardInterrupt
    watch.interrupted = True
    watch.cancel()


class _Listener:
    """A thread that cancels when Ctrl-C is pressed, though Python's main thread is in the library."""

    def __init__(self, cancel: Callable[[], object], read: int, write: int) -> None:
        self._cancel = cancel
        self._read, self._write = read, write
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pumice-interrupt", daemon=True)

    @staticmethod
    def start(cancel: Callable[[], object]) -> "Optional[_Listener]":
        read, write = os.pipe()
        os.set_blocking(write, False)
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        listener = _Listener(cancel, read, write)
        if before == -1:
            try:
                listener._thread.start()
                return listener
            except RuntimeError:  # the interpreter ends
                pass
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)
        return None

    def _listen(self) -> None:
        while True:
            number = os.read(self._read, 1)[0]
            if number == 0:
                return
            if number == signal.SIGINT:
                # Again and again: the first time may be before the library is in its call.
                while not self._done.wait(0.01):
                    self._cancel()
                return

    def stop(self) -> None:
        signal.set_wakeup_fd(-1)
        self._done.set()
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)
