"""A sweep of somebody's own command, killed at random moments: batchlab, its script, or both."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.reference import killed_sweep
from tests.reference.killed_sweep import numbers
from tests.reference.saving_script import pids, saving_script

from batchlab.errors import NoStoreError
from batchlab.records.trial import TrialRecord
from batchlab.script.process import living

VICTIMS = ("batchlab", "script", "both")
_OFTEN = (1, 2, 1)  # batchlab takes seconds to start again
STEPS = 240
_PAUSE_S = "0.004"
_WITHIN_S = 60.0


def sweep_of_script(
    store: Path, *, resumes: bool, sizes: str = "16,64", seeds: int = 2
) -> list[str]:
    """The command line of a sweep of the saving script that lies beside the store."""
    script = saving_script(store.parent, "--pause", _PAUSE_S, resumes=resumes)
    return [
        *(sys.executable, "-m", "batchlab.cli.main", "sweep", "--metric", script.metric),
        *("--examples", str(script.examples), "--learning-rate", str(script.learning_rate)),
        *("--batch-size", str(script.batch_size), "--batch-sizes", sizes),
        *(
            "--seeds",
            str(seeds),
            "--steps",
            str(STEPS),
            "--store",
            str(store),
            "--json",
            "--",
            *script.arguments,
        ),
    ]


def records_of(store: Path) -> tuple[TrialRecord, ...]:
    """Of the last study; none where the store is being made."""
    try:
        return killed_sweep.records_of(store)
    except NoStoreError:
        return ()


def observed(records: tuple[TrialRecord, ...]) -> set[object]:
    """Every stored evaluation, by its trial."""
    return {
        (record.trial.trial_id, each.step, each.samples, each.scores)
        for record in records
        for each in record.evaluations
    }


def assert_killed_studies_end_the_same(
    folder: Path, *, seed: int, kills: int, resumes: bool
) -> None:
    """Kill batchlab, its script or both so many times at random moments, over some sweeps.

    Args:
        folder: an empty one, for the script and the stores.
        seed: of the victims and moments; printed, and in the message of a failure.
        kills: how many.
        resumes: whether the command has {resume_from}.
    """
    print(f"seed {seed}, {kills} kills")
    draw = random.Random(seed)
    killed: list[str] = []
    store = folder / "undisturbed.db"
    command = sweep_of_script(store, resumes=resumes)
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    wanted = numbers(records_of(store))
    while len(killed) < kills:
        store = folder / f"lab-{len(killed)}.db"
        command = sweep_of_script(store, resumes=resumes)
        seen: set[object] = set()
        while not _is_done(store):
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            while len(killed) < kills and process.poll() is None:
                _wait_for_a_moment(process, folder, draw)
                killed += _kill(process, folder, draw.choices(VICTIMS, _OFTEN)[0])
            _, said = process.communicate(timeout=_WITHIN_S)
            place = f"seed {seed}, after {killed[-3:]}"
            _assert_nothing_lives(store, place)
            now = observed(records_of(store))
            assert seen <= now, f"{place}: an evaluation was lost"
            seen |= now
            was_disturbed = process.returncode != 0 or "not finished" in said
            assert _is_done(store) or was_disturbed, f"{place}: {said}"
        assert numbers(records_of(store)) == wanted, f"seed {seed}, {killed[-20:]}"
    print(", ".join(f"{victim}: {killed.count(victim)}" for victim in VICTIMS))


def _is_done(store: Path) -> bool:
    records = records_of(store)
    return len(records) == 4 and all(record.ended_well for record in records)


def _wait_for_a_moment(process: subprocess.Popen[str], folder: Path, draw: random.Random) -> None:
    """Mostly until a script has started, and somewhat longer."""
    before = len(pids(folder))
    until_s = time.monotonic() + _WITHIN_S
    if draw.random() < 0.8:
        while len(pids(folder)) == before and process.poll() is None:
            assert time.monotonic() < until_s, "it started no script"
            time.sleep(0.01)
    try:
        process.wait(draw.uniform(0, 0.8))
    except subprocess.TimeoutExpired:
        return


def _kill(process: subprocess.Popen[str], folder: Path, victim: str) -> list[str]:
    """The victim, if it was alive."""
    started = pids(folder)
    if victim != "script":
        if process.poll() is not None:
            return []
        process.kill()
        process.wait()
    elif not (started and is_alive(started[-1])):
        return []
    if victim != "batchlab" and started:
        kill_script(started[-1])
    return [victim]


def _assert_nothing_lives(store: Path, place: str) -> None:
    until_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < until_s:
        left = [pid for pid in pids(store.parent) if is_alive(pid)]
        if not left and not _marked(store):
            return
        time.sleep(0.02)
    raise AssertionError(f"{place}: orphans {left or _marked(store)}")


def _marked(store: Path) -> tuple[int, ...]:
    """The processes of the store's own trainings, supervisors too."""
    ids = {record.trial.workload_id for record in records_of(store)}
    return tuple(pid for each in ids for pid in (*living(f"{store}-{each}"), *living(each)))


def is_alive(pid: int) -> bool:
    """Whether this process is still the script."""
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return "train.py" in command_line  # a number may have gone to another process


def kill_script(pid: int) -> None:
    """Kill a script, if it still runs."""
    try:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
