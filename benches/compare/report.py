"""Tables in Markdown and charts, from results."""

import itertools
import re
import statistics
from pathlib import Path

import charts
from cases import Test
from results import PEER, PUMICE, Case

BLOCK = re.compile(r"(<!-- compare: ([\w-]+) -->\n).*?(<!-- /compare -->)", re.DOTALL)
NOTHING = "–"
KINDS = {"pp": "Prompt", "tg": "Generation"}


def write(path, sections, results):
    """Replaces the file's marked blocks, and writes their charts beside it."""
    path = Path(path)
    blocks = made(sections, results, path.parent / "performance")

    def replaced(found):
        if found[2] not in blocks:
            raise ValueError(f"{path}: no section {found[2]!r}; there are {', '.join(blocks)}")
        return found[1] + blocks[found[2]]() + "\n" + found[3]

    path.write_text(BLOCK.sub(replaced, path.read_text(encoding="utf-8")), encoding="utf-8")


def text(sections, results):
    """All tables, for a terminal."""
    blocks = made(sections, results, None)
    return "\n\n".join(block() for name, block in blocks.items() if name != "headline") + "\n"


def made(sections, results, folder):
    """The blocks by name, each made when it is called."""
    blocks = {"machine": lambda: machine(results), "headline": lambda: headline(sections, results)}
    for section in sections:
        view = {"ratios": ratios, "curve": curve, "load": load, "busy": busy}[section.view]
        blocks[section.name] = lambda section=section, view=view: view(section, results, folder)
    return blocks


def table(header, rows):
    """The first column is text, the others are numbers."""
    if not rows:
        return "Not measured yet."
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def figure(value, digits=3):
    """So many digits that count: 1234, 123, 12.3, 1.23."""
    if value is None:
        return NOTHING
    before = len(str(int(value)))
    return f"{value:.{max(0, digits - before)}f}"


def times(ratio):
    return NOTHING if ratio is None else f"**{ratio:.2f}**"


def share(value):
    return NOTHING if value is None else f"{100 * value:.0f} %"


def side(case, name):
    """A median, or why there is none."""
    if case is None:
        return NOTHING
    value = case.median(name)
    return figure(value) if value else case.failure(name) or NOTHING


def image(folder, name, title, content):
    if folder is None:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(content, encoding="utf-8")
    return f"\n\n![{title}]({folder.name}/{name}.svg)"


def of_reading(case):
    """The share of the bandwidth, measured in the same processes, at which weights were read."""
    pairs = [(r[PUMICE].get("gb_s"), r[PUMICE].get("read_gb_s")) for r in case.raw["rounds"]] if case else []
    shares = [gb / read for gb, read in pairs if gb and read]
    return statistics.median(shares) if shares else None


def ratios(section, results, folder):
    """A row for each model and pair of a prompt's and a generation's test."""
    header = [
        "Model",
        "Tests",
        "pp: pumice",
        "llama.cpp",
        "ratio",
        "GMAC/s",
        "tg: pumice",
        "llama.cpp",
        "ratio",
        "of reading",
    ]
    rows, bars = [], []
    for label, model, tests in section.cases:
        kinds = [[t for t in tests if Test.parse(t).kind == kind] for kind in KINDS]
        for pair in itertools.zip_longest(*kinds):
            pp, tg = (results.find(model, test) if test else None for test in pair)
            if not pp and not tg:
                continue
            names = ", ".join(test for test in pair if test)
            ratio = [case.ratio() if case else None for case in (pp, tg)]
            row = [label, names, side(pp, PUMICE), side(pp, PEER), times(ratio[0])]
            row += [
                figure(pp.median(PUMICE, "gmac_s") if pp else None),
                side(tg, PUMICE),
                side(tg, PEER),
                times(ratio[1]),
            ]
            rows.append([*row, share(of_reading(tg))])
            usual = tests[:2] == list(pair)[:2]
            if any(ratio):
                bars.append((label if usual else f"{label} {names}", ratio))
    done = table(header, rows) + spread(section, results)
    if bars:
        title = f"{section.title}: tokens/s of pumice over llama.cpp's"
        done += image(folder, section.name, title, charts.bars(title, ("prompt", "generation"), bars, "×"))
    return done


