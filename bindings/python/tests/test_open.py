"""Where models come from, what they will take, and what is told meanwhile."""

import io
import logging
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import MODEL
import pumice
from pumice import LogLevel, _lend

PROMPT = "It was a fine morning, and"


class Mine(Exception):
    pass


def untimed(message):
    """A message without how long it took."""
    return re.sub(r"[0-9.]+ m?s", "", message)


class Reader(io.BytesIO):
    """A file that keeps account, and gives little at a time."""

    def __init__(self, data, most=100_000):
        super().__init__(data)
        self.most, self.read_bytes, self.fails_at = most, 0, None

    def readinto(self, buffer):
        if self.fails_at is not None and self.read_bytes >= self.fails_at:
            raise Mine("the cable is out")
        count = super().readinto(memoryview(buffer)[: self.most])
        self.read_bytes += count
        return count


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = Path(MODEL).read_bytes()
        with pumice.Model(MODEL) as model:
            cls.text = model.generate(PROMPT, max_tokens=10, temperature=0).read()

    def test_a_model_comes_from_anything_that_can_be_read(self):
        for options in ({}, {"size": len(self.data)}):
            file = Reader(self.data)
            with pumice.Model.from_file(file, **options) as model:
                file.close()  # it is not needed any more
                self.assertEqual(model.generate(PROMPT, max_tokens=10, temperature=0).read(), self.text)
        with open(MODEL, "rb", buffering=0) as file, pumice.Model.from_file(file) as model:
            self.assertEqual(model.weight_bytes, len(self.data))

    def test_what_a_reader_raises_comes_out(self):
        for fails_at in (0, 1000, 2_000_000):
            file = Reader(self.data)
            file.fails_at = fails_at
            with self.assertRaisesRegex(Mine, "the cable is out"):
                pumice.Model.from_file(file)
        with self.assertRaisesRegex(EOFError, "ends at byte 50000"):
            pumice.Model.from_file(Reader(self.data[:50_000]), size=len(self.data))
        with self.assertRaises(pumice.FormatError):
            pumice.Model.from_file(Reader(self.data[:50_000]))

    def test_the_header_alone(self):
        file = Reader(self.data)
        with pumice.Model.from_file(file, metadata_only=True) as model, pumice.Model(MODEL) as whole:
            self.assertLess(file.read_bytes, len(self.data) // 2)
            self.assertEqual(dict(model.metadata), dict(whole.metadata))
            self.assertEqual(model.tokenize(PROMPT), whole.tokenize(PROMPT))
            self.assertEqual(model.memory(n_ctx=100), whole.memory(n_ctx=100))
            with self.assertRaises(pumice.InvalidError):
                model.session()
        for way in (lambda: pumice.Model(MODEL, metadata_only=True), self.from_buffer):
            with way() as model, self.assertRaises(pumice.InvalidError):
                model.session()

    def from_buffer(self):
        return pumice.Model.from_buffer(self.data, metadata_only=True)

    def test_whether_it_fits(self):
        with pumice.Model(MODEL) as model:
            short, long = model.memory(n_ctx=256), model.memory(n_ctx=512)
            self.assertEqual(short.weights, len(self.data))
            self.assertEqual(short.total, short.weights + short.kv + short.scratch)
            self.assertEqual(long.kv, 2 * short.kv)
            with model.session(n_ctx=256) as session:
                session.decode([1] * 256)
                self.assertEqual(session.kv_bytes, short.kv)
            with self.assertRaises(pumice.InvalidError):
                model.memory(n_ctx=-1)


class Told(unittest.TestCase):
    def test_progress(self):
        size = os.path.getsize(MODEL)
        for options in ({"mmap": False}, {"preload": True}):
            told = []
            with pumice.Model(MODEL, progress=lambda *pair: told.append(pair), **options):
                self.assertEqual((told[-1], told), ((size, size), sorted(told)))
        told = []
        with pumice.Model.from_file(open_now(self), progress=lambda *pair: told.append(pair)):
            self.assertEqual(told[-1], (size, size))

    def test_an_exception_of_progress_comes_out(self):
        def raises(_done, _total):
            raise Mine

        for open_ in (
            lambda: pumice.Model(MODEL, mmap=False, progress=raises),
            lambda: pumice.Model(MODEL, preload=True, progress=raises),
            lambda: pumice.Model.from_file(open_now(self), progress=raises),
        ):
            with self.assertRaises(Mine):
                open_()

    def test_a_log_is_a_function_or_a_logger(self):
        before = len(_lend._lent)
        told = []
        with pumice.Model(MODEL, log=lambda level, text: told.append((level, text)), log_level=LogLevel.DEBUG) as model:
            self.assertTrue(told)
            self.assertTrue(all(isinstance(level, LogLevel) and text for level, text in told), told)
            count = len(told)
            own = []
            with model.session(log=lambda level, text: own.append(level), log_level=LogLevel.INFO) as session:
                session.decode([1])
            self.assertEqual((set(own), len(told)), ({LogLevel.INFO}, count))
            with model.session() as session:
                session.decode([1])
            self.assertGreater(len(told), count)
            self.assertEqual(len(_lend._lent), before + 1)
        self.assertEqual(len(_lend._lent), before)
        logger = logging.getLogger("pumice.test")
        logger.setLevel(logging.DEBUG)
        with self.assertLogs(logger, logging.DEBUG) as logs, pumice.Model(MODEL, log=logger):
            pass
        names = {LogLevel.ERROR: "ERROR", LogLevel.WARN: "WARNING", LogLevel.INFO: "INFO", LogLevel.DEBUG: "DEBUG"}
        logged = [(record.levelname, untimed(record.getMessage())) for record in logs.records]
        self.assertEqual(logged, [(names[level], untimed(text)) for level, text in told[:count]])
        told.clear()
        with pumice.Model(MODEL, log=lambda level, text: told.append(text), log_level=LogLevel.OFF) as model:
            model.session().close()
        self.assertEqual(told, [])
        with self.assertRaises(pumice.InvalidError):
            pumice.Model(MODEL, log=print, log_level=99)
        with self.assertRaises(pumice.FileError):
            pumice.Model("/nowhere.gguf", log=print, log_level=LogLevel.OFF)
        self.assertEqual(len(_lend._lent), before)

    def test_an_exception_of_a_log_comes_out(self):
        def raises(_level, _text):
            raise Mine

        before = len(_lend._lent)
        with self.assertRaises(Mine):
            pumice.Model(MODEL, log=raises, log_level=LogLevel.DEBUG)
        with pumice.Model(MODEL) as model, self.assertRaises(Mine):
            model.session(log=raises, log_level=LogLevel.DEBUG)
        self.assertEqual(len(_lend._lent), before)

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_ends_an_opening(self):
        script = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(Path(pumice.__file__).parents[1])!r})
