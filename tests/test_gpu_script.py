"""scripts/gpu keeps what it has, whatever ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmarks.gpu import ROOT, Files, Part, PartError, Result, run_command, run_parts
from tests.reference.living import is_running

from benchmarks import gpu

MACHINE = {"name": "A GPU/8", "torch": "2", "memory_bytes": None}
SLEEPER = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
SCRIPT = """
import signal, sys, time
from pathlib import Path
from benchmarks.gpu import Files, Part, run_command, run_parts

signal.signal(signal.SIGINT, signal.default_int_handler)
folder, sleeper = Path(sys.argv[1]), sys.argv[2]

def sleep(limit_s):
    run_command([sys.executable, "-c", sleeper, str(folder / "pid")], limit_s)

parts = [
    Part(name="first", share_s=60, measure=lambda limit_s: {"summary": "all is well"}),
    Part(name="second", share_s=60, measure=sleep),
    Part(name="third", share_s=60, measure=sleep),
]
files = Files(folder=folder, machine={"name": "A GPU/8", "torch": "2"})
run_parts(parts, files, ends_s=time.monotonic() + 60)
"""


def read(folder: Path) -> list[tuple[str, str]]:
    """Return the parts and their states; table and document say the same."""
    document = json.loads((folder / "a-gpu-8.json").read_text())
    states = [(part["name"], part["state"]) for part in document["parts"]]
    rows = (folder / "a-gpu-8.md").read_text().splitlines()[4:]
    assert [tuple(row.strip("| ").split(" | ")[:2]) for row in rows] == states
    return states


def waited_for(path: Path) -> str:
    until_s = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    return path.read_text()


def test_a_failed_part_stops_no_other_and_none_begins_after_the_time_for_all(tmp_path):
    def fails(limit_s: float) -> Result:
        raise PartError("it is broken", {"summary": "half of it"})

    def raises(limit_s: float) -> Result:
        raise ZeroDivisionError("by zero")

    def sleeps(limit_s: float) -> Result:
        code, output, _ = run_command(
            [sys.executable, "-c", "import time; print('begun'); time.sleep(60)"], limit_s
        )
        return {"code": code, "output": output}

    measures = (fails, raises, sleeps, lambda limit_s: {"summary": "good"})
    parts = [Part(name=f"{n}", share_s=2, measure=measure) for n, measure in enumerate(measures)]
    run_parts(parts, Files(folder=tmp_path, machine=MACHINE), ends_s=time.monotonic() + 60)

    assert [state for _, state in read(tmp_path)] == ["failed", "failed", "done", "done"]
    assert parts[0].result == {"summary": "half of it"}
    assert parts[2].result["code"] is None
    late = [Part(name="late", share_s=1, measure=lambda limit_s: {})]
    run_parts(late, Files(folder=tmp_path, machine=MACHINE), ends_s=time.monotonic())
    assert read(tmp_path) == [("late", "missing")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a process with its parent")
@pytest.mark.parametrize(
    ("number", "state"), [(signal.SIGKILL, "under way"), (signal.SIGINT, "failed")]
)
def test_a_killed_script_leaves_whole_files_and_no_process(number, state, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), SLEEPER]
    script = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    sleeper = int(waited_for(tmp_path / "pid"))
    script.send_signal(number)
    script.wait()

    assert read(tmp_path) == [("first", "done"), ("second", state), ("third", "missing")]
    until_s = time.monotonic() + 60
    while is_running(sleeper):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_the_shares_fit_into_the_time_for_all():
    parts = gpu.gpu_parts()

    assert sum(part.share_s for part in parts) < gpu.ALL_PARTS_S
    assert len({part.name for part in parts}) == len(parts)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_written(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [ROOT / "scripts" / "gpu", "--out", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "--cpu" in ended.stderr
    assert not list(tmp_path.iterdir())
