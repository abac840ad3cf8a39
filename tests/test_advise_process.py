"""`batchlab advise` as a process: killed or interrupted, it goes on with the same decisions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reference.user_file import write_user_file

from batchlab.errors import StoreError
from batchlab.runs.replay import JournalEntry, stored_journal
from batchlab.store.store import Store

BUDGET_S = 20.0
PATIENCE_S = 120.0
# What a busy machine may add to the end of the process after its budget: Python's own shutdown.
LATE_S = 5.0


def start(folder: Path) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "batchlab.cli.main", "advise", "mine.py:workload"),
        *("--batch-sizes", "5,20,80", "--target", "accuracy=0.85", "--budget", f"{BUDGET_S:.0f}s"),
        *("--store", "lab.db", "--report", "page.html", "--json"),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def decisions_in(store: Path) -> tuple[JournalEntry, ...]:
    try:
        with Store.existing(store) as opened:
            studies = opened.studies()
            return stored_journal(opened, studies[-1][0]) if studies else ()
    except StoreError:  # it is not there yet
        return ()


def runs_of(decisions: tuple[JournalEntry, ...]) -> list[object]:
    return [decision.runs for decision in decisions if decision.runs]


def wait_for_runs(process: subprocess.Popen[str], store: Path) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not runs_of(decisions_in(store)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < ends_s, "it asked for no runs"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda process: process.kill(), -signal.SIGKILL),
        pytest.param(  # as Ctrl-C reaches all; a sweep is interrupted so in the suite
            lambda process: os.killpg(process.pid, signal.SIGINT), 130, marks=pytest.mark.nightly
        ),
    ],
    ids=["kill -9", "Ctrl-C"],
)
def test_ended_at_any_moment_the_same_command_goes_on_with_its_decisions(
    end: Callable[[subprocess.Popen[str]], None], code: int, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    store = tmp_path / "lab.db"
    process = start(tmp_path)
    wait_for_runs(process, store)

    end(process)
    out, err = process.communicate(timeout=PATIENCE_S)
    before = decisions_in(store)
    again = start(tmp_path)
    out_again, err_again = again.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (code, ""), err
    assert code != 130 or err.splitlines()[-1].startswith("interrupted; everything so far is")
    assert again.returncode == 0, err_again
    after = decisions_in(store)
    assert runs_of(after)[: len(runs_of(before))] == runs_of(before)
    assert after[0].profile == before[0].profile
    answer = json.loads(out_again)
    assert answer["verdict"] in ("recommend", "better", "indifferent", "cannot_tell")
    assert answer["spent_s"] <= BUDGET_S
    assert (tmp_path / "page.html").stat().st_size > 0


@pytest.mark.slow
def test_the_budget_is_a_ceiling_for_the_whole_command_and_its_answer_comes_again_at_once(
    tmp_path: Path,
) -> None:
    write_user_file(tmp_path)
    started_s = time.monotonic()
    first = start(tmp_path)
    out, err = first.communicate(timeout=PATIENCE_S)
    took_s = time.monotonic() - started_s

    second = start(tmp_path)
    out_again, err_again = second.communicate(timeout=PATIENCE_S)

    assert first.returncode == second.returncode == 0, err
    assert took_s <= BUDGET_S + LATE_S
    assert "stage 1 of 3: measuring each batch size" in err
    (line,) = err_again.splitlines()
    assert "writing the report" in line
    assert json.loads(out_again) == json.loads(out)
