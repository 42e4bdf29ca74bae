"""Builds the shared library with cargo, and puts it into the package and its wheel.

With ``PUMICE_LIBRARY`` in the environment, the library of that path is taken instead, and cargo is not needed. A source
distribution carries the Rust sources in a folder ``rust``; otherwise they are the repository's around this folder.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
RUST = next((root for root in (HERE / "rust", HERE.parents[1]) if (root / "capi" / "Cargo.toml").is_file()), None)
#: What cargo reads of the repository.
SOURCES = ("Cargo.toml", "Cargo.lock", "README.md", "src", "capi", "cli", "benches")
#: What the package calls its library, by how cargo's name for it ends.
NAMES = {".so": "libpumice.so", ".dylib": "libpumice.dylib", ".dll": "pumice.dll"}


def version():
    if RUST is None:
        raise SystemExit(f"pumice: {HERE} is not in a checkout of pumice's repository, whose sources it is built from")
    manifest = (RUST / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^\[workspace\.package\]\nversion = "(.*?)"$', manifest, re.MULTILINE).group(1)


def cargo_build():
    """Builds the shared library; gives its path."""
    cargo = shutil.which(os.environ.get("CARGO", "cargo"))
    if cargo is None:
        raise SystemExit(
            "pumice: building the package needs Rust's `cargo`, which is not on the PATH. Get it from"
            " https://rustup.rs, or set PUMICE_LIBRARY to the path of a pumice library that is built already."
        )
    command = [cargo, "build", "--package", "pumice-capi", "--profile", "dist", "--locked"]
    command += ["--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=RUST, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"pumice: `{' '.join(command)}` in {RUST} ended with {done.returncode}")
    for message in map(json.loads, filter(None, done.stdout.splitlines())):
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["kind"]:
            return next(Path(name) for name in message["filenames"] if Path(name).suffix in NAMES)
    raise SystemExit("pumice: cargo has built no shared library")


def library():
    """The shared library to put into the package."""
    ready = os.environ.get("PUMICE_LIBRARY")
    if not ready:
        return cargo_build()
    path = Path(ready)
    if not path.is_absolute() or not path.is_file():
        raise SystemExit(f"pumice: PUMICE_LIBRARY is {ready}, which is not the full path of a file")
    return path


class BuildPackage(build_py):
    def run(self):
        if self.editable_mode:  # the modules are used where they are, and find what cargo has built
            if not os.environ.get("PUMICE_LIBRARY"):
                cargo_build()
            super().run()
            return
        package = Path(self.build_lib) / "pumice"
        shutil.rmtree(package, ignore_errors=True)  # what an earlier build has left would go into the wheel
        super().run()
        source = library()
        kind = next((end for end in NAMES if end in source.name), None)
        if kind is None:
            raise SystemExit(f"pumice: {source} has not the name of a shared library")
        shutil.copyfile(source, package / NAMES[kind])


class BuildWheel(bdist_wheel):
    def get_tag(self):
        # The library is for one platform, and the Python code for every Python 3.
        return "py3", "none", super().get_tag()[2]


class SourceDistribution(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        ignored = shutil.ignore_patterns("tests", "target", "__pycache__")
        for name in SOURCES:
            source, target = RUST / name, Path(base_dir) / "rust" / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    version=version(),
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildPackage, "bdist_wheel": BuildWheel, "sdist": SourceDistribution},
)
