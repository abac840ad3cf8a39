"""A sweep of somebody's own command, killed at random moments: batchlab, its script, or both."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
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


@dataclass(kw_only=True)
class KilledStudies:
    """Sweeps of one script, each killed often and then run to its end.

    Attributes:
        folder: an empty one, for the script and the stores.
        resumes: whether the command has {resume_from}.
        draw: of the victims and the moments.
        kills: what was killed so far.
    """

    folder: Path
    resumes: bool
    draw: random.Random
    kills: list[str] = field(default_factory=list)
    _n_stores: int = 0

    def assert_they_end_the_same(self, *, seed: int, kills: int) -> None:
        """Kill so many times; each sweep's records are those of an undisturbed one.

        Args:
            seed: of `draw`, for the message of a failure.
            kills: how many.
        """
        wanted = self._undisturbed()
        while len(self.kills) < kills:
            store = self._new_store()
            seen = self._killed_until_done(store, most=kills, place=f"seed {seed}")
            assert numbers(records_of(store)) == wanted, f"seed {seed}, {self.kills[-20:]}"
            assert seen <= observed(records_of(store)), f"seed {seed}: an evaluation was lost"

    def _undisturbed(self) -> list[object]:
        store = self._new_store()
        subprocess.run(self._command(store), check=True, capture_output=True, cwd=self.folder)
        return numbers(records_of(store))

    def _new_store(self) -> Path:
        self._n_stores += 1
        return self.folder / f"lab-{self._n_stores}.db"

    def _command(self, store: Path) -> list[str]:
        return sweep_of_script(store, resumes=self.resumes)

    def _killed_until_done(self, store: Path, *, most: int, place: str) -> set[object]:
        """Start it again and again until it has all; returns what was ever stored."""
        seen: set[object] = set()
        is_done = False
        while not is_done:
            process = self._started(store)
            while len(self.kills) < most and process.poll() is None:
                self._wait_for_a_moment(process)
                self._kill(process, self.draw.choices(VICTIMS, _OFTEN)[0])
            _, said = process.communicate(timeout=_WITHIN_S)
            self._assert_nothing_lives(store, place)
            now = observed(records_of(store))
            assert seen <= now, f"{place}: an evaluation was lost after {self.kills[-3:]}"
            seen |= now
            records = records_of(store)
            is_done = len(records) == 4 and all(record.ended_well for record in records)
            was_disturbed = process.returncode != 0 or "not finished" in said
            assert is_done or was_disturbed, f"{place}: {said}"
        return seen

    def _started(self, store: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(store),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _wait_for_a_moment(self, process: subprocess.Popen[str]) -> None:
        """Mostly until a script has started, and somewhat longer."""
        before = len(pids(self.folder))
        until_s = time.monotonic() + _WITHIN_S
        if self.draw.random() < 0.8:
            while len(pids(self.folder)) == before and process.poll() is None:
                assert time.monotonic() < until_s, "it started no script"
                time.sleep(0.01)
        try:
            process.wait(self.draw.uniform(0, 0.8))
        except subprocess.TimeoutExpired:
            return

    def _kill(self, process: subprocess.Popen[str], victim: str) -> None:
        """Count it only if the victim was alive."""
        started = pids(self.folder)
        if victim != "script":
            if process.poll() is not None:
                return
            process.kill()
            process.wait()
        elif not (started and is_alive(started[-1])):
            return
        if victim != "batchlab" and started:
            kill_script(started[-1])
        self.kills.append(victim)

    def _assert_nothing_lives(self, store: Path, place: str) -> None:
        until_s = time.monotonic() + _WITHIN_S
        while time.monotonic() < until_s:
            left = [pid for pid in pids(self.folder) if is_alive(pid)]
            if not left and not _marked(store):
                return
            time.sleep(0.02)
        raise AssertionError(f"{place}: orphans {left or _marked(store)} after {self.kills[-3:]}")


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
        folder: an empty one.
        seed: of the victims and moments; printed, and in the message of a failure.
        kills: how many.
        resumes: whether the command has {resume_from}.
    """
    print(f"seed {seed}, {kills} kills")
    studies = KilledStudies(folder=folder, resumes=resumes, draw=random.Random(seed))
    studies.assert_they_end_the_same(seed=seed, kills=kills)
    print(", ".join(f"{victim}: {studies.kills.count(victim)}" for victim in VICTIMS))


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
