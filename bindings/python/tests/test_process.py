"""What the process around the package sees: nothing on its streams, a clean exit in any state, and Ctrl-C."""

import subprocess
import sys
import unittest

from support import MODEL, ROOT

START = f"""
import builtins, gc, os, signal, sys, threading, time
sys.path.insert(0, {str(ROOT / "bindings" / "python" / "src")!r})
import pumice
PATH = {MODEL!r}
DATA = open(PATH, "rb").read()
"""


def run(script):
    """Runs a script in a process of its own; gives (exit status, stdout, stderr)."""
    done = subprocess.run([sys.executable, "-B", "-c", START + script], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class Process(unittest.TestCase):
    def test_nothing_is_printed(self):
        script = """
with pumice.Model(PATH) as model, model.session(threads=2) as session:
    list(session.generate("It was", max_tokens=5))
    session.complete("It was", max_tokens=5)
    for wrong in (
        lambda: pumice.Model("/nowhere"), lambda: pumice.Model.from_bytes(DATA[:1000]),
        lambda: pumice.Model.from_bytes(b"GGUF" + bytes(100)), lambda: session.decode([-1]),
        lambda: model.session(kernels="none"), lambda: session.complete("a", on_text=lambda text: 1 / 0),
    ):
        try:
            wrong()
        except (pumice.Error, ZeroDivisionError):
            continue
        raise AssertionError("it did not fail")
"""
        self.assertEqual(run(script), (0, "", ""))

    def test_the_interpreter_may_end_in_any_state(self):
        make = "model = pumice.Model.from_bytes(DATA); session = model.session(threads=2); sampler = model.sampler()\n"
        states = {
            "globals": make,
            "builtins": make + "builtins.kept = (sampler, session, model)",
            "module": make + "sys.kept = (model, session, sampler); del model, session, sampler",
            "cycle": make + "model.me = session.me = sampler.me = [model, session, sampler]",
            "generator": make + "stream = session.generate('It was'); next(stream)",
            "view": make + "session.decode([1]); builtins.view = session.logits(); del session, model",
            "thread": make + "threading.Thread(target=lambda: (time.sleep(0.2), session.decode([1]))).start()",
            "daemon": make + "threading.Thread(target=lambda: session.complete('a'), daemon=True).start()",
            "daemon in a call": make + "started = threading.Event()\n"
            "def text(piece): started.set()\n"
            "def work(): session.complete('It was', temperature=0, on_text=text)\n"
            "threading.Thread(target=work, daemon=True).start(); started.wait()",
            "exit": make + "sys.exit(0)",
        }
        for name, script in states.items():
            with self.subTest(name):
                self.assertEqual(run(script), (0, "", ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_is_a_keyboard_interrupt(self):
        ways = {
            "generate": "for text in session.generate('It was', temperature=0): pass",
            "complete": "session.complete('It was', temperature=0)",
            "in a callback": "session.complete('It was', temperature=0, on_text=lambda text: time.sleep(0.002))",
        }
        for name, way in ways.items():
            script = f"""
model = pumice.Model(PATH)
session = model.session()
for after in (0.005, 0.01, 0.02, 0.04):
    def soon():
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=soon)
    try:
        thread.start()
        while True:
            session.reset()
            {way}
    except KeyboardInterrupt:
        print("interrupted")
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    session.reset()
    session.decode([1])
"""
            with self.subTest(name):
                self.assertEqual(run(script), (0, "interrupted\n" * 4, ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_while_a_call_ends_gives_its_handler_back(self):
        script = """
session = pumice.Model(PATH).session()
stop = pumice._watch._Listener.stop
def late(listener):
    signal.raise_signal(signal.SIGINT)
    stop(listener)
pumice._watch._Listener.stop = late
try:
    session.complete('It was', temperature=0)
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
        self.assertEqual(run(script), (0, "interrupted\n", ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_ends_a_long_prompt_within_its_one_call(self):
        script = """
model = pumice.Model(PATH)
session = model.session(n_ctx=100000, threads=1)
session.decode([5])
tokens = [1, 2, 3] * 20000
ways = (
    lambda: session.decode(tokens), lambda: session.decode_batch([(0, tokens, pumice.Outputs.LAST)]),
    lambda: session.complete(tokens), lambda: next(session.generate(tokens)),
)
for way in ways:
    inside = threading.Event()
    def soon():
        inside.wait()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=soon)
    thread.start()
    try:
        inside.set()
        way()
    except KeyboardInterrupt:
        # The call was cancelled, so that the prompt has left nothing behind.
        print("interrupted", session.tokens())
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
assert threading.active_count() == 1
"""
        self.assertEqual(run(script), (0, "interrupted [5]\n" * 4, ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_in_a_call_within_a_callback(self):
        script = """
model = pumice.Model(PATH)
outer, inner = model.session(threads=1), model.session(n_ctx=100000, threads=1)
def nested(piece):
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        inner.complete([1, 2, 3] * 20000, on_progress=lambda done, total: None)
    finally:
        print("inner", inner.tokens())
try:
    outer.complete("It was", temperature=0, on_text=nested)
except KeyboardInterrupt:
    print("interrupted")
outer.decode([1])
"""
        self.assertEqual(run(script), (0, "inner []\ninterrupted\n", ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_somebody_elses_wakeup_descriptor_stays(self):
        script = """
import socket
mine, other = socket.socketpair()
other.setblocking(False)
signal.set_wakeup_fd(other.fileno())
model = pumice.Model(PATH)
with model.session() as session:
    session.decode([1] * 100)
    os.kill(os.getpid(), signal.SIGWINCH)
assert signal.set_wakeup_fd(-1) == other.fileno()
"""
        self.assertEqual(run(script), (0, "", ""))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_a_handler_of_the_hosts_stays(self):
        script = """
seen = []
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
model = pumice.Model(PATH)
def text(piece):
    if not seen:
        os.kill(os.getpid(), signal.SIGINT)
with model.session() as session:
    whole, _ = session.complete("It was", max_tokens=10, temperature=0, on_text=text)
assert seen == [signal.SIGINT] and whole, (seen, whole)
"""
        self.assertEqual(run(script), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
