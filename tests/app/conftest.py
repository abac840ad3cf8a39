"""For who asks something of the whole program: a store that is not there yet, and no waiting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_timing

import batchlab
from batchlab.app.question import asked
from batchlab.app.subjects import AnySubject, WorkloadSubject, subject_of
from batchlab.processes.children import Ended


def about(name: str, workload: Any, **given: Any) -> AnySubject:
    """The subject of a question that nobody has looked at."""
    return subject_of(asked(name, workload=workload, **({"budget": "2m"} | given)))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return tmp_path / "lab.db"


def timed_at_once(self: Any, trial: batchlab.Trial, *, timeout_s: float) -> Ended:
    """Step times that are made up: all the same. Measured they take half a second a batch size."""
    made_up = made_up_timing(trial.batch_size, step_s=1e-4, workload_id=trial.workload_id)
    return Ended(value=replace(made_up, micro_batch_size=trial.micro_batch_size))


@pytest.fixture
def step_times_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkloadSubject, "timed", timed_at_once)