import pumice
told = []
class File:
    def __init__(self):
        self.file = open({MODEL!r}, "rb")
        self.seek, self.tell, self.count = self.file.seek, self.file.tell, 0
    def readinto(self, buffer):
        self.count += 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return self.file.readinto(memoryview(buffer)[:10_000])
def raised(action):
    try:
        action()
    except KeyboardInterrupt:
        print("interrupted")
file = File()
raised(lambda: pumice.Model.from_file(file))
assert file.count < 10, file.count
def progress(done, total):
    os.kill(os.getpid(), signal.SIGINT)
raised(lambda: pumice.Model({MODEL!r}, mmap=False, progress=progress))
pumice._handle._nothing = progress  # what is called where no function is given
raised(lambda: pumice.Model({MODEL!r}, mmap=False))
pumice._handle._nothing = lambda done, total: None
file.file.close()
# At any time, which is mostly within the library.
for after in (0.005, 0.01, 0.02, 0.03, 0.04, 0.05):
    def openings():
        while True:
            pumice.Model({MODEL!r}, mmap=False).close()
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
    raised(openings)
"""
        done = subprocess.run(
            [sys.executable, "-B", "-W", "error", "-c", script], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "interrupted\n" * 9, ""))


def open_now(test):
    """The model's file, open until the test ends."""
    file = open(MODEL, "rb")
    test.addCleanup(file.close)
    return file


if __name__ == "__main__":
    unittest.main()
