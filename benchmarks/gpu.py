"""Measure what needs a GPU, within eight minutes, and append one JSON line per part to a file.

    scripts/gpu         into benchmarks/results/gpu/, in a file named after the GPU
    scripts/gpu --cpu   a tiny version of each part, which shows whether this script works

Each part has its own share of the time and runs in processes of its own, so one that fails or hangs
stops no other. The first line is about the machine. The line of a part is written when it ends, so
this script can be cut off at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from batchlab import Profile  # loads no torch, so this process never holds memory of the GPU

ROOT = Path(__file__).parents[1]
MODELS = {
    "cnn": ROOT / "benchmarks" / "gpu_trials.py:cnn",
    "resnet18": ROOT / "examples" / "real" / "resnet18.py:workload",
    "gpt": ROOT / "examples" / "real" / "gpt.py:workload",
}
TRIALS = [sys.executable, str(ROOT / "benchmarks" / "gpu_trials.py")]
BATCHLAB = [sys.executable, "-m", "batchlab"]
ALL_PARTS_S = 480.0
TINY_PART_S = 90.0  # far more than a tiny part takes, for a busy machine
FIRST_LOOK_S = 90.0  # a fresh machine reads PyTorch from a cold disk
ENDING_S = 3  # a command may need this much longer than its budget
KEPT_CHARACTERS = 6000  # of what a part that failed has written

Result = dict[str, Any]
"""What a part found, as JSON; it failed if there is an "error"."""


class PartError(Exception):
    """A part did not end as it should."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing to measure."""

    name: str
    share_s: float  # it is ended after this time
    measure: Callable[[float], Result]  # function of the seconds that it may take

    def run(self, limit_s: float) -> Result:
        """Measure; whatever goes wrong becomes the error."""
        began_s = time.monotonic()
        try:
            result = self.measure(limit_s)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        return {"part": self.name, "seconds": round(time.monotonic() - began_s, 1), **result}


def run_parts(parts: Sequence[Part], file: Path, *, ends_s: float) -> bool:
    """Run the parts in turn until `time.monotonic()` is `ends_s`; return whether all succeeded."""
    results: list[Result] = []
    for part in parts:
        limit_s = min(part.share_s, ends_s - time.monotonic())
        if limit_s <= 0:
            break
        print(f"{part.name}: at most {limit_s:.0f} s", flush=True)
        result = part.run(limit_s)
        append(file, result)
        print(f"  {result.get('error') or result.get('summary')}", flush=True)
        results.append(result)
    return len(results) == len(parts) and not any("error" in result for result in results)


def append(file: Path, line: Result) -> None:
    """Append a line to the file."""
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


# ---- commands


