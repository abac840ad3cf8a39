"""What batchlab costs a script's training: the same script by itself and as a launched command.

    python benchmarks/command_overhead.py

Both run at the same time and train in turns, a short block each, so that whatever else the machine
does falls on both alike. By itself means `python train.py > file`. A launched one has its
supervisor, its output read, stamped and kept, and its memory looked at. Two processes of the same
script lie some per cent apart, by where their memory happens to be. So there are several pairs of
processes, and the first row compares the script by itself with the script by itself.

Printed are the medians over the pairs with their 95 % interval, of the seconds that went by and of
the CPU time of the training process; and the CPU time that batchlab and the supervisor took beside
it, as a fraction of the time of training. What is written is a line a second, a progress bar ten
times a second, or a line every step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from batchlab.script.process import READ_EVERY_S, Launched

RESULTS = Path(__file__).parent / "results" / "command_overhead.json"
CONTROL = "by itself twice"
SCRIPT = """
import sys, time
import torch

go, done = open(sys.argv[1]), open(sys.argv[2], "w")
writes, block_s = sys.argv[3], float(sys.argv[4])
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(4096, 784), torch.randint(0, 10, (4096,))

every_s = {"a line a second": 1.0, "progress bar": 0.1, "every step": 0.0}[writes]
end = "\\r" if writes == "progress bar" else "\\n"
written_s = 0.0

def train(n_steps):
    global written_s
    for step in range(n_steps):
        rows = slice(64 * (step % 64), 64 * (step % 64) + 64)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        if time.monotonic() >= written_s + every_s:
            written_s = time.monotonic()
            print(f"{step}/{n_steps} loss={loss.item():.4f}", end=end, flush=writes != "every step")

train(400)
began = time.perf_counter()
train(400)
n_steps = int(go.readline()) or max(20, int(400 * block_s / (time.perf_counter() - began)))
print(n_steps, file=done, flush=True)
for _ in go:
    wall, cpu = time.perf_counter(), time.process_time()
    train(n_steps)
    print(time.perf_counter() - wall, time.process_time() - cpu, file=done, flush=True)
"""


class Training:
    """One script that trains a block when it is told to."""

    def __init__(self, folder: Path, writes: str, block_s: float, *, launched: bool) -> None:
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        go, done = folder / "go", folder / "done"
        os.mkfifo(go)
        os.mkfifo(done)
        argv = (sys.executable, str(folder / "train.py"), str(go), str(done), writes, str(block_s))
        self.launched = self.process = None
        if launched:
            self.launched = Launched(
                argv,
                cwd=folder,
                environment=os.environ,
                folder=folder,
                marker=f"overhead/{os.getpid()}-{time.monotonic_ns()}",
            )
        else:
            with (folder / "output").open("wb") as output:
                # A session of its own here too: a busy kernel shares the cores among sessions.
                self.process = subprocess.Popen(
                    argv, stdout=output, stderr=output, start_new_session=True
                )
        self._go, self._done = go.open("w"), done.open()

    def told(self, word: object) -> list[float]:
        """Tell it to go on, and what it says afterwards; as an engine does meanwhile."""
        print(word, file=self._go, flush=True)
        while self.launched is not None:
            ready = wait([self._done], READ_EVERY_S)
            self.launched.read_output()
            if (end := self.launched.receive()) is not None:
                sys.exit(f"the script ended: {end}")
            if self._done in ready:
                break
        return [float(value) for value in self._done.readline().split()]

    def cpu_s(self) -> float:
        """CPU time of batchlab and the supervisor."""
        if self.launched is None:
            return 0.0
        supervisor = Path(f"/proc/{self.launched._supervisor.pid}/schedstat").read_text()
        return time.process_time() + int(supervisor.split()[0]) / 1e9

    def end(self) -> None:
        """End it."""
        if self.launched is not None:
            self.launched.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def interval(ratios: list[float]) -> tuple[float, float]:
    """The 95 % interval of their median, from draws with replacement."""
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return float(low), float(high)


def one_pair(writes: str, *, blocks: int, block_s: float, control: bool) -> dict[str, float]:
    """Two processes in turns; the medians of the ratios of neighboring blocks."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Training(Path(folder) / "alone", writes, block_s, launched=False)
        other = Training(Path(folder) / "other", writes, block_s, launched=not control)
        try:
            (n_steps,) = alone.told(0)
            other.told(int(n_steps))
            ratios: list[tuple[float, float]] = []
            beside_s = trained_s = 0.0
            for block in range(blocks + 2):
                took = {}
                for training in (alone, other) if block % 2 else (other, alone):
                    before_s = other.cpu_s()
                    took[training] = training.told("block")
                    if training is other and block >= 2:
                        beside_s += other.cpu_s() - before_s
                        trained_s += took[training][0]
                if block >= 2:
                    pair = zip(took[other], took[alone], strict=True)
                    ratios.append(tuple(one / by_itself for one, by_itself in pair))
        finally:
            alone.end()
            other.end()
    wall, cpu = zip(*ratios, strict=True)
    return {
        "wall_ratio": statistics.median(wall),
        "cpu_ratio": statistics.median(cpu),
        "beside_fraction": beside_s / trained_s,
        "step_s": trained_s / blocks / n_steps,
    }


def measured(writes: str, *, pairs: int, blocks: int, block_s: float) -> dict[str, object]:
    """Several pairs of processes."""
    control = writes == CONTROL
    seen = [
        one_pair(
            "a line a second" if control else writes,
            blocks=blocks,
            block_s=block_s,
            control=control,
        )
        for _ in range(pairs)
    ]
    columns = {name: [pair[name] for pair in seen] for name in seen[0]}
    return {
        "writes": writes,
        "blocks_per_pair": blocks,
        "wall_interval": interval(columns["wall_ratio"]),
        "cpu_interval": interval(columns["cpu_ratio"]),
        **{name: statistics.median(values) for name, values in columns.items()},
        "pairs": seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10, help="of processes")
    parser.add_argument("--blocks", type=int, default=40, help="of each pair")
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a block")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    print("| writes | step | time, launched / alone | CPU time, launched / alone | beside it |")
    print("|---|---|---|---|---|")
    rows = []
    for writes in (CONTROL, "a line a second", "progress bar", "every step"):
        row = measured(
            writes, pairs=arguments.pairs, blocks=arguments.blocks, block_s=arguments.block
        )
        rows.append(row)
        shown = [
            f"{row[f'{kind}_ratio']:.4f} ({row[f'{kind}_interval'][0]:.4f} to "
            f"{row[f'{kind}_interval'][1]:.4f})"
            for kind in ("wall", "cpu")
        ]
        print(
            f"| {writes} | {1e3 * row['step_s']:.3f} ms | {shown[0]} | {shown[1]} | "
            f"{100 * row['beside_fraction']:.2f} % of a core |",
            flush=True,
        )
        document = {
            "python": platform.python_version(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),
            "rows": rows,
        }
        arguments.results.parent.mkdir(exist_ok=True)
        arguments.results.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written: {arguments.results}")


if __name__ == "__main__":
    main()
