"""``python -m pumice``."""

import os
import signal
import subprocess
import sys
import unittest

from support import MODEL, ROOT
import pumice

PROMPT = "It was a fine morning, and"


def start(*arguments, **options):
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "bindings" / "python" / "src"))
    command = [sys.executable, "-B", "-m", "pumice", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(*arguments, text=None):
    """Runs the command; gives (exit status, stdout, stderr)."""
    process = start(*arguments, stdin=subprocess.PIPE)
    out, err = process.communicate((text or "").encode(), timeout=60)
    return process.returncode, out.decode(), err.decode()


class Command(unittest.TestCase):
    def test_it_streams_what_the_package_generates(self):
        with pumice.Model(MODEL) as model:
            greedy = "".join(model.generate(PROMPT, max_tokens=20, temperature=0))
            drawn = "".join(model.generate(PROMPT, max_tokens=20, seed=4))
            short = "".join(model.generate(PROMPT, temperature=0, n_ctx=30))
        self.assertEqual(run(MODEL, PROMPT, "-n", "20", "--temperature", "0"), (0, greedy + "\n", ""))
        self.assertEqual(run(MODEL, PROMPT, "-n20", "--seed=4", "--threads=1"), (0, drawn + "\n", ""))
        self.assertEqual(run(MODEL, PROMPT, "--temperature=0", "--n-ctx=30"), (0, short + "\n", ""))
        self.assertEqual(run(MODEL, "-", "-n20", "--temperature=0", text=PROMPT), (0, greedy + "\n", ""))
        # Without a seed, every run has its own.
        self.assertGreater(len({run(MODEL, PROMPT, "-n20", "--temperature=1.5") for _ in range(4)}), 1)

    def test_errors_are_one_line(self):
        for arguments, said in (
            (("/nowhere.gguf", "a"), "/nowhere.gguf"),
            ((MODEL, PROMPT, "--n-ctx=3"), "context"),
            ((MODEL, PROMPT, "-n=-1"), "max_tokens"),
            ((MODEL, PROMPT, f"--threads={2**70}"), "outside"),
        ):
            with self.subTest(arguments):
                status, out, err = run(*arguments)
                self.assertEqual((status, out, err.count("\n"), err[:8]), (1, "", 1, "pumice: "))
                self.assertIn(said, err)
        with self.subTest("stdin is not UTF-8"):
            process = start(MODEL, "-", stdin=subprocess.PIPE)
            _out, err = process.communicate(b"\xff", timeout=60)
            self.assertEqual((process.returncode, err.count(b"\n")), (1, 1))

    @unittest.skipIf(sys.platform == "win32", "signals of another kind")
    def test_ctrl_c_ends_it_cleanly(self):
        process = start(MODEL, PROMPT, "--temperature=1.5", "--n-ctx=100000")
        self.assertTrue(process.stdout.read(10))
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (130, b""))

    def test_a_reader_may_have_seen_enough(self):
        process = start(MODEL, PROMPT, "--temperature=1.5", "--n-ctx=100000")
        self.assertTrue(process.stdout.read(10))
        process.stdout.close()
        self.assertEqual((process.wait(60), process.stderr.read()), (1, b""))
        process.stderr.close()


if __name__ == "__main__":
    unittest.main()
