"""All that the golden documents know of the inside: where a name moves, this file follows."""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.app.conftest import timed_at_once
from tests.reference.made_up import made_up_study, made_up_timing
from tests.reference.made_up_profile import told_profile
from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import BATCH_SIZES, REFERENCE, knee, option, question
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_study
from tests.reference.tiny_workload import tiny
from torch import nn

import batchlab
from batchlab.advice.advisor import advise
from batchlab.app import report
from batchlab.app.compare import compare
from batchlab.app.subjects import CommandSubject, WorkloadSubject
from batchlab.cli.main import _exit_code
from batchlab.processes.children import Ended
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunLength
from batchlab.records.trial import Status

StepS = Callable[[int], float]
Document = dict[str, Any]


class Broken(SimulatedEngine):
    def answer(self, request: Any) -> Any:
        why = Reason.as_written("no such file: labels.csv")
        return replace(super().answer(request), status=Status.ERROR, reason=why)


class Dearer(SimulatedEngine):
    def answer(self, request: Any) -> Any:
        before = self.elapsed_s
        record = super().answer(request)
        self.elapsed_s += 2 * (self.elapsed_s - before)  # a step takes three times the profile's
        return record


class Overfitting(SimulatedEngine):
    def _accuracy(self, trial: Any, way: float) -> float:
        fall = 0.01 * max(0.0, way - 1.5)
        return max(0.2, super()._accuracy(trial, min(way, 1.5)) - fall)