def run_command(command: Sequence[str], limit_s: float) -> tuple[int | None, str, str]:
    """Run a command; its exit code (None: ended after the limit), its output and its errors."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "output"), Path(folder, "errors")
        with paths[0].open("wb") as output, paths[1].open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # so that output before a kill is kept
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            code = None
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(limit_s)
            if code is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output_text, errors_text = (path.read_text(errors="replace") for path in paths)
        return code, output_text, errors_text


def printed_by(command: Sequence[str], limit_s: float) -> str:
    """Return what a command prints.

    Raises:
        PartError: it failed or did not end in time.
    """
    code, output, errors = run_command(command, limit_s)
    if code == 0:
        return output
    why = f"exit code {code}" if code is not None else f"not ended after {limit_s:.0f} s"
    raise PartError(f"{why}: {errors[-KEPT_CHARACTERS:]}")


# ---- the parts


def run_tests(limit_s: float, *, may_skip: bool) -> Result:
    """Run the tests marked `gpu`, all of which are skipped without one."""
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    files = [str(file) for file in tests if "mark.gpu" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-p", "no:cacheprovider", *files]
    code, output, _ = run_command(command, limit_s)
    line = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)
    outcomes = dict(line.findall(output))  # pytest writes each when the test has ended
    counts = Counter(outcomes.values())
    summary = ", ".join(f"{n} {outcome.lower()}" for outcome, n in sorted(counts.items()))
    result = {"summary": summary, "outcomes": outcomes}
    if code == 0 and (counts["PASSED"] or may_skip):
        return result
    why = f"exit code {code}" if code is not None else f"not ended after {limit_s:.0f} s"
    return {"error": f"pytest: {why}", **result, "output": output[-KEPT_CHARACTERS:]}


def profile(limit_s: float, *, model: str, budget_s: float, options: Sequence[str]) -> Result:
    """Profile a model, and predict the largest measured peak from smaller batch sizes."""
    command = [*BATCHLAB, "profile", str(MODELS[model]), "--json", *options]
    document = printed_by([*command, *within(budget_s, limit_s)], limit_s)
    made = Profile.from_json(document)
    summary = f"largest batch that fits: {made.largest_batch_size}"
    if made.largest_batch_size == made.workload.n_train:
        summary += ", all examples"
    elif made.stopped != "memory":
        summary += f" or more (stopped by: {made.stopped or 'the batch sizes given'})"
    memory = largest_peak(made)
    if memory is not None:
        peak_bytes, predicted_bytes = memory["peak_bytes"], memory["predicted_bytes"]["estimate"]
        summary += (
            f"; peak at {memory['batch_size']}: {peak_bytes / 1e9:.3f} GB, predicted "
            f"{predicted_bytes / 1e9:.3f} GB ({100 * (predicted_bytes / peak_bytes - 1):+.1f} %) "
            f"from {memory['from_batch_sizes']}"
        )
    return {"summary": summary, "memory": memory, "profile": json.loads(document)}


def largest_peak(made: Profile) -> Result | None:
    """Return the largest measured peak and what sizes of at most a quarter predict for it.

    The full batch is left out: its examples are not gathered, so the law of memory is not about it.
    None if fewer than two smaller sizes ran.
    """
    peaks = {
        point.batch_size: point.peak_bytes
        for point in made.points
        if point.in_one_piece and point.ran and point.batch_size < made.workload.n_train
    }
    largest = max(peaks, default=0)
    smaller = [size for size in peaks if 4 * size <= largest]
    if len(smaller) < 2:
        return None
    points = tuple(point for point in made.points if point.batch_size in smaller)
    predicted = replace(made, points=points).memory.predicted_bytes(largest)
    return {
        "batch_size": largest,
        "peak_bytes": peaks[largest],
        "predicted_bytes": asdict(predicted),
        "from_batch_sizes": smaller,
    }


def time_trials(limit_s: float, *, device: str, examples: int, n: int) -> Result:
    """Time a new process, and what new and continued trials take beyond their steps."""
    ends_s = time.monotonic() + limit_s
    start = json.loads(printed_by([*TRIALS, "start", device], limit_s))
    summary = (
        f"a new process imports PyTorch in {start['import_torch_s']:.2f} s, opens the device in "
        f"{start['open_device_s']:.2f} s and takes a first step in {start['first_step_s']:.2f} s"
    )
    command = [*TRIALS, "trials", device, str(examples), str(n)]
    costs = json.loads(printed_by(command, max(0.0, ends_s - time.monotonic())))
    new_s, continued_s = (costs[name]["beyond_s"] for name in ("new", "continued"))
    summary += (
        f"; beyond steps and evaluations a new trial takes {new_s:.2f} s and a continued one "
        f"{continued_s:.2f} s"
    )
    return {"summary": summary, "start": start, **costs}


def advise(limit_s: float, *, budget_s: float, options: Sequence[str]) -> Result:
    """Ask for the small CNN, and keep the answer as people see it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*BATCHLAB, "advise", str(MODELS["cnn"]), *within(budget_s, limit_s), *options]
        command += ["--store", f"{folder}/lab.db", "--report", f"{folder}/report.html"]
        text = printed_by(command, limit_s)
    return {"summary": text.strip().partition("\n\n")[0], "text": text}


def within(budget_s: float, limit_s: float) -> list[str]:
    """Return the option for a budget that leaves time to end before the limit."""
    return ["--budget", f"{min(budget_s, limit_s - ENDING_S):.0f}s"]


def profile_part(
    model: str, sizes: str, share_s: float, budget_s: float, *options: str, **settings: object
) -> Part:
    """Return the part that profiles a model with these settings."""
    given = [*options, "--batch-sizes", sizes]
    for name, value in settings.items():
        given += ["--set", f"{name}={value}"]
    measure = partial(profile, model=model, budget_s=budget_s, options=given)
    return Part(name=f"profile {model} {settings['precision']}", share_s=share_s, measure=measure)


