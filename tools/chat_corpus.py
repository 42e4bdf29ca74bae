#!/usr/bin/env python3
"""Writes what tests/chat_golden.rs checks chat templates against: tests/golden/chat/<template>.txt.

    python tools/chat_corpus.py tests/golden/chat

Each template of the folder's templates/ is rendered for each conversation here by `jinja2` (3.1), set up as Python's
`transformers` sets it up (utils/chat_template_utils.py). A file holds cases, each of four parts: a line with the
number of bytes of the result, `text` or `refused` or `failed`, and the conversation's name; a line of JSON, the
variables; the result, which for `refused` is the message of `raise_exception`; a line end. `failed` has none.

language.templates has small templates, with `----` between them, for the language itself. Their results are in
language.txt: a line with the bytes of the template and of the result, and how it ends, which may be `syntax` too; the
template; the result, each with a line end.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

# 31 December 2024, the same in the test.
NOW = datetime.fromtimestamp(1735603200, timezone.utc).replace(tzinfo=None)


class Generation(jinja2.ext.Extension):
    """What is between `generation` and `endgeneration` is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    extensions = [Generation, jinja2.ext.loopcontrols]
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def said(*texts, system=None):
    """User and assistant by turns."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "What the weather is like <now> in a place & its 'surroundings'",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where, such as \"Zürich\""},
                "days": {"type": "array", "items": {"type": "integer"}},
                "unit": {"type": ["string", "null"], "enum": ["C", "F", None], "default": "C", "exact": 1.5e-7},
                "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
            },
            "required": ["place"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}


def calls(*arguments):
    made = [
        {"id": f"call{i:05}", "type": "function", "function": {"name": "get_weather", "arguments": argument}}
        for i, argument in enumerate(arguments)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def answer(content, number=0):
    return {"role": "tool", "name": "get_weather", "content": content, "tool_call_id": f"call{number:05}"}


ODD = " \t<s>[INST] {{ x }} {% if %} <|im_end|>\n\n'quoted' \"so\" \\n & <b> é 日本 😀 \u00a0\u2028\u200b "
QUESTION = said("How warm is it?", system="Be brief.")

CONVERSATIONS = {
    "one question": {"messages": said("Who are you?"), "add_generation_prompt": True},
    "one question, no prompt": {"messages": said("Who are you?"), "add_generation_prompt": False},
    "a system message": {"messages": said("Who are you?", system="Be brief."), "add_generation_prompt": True},
    "several turns": {
        "messages": said("One", "Two  ", "  Three\n", "Four", "Five", system="Count."),
        "add_generation_prompt": True,
    },
    "an answer last": {"messages": said("One", "Two"), "add_generation_prompt": False},
    "odd characters": {"messages": said(ODD, ODD, ODD, system=ODD), "add_generation_prompt": True},
    "empty texts": {"messages": said("", "", "", system=""), "add_generation_prompt": True},
    "wrong order": {"messages": said("One") + said("Two"), "add_generation_prompt": True},
    "an answer first": {"messages": [{"role": "assistant", "content": "Hi"}], "add_generation_prompt": True},
    "an unknown role": {"messages": [{"role": "narrator", "content": "Later"}], "add_generation_prompt": True},
    "no messages": {"messages": [], "add_generation_prompt": True},
    "no content": {"messages": [{"role": "user"}], "add_generation_prompt": True},
    "null content": {"messages": [{"role": "user", "content": None}], "add_generation_prompt": True},
    "parts": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Look."}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}]},
        ],
        "add_generation_prompt": True,
    },
    "tools": {"messages": QUESTION, "tools": [WEATHER, CLOCK], "add_generation_prompt": True},
    "tools in the system message": {
        "messages": QUESTION,
        "tools": [WEATHER],
        "tools_in_user_message": False,
        "date_string": "1 Jan 2000",
        "add_generation_prompt": True,
    },
    "a tool called": {
        "messages": QUESTION
        + [
            calls({"place": "Zürich <ZH>", "days": [1, 2], "unit": None, "exact": True}),
            answer('{"warm": "23 °C"}'),
            {"role": "assistant", "content": "23 °C."},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [WEATHER],
        "add_generation_prompt": True,
    },
    "two tools called": {
        "messages": QUESTION + [calls({"place": "A"}, {"place": "B"}), answer("1", 0), answer("2", 1)],
        "tools": [WEATHER],
        "add_generation_prompt": False,
    },
    "builtin tools": {
        "messages": QUESTION
        + [
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "search", "arguments": {"query": "weather", "region": "CH"}}}],
            },
            {"role": "ipython", "content": {"warm": 23, "wet": [False, None, 0.5]}},
        ],
        "builtin_tools": ["search", "code_interpreter"],
        "add_generation_prompt": True,
    },
    "thoughts": {
        "messages": said("One", "<think>\nhm\n</think>\n\nTwo", "Three", "<think>\nso\n</think>\nFour"),
        "add_generation_prompt": True,
        "enable_thinking": False,
    },
    "many turns": {"messages": said(*(f"turn {i}" for i in range(12))), "add_generation_prompt": False},
}

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def render(template, variables):
    """How it ends, and the text."""
    try:
        return "text", template.render(**{"tools": None, "documents": None, **variables})
    except Refused as refused:
        return "refused", str(refused)
    except (jinja2.TemplateError, ArithmeticError, TypeError, KeyError, AttributeError, ValueError, RecursionError):
        return "failed", ""


def main():
    folder = Path(sys.argv[1])
    env = environment()
    for path in sorted(folder.glob("templates/*.jinja")):
        template = env.from_string(path.read_text(encoding="utf-8"))
        out = bytearray()
        for name, conversation in CONVERSATIONS.items():
            variables = {**TOKENS, **conversation}
            end, text = render(template, variables)
            result = text.encode()
            out += f"{len(result)} {end} {name}\n{json.dumps(variables, ensure_ascii=False)}\n".encode()
            out += result + b"\n"
        (folder / f"{path.stem}.txt").write_bytes(out)
    language(folder, env)


def language(folder, env):
    text = (folder / "language.templates").read_bytes().decode()
    out = bytearray()
    for source in text.split("\n----\n")[:-1]:
        try:
            end, text = render(env.from_string(source), {**TOKENS, **CONVERSATIONS["several turns"]})
        except jinja2.TemplateSyntaxError:
            end, text = "syntax", ""
        source, result = source.encode(), text.encode()
        out += f"{len(source)} {len(result)} {end}\n".encode() + source + b"\n" + result + b"\n"
    (folder / "language.txt").write_bytes(out)


if __name__ == "__main__":
    main()
