"""Commands that train, in processes of their own: killed at random moments, and looked at."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from itertools import chain
from pathlib import Path
from typing import Any

from tests.reference.living import living
from tests.reference.saving_script import pids, saving_script

from batchlab.cli import main as cli
from batchlab.errors import StoreError
from batchlab.records.trial import TrialRecord
from batchlab.runs.replay import JournalEntry, stored_journal
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint

WITHIN_S = 120.0


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Batchlab in a process of its own, which leads a session."""
    return subprocess.Popen(
        [sys.executable, "-m", "batchlab", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def done_here(folder: Path, *arguments: str) -> None:
    """The same command in this process, to its end: it starts without importing torch anew."""
    with chdir(folder):
        assert cli._exit_code(list(arguments), started_s=time.monotonic()) == 0


def wait_until(met: Callable[[], object], process: subprocess.Popen[str], *, or_ends=False) -> None:
    """Until it is so; the process must not end before, but where it may."""
    ends_s = time.monotonic() + WITHIN_S
    while not met():
        if process.poll() is not None:
            assert or_ends, process.communicate()[1]
            return
        assert time.monotonic() < ends_s, "it did not come to that"
        time.sleep(0.02)


def _of_last_study(store: Path, read: Callable[[Store], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Nothing where the store is being made."""
    try:
        with Store.existing(store) as opened:
            return read(opened) if opened.studies() else ()
    except StoreError:
        return ()


def records_of(store: Path) -> tuple[TrialRecord, ...]:
    return _of_last_study(store, lambda opened: opened.study().records)


def decisions_in(store: Path) -> tuple[JournalEntry, ...]:
    return _of_last_study(store, lambda made: stored_journal(made, made.studies()[-1][0]))


def numbers(records: tuple[TrialRecord, ...]) -> list[object]:
    """Everything a trial's record holds that must not depend on interruptions."""
    return [
        (
            record.trial,
            record.status,
            [(e.step, e.samples, e.batch_loss, e.measured, e.scores) for e in record.evaluations],
        )
        for record in records
    ]


def observed(records: tuple[TrialRecord, ...]) -> set[object]:
    return {
        (record.trial.trial_id, each.step, each.samples, each.scores)
        for record in records
        for each in record.evaluations
    }


# A workload


# A checkpoint is written four times a second, later when the machine is busy; a killed run may
# repeat what it did since.
_LONGEST_INTERVAL_S = 5.0


def sweep_of_workload(store: Path, epochs: int) -> list[str]:
    # Adam has state to lose; a replaced order of examples would show at once.
    return [
        *("sweep", "mnist-softmax", "--batch-sizes", "50", "--learning-rates", "0.01"),
        *("--seeds", "2", "--epochs", str(epochs), "--store", str(store), "--json"),
    ]


def assert_killed_often_ends_the_same(
    folder: Path, *, seed: int, epochs: int, kills: int, while_starting: int
) -> None:
    """Kill a sweep of a workload at random moments; its numbers are those of one undisturbed.

    So many `epochs` that it outlasts the kills; `while_starting` of them come before its
    first checkpoint.
    """
    print(f"seed {seed}")
    rng = random.Random(seed)
    disturbed, undisturbed = folder / "disturbed.db", folder / "undisturbed.db"
    starting = [True] * while_starting + [False] * (kills - while_starting)
    rng.shuffle(starting)

    seen = [_killed(disturbed, epochs, is_starting, rng) for is_starting in starting]
    for store in (disturbed, undisturbed):
        done_here(folder, *sweep_of_workload(store, epochs))

    records = records_of(disturbed)
    resumed = {step for record in records for step in record.resumed_from_steps}
    steps, ages_s = (set(chain.from_iterable(each)) for each in zip(*seen, strict=True))
    assert sum(bool(found) for found, _ in seen) >= kills / 2
    assert min(steps) > 0
    assert steps <= resumed
    assert max(ages_s) < _LONGEST_INTERVAL_S
    assert numbers(records) == numbers(records_of(undisturbed))


def _killed(store: Path, epochs: int, is_starting: bool, rng: random.Random) -> tuple[Any, Any]:
    """Kill the sweep after its start, or its first checkpoint; the steps and ages of all then."""
    started_s = time.time()
    process = started(store.parent, *sweep_of_workload(store, epochs))

    def kept() -> list[Path]:
        found = Path(f"{store}.checkpoints").glob("*.safetensors")
        return [path for path in found if path.stat().st_mtime >= started_s]

    wait_until(lambda: is_starting or kept(), process)
    try:
        process.wait(rng.uniform(0.0, 6.0 if is_starting else 0.7))
    except subprocess.TimeoutExpired:
        process.kill()
    else:
        raise AssertionError("the sweep ended before it could be killed: give it more epochs")
    process.communicate()
    now_s = time.time()
    _wait_for_children_to_notice(process.pid)
    progress = [peek_checkpoint(path) for path in kept()]
    assert None not in progress, "a half-written checkpoint"
    return [each.step for each in progress], [now_s - path.stat().st_mtime for path in kept()]


def _wait_for_children_to_notice(session: int) -> None:
    """Orphans write nothing after their parent is gone, but let them be gone too."""
    ends_s = time.monotonic() + 30
    while subprocess.run(["pgrep", "-s", str(session)], capture_output=True).returncode == 0:
        assert time.monotonic() < ends_s, "children outlived their killed parent"
        time.sleep(0.05)


# A script


VICTIMS = ("batchlab", "script", "both")
_OFTEN = (1, 2, 1)  # batchlab takes seconds to start again
STEPS = 240


def sweep_of_script(store: Path, *, resumes: bool, sizes="16,64", seeds=2) -> list[str]:
    script = saving_script(store.parent, "--pause", "0.004", resumes=resumes)
    return [
        *("sweep", "--metric", script.metric, "--examples", str(script.examples)),
        *("--learning-rate", str(script.learning_rate), "--batch-size", str(script.batch_size)),
        *("--batch-sizes", sizes, "--seeds", str(seeds), "--steps", str(STEPS)),
        *("--store", str(store), "--json", "--", *script.arguments),
    ]


def assert_killed_studies_end_the_same(
    folder: Path, *, seed: int, kills: int, resumes: bool
) -> None:
    """Kill batchlab, its script or both so many times at random moments, over some sweeps."""
    print(f"seed {seed}, {kills} kills")
    draw = random.Random(seed)
    killed: list[str] = []
    store = folder / "undisturbed.db"
    done_here(folder, *sweep_of_script(store, resumes=resumes))
    wanted = numbers(records_of(store))
    while len(killed) < kills:
        store = folder / f"lab-{len(killed)}.db"
        command = sweep_of_script(store, resumes=resumes)
        seen: set[object] = set()
        while not _is_done(store):
            process = started(folder, *command)
            while len(killed) < kills and process.poll() is None:
                _wait_for_a_moment(process, folder, draw)
                killed += _kill(process, folder, draw.choices(VICTIMS, _OFTEN)[0])
            _, said = process.communicate(timeout=WITHIN_S)
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
    if draw.random() < 0.8:
        wait_until(lambda: len(pids(folder)) != before, process, or_ends=True)
    try:
        process.wait(draw.uniform(0, 0.8))
    except subprocess.TimeoutExpired:
        return


def _kill(process: subprocess.Popen[str], folder: Path, victim: str) -> list[str]:
    scripts = pids(folder)
    if victim != "script":
        if process.poll() is not None:
            return []
        process.kill()
        process.wait()
    elif not (scripts and is_alive(scripts[-1])):
        return []
    if victim != "batchlab" and scripts:
        kill_script(scripts[-1])
    return [victim]


def _assert_nothing_lives(store: Path, place: str) -> None:
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        left = [pid for pid in pids(store.parent) if is_alive(pid)]
        if not left and not marked(store):
            return
        time.sleep(0.02)
    raise AssertionError(f"{place}: orphans {left or marked(store)}")


def marked(store: Path) -> tuple[int, ...]:
    """The processes of the store's own trainings, supervisors too."""
    ids = {record.trial.workload_id for record in records_of(store)}
    return tuple(pid for each in ids for pid in (*living(f"{store}-{each}"), *living(each)))


def is_alive(pid: int) -> bool:
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return "train.py" in command_line  # a number may have gone to another process


def kill_script(pid: int) -> None:
    try:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
