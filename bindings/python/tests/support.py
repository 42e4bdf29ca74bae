"""The model that all tests use, and the header's declarations."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bindings" / "python" / "src"))
MODEL = os.environ.get("PUMICE_TEST_MODEL", str(ROOT / "cli" / "model" / "austen.gguf"))


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
    for result, name, arguments in re.findall(r"^typedef (\w+) \(PUMICE_CALL \*(\w+)\)\((.*)\);$", header(), flags=re.M):
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