def spread(section, results):
    """How much the rounds of a case differ."""
    cases = [results.find(model, test) for _, model, tests in section.cases for test in tests]
    words = []
    for name in (PUMICE, PEER):
        spreads = [case.spread(name) for case in cases if case and len(case.values(name)) > 1]
        if spreads:
            words.append(f"{name} {share(statistics.median(spreads))} (at most {share(max(spreads))})")
    return f"\n\nThe middle half of a case's rounds spans, in the median: {', '.join(words)}." if words else ""


def grows(section, model, test, results):
    """What a curve's section grows with: a number, and how it is written."""
    if section.x == "size":
        case = results.find(model, test)
        size = case.bytes if case else 1
        return size, f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    parsed = Test.parse(test)
    x = parsed.tokens if section.x == "tokens" else getattr(parsed.setting, section.x)
    if section.x == "threads" and x == 0:
        x = results.data["threads"]
    return x, str(x)


def curve(section, results, folder):
    """Prompts and generation apart, each with a chart; a row for each x."""
    done = []
    for kind, what in KINDS.items():
        points = []
        for label, model, tests in section.cases:
            for test in (t for t in tests if Test.parse(t).kind == kind):
                case = results.find(model, test)
                if case and case.median(PUMICE):
                    x, shown = grows(section, model, test, results)
                    points.append((x, shown, label, test, case))
        if not points:
            continue
        x_name = {"tokens": "Tokens", "size": "File"}.get(section.x, section.x.capitalize())
        header = [x_name, "Model", "Test", "pumice, tokens/s", "llama.cpp", "ratio"]
        rows = [
            [shown, label, test, side(case, PUMICE), side(case, PEER), times(case.ratio())]
            for _, shown, label, test, case in points
        ]
        done.append(f"{what}:\n\n" + table(header, rows))
        ours = [(max(x, 1), case.median(PUMICE)) for x, *_, case in points]
        theirs = [(max(x, 1), case.median(PEER)) for x, *_, case in points if case.median(PEER)]
        ticks = [(max(x, 1), shown) for x, shown, *_ in points]
        if len(points) < 2:
            continue
        title = f"{section.title}, {what.lower()}: tokens/s"
        done[-1] += image(
            folder, f"{section.name}-{kind}", title, charts.lines(title, (PUMICE, PEER), (ours, theirs), ticks)
        )
    return "\n\n".join(done) or table([], [])


def load(section, results, folder):
    header = [
        "Model",
        "File, MB",
        "pumice, s",
        "llama.cpp, s",
        "times faster",
        "pumice, MB",
        "llama.cpp, MB",
        "memory, ratio",
    ]
    rows, bars = [], []
    for label, model, tests in section.cases:
        case = results.find(model, "load")
        if "load" not in tests or case is None:
            continue
        slower, larger = case.ratio("seconds"), case.ratio("bytes")
        faster = 1 / slower if slower else None
        row = [label, f"{case.bytes / 1e6:.0f}"]
        row += [figure(case.median(name, "seconds")) for name in (PUMICE, PEER)] + [times(faster)]
        row += [figure((case.median(name, "bytes") or 0) / 1e6, 4) for name in (PUMICE, PEER)] + [times(larger)]
        rows.append(row)
        if faster:
            bars.append((label, [faster, 1 / larger]))
    done = table(header, rows)
    if bars:
        title = f"{section.title}: llama.cpp's over pumice's"
        done += image(folder, section.name, title, charts.bars(title, ("time", "memory"), bars, "×"))
    return done


