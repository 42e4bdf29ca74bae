"""The model that all tests use, and the header's declarations."""

import os
import re
import signal
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bindings" / "python" / "src"))
MODEL = os.environ.get("PUMICE_TEST_MODEL", str(ROOT / "cli" / "model" / "austen.gguf"))

# A job in the background starts with SIGINT ignored, and hands that on: then nothing here could be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


def header():
    """The header without comments, on as few lines as it has declarations."""
    text = (ROOT / "include" / "pumice.h").read_text()
    return re.sub(r",\n +", ", ", re.sub(r"/\*.*?\*/", "", text, flags=re.S))


def functions():
    """name -> (result type, [(argument type, argument name)]), as the header spells them."""
    found = {}
    for line in header().splitlines():
        match = re.match(r"PUMICE_API (.*?) ?(\*?)PUMICE_CALL (\w+)\((.*)\);$", line)
        if match:
            result, star, name, arguments = match.groups()
            parts = [] if arguments == "void" else arguments.split(", ")
            found[name] = (result + star, [re.match(r"(.*?)(\w+)$", part).groups() for part in parts])
    return {
        name: (result, [(kind.replace(" ", ""), argument) for kind, argument in arguments])
        for name, (result, arguments) in found.items()
    }


def callbacks():
    """name -> (result type, [argument type]), as the header spells them."""
    found = {}
    for result, name, arguments in re.findall(
        r"^typedef (\w+) \(PUMICE_CALL \*(\w+)\)\((.*)\);$", header(), flags=re.M
    ):
        kinds = [re.match(r"(.*?)\w+$", part).group(1).replace(" ", "") for part in arguments.split(", ")]
        found[name] = (result, kinds)
    return found


def constants():
    """PUMICE_... -> number or text."""
    found = {}
    for name, value in re.findall(r"^#define (PUMICE_\w+) (\S.*)$", header(), flags=re.M):
        if value[0] == '"':
            found[name] = value.strip('"')
        elif re.match(r"-?\w+$", value) and value[-1].isalnum() and value.lstrip("-")[0].isdigit():
            found[name] = int(value, 0)
    return found


def _skip_value(data, at, kind):
    """Where the value of a metadata key ends."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    if kind == 8:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind == 9:
        element, count = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(count):
            at = _skip_value(data, at, element)
        return at
    return at + sizes[kind]


def with_strings(values):
    """The bytes of the model, with more strings in its metadata: a chat template, for instance."""
    data = Path(MODEL).read_bytes()
    magic, version, tensors, keys = struct.unpack_from("<4sIQQ", data)
    at = 24
    for _ in range(keys):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = _skip_value(data, at + 4, struct.unpack_from("<I", data, at)[0])
    for _ in range(tensors):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 12
    more = b""
    for name, text in values.items():
        more += b"".join(
            struct.pack("<Q", len(part)) + part + kind
            for part, kind in ((name.encode(), struct.pack("<I", 8)), (text.encode(), b""))
        )
    head = struct.pack("<4sIQQ", magic, version, tensors, keys + len(values)) + more + data[24:at]
    old, new = -at % 32, -len(head) % 32
    return head + bytes(new) + data[at + old :]


#: A chat template of the usual kind.
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def model_with_template(folder):
    """The path of a copy of the model that has a chat template."""
    path = Path(folder) / "chat.gguf"
    path.write_bytes(with_strings({"tokenizer.chat_template": TEMPLATE}))
    return str(path)
