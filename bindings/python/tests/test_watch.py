"""Exceptions and Ctrl-C in calls that take long, and what goes on in other threads meanwhile."""

import sys
import threading
import unittest

from support import MODEL
import pumice

PROMPT = "It was a fine morning, and"


class Threads(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model(MODEL)

    def tearDown(self):
        self.model.close()

    def run_all(self, *actions):
        """Runs each action in a thread of its own; gives what they return."""
        results = [None] * len(actions)

        def keep(at, action):
            results[at] = action()

        threads = [threading.Thread(target=keep, args=pair) for pair in enumerate(actions)]
        [thread.start() for thread in threads]
        [thread.join(60) for thread in threads]
        self.assertNotIn(None, results)
        return results

    def test_two_sessions_are_in_their_calls_at_once_and_give_what_each_gives_alone(self):
        cases = [
            {"prompt": PROMPT, "temperature": 0, "max_tokens": 40},
            {"prompt": "The", "temperature": 0.9, "seed": 3, "max_tokens": 40},
        ]
        alone = []
        for case in cases:
            with self.model.session(threads=1) as session:
                alone.append(session.complete(**case))
        # Each waits in a callback, that is within its call, for the other to be in one too.
        meet = threading.Barrier(2, timeout=30)
        met = []

        def complete(case):
            def on_text(_piece):
                if met.count(case["prompt"]) < 10:
                    meet.wait()
                    met.append(case["prompt"])

            with self.model.session(threads=1) as session:
                return session.complete(on_text=on_text, **case)

        together = self.run_all(*(lambda case=case: complete(case) for case in cases))
        self.assertEqual(together, alone)
        self.assertEqual([met.count(case["prompt"]) for case in cases], [10, 10])

    def test_other_threads_go_on_while_one_is_in_the_library(self):
        # Python itself does not take turns here, and nothing calls back: if the library's calls did not let go of the
        # interpreter, neither thread could count while the other one is in its call.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1000)
        counts = [0, 0]
        saw = [False, False]
        tokens = self.model.tokenize(PROMPT) * 8

        def work(me):
            with self.model.session(threads=1) as session:
                for _ in range(2000):
                    before = counts[1 - me]
                    session.decode(tokens)
                    saw[me] = saw[me] or counts[1 - me] > before
                    counts[me] += 1
                    session.truncate(0)
                    if all(saw):
                        break
                return session.tokens()

        self.run_all(lambda: work(0), lambda: work(1))
        self.assertEqual(saw, [True, True])

    def test_one_session_is_for_one_thread(self):
        with self.model.session() as session:
            inside, tried = threading.Event(), threading.Event()

            def hold(_piece):
                inside.set()
                tried.wait(30)

            def complete():
                return session.complete(PROMPT, max_tokens=3, temperature=0, on_text=hold)

            def disturb():
                inside.wait(30)
                try:
                    with self.assertRaises(pumice.BusyError):
                        session.decode([1])
                finally:
                    tried.set()
                return True

            self.run_all(complete, disturb)


class Callbacks(unittest.TestCase):
    def test_an_exception_of_an_inner_call_ends_the_outer_one(self):
        class Mine(Exception):
            pass

        def raises(_piece):
            raise Mine("inner")

        with pumice.Model(MODEL) as model, model.session() as outer, model.session() as inner:
            pieces = []

            def nested(piece):
                pieces.append(piece)
                inner.complete(PROMPT, temperature=0, on_text=raises)

            with self.assertRaisesRegex(Mine, "inner"):
                outer.complete(PROMPT, temperature=0, on_text=nested)
            self.assertEqual(len(pieces), 1)

            def survives(_piece):
                inner.reset()
                try:
                    inner.complete(PROMPT, temperature=0, on_text=raises)
                except Mine:
                    pieces.append("caught")

            outer.reset()
            outer.complete(PROMPT, temperature=0, max_tokens=3, on_text=survives)
            self.assertGreaterEqual(pieces.count("caught"), 2)
            outer.decode([1])
            inner.decode([1])

    def test_callbacks_are_told_of_progress(self):
        with pumice.Model(MODEL) as model, model.session(chunk=4) as session:
            told = []
            tokens = model.tokenize(PROMPT)
            session.complete(tokens, max_tokens=1, on_progress=lambda *pair: told.append(pair))
            self.assertEqual(told[-1], (len(tokens), len(tokens)))
            self.assertEqual(told, sorted(told))


if __name__ == "__main__":
    unittest.main()
