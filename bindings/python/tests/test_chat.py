"""Chat templates, chats that reuse what the session has read, and the example."""

import os
import subprocess
import sys
import tempfile
import unittest

from support import MODEL, ROOT, TEMPLATE, model_with_template, with_strings
from test_command import run
import pumice

MESSAGES = [
    {"role": "system", "content": "Sir Thomas is in town, with Mary."},
    {"role": "user", "content": "How is Emma?"},
]
TEXT = "system: Sir Thomas is in town, with Mary.\nuser: How is Emma?\nassistant:"


class Templates(unittest.TestCase):
    def test_the_models_own_template_or_another(self):
        with pumice.Model.from_buffer(with_strings({"tokenizer.chat_template": TEMPLATE})) as model:
            self.assertEqual(model.chat_format(MESSAGES), TEXT)
            self.assertEqual(model.chat_format(iter(MESSAGES), add_generation_prompt=False), TEXT[: -len("assistant:")])
            self.assertEqual(model.chat_format(MESSAGES, template="{{ messages|length }}"), "2")
            self.assertEqual(
                model.chat_format([{"role": "user", "content": "näïve\0🦙"}]), "user: näïve\0🦙\nassistant:"
            )

    def test_tools_and_other_variables(self):
        with pumice.Model(MODEL) as model:
            tools = [{"type": "function", "function": {"name": "weather"}}]
            template = "{{ tools[0].function.name }} {{ day }} {{ messages[0].tool_calls[0] }}"
            messages = [{"role": "assistant", "tool_calls": [7]}]
            self.assertEqual(
                model.chat_format(messages, tools=tools, day="Monday", template=template), "weather Monday 7"
            )

    def test_what_can_be_wrong(self):
        with pumice.Model(MODEL) as model:
            for template, exception, said in (
                (None, pumice.NotFoundError, "template"),
                ("{% if %}", pumice.InvalidSyntaxError, "template"),
                ("{{ raise_exception('after you') }}", pumice.InvalidError, "after you"),
                ("a\0b", ValueError, "null"),
            ):
                with self.subTest(template), self.assertRaisesRegex(exception, said):
                    model.chat_format(MESSAGES, template=template)
            with self.assertRaises(TypeError):
                model.chat_format([{"role": "user", "content": object()}], template=TEMPLATE)


