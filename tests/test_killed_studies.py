"""kill -9 of batchlab, of a script that it trains, or of both: the study answers the same."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.reference.killed_studies import (
    STEPS,
    assert_killed_studies_end_the_same,
    is_alive,
    observed,
    records_of,
    sweep_of_script,
)
from tests.reference.saving_script import pids

from batchlab.records.trial import Status


@pytest.mark.slow
@pytest.mark.parametrize(
    "resumes",
    [
        pytest.param(True, id="resumes"),
        pytest.param(False, id="begins again", marks=pytest.mark.nightly),
    ],
)
def test_a_sweep_of_a_script_killed_at_three_random_moments_has_the_very_same_records(
    tmp_path: Path, resumes: bool
) -> None:
    # Two hundred in tests/nightly.
    seed = random.randrange(10**6)
    assert_killed_studies_end_the_same(tmp_path, seed=seed, kills=3, resumes=resumes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)]
)
def test_a_sweep_of_a_script_that_is_interrupted_leaves_no_process_and_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = sweep_of_script(tmp_path / "lab.db", resumes=True, sizes="16", seeds=1)
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until_s = time.monotonic() + 120.0
    while not observed(records_of(tmp_path / "lab.db")):
        assert process.poll() is None
        assert time.monotonic() < until_s, "it trained nothing"
        time.sleep(0.05)

    process.send_signal(number)
    _, said = process.communicate(timeout=60.0)
    stored = observed(records_of(tmp_path / "lab.db"))
    left = [pid for pid in pids(tmp_path) if is_alive(pid)]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("interrupted; everything so far is stored.")
    assert left == []
    assert again.returncode == 0, again.stderr
    (record,) = records_of(tmp_path / "lab.db")
    assert (record.status, record.steps) == (Status.OK, STEPS)
    assert stored <= observed((record,))
