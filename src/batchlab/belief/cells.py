"""Cell: the trials of one configuration (batch size and rate), and the best per batch size."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from batchlab.belief.final_value import final_of
from batchlab.laws.mean import known
from batchlab.laws.plateau import MetricPlateau, plateau_of
from batchlab.records.run import Kind
from batchlab.records.study import Study
from batchlab.records.trial import Split, Trial, TrialRecord

# ---- which splits to compare on


def deciding_split(study: Study) -> Split:
    """Return the split on which learning rates are compared: validation if any, else train."""
    return "validation" if study.workload.has_validation else "train"


def held_out_split(study: Study) -> Split | None:
    """Return the held-out split: test, else validation, or None if the study has neither."""
    if study.workload.n_test:
        return "test"
    if study.workload.has_validation:
        return "validation"
    return None


def budget_split(study: Study) -> Split:
    """Return the split to compare on after equal budgets: validation, else test, else train."""
    if study.workload.has_validation:
        return "validation"
    return held_out_split(study) or "train"


# ---- cells


def final_gap(record: TrialRecord, held_out: Split, metric: str) -> float | None:
    """Return the last train value minus the last held-out value; None if a value is unknown."""
    train, other = record.last("train", metric), record.last(held_out, metric)
    if train is None or other is None:
        return None
    return train - other


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The trials with the same batch size (or plan), learning rate and schedule length."""

    records: tuple[TrialRecord, ...]
    takes_rate: bool = True  # False if the training command sets the learning rate

    @property
    def kind(self) -> Kind:
        """The batch size, or "grow" or "decay" if a plan changes batch size or rate."""
        return kind_of(self.records[0].trial)

    @property
    def batch_size(self) -> int:
        """The examples per step; if a plan changes them, the examples per step at the start."""
        return self.records[0].trial.batch_size

    @property
    def learning_rate(self) -> float:
        """The learning rate of the trials."""
        return self.records[0].trial.learning_rate

    @property
    def shown_rate(self) -> float | None:
        """The learning rate of the trials, or None if the training command sets the rate."""
        return self.learning_rate if self.takes_rate else None

    @property
    def ended_well(self) -> tuple[TrialRecord, ...]:
        """The trials that ended well, whose values may be averaged."""
        return tuple(record for record in self.records if record.ended_well)

    @property
    def others(self) -> tuple[TrialRecord, ...]:
        """The trials that failed or are unfinished, which are never averaged."""
        return tuple(record for record in self.records if not record.ended_well)

    def final(self, study: Study, split: Split) -> tuple[float, ...]:
        """Return the final value of the first metric, if known, of each trial that ended well."""
        metric = study.workload.metrics[0]
        ends = (final_of(record, split, metric.name, metric.better) for record in self.ended_well)
        return tuple(known(ends))

    def mean_final(self, study: Study, split: Split) -> float | None:
        """Return the mean of the known final values, or None if none is known."""
        values = self.final(study, split)
        return fmean(values) if values else None


def kind_of(trial: Trial) -> Kind:
    """Return a trial's batch size, or "grow" or "decay" if a plan changes batch size or rate."""
    if not trial.stages:
        return trial.batch_size
    return "grow" if trial.largest_batch_size > trial.batch_size else "decay"


def cells(study: Study) -> tuple[Cell, ...]:
    """Group the trials of a study by configuration, and sort the groups with `in_order`."""
    # Trials of an advice study may differ in schedule length, and must not be grouped then.
    by_key: dict[tuple[object, ...], list[TrialRecord]] = {}
    for record in study.records:
        trial = record.trial
        key = (kind_of(trial), trial.learning_rate, trial.horizon_steps)
        by_key.setdefault(key, []).append(record)
    takes_rate = study.workload.takes_rate
    return in_order(Cell(records=tuple(r), takes_rate=takes_rate) for r in by_key.values())


def in_order(unsorted: Iterable[Cell]) -> tuple[Cell, ...]:
    """Sort cells by plan (none, "grow", "decay"), then by batch size, then by learning rate."""

    def place(cell: Cell) -> tuple[int, int, float]:
        plans: list[Kind] = [cell.batch_size, "grow", "decay"]
        return plans.index(cell.kind), cell.batch_size, cell.learning_rate

    return tuple(sorted(unsorted, key=place))


@functools.lru_cache(maxsize=1)
def chosen_cells(study: Study) -> tuple[Cell, ...]:
    """Return the cell with the best learning rate of each batch size and of each plan.

    The best rate has the best mean final value of the first metric, on validation data if any, else
    on train data. Rates with failed or unfinished trials rank below rates without.
    """
    split = deciding_split(study)
    sign = 1 if study.workload.metrics[0].better == "higher" else -1

    def preference(cell: Cell) -> tuple[bool, bool, float]:
        mean = cell.mean_final(study, split)
        return mean is not None, not cell.others, sign * (mean or 0.0)

    by_kind: dict[Kind, list[Cell]] = {}
    for cell in cells(study):
        by_kind.setdefault(cell.kind, []).append(cell)
    return tuple(max(choices, key=preference) for choices in by_kind.values())


def has_plans(some: Iterable[Cell]) -> bool:
    """Return whether any cell has a plan that changes batch size or rate during training."""
    return any(isinstance(cell.kind, str) for cell in some)


def plateau_in(study: Study, record: TrialRecord) -> MetricPlateau:
    """Find where the first metric stopped improving in a trial of the study."""
    metric = study.workload.metrics[0]
    return plateau_of(record, metric=metric.name, better=metric.better)


@functools.lru_cache(maxsize=1)
def plateaus(study: Study) -> dict[str, MetricPlateau]:
    """Return the plateau of every trial, by trial id."""
    return {record.trial.trial_id: plateau_in(study, record) for record in study.records}
