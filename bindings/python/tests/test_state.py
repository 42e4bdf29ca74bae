"""Sequences that share what they begin with, and sessions that are put away."""

import os
import tempfile
import unittest
from pathlib import Path

from support import MODEL, with_strings
import pumice

PROMPT = "It was a fine morning, and"


class State(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)
        self.session = self.model.session()
        self.tokens = self.model.tokenize(PROMPT)
        self.session.decode(self.tokens)
        self.logits = self.session.logits(copy=True).tolist()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "state"

    def tearDown(self):
        self.session.close()
        self.model.close()

    def again(self, session, sequence=0):
        """The last token's logits, of a session that has none."""
        tokens = session.tokens(sequence)
        session.truncate(len(tokens) - 1, sequence)
        session.decode_batch([(sequence, tokens[-1:], pumice.Outputs.LAST)])
        return session.logits().tolist()

    def test_fork(self):
        before = self.session.kv_bytes
        self.session.fork(0, 3)
        self.session.fork(0, 4, 2)
        self.assertEqual(self.session.kv_bytes, before)
        self.assertEqual((self.session.tokens(3), self.session.tokens(4)), (self.tokens, self.tokens[:2]))
        self.session.truncate(0)
        self.session.decode([7])
        self.assertEqual(self.again(self.session, 3), self.logits)
        for wrong in (lambda: self.session.fork(3, 5, len(self.tokens) + 1), lambda: self.session.fork(-1, 5, 0)):
            with self.assertRaises(pumice.InvalidError):
                wrong()
        with self.assertRaises(OverflowError):
            self.session.fork(3, 5, -1)

    def test_a_session_comes_back_from_a_file_and_from_memory(self):
        self.session.fork(0, 2, 3)
        self.session.save(self.path)
        data = self.session.save_bytes()
        for way in ("path", "text", "bytes", "memoryview"):
            with self.subTest(way), self.model.session() as other:
                other.decode([9])
                {
                    "path": lambda: other.load(self.path),
                    "text": lambda: other.load(str(self.path)),
                    "bytes": lambda: other.load_bytes(data),
                    "memoryview": lambda: other.load_bytes(memoryview(bytearray(data))),
                }[way]()
                self.assertEqual((other.tokens(), other.tokens(2)), (self.tokens, self.tokens[:3]))
                self.assertEqual(other.output_count, 0)
                self.assertEqual(self.again(other), self.logits)

    def test_one_sequence_goes_anywhere(self):
        self.session.decode_batch([(1, [4, 5, 6], pumice.Outputs.LAST)])
        self.session.save(self.path, sequence=0)
        one = self.session.save_bytes(1)
        with self.model.session() as other:
            other.decode([9])
            other.load(self.path, sequence=6)
            other.load_bytes(one, 7)
            self.assertEqual([other.tokens(i) for i in (0, 6, 7)], [[9], self.tokens, [4, 5, 6]])
            self.assertEqual(self.again(other, 6), self.logits)
            with self.assertRaises(pumice.MismatchError):
                other.load_bytes(self.session.save_bytes(), 3)

    def test_what_is_refused_leaves_the_session_as_it_was(self):
        data = self.session.save_bytes()
        with self.model.session(n_ctx=4) as small:
            small.decode([8])
            for bad, exception in (
                (b"", pumice.FormatError),
                (b"no state", pumice.FormatError),
                (data[:-1], pumice.FormatError),
                (data, pumice.ContextFullError),
            ):
                with self.assertRaises(exception):
                    small.load_bytes(bad)
                self.assertEqual(small.tokens(), [8])
            with self.assertRaises(pumice.FileError):
                small.load(self.path / "nowhere")
            with self.assertRaises(pumice.FileError):
                small.save(self.path / "nowhere")
            with self.assertRaises(TypeError):
                small.load_bytes("text")
        self.session.save(self.path)
        self.assertEqual(os.listdir(self.path.parent), ["state"])  # nothing is left beside it


if __name__ == "__main__":
    unittest.main()
