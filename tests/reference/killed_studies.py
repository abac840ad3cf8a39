"""Commands that train, in processes of their own: killed at random moments, and looked at."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.reference.living import command_line, kill, living
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


def numbers(records: Sequence[TrialRecord]) -> list[object]:
    """Everything a trial's record holds that must not depend on interruptions."""
    without_times = {"train_s": 0.0, "eval_s": 0.0}
    return [
        (r.trial, r.status, [replace(e, **without_times) for e in r.evaluations]) for r in records
    ]


def observed(records: tuple[TrialRecord, ...]) -> set[object]:
    return {
        (record.trial.trial_id, each.step, each.samples, each.scores)
        for record in records
        for each in record.evaluations
    }


# Sweeps that are killed

VICTIMS = ("batchlab", "script", "both")
_OFTEN = (1, 2, 1)  # batchlab takes seconds to start again
STEPS = 240


def sweep_of_workload(store: Path) -> list[str]:
    # Adam has state to lose; a replaced order of examples would show at once.
    return [
        *("sweep", "mnist-softmax", "--batch-sizes", "50", "--learning-rates", "0.01"),
        *("--seeds", "2", "--epochs", "30", "--store", str(store), "--json"),
    ]


def sweep_of_script(store: Path, *, resumes: bool, sizes="16,64", seeds=2) -> list[str]:
    script = saving_script(store.parent, "--pause", "0.004", resumes=resumes)
    return [
        *("sweep", "--metric", script.metric, "--examples", str(script.examples)),
        *("--learning-rate", str(script.learning_rate), "--batch-size", str(script.batch_size)),
        *("--batch-sizes", sizes, "--seeds", str(seeds), "--steps", str(STEPS)),
        *("--store", str(store), "--json", "--", *script.arguments),
    ]


def killed_studies_end_the_same(
    folder: Path, sweep: Callable[[Path], list[str]], *, seed: int, kills: int
) -> list[TrialRecord]:
    """Kill batchlab, its script or both so many times at random moments, over some sweeps.

    Return the records of all of them, whose numbers are those of an undisturbed sweep.
    """
    print(f"seed {seed}, {kills} kills")
    draw = random.Random(seed)
    killed: list[str] = []
    ended: list[TrialRecord] = []
    store = folder / "undisturbed.db"
    done_here(folder, *sweep(store))
    wanted = numbers(records_of(store))
    while len(killed) < kills:
        store = folder / f"lab-{len(killed)}.db"
        seen: set[object] = set()
        is_done = False
        while not is_done:
            process = started(folder, *sweep(store))
            while len(killed) < kills and process.poll() is None:
                _wait_for_a_moment(process, store, draw, share=0.8 if killed else 1.0)
                killed += _kill(process, folder, draw.choices(VICTIMS, _OFTEN)[0])
            _, said = process.communicate(timeout=WITHIN_S)
            place = f"seed {seed}, after {killed[-3:]}"
            _assert_nothing_lives(store, process.pid, place)
            assert None not in map(peek_checkpoint, _checkpoints(store)), "a half-written one"
            now = observed(records_of(store))
            # A workload repeats its evaluations since its checkpoint; a script loses none.
            assert seen <= now or not pids(folder), f"{place}: an evaluation was lost"
            seen |= now
            records = records_of(store)
            is_done = len(records) == len(wanted) and all(each.ended_well for each in records)
            was_disturbed = process.returncode != 0 or "not finished" in said
            assert is_done or was_disturbed, f"{place}: {said}"
        assert numbers(records_of(store)) == wanted, f"seed {seed}, {killed[-20:]}"
        ended += records_of(store)
    print(", ".join(f"{victim}: {killed.count(victim)}" for victim in VICTIMS))
    return ended


def _checkpoints(store: Path) -> list[Path]:
    return list(Path(f"{store}.checkpoints").glob("*.safetensors"))


def _wait_for_a_moment(
    process: subprocess.Popen[str], store: Path, draw: random.Random, *, share: float
) -> None:
    """In this share of calls until a script has started or a checkpoint is there; and longer."""

    def signs() -> list[object]:
        return [*pids(store.parent), *(path.stat().st_mtime_ns for path in _checkpoints(store))]

    before = signs()
    if draw.random() < share:
        wait_until(lambda: signs() != before, process, or_ends=True)
    with suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0, 0.5))


def _kill(process: subprocess.Popen[str], folder: Path, victim: str) -> list[str]:
    scripts = pids(folder)
    if not scripts:
        victim = "batchlab"
    if victim != "script":
        if process.poll() is not None:
            return []
        process.kill()
        process.wait()
    elif not is_alive(scripts[-1]):
        return []
    if victim != "batchlab":
        kill_script(scripts[-1])
    return [victim]


def _assert_nothing_lives(store: Path, session: int, place: str) -> None:
    """Orphans write nothing after batchlab is gone, and are gone soon."""
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        left = [pid for pid in pids(store.parent) if is_alive(pid)]
        in_session = subprocess.run(["pgrep", "-s", str(session)], capture_output=True).stdout
        if not (left or in_session or marked(store)):
            return
        time.sleep(0.02)
    raise AssertionError(f"{place}: orphans {left or in_session or marked(store)}")


def marked(store: Path) -> tuple[int, ...]:
    """The processes of the store's own trainings, supervisors too."""
    ids = {record.trial.workload_id for record in records_of(store)}
    return tuple(pid for each in ids for pid in (*living(f"{store}-{each}"), *living(each)))


def is_alive(pid: int) -> bool:
    return "train.py" in command_line(pid)  # a number may have gone to another process


def kill_script(pid: int) -> None:
    if is_alive(pid):
        kill(pid)
