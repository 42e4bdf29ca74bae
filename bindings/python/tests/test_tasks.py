"""What a model is good for besides text: how likely continuations are, texts as vectors, classes of texts."""

import math
import pathlib
import struct
import tempfile
import unittest

from support import MODEL
import pumice

PROMPT = "It was a fine morning, and"
WAYS = [" she", " she walked to the house.", "", " zebra", "erson"]


def logprob(logits, token):
    """The logarithm of a token's probability."""
    top = max(logits)
    return logits[token] - top - math.log(math.fsum(math.exp(logit - top) for logit in logits))


class Scores(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)

    def tearDown(self):
        self.model.close()

    def alone(self, text, start):
        """Of the tokens of a whole text from number ``start`` on, by what decoding it gives."""
        tokens = self.model.tokenize(text)
        with self.model.session(threads=1) as session:
            session.decode_all(tokens)
            rows = [session.logits(index).tolist() for index in range(start - 1, len(tokens) - 1)]
        return math.fsum(logprob(row, token) for row, token in zip(rows, tokens[start:]))

    def test_texts_are_scored_as_decoding_them_says(self):
        start = len(self.model.tokenize(PROMPT))
        with self.model.session(threads=1) as session:
            scores = session.score(PROMPT, WAYS[:4])
            for way, score in zip(WAYS, scores):
                self.assertAlmostEqual(score, self.alone(PROMPT + way, start), places=4, msg=way)
            self.assertEqual(scores[2], 0)
            self.assertGreater(scores[0], scores[3])
            self.assertEqual((session.tokens(), session.output_count), (self.model.tokenize(PROMPT), 0))
            # Any order, any number, and what the session held before, makes no difference.
            session.score("The", [" end"])
            self.assertEqual(session.score(PROMPT, reversed(WAYS[:4])), scores[::-1])

    def test_a_token_may_reach_across(self):
        whole = self.model.tokenize("Each person")
        start = len(self.model.tokenize("Each p"))
        self.assertNotEqual(whole[:start], self.model.tokenize("Each p"))
        with self.model.session(threads=1) as session:
            person, other = session.score("Each p", ["erson", "q"])
            self.assertLess(len(session.tokens()), start)
            self.assertAlmostEqual(person, self.alone("Each person", len(session.tokens())), places=4)
            self.assertAlmostEqual(other, self.alone("Each pq", len(session.tokens())), places=4)

    def test_tokens_are_scored_as_they_are(self):
        tokens = self.model.tokenize(PROMPT)
        word = self.model.tokenize(" she", add_special=False)
        with self.model.session(threads=1) as session:
            expected = session.score(PROMPT, [" she"])
            for prompt in (PROMPT, tokens, tuple(tokens)):
                self.assertEqual(session.score(prompt, [word]), expected)
                self.assertEqual(session.score(prompt, [word, " she"]), expected * 2)
            # Every token that may follow: their probabilities add up to 1.
            scores = session.score(tokens, [[token] for token in range(self.model.n_vocab)])
            self.assertAlmostEqual(math.fsum(map(math.exp, scores)), 1, places=5)
            self.assertEqual(session.score(tokens, []), [])

    def test_prompts_share_their_beginning(self):
        with self.model.session(threads=1) as session:
            session.score(PROMPT, [])
            session.reset_perf()
            session.score(PROMPT + " then", [" she"])
            perf = session.perf
            self.assertEqual(
                perf.prompt_tokens + perf.decode_tokens,
                len(self.model.tokenize(PROMPT + " then she")) - len(self.model.tokenize(PROMPT)) - 1,
            )

    def test_the_end_of_a_text_is_not_in_its_middle(self):
        class Ending(pumice.Model):
            def tokenize(self, text, *, add_special=True, parse_special=False):
                tokens = super().tokenize(text, add_special=add_special, parse_special=parse_special)
                return tokens + [self.special_token("eos")] if add_special else tokens

        with Ending(MODEL) as model, model.session(threads=1) as ending, self.model.session(threads=1) as session:
            self.assertEqual(ending.score(PROMPT, WAYS), session.score(PROMPT, WAYS))

    def test_what_is_refused_changes_nothing(self):
        with self.model.session(threads=1, n_ctx=16) as session:
            session.decode([1, 2, 3])
            for error, prompt, ways in (
                (pumice.InvalidError, [], [[1]]),
                (pumice.InvalidError, "It", [[1], [-1]]),
                (pumice.InvalidError, [self.model.n_vocab], []),
                (pumice.ContextFullError, [1] * 10, [[1], [1] * 8]),
                (OverflowError, [1], [[2**31]]),
            ):
                with self.assertRaises(error):
                    session.score(prompt, ways)
            self.assertEqual((session.tokens(), session.output_count), ([1, 2, 3], 1))
            session.score([1] * 10, [[1] * 7])
            session.close()
            with self.assertRaises(ValueError):
                session.score("It", [" was"])


def hidden_states(model, tokens):
    """A row for each token, as they are kept beside the logits."""
    with model.session(threads=1, embeddings=True) as session:
        session.decode_all(tokens)
        return [session.embedding(index).tolist() for index in range(len(tokens))]


def mean(rows):
    return [math.fsum(column) / len(rows) for column in zip(*rows)]


