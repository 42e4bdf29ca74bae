#!/usr/bin/env python3
"""Compares pumice with llama.cpp: both measured in turn, several rounds, on the same files with the same threads.

    compare.py [MODEL.gguf …] [--tests pp512 tg64] [--results FILE.json] [--write FILE.md …]
    compare.py --suite suite.toml --models FOLDER --results FILE.json --write docs/performance.md README.md

Measures what the results do not have yet, and writes tables and charts into the Markdown files: a block between
`<!-- compare: NAME -->` and `<!-- /compare -->` becomes section NAME's table (`models` if models are named), and its
charts go into the folder `performance` beside the file. Without --write, the tables go to stdout. README.md here says
more.

Needs `pumice` (default: target/release/pumice) and, in the Python of --peer, `llama-cpp-python`.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cases
import report
from results import PEER, PUMICE, Results, machine

ROOT = cases.HERE.parent.parent
# Keeps a core busy, and ends with whoever started it.
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))"
# A round is measured again, once, if anything else took more than this share of the cores meanwhile.
QUIET = 0.1
SHARED = ("kernels", "read_gb_s", "dot_gmac_s", "fma_gmac_s")


def end(process):
    """Ends it, if it has not by itself, and says what it used."""
    if process.returncode is not None:
        return None
    process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def measure(command, job, timeout):
    """What a side prints for each of the job's tests, or why it does not; and what share of the cores others took."""
    before, begin = cpu_seconds(), time.perf_counter()
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(job.setting.busy)]
    with tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
        timer = threading.Timer(timeout, process.kill)
        timer.daemon = True
        try:
            timer.start()
            with process.stdout:
                out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            late = not timer.is_alive()
            timer.cancel()
            end(process)
            neighbours = [end(other) for other in busy]
        own = sum(used.ru_utime + used.ru_stime for used in [usage, *neighbours])
        others = max(0.0, cpu_seconds() - before - own) / (time.perf_counter() - begin) / (os.cpu_count() or 1)
        err.seek(0)
        why = (err.read().strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    if late or process.returncode:
        return {
            text: {"failed": f"not done after {timeout} s" if late else why, "others": others} for text, _ in job.tests
        }
    printed = json.loads(out)
    if job.tests[0][1].kind == "load":
        # The whole process, unless it says what of it counts. Linux has the peak in kilobytes.
        printed = {"load": {"seconds": seconds, "bytes": usage.ru_maxrss * 1024} | only(printed, "seconds", "bytes")}
    # The system counts processor time in hundredths of a second: too coarse for short runs.
    shared = only(printed, *SHARED) | {"others": others if seconds > 1 else 0.0}
    return {text: printed[test.name] | shared for text, test in job.tests}


def only(values, *keys):
    return {key: values[key] for key in keys if key in values}


def cpu_seconds():
    """The time that all processes of the machine have had; 0 where the system does not say."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
    except OSError:
        return 0.0
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


class Comparison:
    def __init__(self, args):
        self.args = args
        self.results = Results(args.results)
        self.builds = {PUMICE: build(args.pumice)}
        self.peers = {}
        for text in args.peer:
            name, _, python = text.rpartition("=")
            self.peers[name] = (python, version(python))
        self.begin = time.monotonic()
        versions = {PUMICE: pumice_version(args.pumice)}
        versions |= {f"{PEER} {name}".strip(): v for name, (_, v) in self.peers.items()}
        self.results.data |= {"machine": machine(), "versions": versions, "threads": args.threads}

    def out_of_time(self):
        return self.args.stop_after and time.monotonic() - self.begin > self.args.stop_after

    def run(self, sections):
        """Whether all is measured."""
        for section in sections:
            for label, name, tests in section.cases:
                model = self.args.models / name if self.args.models else Path(name)
                if not model.exists():
                    print(f"{label}: no file {model}", file=sys.stderr)
                    continue
                for job in cases.jobs(model, tests):
                    if not self.job(job, self.args.rounds or section.rounds):
                        return False
        return True

    def job(self, job, rounds):
        peer, peer_version = self.peers.get(job.setting.kernels, (None, None))
        builds = self.builds | ({PEER: peer_version} if peer else {})
        records = {text: self.results.case(job.model, text, builds) for text, _ in job.tests}
        done = min(len(record["rounds"]) for record in records.values())
        if done < rounds:
            warm(job.model)
        for number in range(done, rounds):
            if self.out_of_time():
                return False
            self.round(job, records, peer, number)
            self.results.save()
        return True

    def round(self, job, records, peer, number):
        threads = self.args.threads
        sides = {PUMICE: job.pumice(self.args.pumice, threads)}
        if peer:
            sides[PEER] = job.peer(peer, threads)
        # A B, B A, A B, …: what drifts meets both alike.
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for _ in range(2):
            measured = {side: measure(sides[side], job, self.args.timeout) for side in order}
            others = max(result["others"] for results in measured.values() for result in results.values())
            if others <= QUIET:
                break
            print(f"others took {100 * others:.0f} % of the cores meanwhile", file=sys.stderr, flush=True)
        for text, record in records.items():
            record["rounds"].append({side: measured[side][text] for side in sides})
            record["commands"] = {side: shown(command) for side, command in sides.items()}
            self.tell(job, text, number, record["rounds"][-1])

    def tell(self, job, text, number, sides):
        values = {side: value.get("median", value.get("seconds", value.get("failed"))) for side, value in sides.items()}
        words = ", ".join(f"{side} {v:.2f}" if isinstance(v, float) else f"{side} {v}" for side, v in values.items())
        print(f"{job.model.name} {text} round {number + 1}: {words}", file=sys.stderr, flush=True)


def shown(command):
    """A command with names in place of paths."""
    return " ".join(Path(word).name if "/" in word else word for word in command)


def warm(model):
    """Reads the file once, so that neither side waits for the disk."""
    with open(model, "rb", buffering=0) as file:
        while file.read(16 << 20):
            pass


def build(program):
    try:
        return hashlib.sha256(Path(program).read_bytes()).hexdigest()[:12]
    except OSError as error:
        sys.exit(f"{error}; build it with `cargo build --release`, or say where it is with --pumice")


def pumice_version(program):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return f"{text.removeprefix('pumice ')} ({commit})" if commit else text


def version(python):
    done = subprocess.run(
        [python, str(cases.HERE / "peer.py"), "--version"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{python} has no llama_cpp: {(done.stderr.strip().splitlines() or [''])[-1]}")
    found = json.loads(done.stdout)
    features = found["system"].removeprefix("CPU : ").replace(" = 1", "").replace(" |", "").strip(" |")
    return f"llama-cpp-python {found['llama-cpp-python']} ({found['llama.cpp']}; {features})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", type=Path)
    parser.add_argument("--tests", nargs="+", default=["pp512", "tg64"], metavar="TEST")
    parser.add_argument("--suite", type=Path, help="a TOML file that says what to measure and how to show it")
    parser.add_argument("--models", type=Path, help="the folder of the suite's models")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="of the suite's sections, measure only these")
    parser.add_argument("--rounds", type=int, help="instead of what the suite says (3)")
    parser.add_argument("--threads", type=int, default=machine()["cores"])
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS", help="for one process of either side")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="begin no further round then; exit with 3")
    parser.add_argument("--results", type=Path, default=Path("compare.json"))
    parser.add_argument("--pumice", default=str(ROOT / "target" / "release" / "pumice"))
    parser.add_argument(
        "--peer",
        action="append",
        metavar="[KERNELS=]PYTHON",
        help="a Python with llama-cpp-python; "
        "with KERNELS (avx2) the one for tests that end in /KERNELS. `none` for no peer",
    )
    parser.add_argument("--report", action="store_true", help="only write what the results hold")
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="FILE.md")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args.peer = [peer for peer in args.peer or [sys.executable] if peer != "none"]
    if bool(args.suite) == bool(args.model):
        parser.error("either models or a --suite")

    try:
        sections = cases.suite(args.suite) if args.suite else cases.of_models(args.model, args.tests)
        done = True
        if not args.report:
            chosen = [section for section in sections if not args.only or section.name in args.only]
            done = Comparison(args).run(chosen)
    except ValueError as error:
        parser.error(str(error))
    results = Results(args.results)
    for path in args.write:
        report.write(path, sections, results)
    if not args.write:
        print(report.text(sections, results))
    if not done:
        print("stopped; run it again for the rest", file=sys.stderr)
    return 0 if done else 3


if __name__ == "__main__":
    sys.exit(main())
