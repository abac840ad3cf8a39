"""A run killed at any moment, on a machine as slow as chance will have it, loses no evaluation.

The clock is virtual: each look at it may take long, and one of them is the last of its process.
"""

import os
import random
import signal
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.reference.by_day import by_day
from tests.reference.local_engine import plan_on, shape
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.measure.at_steps import measured_at_steps
from batchlab.processes.children import Ended
from batchlab.records.estimate import Reason
from batchlab.records.run import BEYOND_ANY_END, RunLength, RunRequest
from batchlab.records.trial import Evaluation, Status, TrialRecord
from batchlab.runs.contract import run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import Heard
from batchlab.store.store import Store
from batchlab.training import plain
from batchlab.training.plain import Task, train

KILLS_A_STUDY = 5
N_TRAIN = 40
# As a sweep without a target asks: a few evaluations in the first epoch, then the ends of epochs.
LENGTH = RunLength(epochs=5, watched_from_samples=BEYOND_ANY_END, interval_samples=N_TRAIN // 16)
SLOWEST_LOOK_S = 0.6


class SlowClock:
    """A clock on which each look takes a random time; the process dies at look `dies_at`."""

    def __init__(self, chance: random.Random, dies_at: int | None) -> None:
        self._chance = chance
        self._dies_at = dies_at
        self._now_s = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._now_s += self._chance.uniform(0.0, SLOWEST_LOOK_S)
        return self._now_s


class LaggingWorkers:
    """Workers that train in a thread and hand over evaluations late (`Workers`).

    The thread and the engine take turns, so that only `chance` decides what happens when.
    """

    n = 1

    def __init__(self, chance: random.Random, clock: SlowClock) -> None:
        self._chance = chance
        self._clock = clock
        self._told: deque[Heard] = deque()
        self._turn_of_training = threading.Semaphore(0)
        self._turn_of_engine = threading.Semaphore(0)

    def get_ready(self, *, timeout_s: float) -> Reason | None:
        return None

    def start(self, task: Task) -> None:
        trial_id = task.trial.trial_id

        def emit(evaluations: tuple[Evaluation, ...]) -> None:
            self._told.append((trial_id, evaluations))
            self._clock()
            if self._chance.random() < 0.5:
                self._turn_of_engine.release()
                self._turn_of_training.acquire()

        def work() -> None:
            self._turn_of_training.acquire()
            outcome = train(
                small_workload(n=N_TRAIN),
                task,
                measures=measured_at_steps(()),
                emit=lambda evaluations: emit(tuple(evaluations)),
                stop=lambda: False,
            )
            self._told.append((trial_id, Ended(value=outcome)))
            self._turn_of_engine.release()

        threading.Thread(target=work, daemon=True).start()

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        if not self._told:
            self._turn_of_training.release()
            self._turn_of_engine.acquire()
        self._clock()
        yield self._told.popleft()

    def ask_to_stop(self) -> None:
        raise AssertionError("nobody asks these runs to stop")

    def kill(self) -> None:
        raise AssertionError("nobody kills these runs singly")

    def close(self) -> None:
        """There is nothing to give back."""


def study_in(store: Store, chance: random.Random, dies_at: int | None) -> tuple[TrialRecord, int]:
    """Run one trial; return its record and how often it looked at the clock."""
    clock = SlowClock(chance, dies_at)
    plain.time = SimpleNamespace(perf_counter=clock)  # type: ignore[assignment]
    trial = small_trial(small_workload(n=N_TRAIN), batch_size=1)
    plan = plan_on(trial)
    engine = ProcessEngine(store, plan, LaggingWorkers(chance, clock))
    asked = engine.trial(batch_size=1, learning_rate=0.05, seed=0)
    (record,) = run_all(engine, [RunRequest(trial=asked, length=LENGTH)])
    return record, clock.looks


def is_killed_while_it_runs(path: Path, seed: int, dies_at: int) -> bool:
    """Go on with the study in a process of its own; whether it died before its end."""
    pid = os.fork()
    if pid == 0:
        with Store(path) as store:
            study_in(store, random.Random(seed), dies_at)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", by_day([5, 200], [5]))
def test_kills_on_a_slow_machine_lose_no_evaluation(n_kills, tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "time", plain.time)  # put back what the studies replace
    chance = random.Random(20_261_127)
    with store_with_study(tmp_path / "undisturbed.db") as store:
        undisturbed, looks = study_in(store, random.Random(0), None)
    kills, studies = 0, 0

    while kills < n_kills:
        path = tmp_path / f"{studies}.db"
        studies += 1
        store_with_study(path).close()
        for _ in range(KILLS_A_STUDY):
            dies_at = chance.randrange(1, looks)
            kills += is_killed_while_it_runs(path, chance.randrange(10**9), dies_at)
        with Store(path) as store:
            ended, _ = study_in(store, random.Random(chance.randrange(10**9)), None)

        assert ended.status is Status.OK
        assert shape(ended) == shape(undisturbed), f"study {studies} after {kills} kills"
