"""What the package does with a model."""

import contextlib
import gc
import io
import math
import mmap
import os
import tempfile
import threading
import unittest
from pathlib import Path

from support import MODEL
import pumice
from pumice import _lend

PROMPT = "It was a fine morning, and"


class Models(unittest.TestCase):
    def test_what_a_model_says_of_itself(self):
        with pumice.Model(MODEL) as model:
            self.assertEqual((model.arch, model.quant, model.n_layer), ("llama", "Q8_0", 5))
            self.assertEqual(model.weight_bytes, os.path.getsize(MODEL))
            metadata = model.metadata
            self.assertEqual(metadata["general.architecture"], "llama")
            self.assertEqual(metadata["llama.block_count"], 5)
            self.assertEqual(len(metadata["tokenizer.ggml.tokens"]), model.n_vocab)
            self.assertAlmostEqual(metadata["llama.attention.layer_norm_rms_epsilon"], 1e-5)
            self.assertEqual(len(list(metadata)), len(metadata))
            types = metadata["tokenizer.ggml.token_type"]
            self.assertEqual((len(types), types[0], set(types[1:])), (model.n_vocab, 3, {1}))
            with self.assertRaises(KeyError):
                metadata["llama.nothing"]
            self.assertNotIn("llama.nothing", metadata)
        self.assertTrue(model.closed)
        with self.assertRaisesRegex(ValueError, "closed"):
            model.tokenize("a")
        model.close()

    def test_bytes_are_a_model_too_and_are_given_back(self):
        data = Path(MODEL).read_bytes()
        before = len(_lend._lent)
        with pumice.Model(MODEL) as model:
            expected = "".join(model.generate(PROMPT, max_tokens=10, temperature=0))
        file = open(MODEL, "rb")
        self.addCleanup(file.close)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.addCleanup(mapped.close)
        for form in (data, bytearray(data), memoryview(data), memoryview(bytearray(data)), mapped):
            with pumice.Model.from_bytes(form) as model:
                self.assertEqual("".join(model.generate(PROMPT, max_tokens=10, temperature=0)), expected)
                self.assertEqual(len(_lend._lent), before + 1)
            self.assertEqual(len(_lend._lent), before)

    def test_memory_is_lent_where_it_is(self):
        data = bytearray(Path(MODEL).read_bytes())
        with pumice.Model.from_buffer(memoryview(data).toreadonly()) as model, model.session() as session:
            session.decode([1])
            before = session.logits(copy=True)
            with self.assertRaises(BufferError):
                data.append(0)  # it would move
            for at in range(len(data) - 100_000, len(data)):
                data[at] = 0  # not what one should do, but what shows that there is no copy
            session.reset()
            session.decode([1])
            self.assertNotEqual(session.logits().tolist(), before.tolist())
        del session
        data.append(0)
        with self.assertRaises(TypeError):
            pumice.Model.from_buffer("text")
        with self.assertRaises(BufferError):
            pumice.Model.from_buffer(memoryview(data)[::2])

    def test_errors_have_statuses(self):
        with self.assertRaises(pumice.Error) as caught:
            pumice.Model("/nowhere.gguf")
        self.assertEqual(caught.exception.status, pumice.Status.IO)
        self.assertIsInstance(caught.exception, OSError)
        self.assertIn("/nowhere.gguf", str(caught.exception))
        before = len(_lend._lent)
        for data in (b"", b"GGUX", Path(MODEL).read_bytes()[:100]):
            with self.assertRaises(pumice.FormatError):
                pumice.Model.from_bytes(data)
        self.assertEqual(len(_lend._lent), before)
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"GGUF\3\0\0\0")
            file.flush()
            with self.assertRaisesRegex(pumice.FormatError, "the file ends"):
                pumice.Model(file.name, mmap=False)
        with pumice.Model(MODEL) as model:
            with self.assertRaisesRegex(pumice.InvalidError, "session.n_ctx is -1"):
                model.session(n_ctx=-1)
            with self.assertRaises(pumice.InvalidError):
                model.session(kernels="mmx")
            with self.assertRaises(pumice.InvalidError):
                model.sampler(temperature=-1)

    def test_text_and_tokens(self):
        with pumice.Model(MODEL) as model:
            for text in ("", "It was", "naïve 🦙 a\0b", "x" * 5000):
                tokens = model.tokenize(text, add_special=False)
                self.assertEqual(model.detokenize(tokens), text)
            eos = model.special_token("eos")
            self.assertEqual(model.token_text(eos), b"<|endoftext|>")
            self.assertEqual(model.token_flags(eos), pumice.TokenFlag.CONTROL | pumice.TokenFlag.END)
            self.assertEqual(model.tokenize("<|endoftext|>", add_special=False, parse_special=True), [eos])
            self.assertNotEqual(model.tokenize("<|endoftext|>", add_special=False), [eos])
            self.assertEqual(model.detokenize([eos]), "")
            self.assertEqual(model.detokenize([eos], special=True), "<|endoftext|>")
            self.assertIsNone(model.special_token("fim_pre"))
            with self.assertRaises(pumice.NotFoundError):
                model.special_token("end")

    def test_the_library_describes_itself(self):
        description = pumice.describe()
        self.assertEqual(description["version"], pumice.version())
        keys = {key["key"]: key for key in description["keys"]}
        self.assertEqual(keys["sampler.temperature"]["default"], 0.8)
        self.assertEqual(keys["session.kernels"]["default"], "auto")
        self.assertIn("scalar", description["cpu"])
        self.assertTrue(pumice.has_feature("arch:llama"))
        self.assertFalse(pumice.has_feature("arch:nothing"))


