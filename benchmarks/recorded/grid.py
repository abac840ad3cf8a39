"""RecordedGrid: trainings of one workload, recorded once at many batch sizes, rates and seeds.

A grid is two files: NAME.csv.gz with a line a trial (batch_size, learning_rate, seed, status,
steps, curve as `step:value;step:value`), and NAME.json that says what they are. The trainings are
whole: no level had a part in how long they went on.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from batchlab.errors import TrialError
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.quantities import Better
from batchlab.records.trial import Evaluation, Score, Status, Target, crossing_of

# Rates that differ by less are the same rate, written down after another sum.
_SAME_RATE = 1e-6
# Where a curve meets a target does not hang on how long its steps take.
_ANY_STEP_S = 1.0

CellKey = tuple[int, float]
"""A batch size and a learning rate."""
Curve = Sequence[tuple[int, float | None]]
"""(step, value of the validation metric) at every evaluation, by step; None: not finite."""


class GridHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a grid; further fields in its file are for people.

    Attributes:
        workload: its name.
        n_train: examples in the training set.
        metric: the validation metric whose curves were recorded.
        better: its direction.
        reference_batch_size: of the workload's own configuration.
        reference_learning_rate: of the workload's own configuration.
        step_s: measured seconds a step, by batch size.
        epochs: passes over the training set of each training.
        has_schedule: whether the learning rate followed a shape that spans them.
        eval_s: measured seconds of an evaluation on validation data.
        patience_epochs: trainings end after so many epochs without a better value, and keep their
            best model; None: each is as long as planned.
    """

    workload: str
    n_train: int
    metric: str
    better: Better
    reference_batch_size: int
    reference_learning_rate: float
    step_s: dict[int, float]
    epochs: int
    has_schedule: bool
    eval_s: float
    patience_epochs: int | None = None

    @property
    def keeps_best(self) -> bool:
        """Whether a training ends with its best model."""
        return self.patience_epochs is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRun:
    """One training of a grid.

    Attributes:
        batch_size: examples per optimizer step.
        learning_rate: its rate.
        seed: seeds initial weights and order of examples.
        status: how it ended; OK: it is whole.
        curve: the values of the validation metric.
    """

    batch_size: int
    learning_rate: float
    seed: int
    status: Status
    curve: Curve

    @property
    def steps(self) -> int:
        """Where the recording ends."""
        return self.curve[-1][0]


@dataclass(frozen=True, kw_only=True)
class RecordedGrid:
    """All trainings of a grid.

    Attributes:
        header: what they are.
        runs: every training by batch size, learning rate and seed.
    """

    header: GridHeader
    runs: Mapping[tuple[int, float, int], RecordedRun]
    _evaluations: dict[tuple[int, float, int, float], tuple[Evaluation, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _steps_to: dict[tuple[int, float, int, Target], float | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def read(cls, path: Path | str) -> RecordedGrid:
        """Return the grid in the file `path`, NAME.csv.gz, with NAME.json beside it."""
        path = Path(path)
        about = path.with_name(path.name.removesuffix(".csv.gz") + ".json")
        header = msgspec.json.decode(about.read_bytes(), type=GridHeader)
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            runs = [_run(line) for line in csv.DictReader(stream)]
        keys = [(run.batch_size, run.learning_rate, run.seed) for run in runs]
        return cls(header=header, runs=dict(zip(keys, runs, strict=True)))

    @cached_property
    def cells(self) -> Mapping[CellKey, tuple[int, ...]]:
        """The seeds of each batch size and rate, ascending."""
        seeds: dict[CellKey, list[int]] = {}
        for batch_size, learning_rate, seed in self.runs:
            seeds.setdefault((batch_size, learning_rate), []).append(seed)
        return {cell: tuple(sorted(seeds[cell])) for cell in sorted(seeds)}

    def curves(self, cell: CellKey) -> list[Curve]:
        """The curves of a cell's trainings, by seed."""
        return [self.runs[*cell, seed].curve for seed in self.cells[cell]]

    @cached_property
    def batch_sizes(self) -> tuple[int, ...]:
        """All batch sizes, ascending."""
        return tuple(self._rates)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, those that every cell has first."""
        everywhere = set.intersection(*map(set, self.cells.values()))
        everywhere_or_not = {seed for seeds in self.cells.values() for seed in seeds}
        return tuple(sorted(everywhere_or_not, key=lambda seed: (seed not in everywhere, seed)))

    def learning_rates(self, batch_size: int) -> tuple[float, ...]:
        """The rates at `batch_size`, ascending.

        Raises:
            TrialError: the grid has no such batch size; the message says which it has.
        """
        if batch_size not in self._rates:
            raise TrialError(
                f"the grid of {self.header.workload!r} has no batch size {batch_size}; it has "
                f"{', '.join(map(str, self.batch_sizes))}: ask for one of these"
            )
        return self._rates[batch_size]

    def cell(self, batch_size: int, learning_rate: float) -> CellKey:
        """The cell of this batch size and (but for rounding) this rate.

        Raises:
            TrialError: the grid does not hold it; the message says what it does hold.
        """
        if (batch_size, learning_rate) in self.cells:
            return batch_size, learning_rate
        rates = self.learning_rates(batch_size)
        for rate in rates:
            if math.isclose(rate, learning_rate, rel_tol=_SAME_RATE):
                return batch_size, rate
        raise TrialError(
            f"the grid of {self.header.workload!r} has no learning rate {learning_rate:g} at batch "
            f"size {batch_size}; it has {', '.join(f'{rate:g}' for rate in rates)}: ask for one of "
            f"these, nothing is made up between them"
        )

    def steps_to(self, run: RecordedRun, target: Target) -> float | None:
        """Steps of a run to the target, as every record of a trial tells them; None: it missed."""
        key = run.batch_size, run.learning_rate, run.seed, target
        if key not in self._steps_to:
            crossing = crossing_of(self.evaluations(run, _ANY_STEP_S), target)
            self._steps_to[key] = None if crossing is None else crossing.middle
        return self._steps_to[key]

    def evaluations(self, run: RecordedRun, step_s: float) -> tuple[Evaluation, ...]:
        """The run's curve as evaluations, at so many seconds a step; made once."""
        key = run.batch_size, run.learning_rate, run.seed, step_s
        if key not in self._evaluations:
            self._evaluations[key] = tuple(
                Evaluation(
                    step=step,
                    samples=self._samples_at(step, run.batch_size),
                    train_s=step * step_s,
                    eval_s=0.0,
                    batch_loss=None,
                    scores=(Score(split="validation", metric=self.header.metric, value=value),),
                )
                for step, value in run.curve
            )
        return self._evaluations[key]

    @cached_property
    def _rates(self) -> Mapping[int, tuple[float, ...]]:
        rates: dict[int, tuple[float, ...]] = {}
        for batch_size, learning_rate in self.cells:
            rates[batch_size] = (*rates.get(batch_size, ()), learning_rate)
        return rates

    def _samples_at(self, step: int, batch_size: int) -> int:
        """Examples processed by then; the last batch of an epoch may have fewer."""
        plan = BatchPlan(n_train=self.header.n_train, batch_size=batch_size, drop_last=False)
        return plan.samples_at(step)


def _run(line: Mapping[str, str]) -> RecordedRun:
    points = [point.split(":") for point in line["curve"].split(";")]
    return RecordedRun(
        batch_size=int(line["batch_size"]),
        learning_rate=float(line["learning_rate"]),
        seed=int(line["seed"]),
        status=Status(line["status"]),
        curve=tuple((int(step), float(value) if value else None) for step, value in points),
    )
