"""RecordedGrid: trainings of one workload, recorded once at many batch sizes, rates and seeds.

A grid is two files: NAME.csv.gz with a line a trial (batch_size, learning_rate, seed, status,
steps, curve as `step:value;step:value`), and NAME.json that says what they are. There are grids of
runs to a given target, and grids of whole trainings.
"""

from __future__ import annotations

import csv
import gzip
import math
import statistics
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from batchlab.errors import TrialError, UsageError
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.quantities import Better
from batchlab.records.trial import Evaluation, Score, Status, Target, crossing_of

_COLUMNS = ["batch_size", "learning_rate", "seed", "status", "steps", "curve"]
# Rates that differ by less are the same rate, written down after another sum.
_SAME_RATE = 1e-6
# Where a curve meets a target does not hang on how long its steps take.
_ANY_STEP_S = 1.0

CellKey = tuple[int, float]
"""A batch size and a learning rate."""


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of every grid; further fields in its file are for people.

    Attributes:
        workload: its name.
        n_train: examples in the training set.
        metric: the validation metric whose curves were recorded.
        better: its direction.
        reference_batch_size: of the workload's own configuration.
        reference_learning_rate: of the workload's own configuration.
        step_s: measured seconds a step, by batch size.
    """

    workload: str
    n_train: int
    metric: str
    better: Better
    reference_batch_size: int
    reference_learning_rate: float
    step_s: dict[int, float]


class GridHeader(_Recorded, frozen=True, kw_only=True):
    """Of a grid of runs to a given target.

    Attributes:
        target: the level that counts as trained.
        easier: a level before it.
        harder: a level after it; the runs went on until it was met.
        cut: runs were ended at so many times the fewest steps of their batch size to the target.
    """

    target: float
    easier: float
    harder: float
    cut: float


class WholeGridHeader(_Recorded, frozen=True, kw_only=True):
    """Of a grid of whole trainings: no level had a part in how long they went on.

    Attributes:
        epochs: passes over the training set of each training.
        has_schedule: whether the learning rate followed a shape that spans them.
        eval_s: measured seconds of an evaluation on validation data.
        patience_epochs: trainings end after so many epochs without a better value, and keep their
            best model; None: each is as long as planned.
    """

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
        status: how it ended; OK: it is whole, or was cut before the harder level was met.
        curve: (step, value of the validation metric) at every evaluation, by step; None: the value
            was not a finite number.
    """

    batch_size: int
    learning_rate: float
    seed: int
    status: Status
    curve: tuple[tuple[int, float | None], ...]

    @property
    def steps(self) -> int:
        """Where the recording ends."""
        return self.curve[-1][0]