class Chats(unittest.TestCase):
    def setUp(self):
        self.model = pumice.Model.from_buffer(with_strings({"tokenizer.chat_template": TEMPLATE}))

    def tearDown(self):
        self.model.close()

    def test_a_chat_is_the_text_of_its_template(self):
        with self.model.session() as session:
            plain = session.generate(self.model.tokenize(TEXT), max_tokens=20, temperature=0)
            self.assertEqual(plain.read(), plain.text)
            session.reset()
            stream = session.chat(MESSAGES, max_tokens=20, temperature=0)
            self.assertEqual((session.tokens(), stream.text, stream.finish), ([], "", None))  # nothing happens yet
            pieces = list(stream)
            self.assertGreater(len(pieces), 5)
            self.assertEqual(("".join(pieces), stream.finish), (plain.text, pumice.Finish.LENGTH))
            self.assertEqual(stream.message, {"role": "assistant", "content": plain.text})
            self.assertEqual(list(stream), [])

    def test_what_the_session_has_read_is_kept(self):
        with self.model.session() as session, self.model.session() as fresh:
            messages = list(MESSAGES)
            fed = []
            decode = session.decode
            session.decode = lambda tokens: (fed.append(len(tokens)), decode(tokens))
            for turn in ("And Mr. Knightley?", "Thank you."):
                stream = session.chat(messages, max_tokens=12, temperature=0)
                stream.read()
                fresh.reset()
                self.assertEqual(stream.text, fresh.chat(messages, max_tokens=12, temperature=0).read())
                self.assertEqual(session.tokens(), fresh.tokens())
                messages += [stream.message, {"role": "user", "content": turn}]
            whole = len(self.model.tokenize(self.model.chat_format(messages, add_generation_prompt=False)))
            # The prompt at first, one by one the answer, and then what is new.
            self.assertGreater(fed[0], 12)
            self.assertEqual(fed[1:12], [1] * 11)
            self.assertLess(sum(fed), whole + 12)
            # The same again is all there but for the token that brings the logits.
            before = len(fed)
            session.truncate(whole)
            session.chat(messages[:3], max_tokens=1, temperature=0).read()
            again = session.chat(messages[:3], max_tokens=1, temperature=0)
            again.read()
            self.assertEqual(fed[-1], 1)
            self.assertEqual(len(fed), before + 2)
            # Another conversation replaces this one.
            other = [{"role": "user", "content": "Good evening."}]
            session.chat(other, max_tokens=1).read()
            self.assertEqual(session.tokens(), self.model.tokenize(self.model.chat_format(other)))

    def test_a_chat_object_keeps_the_history(self):
        with self.model.chat(system=MESSAGES[0]["content"], temperature=0) as chat, self.model.session() as session:
            answers = []
            messages = [MESSAGES[0]]
            for question in ("How is Emma?", "And Mr. Knightley?"):
                answers.append("".join(chat.send(question, max_tokens=10)))
                messages.append({"role": "user", "content": question})
                session.reset()
                expected = session.chat(messages, max_tokens=10, temperature=0)
                expected.read()
                self.assertEqual(answers[-1], expected.text)
                messages.append(expected.message)
                self.assertEqual(chat.messages, messages)
            for text in chat.send({"role": "tool", "content": "42"}, max_tokens=10):
                break
            shown = [*messages, {"role": "tool", "content": "42"}, {"role": "assistant", "content": text}]
            self.assertEqual(chat.messages, shown)  # as much as was read
            held = chat.session
            chat.send("never read")
            self.assertEqual(chat.messages, shown)
        self.assertTrue(held.closed)

    def test_a_turn_that_fails_changes_nothing(self):
        with self.model.chat(n_ctx=24, temperature=0) as chat:
            chat.send("How?", max_tokens=2).read()
            before = [dict(message) for message in chat.messages]
            with self.assertRaises(pumice.ContextFullError):
                chat.send("word " * 100).read()
            self.assertEqual(chat.messages, before)
            del chat.messages[:]
            self.assertTrue(chat.send("How?", max_tokens=2).read())
            with self.assertRaises(TypeError):
                chat.send("How?", temperature=1)

    def test_a_given_session_stays_open(self):
        with self.model.session() as session:
            with pumice.Chat(session, messages=MESSAGES[:1], top_k=1) as chat:
                chat.send("How is Emma?", max_tokens=3).read()
                self.assertEqual(len(chat.messages), 3)
            self.assertFalse(session.closed)
            self.assertGreater(len(session.tokens()), 3)

    def test_tools_reach_the_template(self):
        template = "{{ tools[0].name }} {{ day }} {{ messages[0].content }}"
        with self.model.session() as session:
            said = {"messages": MESSAGES[:1], "tools": [{"name": "weather"}], "template": template}
            session.chat(variables={"day": "Monday"}, max_tokens=1, **said).read()
            text = self.model.detokenize(session.tokens())
            self.assertEqual(text, "weather Monday " + MESSAGES[0]["content"])
            with pumice.Chat(session, tools=said["tools"], template=template) as chat:
                chat.send("Hello", max_tokens=1).read()
                self.assertEqual(self.model.detokenize(session.tokens()), "weather  Hello")

    def test_control_tokens_of_a_template_are_tokens(self):
        eos = self.model.special_token("eos")
        with self.model.session() as session:
            template = "{{ messages[0].content }}<|endoftext|>a"
            session.chat([{"role": "user", "content": "b"}], template=template, max_tokens=1).read()
            self.assertIn(eos, session.tokens()[1:])


class Programs(unittest.TestCase):
    def test_the_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = model_with_template(folder)
            with pumice.Model(path) as model, model.session() as session:
                answer = session.chat(MESSAGES, max_tokens=8, temperature=0).read()
                user = session.chat(MESSAGES[1:], max_tokens=8, temperature=0).read()
            self.assertNotEqual(answer, user)
            question = MESSAGES[1]["content"]
            run_one = (path, question, "-n8", "--temperature=0")
            self.assertEqual(run(*run_one, "--system", MESSAGES[0]["content"]), (0, answer + "\n", ""))
            self.assertEqual(run(*run_one, "--chat"), (0, user + "\n", ""))
            status, out, err = run(MODEL, question, "--chat")
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))

    def test_the_example(self):
        example = ROOT / "examples" / "python" / "chat.py"
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "bindings" / "python" / "src"))

        def chat(path, lines, *arguments):
            command = [sys.executable, "-B", "-W", "error", str(example), path, "--temperature=0", *arguments]
            done = subprocess.run(
                command,
                env=environment,
                input="".join(f"{line}\n" for line in lines),
                capture_output=True,
                text=True,
                timeout=60,
            )
            return done.returncode, done.stdout, done.stderr

        with tempfile.TemporaryDirectory() as folder:
            path = model_with_template(folder)
            lines = ["How is Emma?", "", "And Mr. Knightley?"]
            with pumice.Model(path) as model, model.chat(system="Be brief.", temperature=0) as talk:
                expected = "".join(talk.send(line, max_tokens=8).read() + "\n" for line in lines if line)
            status, out, err = chat(path, lines, "--system=Be brief.", "--max-tokens=8")
            self.assertEqual((status, out), (0, expected))
            self.assertRegex(err, r"^llama, Q8_0: \d+ MB\n$")
            status, out, err = chat(path, ["word " * 100, "Well?"], "--n-ctx=32", "--max-tokens=2")
            self.assertEqual((status, out.count("begin again"), out.count("\n")), (0, 1, 2))
            status, out, err = chat("/nowhere.gguf", [])
            self.assertEqual((status, out, err.count("\n"), err[:8]), (1, "", 1, "chat.py:"))


if __name__ == "__main__":
    unittest.main()
