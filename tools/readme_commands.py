#!/usr/bin/env python3
"""Runs every example of README.md as a reader would, and fails if one does.

    readme_commands.py

Commands (```sh) run at the root of the repository. The C and Python examples are written to files and run against the
built library, as the commands beside them say, in a virtual environment of their own. The Rust example is a documentation test and runs with `cargo test`.
`cargo test` itself is skipped: whoever runs this has just run it.

The examples use `model.gguf`; it stands for the embedded model here. $CARGO_TARGET_DIR is respected.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
EXAMPLES = {"c": "example.c", "cpp": "example.cpp", "python": "example.py"}
SKIPPED = ["cargo test --release"]


def blocks(text):
    """(language, content) of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def main():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    model = next((ROOT / "cli" / "model").glob("*.gguf"))
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name in ("include", "bindings", "cli", "Cargo.toml"):
            (work / name).symlink_to(ROOT / name)
        (work / "target").symlink_to(TARGET)
        shutil.copy(model, work / "model.gguf")
        venv.create(work / "venv", with_pip=True)
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PUMICE_LIBRARY")}
        environment["PATH"] = os.pathsep.join([str(work / "venv" / "bin"), environment["PATH"]])
        for language, content in blocks(readme):
            if language in EXAMPLES:
                (work / EXAMPLES[language]).write_text(content, encoding="utf-8")
            elif language == "sh":
                for command in filter(None, content.splitlines()):
                    if command in SKIPPED:
                        continue
                    # cargo and make run where the sources are; all else where the examples were written
                    where = ROOT if command.startswith(("cargo ", "make ")) else work
                    print(f"$ {command}", flush=True)
                    done = subprocess.run(command, shell=True, cwd=where, env=environment, text=True,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=1200)
                    print(done.stdout, flush=True)
                    if done.returncode != 0:
                        sys.exit(f"README.md: `{command}` ended with {done.returncode}")
                    count += 1
    if count < 5:
        sys.exit(f"README.md: only {count} commands were found")
    print(f"{count} commands of README.md ran")


if __name__ == "__main__":
    main()
