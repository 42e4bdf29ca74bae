"""What a model is good for besides text: how likely continuations are."""

import math
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


if __name__ == "__main__":
    unittest.main()
