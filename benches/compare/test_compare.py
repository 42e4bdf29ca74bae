"""Tests of the comparison, which need neither models nor llama.cpp: python3 -m unittest discover benches/compare."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
import xml.etree.ElementTree as xml
from pathlib import Path

import cases
import charts
import compare
import report
from results import PEER, PUMICE, Case, Results

# Both sides in one: prints what its options ask for, as fast as a file beside it says; counts its calls there.
FAKE = """
import json, sys
from pathlib import Path
state = Path({state!r})
said = json.loads(state.read_text())
said["calls"].append(sys.argv[1:])
state.write_text(json.dumps(said))
with open(state.parent / "order", "a") as order:
    order.write(state.stem[0])
options = sys.argv[1:]
def option(name, default):
    return int(options[options.index(name) + 1]) if name in options else default
if said.get("fails") and option("-d", 0):
    sys.exit("no such depth")
many = f"x{{option('-s', 1)}}" if option("-s", 1) > 1 else ""
rate = {{"median": said["rate"], "gb_s": 9.0, "gmac_s": 50.0}}
done = {{f"pp{{option('-p', 0)}}": rate, f"tg{{option('-n', 0)}}{{many}}": rate}}
done |= {{"llama-cpp-python": "0", "llama.cpp": "0", "system": ""}}
print(json.dumps(done | {{"read_gb_s": 10.0, "dot_gmac_s": 100.0, "fma_gmac_s": 25.0}}))
"""


class Fake:
    """A program that stands for pumice."""

    def __init__(self, folder, name, rate):
        self.state = folder / f"{name}.json"
        self.say(rate=rate, calls=[])
        script = folder / f"{name}.py"
        script.write_text(FAKE.format(state=str(self.state)), encoding="utf-8")
        self.program = folder / name
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
        self.program.chmod(0o755)

    def said(self):
        return json.loads(self.state.read_text(encoding="utf-8"))

    def say(self, **values):
        said = self.said() if self.state.exists() else {}
        self.state.write_text(json.dumps(said | values), encoding="utf-8")


class Arguments:
    def __init__(self, folder, fake, **values):
        self.results, self.pumice, self.models = folder / "results.json", str(fake.program), None
        self.peer, self.threads, self.rounds, self.timeout, self.stop_after = [], 2, 3, 60, None
        self.__dict__ |= values


class Notation(unittest.TestCase):
    def test_a_test_says_what_both_sides_are_told(self):
        test = cases.Test.parse("tg32x16@128t4+2:q8_0/avx2")
        self.assertEqual(test, ("tg", 32, (128, 16, 4, 2, "q8_0", "avx2")))
        job = cases.Job(Path("m.gguf"), (("", test),))
        shared = "-t 4 -p 0 -n 32 -r 1 -d 128 -s 16 --kv-type q8_0".split()
        self.assertEqual(job.peer("python", 2)[2:], ["m.gguf", *shared])
        pumice = job.pumice("pumice", 2)
        self.assertEqual(pumice[1:], "bench -m m.gguf --kernels avx2 --json".split() + shared)
        self.assertIn("--peaks", cases.jobs("m.gguf", ["pp512"])[0].pumice("pumice", 2))

    def test_what_is_no_test_is_refused(self):
        for text in ("pp", "pp0", "tg64x", "tg64@", "x512", "pp512x2", "loads", "tg64 "):
            with self.assertRaises(ValueError, msg=text):
                cases.Test.parse(text)

    def test_a_prompt_and_a_generation_share_a_process_if_their_settings_are_one(self):
        texts = ["pp512", "tg64", "pp128", "load", "tg8@10", "pp9@10", "tg8"]
        found = [[text for text, _ in job.tests] for job in cases.jobs("m.gguf", texts)]
        self.assertEqual(found, [["pp512", "tg64"], ["pp128", "tg8"], ["load"], ["tg8@10", "pp9@10"]])

    def test_the_suite_is_sound(self):
        sections = cases.suite(cases.HERE / "suite.toml")
        self.assertIn("types", [section.name for section in sections])
        results = Results(Path("there is none"))
        results.data |= {"threads": 2}
        self.assertEqual(report.text(sections, results).count("Not measured yet."), len(sections))


class Rounds(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.fake = Fake(self.folder, "pumice", 300.0)
        self.fake.say(calls=[])
        self.model = self.folder / "m.gguf"
        self.model.write_bytes(b"GGUF")

    def run_tests(self, *tests, **values):
        values.setdefault("peer", [])
        with contextlib.redirect_stderr(io.StringIO()):
            comparison = compare.Comparison(Arguments(self.folder, self.fake, **values))
            self.sections = cases.of_models([self.model], list(tests))
            done = comparison.run(self.sections)
        return done, comparison.results

    def test_what_is_measured_is_not_measured_again_unless_the_program_changes(self):
        done, results = self.run_tests("pp512", "tg64")
        # One call asks for the version.
        self.assertEqual((done, len(self.fake.said()["calls"])), (True, 1 + 3))
        self.assertEqual(len(results.find("m.gguf", "tg64").raw["rounds"]), 3)
        self.run_tests("pp512", "tg64")
        self.assertEqual(len(self.fake.said()["calls"]), 1 + 3 + 1)
        self.fake.program.write_text(self.fake.program.read_text() + "# another build\n")
        _, results = self.run_tests("pp512", "tg64")
        self.assertEqual(len(self.fake.said()["calls"]), 1 + 3 + 1 + 1 + 3)
        self.assertEqual(len(results.find("m.gguf", "tg64").raw["rounds"]), 3)

    def test_sides_take_turns_in_being_first(self):
        peer = Fake(self.folder, "llama", 100.0)
        _, results = self.run_tests("pp512", "tg64", "pp64/avx2", peer=[str(peer.program)], rounds=4)
        order = (self.folder / "order").read_text(encoding="ascii")
        # One call each asks for the version. There is no peer for other kernels.
        self.assertEqual((set(order[:2]), order[2:]), ({"p", "l"}, "pllppllp" + "pppp"))
        self.assertEqual(results.find("m.gguf", "pp512").ratio(), 3.0)
        self.assertIsNone(results.find("m.gguf", "pp64/avx2").ratio())

    def test_a_round_that_others_disturbed_is_measured_once_more(self):
        disturbed, real = [0.5, 0.0, 0.5, 0.5], compare.measure

        def measure(*arguments):
            found = real(*arguments)
            return {text: side | {"others": disturbed.pop(0)} for text, side in found.items()}

        with unittest.mock.patch.object(compare, "measure", measure):
            _, results = self.run_tests("pp512", rounds=2)
        self.assertEqual((results.find("m.gguf", "pp512").values(PUMICE, "others"), disturbed), ([0.0, 0.5], []))
        self.assertIn("In 1 of 2 rounds", report.machine(results))

    def test_a_whole_process_is_measured_from_outside(self):
        _, results = self.run_tests("load", rounds=1)
        found = results.find("m.gguf", "load")
        self.assertTrue(0.01 < found.median(PUMICE, "seconds") < 60 and found.median(PUMICE, "bytes") > 1 << 20)

    def test_no_round_begins_after_the_time(self):
        done, results = self.run_tests("pp512", stop_after=1e-9)
        self.assertEqual((done, results.find("m.gguf", "pp512")), (False, None))
        done, _ = self.run_tests("pp512", stop_after=600)
        self.assertTrue(done)

    def test_a_side_that_fails_says_why_in_the_table(self):
        self.fake.say(fails=True)
        _, results = self.run_tests("pp512", "tg64@9", rounds=1)
        self.assertEqual(results.find("m.gguf", "tg64@9").failure(PUMICE), "no such depth")
        self.assertIn("no such depth", report.text(self.sections, Results(results.path)))

    def test_neighbours_are_there_and_gone_again(self):
        job = cases.jobs(self.model, ["tg8+2"])[0]
        before = set(children())
        done = compare.measure([sys.executable, "-c", "import time; time.sleep(60)"], job, 1)
        self.assertEqual(done["tg8+2"]["failed"], "not done after 1 s")
        # Its own neighbours are not others.
        self.assertLess(done["tg8+2"]["others"], 0.9)
        self.assertEqual(set(children()), before)

    def test_who_stops_the_comparison_stops_all_of_it(self):
        self.fake.program.write_text("#!/bin/sh\n[ $1 = --version ] || exec sleep 60\n", encoding="utf-8")
        command = [sys.executable, str(cases.HERE / "compare.py"), str(self.model), "--tests", "tg8+2"]
        command += ["--pumice", str(self.fake.program), "--peer", "none", "--results", str(self.folder / "r.json")]
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if listed.exists():
            while len(started := listed.read_text(encoding="ascii").split()) < 3:
                time.sleep(0.01)
            time.sleep(0.2)  # they are there, but whoever started them may not know it yet
            process.terminate()
            process.wait(30)
            busy = [pid for pid in started if self.is_python(pid)]
            while any(self.is_python(pid) for pid in busy) and time.monotonic() < begin + 30:
                time.sleep(0.01)
            self.assertEqual([pid for pid in busy if self.is_python(pid)], [])
        process.kill()
        process.communicate()

    def is_python(self, pid):
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(sys.executable.encode())
        except OSError:
            return False

    def test_marked_blocks_are_replaced_and_nothing_else(self):
        _, results = self.run_tests("pp512", "tg64")
        for case in results.data["cases"].values():
            for number, sides in enumerate(case["rounds"]):
                sides[PEER] = {"median": (100.0, 150.0, 200.0)[number]}
        path = self.folder / "page.md"
        end = "<!-- /compare -->\n"
        text = f"# Speed\n<!-- compare: models -->\nold\n{end}kept <!-- compare: headline -->\n{end}"
        path.write_text(text, encoding="utf-8")
        for _ in range(2):
            report.write(path, self.sections, results)
        written = path.read_text(encoding="utf-8")
        self.assertIn("| m | pp512, tg64 | 300 | 150 | **2.00** | 50.0 | 300 | 150 | **2.00** | 90 % |", written)
        self.assertIn("generates 2.0 times as fast (2.00 to 2.00)", written)
        self.assertTrue(written.startswith("# Speed\n<!--") and "old" not in written and "kept <!-- compare" in written)
        chart = xml.parse(self.folder / "performance" / "models.svg")
        self.assertIn("2.00×", "".join(chart.getroot().itertext()))
        path.write_text("<!-- compare: other -->\n<!-- /compare -->\n", encoding="utf-8")
        with self.assertRaises(ValueError):
            report.write(path, self.sections, results)


def children():
    return (
        Path("/proc/self/task/self/children").read_text().split()
        if Path("/proc/self/task/self/children").exists()
        else []
    )


class Figures(unittest.TestCase):
    def test_ratios_are_of_medians_and_spreads_of_the_middle_half(self):
        rounds = [{PUMICE: {"median": a}, PEER: {"median": b}} for a, b in ((10.0, 4.0), (30.0, 5.0), (20.0, 100.0))]
        case = Case({"bytes": 1, "rounds": [*rounds, {PUMICE: {"failed": "x"}}]})
        self.assertEqual((case.ratio(), case.spread(PUMICE), case.failure(PUMICE)), (20.0 / 5.0, 0.5, "x"))

    def test_what_is_left_of_the_machine_is_a_fair_share(self):
        results = Results(Path("there is none"))
        results.data |= {"threads": 2, "machine": {"cores": 2}}
        shares = {"tg8": 1, "tg8t4": 1, "tg8+2": 0.5, "tg8t4+2": 4 / 6, "tg8+1": 2 / 3}
        for text, share in shares.items():
            self.assertAlmostEqual(report.left(cases.Test.parse(text).setting, results), share, msg=text)

    def test_charts_are_sound_whatever_the_values(self):
        for rows in ([("a <b>", [0.1, None])], [("x", [1.0, 90.0]), ("y", [5.0, 0.5])]):
            xml.fromstring(charts.bars("t & u", ("one", "two"), rows, "×"))
        for points in ([(1, 5.0)], [(1, 5.0), (8, 5.0)], [(128, 3.0), (512, 7000.0)]):
            xml.fromstring(charts.lines("t", ("one", "two"), (points, []), [(x, str(x)) for x, _ in points]))


if __name__ == "__main__":
    unittest.main()