def left(setting, results):
    """The share of the machine that is left for a process among others that keep a core busy each."""
    cores = results.data["machine"]["cores"]
    threads = setting.threads or results.data["threads"]
    return min(cores, threads, cores * threads / max(cores, threads + setting.busy)) / min(
        cores, results.data["threads"]
    )


def busy(section, results, _):
    """Shares of what was reached undisturbed, times the share of the machine that is left."""
    header = [
        "Test",
        "Threads",
        "Busy processes",
        "Left",
        "pumice, tokens/s",
        "of what is left",
        "llama.cpp",
        "of what is left",
    ]
    rows = []
    for label, model, tests in section.cases:
        for test in tests:
            parsed, case = Test.parse(test), results.find(model, test)
            if case is None:
                continue
            alone = results.find(model, f"{parsed.kind}{parsed.tokens}")
            part = left(parsed.setting, results)
            row = [f"{label}, {parsed.name}", str(parsed.setting.threads or results.data["threads"])]
            row += [str(parsed.setting.busy), share(part)]
            for name in (PUMICE, PEER):
                whole, value = alone.median(name) if alone else None, case.median(name)
                row += [side(case, name), share(value / (whole * part) if whole and value else None)]
            rows.append(row)
    return table(header, rows)


def machine(results):
    data = results.data
    if "machine" not in data:
        return ""
    m = data["machine"]
    peaks = {"read_gb_s": [], "dot_gmac_s": [], "fma_gmac_s": []}
    for case in data["cases"].values():
        setting = Test.parse(case["test"]).setting
        if not setting.threads and not setting.kernels:
            for key, found in peaks.items():
                found += Case(case).values(PUMICE, key)
    rounds = [len(case["rounds"]) for case in data["cases"].values() if case["rounds"]]
    lines = [f"- CPU: {m['cpu']}, {m['cores']} cores, {' '.join(m['flags'])}; {m['memory_gb']:.0f} GB; {m['system']}"]
    lines += [f"- {name}: {version}" for name, version in data["versions"].items()]
    lines.append(f"- Threads: {data['threads']}; rounds, in turn: {min(rounds, default=0)} to {max(rounds, default=0)}")
    busy = [
        max(side.get("others", 0) for side in r.values()) for case in data["cases"].values() for r in case["rounds"]
    ]
    if any(share > 0.1 for share in busy):
        lines.append(
            f"- In {sum(share > 0.1 for share in busy)} of {len(busy)} rounds, something else had more than a tenth of "
            "the cores"
        )
    if all(peaks.values()):
        read, dots, fmas = (statistics.median(peaks[key]) for key in ("read_gb_s", "dot_gmac_s", "fma_gmac_s"))
        lines.append(
            f"- Peaks, measured in the same processes (medians): reading memory {read:.1f} GB/s, dot products of bytes "
            f"{dots:.0f} GMAC/s, f32 fused multiply-adds {fmas:.0f} GMAC/s"
        )
    return "\n".join(lines)


def headline(sections, results):
    """One sentence for each kind: over all models of the ratios, the least, the median and the most."""
    found = {"pp": [], "tg": []}
    models = set()
    for section in (section for section in sections if section.view == "ratios"):
        for _, model, tests in section.cases:
            for test in tests:
                parsed, case = Test.parse(test), results.find(model, test)
                if case and case.ratio() and not parsed.setting.kernels:
                    found[parsed.kind].append(case.ratio())
                    models.add(model)
    if not found["pp"] or not found["tg"]:
        return "Not measured yet."
    words = []
    for kind, what in (("pp", "reads prompts"), ("tg", "generates")):
        low, middle, high = min(found[kind]), statistics.median(found[kind]), max(found[kind])
        words.append(f"{what} {middle:.1f} times as fast ({low:.2f} to {high:.2f})")
    cpu, threads = results.data["machine"]["cpu"], results.data["threads"]
    return (
        f"On {len(models)} files, {threads} threads of an {cpu}, pumice {words[0]} and {words[1]} as llama.cpp "
        "(medians over the files, least and most)."
    )
