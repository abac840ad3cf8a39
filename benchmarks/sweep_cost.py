"""What a sweep costs besides training: peak memory of all its processes, and start-up times.

    python benchmarks/sweep_cost.py

Memory is the largest sum over the sweep's processes of their proportional set size (pages shared by
several count once), sampled every 50 ms; the sum of their resident sizes, which counts shared pages
once a process, stands beside it. Times are medians of the stated number of runs.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "sweep_cost.json"
BATCHLAB = [sys.executable, "-m", "batchlab"]
RUNS = 7


def family(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    members = [pid]
    for member in members:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return members


def memory_bytes(pid: int) -> tuple[int, int]:
    """Proportional and resident set sizes of `pid` and its descendants, summed."""
    sums = [0, 0]
    for member in family(pid):
        try:
            text = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue
        for position, name in enumerate(("Pss", "Rss")):
            found = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
            sums[position] += 1024 * int(found[1]) if found else 0
    return sums[0], sums[1]


def sweep_peak(arguments: list[str]) -> dict[str, float]:
    process = subprocess.Popen(
        [*BATCHLAB, "sweep", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = [0, 0]
    started_s = time.monotonic()
    while process.poll() is None:
        now = memory_bytes(process.pid)
        peak = [max(pair) for pair in zip(peak, now, strict=True)]
        time.sleep(0.05)
    return {
        "peak_pss_bytes": peak[0],
        "peak_rss_bytes": peak[1],
        "wall_s": time.monotonic() - started_s,
    }


def median_s(command: list[str], runs: int) -> float:
    times = []
    for _ in range(runs):
        started_s = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - started_s)
    return statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["mnist-mlp", "--epochs", "3", "--store", f"{folder}/store.db"]
        sweep = sweep_peak(arguments)
        document = {
            "command": "batchlab sweep " + " ".join(arguments[:-2]),
            "runs": RUNS,
            **sweep,
            "help_s": median_s([*BATCHLAB, "--help"], RUNS),
            "import_torch_s": median_s([sys.executable, "-c", "import torch"], RUNS),
            "finished_sweep_s": median_s([*BATCHLAB, "sweep", *arguments], RUNS),
        }
    for name, value in document.items():
        print(f"{name:20} {value / 1e6:.0f} MB" if "bytes" in name else f"{name:20} {value}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
