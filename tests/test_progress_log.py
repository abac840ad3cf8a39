"""`batchlab.log` in a training: nothing outside a study, never an error inside one."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchlab import progress_log
from batchlab.progress_log import LOG_PATH_VARIABLE


def run(code: str, log: Path | str = "") -> str:
    """What a script prints, which is given a log unless it is outside a study."""
    environment = os.environ | {LOG_PATH_VARIABLE: str(log)}
    if not log:
        del environment[LOG_PATH_VARIABLE]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n") if line]


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_log, "_PATH", str(tmp_path / "progress.jsonl"))
    return tmp_path / "progress.jsonl"


def test_outside_a_study_a_call_costs_less_than_a_microsecond():
    """Nothing heavy is loaded, and nothing happens."""
    heavy = ("torch", "numpy", "msgspec", "json", "subprocess", "socket", "asyncio")
    code = (
        "import sys, timeit; before = set(sys.modules); import batchlab\n"
        "batchlab.log(step='x', epoch=object(), bad='text')\n"
        "call = lambda: batchlab.log(step=1, val_loss=0.5)\n"
        "print(min(timeit.repeat(call, number=10000, repeat=20)) / 10000)\n"
        f"print(*(name for name in {heavy} if name in set(sys.modules) - before))"
    )

    seconds, loaded = run(code).splitlines()

    assert float(seconds) < 1e-6
    assert loaded == ""


def test_a_line_says_when_how_far_and_what_by_the_floats_of_numbers_of_any_kind(log):
    before_s = time.monotonic()
    run("import batchlab; batchlab.log(step=100, epoch=1.5, samples=6400, val_loss=0.25)", log)
    values = {
        "a": torch.tensor(0.5, requires_grad=True),
        "b": np.float32(0.25),
        "c": np.int64(2),
        "d": True,
    }
    progress_log.log(step=torch.tensor(3), **values)

    line, other = lines_of(log)
    assert before_s < line.pop("at_s") < time.monotonic()  # one clock for the whole system
    counters = {"step": 100, "epoch": 1.5, "samples": 6400}
    assert line == {"batchlab_log": 1, **counters, "values": {"val_loss": 0.25}}
    assert (other["step"], other["values"]) == (3, {"a": 0.5, "b": 0.25, "c": 2.0, "d": 1.0})


@pytest.mark.parametrize(
    ("counters", "values", "told"),
    [
        ({"step": 1}, {"loss": "good"}, "loss='good'"),
        ({"step": "one"}, {"loss": 1.0}, "step='one'"),
        ({"step": 1.5}, {}, "step=1.5"),
        ({"step": -1}, {}, "step=-1"),
        ({"samples": math.nan}, {}, "samples=nan"),
        ({}, {"loss": [1, 2]}, "loss=[1, 2]"),
    ],
)
def test_what_is_no_number_is_told_and_the_rest_is_kept(log, counters, values, told):
    progress_log.log(epoch=2, right=0.5, **values, **counters)

    (line,) = lines_of(log)
    assert line["not_understood"] == [told]
    assert line["epoch"] == 2
    assert line["values"]["right"] == 0.5


@pytest.mark.parametrize("path", ["/dev/full", "/no/such/folder/log", "/"])
def test_a_full_disk_or_a_missing_folder_never_reaches_the_training(path, monkeypatch):
    monkeypatch.setattr(progress_log, "_PATH", path)

    progress_log.log(step=1, loss=1.0)


def test_a_torn_line_takes_no_other_line_with_it(log):
    log.write_text('{"batchlab_log": 1, "at')

    progress_log.log(step=2)

    assert json.loads(log.read_text().splitlines()[-1])["step"] == 2


def test_children_of_the_script_log_into_the_same_file_line_by_line(log):
    code = (
        "import batchlab, os\n"
        "batchlab.log(step=0, loss=1.0)\n"
        "children = []\n"
        "for child in range(4):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        for step in range(200): batchlab.log(step=step, loss=0.5, child=child)\n"
        "        os._exit(0)\n"
        "    children.append(pid)\n"
        "for pid in children: os.waitpid(pid, 0)"
    )

    run(code, log)

    assert len(lines_of(log)) == 801
