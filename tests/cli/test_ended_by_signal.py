"""A job that is ended from outside: every process of it is told, the children a moment before."""

import os
import signal
from contextlib import suppress

import pytest
from tests.reference.by_day import by_day
from tests.reference.killed_studies import (
    WITHIN_S,
    is_alive,
    observed,
    records_of,
    started,
    sweep_of_script,
    wait_until,
)
from tests.reference.user_file import write_user_file

from batchlab.script.supervisor import descendants

SWEEP = ["sweep", "mine.py:workload", "--batch-sizes", "16", "--epochs", "2000", "--store"]


SIGNALS = [(own, number) for own in (True, False) for number in (signal.SIGHUP, signal.SIGTERM)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own_command", "number"),
    by_day(SIGNALS, SIGNALS[:1]),  # a sweep of a workload is interrupted by Ctrl-C by day
)
def test_a_signal_to_all_processes_of_a_study_makes_no_result_and_leaves_none(
    own_command, number, tmp_path
):
    write_user_file(tmp_path)
    store = tmp_path / "lab.db"
    command = [*SWEEP, str(store)]
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
