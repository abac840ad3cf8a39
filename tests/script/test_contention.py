from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchlab.script.memory import MachineTimes, others_fraction, something_else_ran
from batchlab.words.reasons import reason_text

# Uses a given CPU time, whatever else the machine does.
WORKS = """
import os, sys, time
while time.process_time() < float(sys.argv[1]): pass
open(sys.argv[2], "w").close()
"""


def times(*, at_s: float, busy_s: float, ours_s: float) -> MachineTimes:
    return MachineTimes(at_s=at_s, busy_s=busy_s, ours_s=ours_s, n_cores=4)


def test_the_fraction_is_of_the_time_of_all_cores() -> None:
    before = times(at_s=10.0, busy_s=100.0, ours_s=50.0)
    after = times(at_s=20.0, busy_s=118.0, ours_s=60.0)

    assert others_fraction(before, after) == pytest.approx(8.0 / 40.0)
    assert reason_text(something_else_ran(before, after)) == (
        "something else used 20 % of this machine's cores meanwhile, so the times may be too long"
    )


def test_what_a_command_and_its_children_use_is_ours(start: Callable, tmp_path: Path) -> None:
    before = MachineTimes.now()

    script = f"{sys.executable} -I -S -c '{WORKS}' 0.2 {tmp_path}/done & wait"
    started = start(("sh", "-c", script))
    while not (tmp_path / "done").exists():
        started.launched.wait(0.01)
    started.launched.wait(30)

    used_s = MachineTimes.now().ours_s - before.ours_s
    assert used_s > 0.19


def test_what_somebody_else_uses_is_not(tmp_path: Path) -> None:
    before = MachineTimes.now()

    # Its parent ends at once, so that it is no descendant of this process.
    script = f"setsid {sys.executable} -I -S -c '{WORKS}' 0.3 {tmp_path}/done & exit 0"
    subprocess.run(["sh", "-c", script], check=True)
    until_s = time.monotonic() + 30
    while not (tmp_path / "done").exists() and time.monotonic() < until_s:
        time.sleep(0.01)

    after = MachineTimes.now()
    others_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    # Other processes only add to it; a tick is a hundredth of a second, on each core.
    assert others_s > 0.3 - 0.02 * (os.cpu_count() or 1)