class Vectors(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)
        self.tokens = self.model.tokenize(PROMPT)
        self.rows = hidden_states(self.model, self.tokens)

    def tearDown(self):
        self.model.close()

    def assertClose(self, found, expected):
        self.assertEqual(len(found), len(expected))
        for x, y in zip(found, expected):
            self.assertAlmostEqual(x, y, places=5)

    def test_a_text_is_the_mean_of_its_hidden_states(self):
        with self.model.session(threads=1) as session:
            session.decode([1, 2, 3])
            vector = session.embed(PROMPT)
            self.assertEqual((vector.format, vector.shape), ("f", (self.model.n_embd,)))
            wanted = mean(self.rows)
            length = math.sqrt(math.fsum(x * x for x in wanted))
            self.assertClose(vector.tolist(), [x / length for x in wanted])
            self.assertEqual(session.embed(self.tokens).tolist(), vector.tolist())
            self.assertEqual((session.tokens(), session.output_count), ([1, 2, 3], 0))
            session.configure(normalize=False)
            self.assertClose(session.embed(PROMPT).tolist(), wanted)

    def test_other_ways_to_pool(self):
        with self.model.session(threads=1, pooling="last", normalize=False) as session:
            self.assertEqual(session.embed(PROMPT).tolist(), self.rows[-1])
            session.configure(pooling="cls")
            self.assertEqual(session.embed(PROMPT).tolist(), self.rows[0])
            session.configure(pooling="none")
            for tokens in (self.tokens, self.tokens[:1]):
                vectors = session.embed(tokens)
                self.assertEqual(vectors.shape, (len(tokens), self.model.n_embd))
                self.assertEqual(vectors.tolist(), self.rows[: len(tokens)])
            session.configure(normalize=True)
            for vector in session.embed(PROMPT).tolist():
                self.assertAlmostEqual(math.fsum(x * x for x in vector), 1, places=5)
            with self.assertRaisesRegex(pumice.InvalidError, "mean"):
                session.configure(pooling="median")

    def test_what_cannot_be_embedded(self):
        with self.model.session(threads=1, n_ctx=16) as session:
            session.decode([1, 2, 3])
            for error, tokens in (
                (pumice.InvalidError, []),
                (pumice.InvalidError, [self.model.n_vocab]),
                (pumice.ContextFullError, [1] * 17),
                (OverflowError, [2**31]),
            ):
                with self.assertRaises(error):
                    session.embed(tokens)
            self.assertEqual(session.tokens(), [1, 2, 3])
            with self.assertRaises(pumice.InvalidError):
                session.classify(PROMPT)


def weight(i):
    """Has few digits, in an f32 too."""
    return (i * 37 % 101) / 64 - 0.75


def write_head(path, labels, width):
    """A GGUF file with a classification head: W x + b of the mean hidden state, with these classes, or unnamed ones."""

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    keys = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.classifier.pooling_type") + struct.pack("<II", 4, 1),
    ]
    if isinstance(labels, list):
        names = b"".join(map(text, labels))
        keys.append(text("llama.classifier.output_labels") + struct.pack("<IIQ", 9, 8, len(labels)) + names)
        labels = len(labels)
    weights = struct.pack(f"<{labels * width}f", *map(weight, range(labels * width)))
    weights += bytes(-len(weights) % 32)
    tensors = [
        text("cls.output.weight") + struct.pack("<IQQIQ", 2, width, labels, 0, 0),
        text("cls.output.bias") + struct.pack("<IQIQ", 1, labels, 0, len(weights)),
    ]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)) + b"".join(keys + tensors)
    bias = struct.pack(f"<{labels}f", *map(weight, range(labels)))
    path.write_bytes(head + bytes(-len(head) % 32) + weights + bias)


class Classes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "head.gguf"
        with pumice.Model(MODEL) as model:
            self.assertEqual(model.labels, [])
            self.width = model.n_embd
            self.pooled = mean(hidden_states(model, model.tokenize(PROMPT)))

    def test_a_head_gives_each_class_a_score(self):
        labels = ["no", "vielleicht", "はい"]
        write_head(self.path, labels, self.width)
        expected = [
            weight(i) + math.fsum(weight(i * self.width + j) * x for j, x in enumerate(self.pooled)) for i in range(3)
        ]
        data = pathlib.Path(MODEL).read_bytes()
        with open(MODEL, "rb") as file:
            models = [
                pumice.Model(MODEL, head=self.path),
                pumice.Model.from_buffer(data, head=str(self.path)),
                pumice.Model.from_file(file, head=self.path),
            ]
        for model in models:
            with model, model.session(threads=1) as session:
                session.decode([1, 2, 3])
                self.assertEqual(model.labels, labels)
                scores = session.classify(PROMPT)
                self.assertEqual([label for label, _score in scores], labels)
                for score, value in zip(scores, expected):
                    self.assertAlmostEqual(score.score, value, places=4)
                self.assertEqual(session.classify(model.tokenize(PROMPT)), scores)
                self.assertEqual((session.tokens(), session.output_count), ([1, 2, 3], 0))

    def test_classes_without_names(self):
        write_head(self.path, 2, self.width)
        with pumice.Model(MODEL, head=self.path) as model, model.session(threads=1) as session:
            self.assertEqual(model.labels, ["LABEL_0", "LABEL_1"])
            self.assertEqual([score.label for score in session.classify("It")], model.labels)

    def test_heads_that_do_not_fit(self):
        with self.assertRaises(pumice.FileError):
            pumice.Model(MODEL, head=self.path)
        write_head(self.path, 2, self.width + 1)
        with self.assertRaisesRegex(pumice.FormatError, "cls.output.weight"):
            pumice.Model(MODEL, head=self.path)
        with self.assertRaises(pumice.FormatError):
            pumice.Model(MODEL, head=MODEL)


if __name__ == "__main__":
    unittest.main()
