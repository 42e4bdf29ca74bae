#!/usr/bin/env python3
"""How long a whole process takes from its start to its first token, and how much memory.

    python tests/real/first_token.py MODEL.gguf --cli target/release/pumice [--runs 5] [--headroom 30]

Runs the command line with a short prompt for one token and prints time and peak memory (resident, the mapped pages of
the file among it) of each run. Fails if a peak is not below the file's size plus --headroom MB. Standard library only.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cli", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--headroom", type=float, default=30, help="MB (10^6 bytes) beside the file")
    args = parser.parse_args()

    command = [str(args.cli), "generate", "-m", str(args.model), "-p", "Once upon a time", "-n", "1", "--temp", "0"]
    times, peaks = [], []
    for _ in range(args.runs):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - start)
        peaks.append(usage.ru_maxrss * 1024 / 1e6)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            print(f"FAILED: exit code {process.returncode}")
            return 1
    size = args.model.stat().st_size / 1e6
    each = " ".join(f"{t * 1e3:.0f}" for t in times)
    print(f"{args.model.name}, {size:.1f} MB: first token after {each} ms", end=", ")
    print(f"peak {max(peaks):.1f} MB, {max(peaks) - size:.1f} MB beside the file")
    if max(peaks) >= size + args.headroom:
        print(f"FAILED: more than {args.headroom:g} MB beside the file")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
