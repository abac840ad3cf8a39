"""EqualBudget: equal epochs, equal steps, equal time; each may have another winner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from batchlab.records.study import Study
from batchlab.records.trial import Evaluation, Split, TrialRecord
from batchlab.report.parts.quantity_text import label_text
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.words.catalogue import number_text, text

BudgetName = Literal["epochs", "steps", "time"]
NAMES: tuple[BudgetName, ...] = ("epochs", "steps", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualBudget:
    """The largest budget of one kind that every compared trial has spent.

    Attributes:
        name: what is equal.
        amount: how much of it: epochs, optimizer steps, or seconds at the step time measured
            alone.
        study: where the step times are.
    """

    name: BudgetName
    amount: float
    study: Study

    @property
    def words(self) -> str:
        """The budget for people: "equal steps (1,280 each)", "equal time (2.1 s each)"."""
        form = "train_s" if self.name == "time" else ",.6g"
        return text(
            "equal {what} ({amount} each)",
            what=term_text(self.name),
            amount=number_text(self.amount, form),
        )

    def by_seed(self, cell: Cell, split: Split, metric: str) -> dict[int, float]:
        """Every seed's metric when the budget was spent, of the trials that ended well."""
        place = _place(self.study, self.name)
        values = {
            record.trial.seed: value_at(record, split, metric, place=place, at=self.amount)
            for record in cell.ended_well
        }
        return {seed: value for seed, value in values.items() if value is not None}


def equal_budget(study: Study, cells: Sequence[Cell], name: BudgetName) -> EqualBudget | None:
    """The budget that all trials of `cells` that ended well have spent.

    Returns:
        None where there is no such trial, or for time where a step time was not measured alone.
    """
    if name == "time" and any(study.timing(cell.batch_size) is None for cell in cells):
        return None
    place = _place(study, name)
    spent = [
        place(record, record.evaluations[-1])
        for cell in cells
        for record in cell.ended_well
        if record.evaluations
    ]
    return EqualBudget(name=name, amount=min(spent), study=study) if spent else None


def value_at(
    record: TrialRecord,
    split: Split,
    metric: str,
    *,
    place: Callable[[TrialRecord, Evaluation], float],
    at: float,
) -> float | None:
    """The metric at a place between evaluations, on the line between the two around it.

    Args:
        record: the trial.
        split: of the metric.
        metric: its name.
        place: where an evaluation lies on the axis.
        at: the place asked for, in the unit of the axis.

    Returns:
        None where the metric is not known on both sides of `at`, nor exactly there.
    """
    points = [
        (place(record, evaluation), value) for evaluation, value in record.curve(split, metric)
    ]
    # The budget is the end of one of the trials: rounding must not put it beyond that end.
    slack = 1e-9 * abs(at)
    for where, value in points:
        if abs(where - at) <= slack:
            return value
    for (before, earlier), (after, later) in pairwise(points):
        if before < at < after:
            return earlier + (later - earlier) * (at - before) / (after - before)
    return None


def budget_split(study: Study) -> Split:
    """The split that budgets are compared on: scored often, and held out where possible."""
    if study.workload.has_validation:
        return "validation"
    return "test" if study.workload.n_test else "train"


def metric_text(split: Split, metric: str) -> str:
    """A metric of a split in words: "validation accuracy"."""
    return text(
        "{split} {metric}",
        split=term_text("training" if split == "train" else split),
        metric=label_text(metric),
    )


def equal_text(name: BudgetName) -> str:
    """A budget's name in words: "equal steps"."""
    return text("equal {what}", what=term_text(name))


def _place(study: Study, name: BudgetName) -> Callable[[TrialRecord, Evaluation], float]:
    if name == "epochs":
        return lambda record, evaluation: record.epoch_of(evaluation)
    if name == "steps":
        return lambda record, evaluation: float(evaluation.step)

    def seconds(record: TrialRecord, evaluation: Evaluation) -> float:
        timing = study.timing(record.trial.batch_size)
        assert timing is not None, "equal_budget has looked"
        return evaluation.step * timing.step_s

    return seconds
