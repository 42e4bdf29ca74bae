#!/usr/bin/env python3
"""Builds the Python package as its users do, and uses it as they do.

    python_wheel.py CACHE [--model FILE]

Makes a wheel of bindings/python with pip and cargo, and checks its tag, its library and its version; installs it into a
clean virtual environment, where ten lines of Python stream a chat; runs the package's tests there, with numpy present;
has `mypy --strict` read the package; makes a source distribution, and a wheel of that; and looks at what is said where
there is no cargo. FILE is SmolLM2 (default: in CACHE, where real_model.py puts it).

Needs cargo and, for pip, PyPI. $CARGO_TARGET_DIR is respected. Takes half a minute once the library is built.
"""

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bindings" / "python"
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
LIBRARIES = {"linux": "libpumice.so", "darwin": "libpumice.dylib", "win32": "pumice.dll"}
CHAT = """
import sys, pumice
assert "site-packages" in pumice.__file__, pumice.__file__
with pumice.Model(sys.argv[1]) as model, model.chat(system="You are a geologist.", temperature=0) as chat:
    for question in ("What is pumice?", "Does it float?"):
        print(">", question)
        for text in chat.send(question, max_tokens=40):
            print(text, end="", flush=True)
        print()
    assert len(chat.messages) == 5 and len(chat.messages[4]["content"]) > 10, chat.messages
"""


def run(*command, fails=False, **environment):
    """Runs a command, in an environment without what would lead to the repository; gives what it prints."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PUMICE_LIBRARY")}
    done = subprocess.run(
        [str(part) for part in command],
        env={**clean, **environment},
        cwd=tempfile.gettempdir(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


def check(condition, what):
    if not condition:
        sys.exit(f"python_wheel.py: {what}")
    print(f"ok: {what}", flush=True)


def elf_sections(data):
    """The names of an ELF file's sections, of 64 bits and little-endian; none of another file."""
    if data[:4] != b"\x7fELF":
        return set()
    (start,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, start + at * size) for at in range(count)]
    texts = headers[names][4]
    return {data[texts + name :].split(b"\0", 1)[0].decode() for name, *_ in headers}


def environment(folder):
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    model = (options.model or options.cache / SMOLLM2).resolve()
    version = re.search(r'^version = "(.*?)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    library = LIBRARIES[sys.platform]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        python = environment(work / "build")
        pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "wheel", "--no-deps", "--wheel-dir", work, PACKAGE)
        (wheel,) = work.glob("*.whl")
        check(re.fullmatch(rf"pumice-{version}-py3-none-(?!any)\w+\.whl", wheel.name), f"the wheel is {wheel.name}")
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(f"pumice/{library}")
            names = archive.namelist()
        check(not {".symtab", ".debug_info"} & elf_sections(data), f"its library is stripped, {len(data)} bytes")
        check(len(data) < 4_000_000, "and small")
        for part in ("pumice/py.typed", "pumice/__main__.py", "LICENSE-MIT", "LICENSE-APACHE"):
            check(any(name.endswith(part) for name in names), f"it holds {part}")
        sources = {f"pumice/{file.name}" for file in (PACKAGE / "src" / "pumice").glob("*.py")}
        check(
            {name for name in names if name.startswith("pumice/")}
            == sources | {"pumice/py.typed", f"pumice/{library}"},
            "and the package's modules, and nothing else",
        )

        clean = environment(work / "clean")
        run(clean, "-m", "pip", "--quiet", "install", "--no-index", wheel)
        said = run(clean, "-c", "import pumice; print(pumice.version(), pumice.load_library()._name)").split()
        check(
            said[0] == version and "site-packages" in said[1],
            f"a clean environment finds {library} of version {version}",
        )
        answers = run(clean, "-c", CHAT, model)
        print(answers)
        check("volcanic" in answers, "and streams a chat")  # the same answer on every computer

        run(*pip, "install", "setuptools>=70.1", "build", "mypy", "numpy")
        run(*pip, "install", "--no-index", wheel)
        installed = run(python, "-c", "import pumice; print(pumice.load_library()._name)").strip()
        tests = run(
            python, "-B", "-W", "error", "-m", "unittest", "discover", "-s", PACKAGE / "tests", PUMICE_LIBRARY=installed
        )
        check(re.search(r"^Ran \d\d+ tests.*\n\nOK$", tests.strip(), re.MULTILINE), "the tests pass with numpy present")
        said = run(python, "-m", "mypy", "--strict", "--cache-dir", work / "mypy", "--package", "pumice")
        check("no issues" in said, "mypy --strict has no complaints")

        build = (python, "-m", "build", "--no-isolation", "--outdir", work / "sdist")
        run(*build, "--sdist", PACKAGE)
        (sdist,) = (work / "sdist").glob("*.tar.gz")
        run("tar", "-xf", sdist, "-C", work)
        unpacked = work / sdist.name[: -len(".tar.gz")]
        manifest = unpacked / "rust" / "Cargo.toml"
        run("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", manifest)
        run(*build, "--wheel", unpacked, PUMICE_LIBRARY=installed)
        check(
            (work / "sdist" / wheel.name).is_file(),
            "a source distribution makes the same wheel, of a library that is there",
        )

        bare = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "cargo").exists())
        said = run(*build, "--wheel", PACKAGE, fails=True, PATH=bare, CARGO="cargo")
        check("needs Rust's `cargo`" in said and "Traceback" not in said, "without cargo, that is what is said")
        said = run(*build, "--wheel", PACKAGE, fails=True, PUMICE_LIBRARY="/nowhere.so")
        check("PUMICE_LIBRARY is /nowhere.so" in said, "and that PUMICE_LIBRARY is no file")


if __name__ == "__main__":
    main()