def gpu_parts() -> list[Part]:
    """Return the parts for a GPU, whose shares are less than the time for all.

    On an H200 a process that times a batch size took 1.3 s. The sizes of the last two models leave
    out their own, with which a profile would begin: then those below it would come last.
    """
    tests = partial(run_tests, may_skip=False)
    parts = [Part(name="tests marked gpu", share_s=110, measure=tests)]
    for model, sizes, share_s in (
        ("cnn", "64,256,1024,4096,16384,full", 25),
        ("resnet18", "32,256,2048,16384,full", 40),
        ("gpt", "8,32,128,512,2048,full", 40),
    ):
        for precision in ("fp32", "bf16"):
            profiled = (model, sizes, share_s, share_s, "--device", "cuda")
            parts.append(profile_part(*profiled, precision=precision))
    trials = partial(time_trials, device="cuda", examples=50_000, n=4)
    parts.append(Part(name="trials beyond their steps", share_s=40, measure=trials))
    advice = partial(advise, budget_s=90, options=["--device", "cuda"])
    parts.append(Part(name="advise cnn, 90 s", share_s=97, measure=advice))
    return parts


def tiny_parts() -> list[Part]:
    """Return a tiny version of each part, for a processor.

    A profile is repeated until its times are sure, so a busy machine uses the whole budgets.
    """
    small = {"precision": "bf16"}
    profiled = ("2,4,16", TINY_PART_S, 45)
    trials = partial(time_trials, device="cpu", examples=512, n=1)
    options = ["--set", "examples=512", "--batch-sizes", "32,128"]
    options += ["--epochs", "2", "--target", "accuracy=0.2"]
    advice = partial(advise, budget_s=45, options=options)
    tests = partial(run_tests, may_skip=True)
    return [
        Part(name="tests marked gpu", share_s=TINY_PART_S, measure=tests),
        profile_part("cnn", *profiled, **small, examples=64),
        profile_part("resnet18", *profiled, **small, width=8, side=16, n=64),
        profile_part("gpt", *profiled, **small, width=32, layers=2, context=32),
        Part(name="trials beyond their steps", share_s=TINY_PART_S, measure=trials),
        Part(name="advise cnn, 45 s", share_s=TINY_PART_S, measure=advice),
    ]


def machine_here(device: str) -> dict[str, Any]:
    """Return what the results belong to; the name is None if PyTorch sees no GPU."""
    start = json.loads(printed_by([*TRIALS, "start", device], FIRST_LOOK_S))
    commit = os.environ.get("COMMIT")  # for a copy without its history
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with suppress(OSError):
        git = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False)
        commit = git.stdout.strip() or commit
    return {
        "name": start["gpu"] if device == "cuda" else "CPU",
        "memory_bytes": start.get("memory_bytes"),
        "torch": start["torch"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
    }


def main() -> int:
    """Measure; return 0 if all parts are done."""
    parser = argparse.ArgumentParser(prog="scripts/gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--cpu", action="store_true", help="a tiny version of each part, here")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    asked = parser.parse_args()
    ends_s = time.monotonic() + ALL_PARTS_S
    try:
        machine = machine_here("cpu" if asked.cpu else "cuda")
    except PartError as error:
        print(f"scripts/gpu: PyTorch cannot be used: {error}", file=sys.stderr)
        return 1
    if machine["name"] is None:
        print(
            f"scripts/gpu: PyTorch {machine['torch']} sees no GPU, so there is nothing to measure; "
            f"scripts/gpu --cpu tries a tiny version of each part",
            file=sys.stderr,
        )
        return 1
    if asked.cpu:
        folder, parts = Path(tempfile.mkdtemp(prefix="batchlab-gpu-")), tiny_parts()
    else:
        folder, parts = ROOT / "benchmarks" / "results" / "gpu", gpu_parts()
    folder = asked.out or folder
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", machine["name"].lower()).strip("-")
    file = folder / f"{name}.jsonl"
    file.write_text(json.dumps(machine) + "\n")
    succeeded = run_parts(parts, file, ends_s=ends_s)
    print(f"written to {file}")
    return int(not succeeded)


if __name__ == "__main__":
    raise SystemExit(main())