class Sessions(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)

    def tearDown(self):
        self.model.close()

    def test_logits_are_the_same_however_they_are_asked_for(self):
        tokens = self.model.tokenize(PROMPT)
        rows = []
        with self.model.session(threads=1) as session:
            for token in tokens:
                session.decode([token])
                rows.append(session.logits().tolist())
        for kernels in pumice.describe()["cpu"]:
            with self.model.session(threads=2, kernels=kernels) as session:
                self.assertEqual(session.threads, 2)
                session.decode_all(tokens)
                self.assertEqual(session.output_count, len(tokens))
                view = session.logits(0)
                self.assertEqual((view.format, len(view), view.readonly), ("f", self.model.n_vocab, False))
                self.assertTrue(all(math.isfinite(logit) for logit in view))
                self.assertEqual([session.logits(i).tolist() for i in range(len(tokens))], rows)
                with self.assertRaises(pumice.NotFoundError):
                    session.logits(len(tokens))

    def test_sequences(self):
        with self.model.session(n_ctx=8) as session:
            self.assertEqual(session.n_ctx, 8)
            session.decode_batch([(0, [1, 2, 3], pumice.Outputs.NONE), (5, [4, 5], pumice.Outputs.LAST)])
            self.assertEqual((session.tokens(), session.tokens(5), session.tokens(1)), ([1, 2, 3], [4, 5], []))
            self.assertEqual(session.output_count, 1)
            self.assertGreater(session.kv_bytes, 0)
            with self.assertRaises(pumice.ContextFullError):
                session.decode([1] * 6)
            for bad in ([-1], [self.model.n_vocab], []):
                with self.assertRaises(pumice.InvalidError):
                    session.decode(bad)
            with self.assertRaises(OverflowError):
                session.decode([2**31])
            self.assertEqual(session.tokens(), [1, 2, 3])
            session.truncate(1)
            self.assertEqual(session.tokens(), [1])
            session.reset()
            self.assertEqual((session.tokens(), session.kv_bytes, session.output_count), ([], 0, 0))

    def test_streaming_is_what_the_library_generates(self):
        cases = [
            {"max_tokens": 30, "temperature": 0},
            {"max_tokens": 30, "temperature": 0.9, "seed": 5},
            {"max_tokens": 40, "temperature": 0.7, "seed": 2, "repeat_penalty": 1.2},
            {"max_tokens": 1, "temperature": 0},
            {"max_tokens": 60, "temperature": 0.5, "stop": ["the", "qqq"]},
            {"temperature": 1.0, "seed": 3, "special": True},
        ]
        for case in cases:
            for n_ctx in (None, 20):
                with self.subTest(case=case, n_ctx=n_ctx), self.model.session(n_ctx=n_ctx) as session:
                    pieces = list(session.generate(PROMPT, **case))
                    streamed_tokens = session.tokens()
                    session.reset()
                    told = []
                    text, finish = session.complete(PROMPT, on_text=told.append, **case)
                    self.assertEqual(pieces, told)
                    self.assertEqual("".join(pieces), text)
                    self.assertEqual(streamed_tokens, session.tokens())
                    self.assertIn(finish, set(pumice.Finish))
                    self.assertNotIn("", pieces)
                    self.assertFalse(any(stop in text for stop in case.get("stop", [])))

    def test_whole_characters_only(self):
        llama = self.model.tokenize("🦙", add_special=False)
        self.assertGreater(len(llama), 1)  # so a token ends inside a character
        with self.model.session() as session, self.model.sampler(temperature=0) as sampler:
            pieces = []
            for token in llama:
                sampler.set_bias({token: math.inf})
                pieces += [p for p in session.generate([1], max_tokens=1, sampler=sampler)]
            self.assertTrue(all(p == "\ufffd" for p in pieces), pieces)  # cut off by max_tokens, each of them

    def test_a_generator_may_be_dropped(self):
        with self.model.session() as session:
            stream = session.generate(PROMPT, temperature=0)
            next(stream)
            session.logits()  # free between two pieces
            stream.close()
            session.reset()
            for _ in session.generate(PROMPT, temperature=0):
                break
            gc.collect()
            session.reset()
            self.assertEqual(session.tokens(), [])
        first = next(iter(self.model.generate(PROMPT, temperature=0)))
        self.assertTrue(first)

    def test_an_exception_in_a_callback_stops_and_comes_out(self):
        class Mine(Exception):
            pass

        def raises(*_arguments):
            raise Mine

        with self.model.session() as session:
            quiet = io.StringIO()
            with contextlib.redirect_stderr(quiet):
                with self.assertRaises(Mine):
                    session.complete(PROMPT, on_text=raises, temperature=0)
                after = len(session.tokens())
                self.assertGreater(after, 0)
                session.reset()
                with self.assertRaises(Mine):
                    session.complete(PROMPT, on_progress=raises, temperature=0)
            self.assertEqual((session.tokens(), quiet.getvalue()), ([], ""))
            busy = []

            def use(_text):
                try:
                    session.decode([1])
                except pumice.BusyError as error:
                    busy.append(error.status)

            session.complete(PROMPT, on_text=use, max_tokens=4, temperature=0)
            self.assertEqual(set(busy), {pumice.Status.BUSY})

    def test_cancelling_from_another_thread(self):
        with self.model.session() as session:
            started, done = threading.Event(), threading.Event()

            def cancel():
                started.wait(10)
                while not done.is_set():
                    session.cancel()

            thread = threading.Thread(target=cancel)
            thread.start()
            try:
                with self.assertRaises(pumice.CancelledError):
                    session.complete(PROMPT, on_text=lambda _text: started.set(), temperature=0)
            finally:
                done.set()
                started.set()
                thread.join()

    def test_samplers(self):
        logits = [0.0] * self.model.n_vocab
        logits[7] = 5.0
        with self.model.sampler(temperature=0) as sampler:
            self.assertEqual(sampler.sample_logits(logits), 7)
            sampler.set_bias({7: -math.inf, 9: 1.0})
            self.assertEqual(sampler.sample_logits(logits), 9)
            with self.assertRaises(pumice.Error) as caught:
                sampler.sample_logits(logits[:-1])
            self.assertEqual(caught.exception.status, pumice.Status.MISMATCH)
            with self.model.session() as session:
                with self.assertRaises(pumice.NotFoundError):
                    sampler.sample(session)
                session.decode([1])
                self.assertEqual(sampler.sample(session), sampler.sample_logits(session.logits()))
        with self.model.sampler(seed=11) as one:
            flat = [0.0] * self.model.n_vocab
            [one.sample_logits(flat) for _ in range(3)]
            with one.copy() as two:
                self.assertEqual(
                    [one.sample_logits(flat) for _ in range(9)], [two.sample_logits(flat) for _ in range(9)]
                )
            first = one.sample_logits(flat)
            one.reset()
            again = [one.sample_logits(flat) for _ in range(13)]
            self.assertEqual(again[-1], first)
            one.accept(3)
            one.accept([4, 5])
            with self.assertRaises(pumice.InvalidError):
                one.accept(-1)

    def test_any_order_of_closing(self):
        model = pumice.Model(MODEL)
        session, sampler = model.session(), model.sampler(temperature=0)
        model.close()
        session.decode([1, 2])
        self.assertGreaterEqual(sampler.sample(session), 0)
        del model
        gc.collect()
        session.close()
        sampler.close()
        with self.assertRaisesRegex(ValueError, "this session is closed"):
            session.decode([1])


if __name__ == "__main__":
    unittest.main()
