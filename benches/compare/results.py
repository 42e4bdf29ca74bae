"""Results: what was measured, kept in a JSON file from one run to the next.

{"machine": {…}, "versions": {"pumice": …, "llama.cpp": …}, "threads": 2, "cases": {"FILE TEST": {
    "model": FILE, "bytes": its size, "test": TEST, "builds": {"pumice": …, "llama.cpp": …},
    "commands": {"pumice": …, "llama.cpp": …}, "rounds": [{"pumice": {…}, "llama.cpp": {…}}, …]}}}

A side of a round is what that side printed for the test, or {"failed": why}.
"""

import json
import os
import platform
import statistics
from pathlib import Path

PUMICE, PEER = "pumice", "llama.cpp"


class Results:
    def __init__(self, path):
        self.path = Path(path)
        self.data = {"cases": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text(encoding="utf-8"))

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(self.data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, self.path)

    def case(self, model, test, builds):
        """The case, without the rounds of other builds: what is compared was measured by the same programs."""
        model = Path(model)
        new = {"model": model.name, "bytes": 0, "test": test, "builds": builds, "commands": {}, "rounds": []}
        case = self.data["cases"].get(f"{model.name} {test}")
        if case is None or case["builds"] != builds:
            case = self.data["cases"][f"{model.name} {test}"] = new
        case["bytes"] = model.stat().st_size
        return case

    def find(self, model, test):
        case = self.data["cases"].get(f"{Path(model).name} {test}")
        return Case(case) if case and case["rounds"] else None


class Case:
    """One test of one model."""

    def __init__(self, case):
        self.raw = case
        self.bytes = case["bytes"]

    def values(self, side, key="median"):
        samples = [r[side] for r in self.raw["rounds"] if side in r]
        return [sample[key] for sample in samples if sample.get(key) is not None]

    def median(self, side, key="median"):
        """`None` where that side measured nothing."""
        values = self.values(side, key)
        return statistics.median(values) if values else None

    def spread(self, side, key="median"):
        """How far apart the middle half of the values is, as a share of their median."""
        values = sorted(self.values(side, key))
        if len(values) < 2:
            return 0.0
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return (high - low) / statistics.median(values)

    def ratio(self, key="median"):
        """pumice over llama.cpp, of the medians."""
        ours, theirs = self.median(PUMICE, key), self.median(PEER, key)
        return ours / theirs if ours and theirs else None

    def failure(self, side):
        return next((r[side]["failed"] for r in self.raw["rounds"] if "failed" in r.get(side, {})), None)


def machine():
    """What a figure is worth nothing without."""
    names = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            names.setdefault(name.strip(), value.strip())
    flags = names.get("flags", "").split()
    wanted = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")
    model = names.get("model name") or platform.processor() or platform.machine()
    family = ", ".join(f"{key} {names[key]}" for key in ("cpu family", "model") if key in names)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{model} ({family})" if family else model,
        "flags": [flag for flag in wanted if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }
