"""What is compared: tests, how they are written, and the commands that measure them."""

import re
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROUNDS = 3
NOTATION = re.compile(
    r"(?P<kind>pp|tg)(?P<tokens>\d+)(?:x(?P<sequences>\d+))?(?:@(?P<depth>\d+))?(?:t(?P<threads>\d+))?"
    r"(?:\+(?P<busy>\d+))?(?::(?P<kv_type>\w+))?(?:/(?P<kernels>\w+))?"
)


class Setting(NamedTuple):
    """What tests that one process can measure have in common."""

    depth: int = 0
    sequences: int = 1
    threads: int = 0  # 0: as many as the comparison has
    busy: int = 0  # other processes that keep a core busy each
    kv_type: str = "f16"
    kernels: str = ""  # "": the best


class Test(NamedTuple):
    """pp512, tg64, tg64@4096, tg32x16@128, tg16t4+2, tg64@4096:q8_0, pp512/avx2; load."""

    kind: str  # "pp", "tg" or "load"
    tokens: int
    setting: Setting

    @classmethod
    def parse(cls, text):
        if text == "load":
            return cls("load", 0, Setting())
        found = NOTATION.fullmatch(text)
        if not found or int(found["tokens"]) == 0:
            raise ValueError(f"{text!r} is not a test; there are load, pp512, tg64, tg64@4096, … (see README.md)")
        if found["kind"] == "pp" and found["sequences"]:
            raise ValueError(f"{text!r}: a prompt is one sequence's")
        numbers = {name: int(found[name]) for name in ("sequences", "depth", "threads", "busy") if found[name]}
        words = {name: found[name] for name in ("kv_type", "kernels") if found[name]}
        return cls(found["kind"], int(found["tokens"]), Setting(**numbers, **words))

    @property
    def name(self):
        """The name under which both sides print it: pp512, tg32x16, load."""
        many = f"x{self.setting.sequences}" if self.setting.sequences > 1 else ""
        return f"{self.kind}{self.tokens or ''}{many}"


class Job(NamedTuple):
    """Tests that one process measures."""

    model: Path
    tests: tuple  # (text, Test)

    @property
    def setting(self):
        return self.tests[0][1].setting

    def arguments(self, threads):
        """The options that both sides share."""
        s = self.setting
        tokens = {test.kind: test.tokens for _, test in self.tests}
        options = ["-t", s.threads or threads, "-p", tokens.get("pp", 0), "-n", tokens.get("tg", 0), "-r", 1]
        options += ["-d", s.depth] if s.depth else []
        options += ["-s", s.sequences] if s.sequences > 1 else []
        options += ["--kv-type", s.kv_type] if s.kv_type != "f16" else []
        return [str(option) for option in options]

    def pumice(self, program, threads):
        s = self.setting
        kernels = ["--kernels", s.kernels] if s.kernels else []
        command = [str(program), "bench", "-m", str(self.model), *kernels, "--json"]
        if self.tests[0][1].kind == "load":
            return [*command, "-t", str(threads), "-p", "1", "-n", "0", "-r", "1", "--cold"]
        # Peaks that are measured while others take the cores say nothing.
        return [*command, *self.arguments(threads), *([] if s.busy or s.threads > threads else ["--peaks"])]

    def peer(self, python, threads):
        command = [str(python), str(HERE / "peer.py"), str(self.model)]
        if self.tests[0][1].kind == "load":
            return [*command, "-t", str(threads), "--load"]
        return [*command, *self.arguments(threads)]


def jobs(model, texts):
    """The tests in as few processes as can be: a prompt and a generation with one setting share one."""
    groups = []
    for text in texts:
        test = Test.parse(text)
        for group in groups:
            same = group[0][1].setting == test.setting and group[0][1].kind != "load"
            if same and test.kind != "load" and test.kind not in [other.kind for _, other in group]:
                group.append((text, test))
                break
        else:
            groups.append([(text, test)])
    return [Job(Path(model), tuple(group)) for group in groups]


class Section(NamedTuple):
    """A table and its charts."""

    name: str
    title: str
    view: str  # how it is shown: see report.py
    x: str  # what a curve grows with
    rounds: int
    cases: list  # (label, file name, [test])


def suite(path):
    """The sections of a suite file; each section is a table of the TOML file."""
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    sections = []
    for name, table in tables.items():
        cases = [(label, model, tests.split()) for label, model, tests in table["cases"]]
        for _, _, tests in cases:
            for text in tests:
                Test.parse(text)
        rounds = table.get("rounds", ROUNDS)
        sections.append(Section(name, table["title"], table["view"], table.get("x", ""), rounds, cases))
    return sections


def of_models(models, tests):
    """The section for models that are named on the command line."""
    cases = [(Path(model).stem, str(model), tests) for model in models]
    return [Section("models", "pumice over llama.cpp", "ratios", "", ROUNDS, cases)]


if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed")