def simulated_advice(
    truth: Truth | None = None,
    step_s: StepS = knee(1024),  # noqa: B008
    *,
    trainings: float = 60.0,
    epochs: float | None = None,
    engine: type[SimulatedEngine] = SimulatedEngine,
    n_workers: int = 1,
    **asked: Any,
) -> Document:
    """The advice about a simulated workload; `asked` are fields of the question.

    The budget is in trainings of the tuned reference to the target, or with `epochs` in whole ones.
    """
    truth = truth or Truth()
    training_s = truth.best_steps(64) * step_s(64)
    if epochs is not None:
        training_s = epochs * (N_TRAIN // 64 + 1) * step_s(64)
        asked = {"target": None, "planned_epochs": epochs} | asked
    asked = {"budget_s": trainings * training_s} | asked
    made = engine(truth=truth, step_s=step_s, n_workers=n_workers)
    return told(lambda: advise(question(step_s, **asked), made).to_dict())


def options_that_fit(step_s: StepS, most: int) -> tuple[Any, ...]:
    """Larger ones ran out of memory in the profile."""
    notes = {size: "out of memory" if size > most else "" for size in BATCH_SIZES}
    return tuple(option(size, step_s(size), note=note) for size, note in notes.items())


def roughly_timed(
    step_s: StepS, known_to: float, sizes: Sequence[int] = BATCH_SIZES
) -> tuple[Any, ...]:
    """Options whose step times are known to a fraction only."""

    options = []
    for size in sizes:
        s = step_s(size)
        known = Estimate.of(s, interval=(s / (1 + known_to), s * (1 + known_to)), n=2)
        options.append(replace(option(size, s), step_s=known))
    return tuple(options)


def reference_at(batch_size: int, learning_rate: float) -> Any:
    sizes = {"batch_size": batch_size, "micro_batch_size": batch_size}
    return replace(REFERENCE, learning_rate=learning_rate, **sizes)


def told(call: Callable[[], Document]) -> Document:
    try:
        return call()
    except batchlab.BatchlabError as error:
        return {"error": type(error).__name__}


class _ByStepClock:
    """An engine around an engine: runs really train, and their steps are what the clock counts."""

    n_workers = 1  # side by side, the order of the ends is a matter of luck

    def __init__(self, inner: Any, step_s: StepS) -> None:
        self._inner, self._step_s, self._now_s = inner, step_s, 0.0
        self._done: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def spent_s(self) -> float:
        return self._now_s

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        trial = self._inner.trial(batch_size=batch_size, learning_rate=1.0, seed=0)
        return length.last_step(trial) * self._step_s(batch_size)

    def evaluation_steps(self, batch_size: int) -> float:
        return 0.0

    def next_finished(self) -> Any:
        request, record = self._inner.next_finished()
        trial = record.trial
        before = self._done.get(trial.trial_id, 0) if self._inner.resumes else 0
        self._done[trial.trial_id] = max(before, record.steps)
        self._now_s += max(0, record.steps - before) * self._step_s(trial.batch_size)
        return request, record


@contextmanager
def timed_shortly() -> Iterator[None]:
    """Hardly time steps: a golden document leaves out what a clock says."""
    scripts = patch("batchlab.measure.command_time._TIMED_S", 0.3)
    with scripts, patch.object(WorkloadSubject, "timed", timed_at_once):
        yield


def told_advice(subject: Any, folder: Path, step_s: StepS, **asked: Any) -> Document:
    """What `batchlab.advise` answers where step times are told and a clock counts the steps."""

    def timed(self: Any, trial: Any, **named: Any) -> Ended:
        return Ended(value=made_up_timing(trial.batch_size, step_s=step_s(trial.batch_size)))

    def profile(self: Any, batch_sizes: Sequence[int], **named: Any) -> Any:
        return told_profile(self.summary, step_s, batch_sizes)

    def in_turn(self: Any, points: Sequence[Any], **named: Any) -> Ended:
        one, other = (step_s(point.batch_size) for point in points)
        return Ended(value=tuple(other / one * off for off in (0.99, 1.0, 1.01) * 3))

    def by_step_clock(real_engine: Any) -> Any:
        return lambda *of, **named: _ByStepClock(real_engine(*of, **named), step_s)

    with pytest.MonkeyPatch.context() as patched:
        for kind in (WorkloadSubject, CommandSubject):
            patched.setattr(kind, "engine", by_step_clock(kind.engine))
            for way in (timed, profile, in_turn):
                patched.setattr(kind, way.__name__, way)
        return told(lambda: batchlab.advise(subject, store=folder / "lab.db", **asked).to_dict())


def precise() -> batchlab.Workload:
    """A classifier in float64: another processor rounds it alike to nine digits and more."""
    usual = tiny()
    parts = {
        split: (getattr(usual, split)[0].double(), getattr(usual, split)[1])
        for split in ("train", "validation", "test")
    }
    return replace(usual, model=lambda: nn.Linear(4, 3).double(), **parts)


def failing() -> batchlab.Workload:
    """One that ends otherwise with 20, 40 and 50 examples in a batch than with others."""
    usual = precise()

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        n = len(batch[0]) if model.training and torch.is_grad_enabled() else 0
        if n == 20:
            raise torch.OutOfMemoryError("made up")
        if n == 40:
            raise ValueError("no such label")
        return usual.loss(model, batch) * (math.nan if n == 50 else 1.0)

    return replace(usual, name="failing", loss=loss, batch_size=10)


def stored(folder: Path, advice: batchlab.Advice | None = None, **fields: Any) -> Path:
    """A store with one made-up sweep in it, or the advice given."""
    path = folder / "lab.db"
    with batchlab.Store(path) as store:
        put_advised(store, advice) if advice else put_study(store, made_up_study(**fields))
    return path


def compared(make: Callable[..., Any], **other: Any) -> Document:
    draw = np.random.default_rng(7)
    return compare(make(draw), make(draw, **other)).to_dict()


def csv_tables(store: Path) -> Document:
    """What `batchlab report --format csv` writes: of each table its size, first row and sums.

    All rows would take megabytes. A cell that is no number adds nothing to the sum of its column.
    """
    path = store.with_name("report.csv")
    files = report.write_files(report.stored(store, None), "csv", path, store=store)
    return {file.stem: _table(file) for file in files}


def _table(path: Path) -> Document:
    def value(cell: str) -> float | str:
        try:
            return float(cell)
        except ValueError:
            return cell

    read = csv.DictReader(path.read_text().splitlines())
    rows = [{name: value(cell) for name, cell in row.items()} for row in read]
    numbers = {name: [r[name] for r in rows if isinstance(r[name], float)] for name in rows[0]}
    sums = {name: math.fsum(column) for name, column in numbers.items()}
    return {"n": len(rows), "first": rows[0], "sums": sums}


def command_line(*arguments: str) -> Document:
    """A command line run in this process: its exit code and the JSON that it prints."""
    printed, said = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(said):
        code = _exit_code(list(arguments), started_s=time.monotonic())
    text = printed.getvalue()
    return {"exit_code": code, "document": json.loads(text) if text else None}
