"""What a session has to say besides text: embeddings, probabilities, counters; and what can be changed."""

import math
import unittest

from support import MODEL
import pumice

try:
    import numpy
except ImportError:  # it is not needed
    numpy = None

PROMPT = "It was a fine morning, and"


class Outputs(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)
        self.tokens = self.model.tokenize(PROMPT)

    def tearDown(self):
        self.model.close()

    def test_embeddings(self):
        with self.model.session(embeddings=True) as session, self.model.session() as without:
            session.decode_all(self.tokens)
            rows = [session.embedding(index).tolist() for index in range(len(self.tokens))]
            self.assertEqual({len(row) for row in rows}, {self.model.n_embd})
            self.assertGreater(len(set(map(tuple, rows))), 5)
            copy = session.embedding(2, copy=True)
            with self.assertRaises(pumice.NotFoundError):
                session.embedding(len(self.tokens))
            session.reset()
            session.decode(self.tokens[:3])
            self.assertEqual(session.embedding().tolist(), rows[2])
            self.assertEqual(copy.tolist(), rows[2])
            without.decode([1])
            with self.assertRaises(pumice.InvalidError):
                without.embedding()

    def test_top_logprobs(self):
        with self.model.session() as session:
            session.decode(self.tokens)
            logits = session.logits().tolist()
            total = math.log(math.fsum(math.exp(logit - max(logits)) for logit in logits)) + max(logits)
            best = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
            top = session.top_logprobs(5)
            self.assertEqual([entry.token for entry in top], best[:5])
            for entry in top:
                self.assertAlmostEqual(entry.logprob, logits[entry.token] - total, places=4)
            whole = session.top_logprobs(10**6)
            self.assertEqual([token for token, _logprob in whole], best)
            self.assertAlmostEqual(math.fsum(math.exp(logprob) for _token, logprob in whole), 1, places=4)
            self.assertEqual(session.top_logprobs(0), [])
            with self.assertRaises(pumice.NotFoundError):
                session.top_logprobs(5, index=1)
            with self.assertRaises(OverflowError):
                session.top_logprobs(-1)

    def test_numpy_reads_in_place(self):
        # As numpy does, through the buffer protocol; and with numpy itself if it is there.
        with self.model.session(embeddings=True) as session, self.model.sampler(temperature=0) as sampler:
            session.decode(self.tokens)
            for view in (session.logits(), session.embedding()):
                self.assertEqual((view.format, view.itemsize, view.ndim, view.contiguous), ("f", 4, 1, True))
                if numpy is not None:
                    array = numpy.asarray(view)
                    self.assertEqual((array.dtype, array.shape), (numpy.float32, (len(view),)))
                    self.assertEqual(array.tolist(), view.tolist())
                    view[3] = 0.5
                    self.assertEqual(array[3], 0.5)
            if numpy is not None:
                logits = numpy.array(session.logits())
                logits[77] = 1000
                self.assertEqual(sampler.sample_logits(logits), 77)
                self.assertEqual(sampler.sample_logits(logits.astype(numpy.float64)), 77)
                session.decode(numpy.array([1, 2, 3]))
                self.assertEqual(session.tokens()[-3:], [1, 2, 3])

    def test_counters(self):
        with self.model.session() as session:
            self.assertEqual(session.perf, (0, 0, 0, 0))
            session.generate(self.tokens, max_tokens=5, temperature=0).read()
            perf = session.perf
            self.assertEqual((perf.prompt_tokens, perf.decode_tokens), (len(self.tokens), 4))
            self.assertTrue(0 < perf.prompt_seconds < 60 and 0 < perf.decode_seconds < 60, perf)
            session.reset_perf()
            self.assertEqual(session.perf, (0, 0, 0, 0))

    def test_what_may_change(self):
        with self.model.session(n_ctx=64, threads=1, chunk=16) as session:
            session.decode(self.tokens)
            before = session.logits().tolist()
            session.configure(threads=2, chunk=8, kernels="scalar", memory_limit=10**9)
            self.assertEqual((session.threads, session.chunk, session.memory_limit), (2, 8, 10**9))
            session.configure()
            session.configure(threads=1)
            self.assertEqual((session.threads, session.chunk, session.n_ctx), (1, 8, 64))
            session.reset()
            session.decode(self.tokens)
            self.assertEqual(session.logits().tolist(), before)
            for wrong in ({"threads": -1}, {"kernels": "mmx"}):
                with self.assertRaises(pumice.InvalidError):
                    session.configure(**wrong)

    def test_a_limit_of_memory(self):
        with self.model.session(memory_limit=1000) as session:
            with self.assertRaisesRegex(pumice.OutOfMemoryError, "1000"):
                session.decode(self.tokens)
            self.assertEqual((session.tokens(), session.kv_bytes), ([], 0))
            session.configure(memory_limit=0)
            session.decode(self.tokens)
            self.assertGreater(session.scratch_bytes, 0)


if __name__ == "__main__":
    unittest.main()