@dataclass(frozen=True, kw_only=True)
class RecordedGrid:
    """All trainings of a grid.

    Attributes:
        header: what they are: runs to a given target, or whole trainings.
        runs: every training by batch size, learning rate and seed.
    """

    header: GridHeader | WholeGridHeader
    runs: Mapping[tuple[int, float, int], RecordedRun]
    _cut_steps: dict[int, float] = field(default_factory=dict, repr=False, compare=False)
    _evaluations: dict[tuple[int, float, int, float], tuple[Evaluation, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _steps_to: dict[tuple[int, float, int, Target], float | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def read(cls, path: Path | str) -> RecordedGrid:
        """The grid in NAME.csv.gz and NAME.json.

        Args:
            path: of the first of the two files.

        Raises:
            UsageError: a file that is missing, cut off or says something impossible; the message
                names it, and the line.
        """
        path = Path(path)
        header = _header(path.with_name(path.name.removesuffix(".csv.gz") + ".json"))
        return cls(header=header, runs=_runs(path))

    @property
    def target(self) -> Target:
        """The level that counts as trained."""
        return self._level(self._of_given_target.target)

    @property
    def easier(self) -> Target:
        """A level before the target."""
        return self._level(self._of_given_target.easier)

    @property
    def harder(self) -> Target:
        """A level after the target."""
        return self._level(self._of_given_target.harder)

    @cached_property
    def cells(self) -> Mapping[CellKey, tuple[int, ...]]:
        """The seeds of each batch size and rate, ascending."""
        seeds: dict[CellKey, list[int]] = {}
        for batch_size, learning_rate, seed in self.runs:
            seeds.setdefault((batch_size, learning_rate), []).append(seed)
        return {cell: tuple(sorted(seeds[cell])) for cell in sorted(seeds)}

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

    def cut_steps(self, batch_size: int) -> float:
        """Where the runs of a batch size are cut: `cut` times the least mean steps to target.

        Cells in which a run missed the target do not count for the least mean.

        Raises:
            TrialError: the grid has no such batch size, or no cell of it in which all runs met it.
        """
        if batch_size not in self._cut_steps:
            means = []
            for rate in self.learning_rates(batch_size):
                cell = batch_size, rate
                runs = [self.runs[*cell, seed] for seed in self.cells[cell]]
                found = [self.steps_to(run, self.target) for run in runs]
                met = [steps for steps in found if steps is not None]
                if len(met) == len(found):
                    means.append(statistics.fmean(met))
            if not means:
                raise TrialError(
                    f"the grid of {self.header.workload!r} has no learning rate at batch size "
                    f"{batch_size} with which every run met the target; record more rates"
                )
            self._cut_steps[batch_size] = self._of_given_target.cut * min(means)
        return self._cut_steps[batch_size]

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

    @property
    def _of_given_target(self) -> GridHeader:
        if isinstance(self.header, GridHeader):
            return self.header
        raise TrialError(
            f"the grid of {self.header.workload!r} holds whole trainings of {self.header.epochs} "
            f"epochs: no target was given, and no run was cut; take a level from how they end"
        )

    def _level(self, value: float) -> Target:
        # The runs were ended soon after they first met the harder level.
        header = self.header
        return Target(metric=header.metric, value=value, better=header.better, held_for=0)


def _runs(path: Path) -> dict[tuple[int, float, int], RecordedRun]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            lines = csv.reader(stream)
            columns = next(lines, [])
            if columns != _COLUMNS:
                raise UsageError(
                    f"{path}, line 1: has the columns {', '.join(columns) or 'none'}; expected "
                    f"{', '.join(_COLUMNS)}"
                )
            runs: dict[tuple[int, float, int], RecordedRun] = {}
            for line in lines:
                run = _run(path, lines.line_num, line)
                key = run.batch_size, run.learning_rate, run.seed
                if key in runs:
                    raise UsageError(
                        f"{path}, line {lines.line_num}: batch size {key[0]}, learning rate "
                        f"{key[1]:g} and seed {key[2]} are there twice; leave out one of them"
                    )
                runs[key] = run
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read as a compressed CSV file ({error}); record it again"
        ) from error
    if not runs:
        raise UsageError(f"{path}: holds no trials; record it again")
    return runs


def _run(path: Path, number: int, line: list[str]) -> RecordedRun:
    try:
        batch_size, learning_rate, seed, status, steps, curve = line
        points = [point.split(":") for point in curve.split(";")]
        run = RecordedRun(
            batch_size=int(batch_size),
            learning_rate=float(learning_rate),
            seed=int(seed),
            status=Status(status),
            curve=tuple((int(step), float(value) if value else None) for step, value in points),
        )
        in_order = all(a[0] < b[0] for a, b in zip(run.curve, run.curve[1:], strict=False))
        if not in_order or run.steps != int(steps):
            raise ValueError("the steps of the curve do not rise to the number of steps")
    except ValueError as error:
        raise UsageError(
            f"{path}, line {number}: is no trial of a grid ({error}); expected "
            f"{', '.join(_COLUMNS)}, the curve as step:value;step:value"
        ) from error
    return run


class _Epochs(msgspec.Struct):
    """The one field that tells the two kinds apart."""

    epochs: int | None = None


def _header(path: Path) -> GridHeader | WholeGridHeader:
    """What the JSON file at `path` says.

    Raises:
        UsageError: it is missing, or lacks something; the message names it.
    """
    try:
        content = path.read_bytes()
        is_whole = msgspec.json.decode(content, type=_Epochs).epochs is not None
        if is_whole:
            return msgspec.json.decode(content, type=WholeGridHeader)
        return msgspec.json.decode(content, type=GridHeader)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); a grid is two files, NAME.csv.gz and "
            "NAME.json beside it"
        ) from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: is no description of a grid: {error}") from error
