"""What Python allows and C does not: large and negative numbers, NUL in text, memory that is borrowed."""

import gc
import pickle
import unittest
import weakref

from support import MODEL
import pumice

PROMPT = "It was a fine morning, and"


class Limits(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)
        self.session = self.model.session()

    def tearDown(self):
        self.session.close()
        self.model.close()

    def test_numbers_are_not_cut_down_to_the_width_of_the_type(self):
        self.session.decode([1, 2, 3])
        for wrong in (
            lambda: self.model.session(n_ctx=2**64),
            lambda: self.model.token_flags(2**32 + 5),
            lambda: self.session.tokens(2**32),
            lambda: self.session.truncate(-1),
            lambda: self.session.logits(-1),
            lambda: self.session.decode_batch([(2**32, [1], pumice.Outputs.LAST)]),
            lambda: self.model.sampler(seed=2**64),
        ):
            with self.assertRaises(OverflowError):
                wrong()
        self.assertEqual(self.session.tokens(), [1, 2, 3])
        flat = [0.0] * self.model.n_vocab
        with self.model.sampler(seed=2**64 - 1) as unsigned, self.model.sampler(seed=-1) as signed:
            draws = [[s.sample_logits(flat) for _ in range(8)] for s in (unsigned, signed)]
        self.assertEqual(draws[0], draws[1])

    def test_a_nul_does_not_end_a_name(self):
        with self.assertRaisesRegex(ValueError, "null"):
            pumice.Model(MODEL + "\0.gguf")
        with self.assertRaises(KeyError):
            self.model.metadata["general.architecture\0x"]
        with self.assertRaisesRegex(ValueError, "null"):
            self.model.special_token("eos\0x")
        with self.assertRaisesRegex(ValueError, "null"):
            pumice.has_feature("arch:llama\0x")

    def test_both_ways_to_generate_refuse_the_same(self):
        for wrong in ({"max_tokens": -1}, {"stop": [""]}, {"stop": ""}):
            with self.subTest(wrong), self.assertRaises(pumice.InvalidError):
                list(self.session.generate(PROMPT, temperature=0, **wrong))
            with self.subTest(wrong), self.assertRaises(pumice.InvalidError):
                self.session.complete(PROMPT, temperature=0, **wrong)
        with self.model.sampler() as sampler:
            ways = (self.session.generate, self.session.complete)
            for way in ways:
                with self.assertRaisesRegex(TypeError, "a sampler too"):
                    list(way(PROMPT, sampler=sampler, temperature=0))
        self.assertEqual(self.session.tokens(), [])

    def test_one_stop_text_is_not_a_list_of_letters(self):
        whole = "".join(self.session.generate(PROMPT, max_tokens=40, temperature=0))
        stop = whole[10:14]
        self.session.reset()
        text = "".join(self.session.generate(PROMPT, max_tokens=40, temperature=0, stop=stop))
        self.assertEqual(text, whole[: whole.index(stop)])
        self.session.reset()
        self.assertEqual(self.session.complete(PROMPT, temperature=0, stop=stop), (text, pumice.Finish.STOP))

    def test_borrowed_logits_keep_a_forgotten_session(self):
        session = self.model.session()
        session.decode([1, 2, 3])
        view, copy = session.logits(), session.logits(copy=True)
        del session
        gc.collect()
        with self.model.session() as other:  # would take the memory
            other.decode([9])
            self.assertNotEqual(other.logits().tolist(), copy.tolist())
            self.assertEqual(view.tolist(), copy.tolist())

    def test_what_is_forgotten_is_freed(self):
        class Memory(bytearray):  # can be watched, as bytes cannot
            pass

        with open(MODEL, "rb") as file:
            memory = Memory(file.read())
        lent = weakref.ref(memory)
        model = pumice.Model.from_buffer(memory)
        stream = model.session().generate(PROMPT, temperature=0)
        self.assertTrue(next(stream))
        del memory, model
        gc.collect()
        self.assertIsNotNone(lent())  # for the stream's session and sampler
        del stream
        gc.collect()
        self.assertIsNone(lent())

    def test_a_copy_of_logits_lasts(self):
        self.session.decode([1, 2, 3])
        copy = self.session.logits(copy=True)
        before = copy.tolist()
        self.assertEqual((copy.format, len(copy), before), ("f", self.model.n_vocab, self.session.logits().tolist()))
        self.session.decode([4])
        self.session.close()
        self.assertEqual(copy.tolist(), before)

    def test_errors_cross_processes(self):
        with self.assertRaises(pumice.InvalidError) as caught:
            self.model.session(n_ctx=-1)
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertIs(type(again), pumice.InvalidError)
        self.assertEqual((again.status, again.name), (pumice.Status.INVALID, "PUMICE_ERR_INVALID"))
        self.assertEqual((again.message, str(again)), (caught.exception.message, str(caught.exception)))
        self.assertEqual(pumice.Error(-999, "new").name, "PUMICE_ERR_UNKNOWN")

    def test_what_tokens_are(self):
        eos = self.model.special_token("eos")
        self.assertTrue(self.model.is_end(eos))
        self.assertEqual(self.model.token_bytes(eos), b"<|endoftext|>")
        tokens = self.model.tokenize("na\u00efve \U0001f999", add_special=False)
        self.assertFalse(any(map(self.model.is_end, tokens)))
        self.assertEqual(b"".join(map(self.model.token_bytes, tokens)).decode(), "na\u00efve \U0001f999")

    def test_the_shape_of_a_model(self):
        metadata = self.model.metadata
        self.assertEqual(self.model.n_head, metadata["llama.attention.head_count"])
        self.assertEqual(self.model.n_head_kv, metadata["llama.attention.head_count_kv"])
        self.assertEqual(self.model.n_ff, metadata["llama.feed_forward_length"])
        self.assertEqual(self.model.head_dim * self.model.n_head, self.model.n_embd)

    def test_text_is_the_same_for_any_number_of_threads(self):
        texts = {"".join(self.model.generate(PROMPT, max_tokens=40, temperature=0, threads=n)) for n in (1, 2)}
        self.assertEqual(len(texts), 1)
        self.assertGreater(len(texts.pop()), 40)


if __name__ == "__main__":
    unittest.main()
