"""Sweeps and advices that are ended from outside: they go on to the same numbers and decisions."""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.reference.by_day import by_day
from tests.reference.killed_studies import (
    VICTIMS,
    WITHIN_S,
    decisions_in,
    done_here,
    is_alive,
    kill_script,
    killed_studies_end_the_same,
    marked,
    observed,
    records_of,
    started,
    sweep_of_script,
    sweep_of_workload,
    wait_until,
)
from tests.reference.saving_script import pids, saving_script
from tests.reference.user_file import write_user_file

from batchlab.runs.replay import JournalEntry
from batchlab.script.supervisor import descendants

pytestmark = pytest.mark.slow

# The first is enough on a quiet machine; a busy one may not even begin in it.
BUDGETS_S = (12.0, 30.0, 90.0, 180.0)
# What the end of a process may take after its budget: Python's own shutdown.
LATE = 1.25


def advise(budget_s: float) -> list[str]:
    return [
        *("advise", "mine.py:workload", "--batch-sizes", "5,20,80", "--target", "accuracy=0.85"),
        *("--budget", f"{budget_s:.0f}s", "--store", "lab.db", "--report", "page.html", "--json"),
    ]


def runs_in(store: Path) -> list[object]:
    return [each.record for each in decisions_in(store) if each.record]


def begun(folder: Path) -> tuple[float, subprocess.Popen[str]]:
    """An advice that has asked for runs, and its budget."""
    for budget_s in BUDGETS_S:
        process = started(folder, *advise(budget_s))
        wait_until(lambda: runs_in(folder / "lab.db"), process, or_ends=True)
        if process.poll() is None:
            return budget_s, process
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("kills", by_day([2, 60], [2]))
def test_a_sweep_killed_at_random_moments_ends_with_the_very_same_numbers(kills, tmp_path):
    seed = random.randrange(10**6)
    records = killed_studies_end_the_same(tmp_path, sweep_of_workload, seed=seed, kills=kills)

    assert any(record.resumed_from_steps for record in records)


@pytest.mark.parametrize(
    ("kills", "resumes"), by_day([(1, True), (100, True), (100, False)], [(1, True)])
)
def test_a_script_killed_at_random_moments_has_the_same_records(kills, resumes, tmp_path):
    sweep = partial(sweep_of_script, resumes=resumes)
    seed = random.randrange(10**6)
    killed_studies_end_the_same(tmp_path, sweep, seed=seed, kills=kills)


@pytest.mark.parametrize(
    "by", ["kill -9", pytest.param("Ctrl-C", marks=pytest.mark.nightly)]
)  # a sweep is interrupted by Ctrl-C by day
def test_ended_at_any_moment_it_goes_on_within_its_budget(by, tmp_path, capsys):
    write_user_file(tmp_path)
    store = tmp_path / "lab.db"
    budget_s, process = begun(tmp_path)
    if by == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as it reaches all
    else:
        process.kill()
    out, err = process.communicate(timeout=WITHIN_S)
    before, profile = runs_in(store), decisions_in(store)[0].profile
    began_s = time.monotonic()
    again = started(tmp_path, *advise(budget_s))
    out_again, err_again = again.communicate(timeout=2 * WITHIN_S)
    took_s = time.monotonic() - began_s

    assert (process.returncode, out) == (130 if by == "Ctrl-C" else -signal.SIGKILL, ""), err
    assert "stage 1 of 2: measuring each batch size" in err
    assert by != "Ctrl-C" or err.splitlines()[-1].startswith("interrupted; everything so far is")
    assert again.returncode == 0, err_again
    assert runs_in(store)[: len(before)] == before
    assert decisions_in(store)[0].profile == profile
    answer = json.loads(out_again)
    assert answer["verdict"] in ("recommend", "cannot_tell")
    assert answer["spent_s"] <= budget_s
    assert took_s <= LATE * budget_s
    assert (tmp_path / "page.html").stat().st_size > 0
    capsys.readouterr()
    done_here(tmp_path, *advise(budget_s))
    told_again = capsys.readouterr()
    assert json.loads(told_again.out) == answer
    assert "stage" not in told_again.err


@pytest.mark.nightly
def test_an_advice_about_a_script_killed_at_random_moments_goes_on_with_its_decisions(tmp_path):
    store = tmp_path / "lab.db"
    script = saving_script(tmp_path, "--pause", "0.001")
    advise = [
        *("advise", "--metric", script.metric, "--examples", str(script.examples)),
        *("--learning-rate", str(script.learning_rate), "--batch-size", "16"),
        *("--batch-sizes", "16,64", "--target", "val_loss=0.6", "--budget", "4m"),
        *("--store", "lab.db", "--json", "--", *script.arguments),
    ]
    seed, n_kills = random.randrange(10**6), 6
    draw = random.Random(seed)
    print(f"seed {seed}, {n_kills} kills")
    before: tuple[JournalEntry, ...] = ()
    killed = 0
    for _ in range(n_kills):
        process = started(tmp_path, *advise)
        wait_until(
            lambda known=before: len(decisions_in(store)) > len(known), process, or_ends=True
        )
        if process.poll() is not None:  # it had nothing left to decide
            break
        killed += 1
        time.sleep(draw.uniform(0, 1))
        process.kill()
        process.communicate()
        if draw.choice(VICTIMS) != "batchlab":
            kill_script(pids(tmp_path)[-1])

        now = decisions_in(store)
        assert now[: len(before)] == before, f"seed {seed}: it decided anew"
        before = now

    assert killed >= 3
    process = started(tmp_path, *advise)
    out, err = process.communicate(timeout=5 * WITHIN_S)

    assert process.returncode == 0, err
    assert json.loads(out)["verdict"] in ("recommend", "cannot_tell")
    assert decisions_in(store)[: len(before)] == before, f"seed {seed}: it decided anew"
    assert not [pid for pid in pids(tmp_path) if is_alive(pid)]
    assert marked(store) == ()


SIGNALS = [(own, number) for own in (True, False) for number in (signal.SIGHUP, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("own_command", "number"),
    by_day(SIGNALS, SIGNALS[:1]),  # a sweep of a workload is interrupted by Ctrl-C by day
)
def test_a_signal_to_all_processes_of_a_study_makes_no_result_and_leaves_none(
    own_command, number, tmp_path
):
    write_user_file(tmp_path)
    store = tmp_path / "lab.db"
    command = ["sweep", "mine.py:workload", "--batch-sizes", "16", "--epochs", "2000"]
    command += ["--store", str(store)]
    if own_command:
        command = sweep_of_script(store, resumes=True, sizes="16", seeds=1)
    process = started(tmp_path, *command)
    wait_until(lambda: observed(records_of(store)), process)

    below = descendants(process.pid)
    for pid in below:
        with suppress(ProcessLookupError):  # one that was told before has ended it already
            os.kill(pid, number)
    process.send_signal(number)
    _, said = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("interrupted; everything so far is stored.")
    assert [pid for pid in below if is_alive(pid)] == []
    assert [record.status for record in records_of(store)] == [None]
