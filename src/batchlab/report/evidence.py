"""Evidence: comparisons of the batch sizes of a sweep under equal budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_errors, final_of, final_value
from batchlab.belief.margin import margin_of
from batchlab.belief.statements import as_good
from batchlab.laws.plateau import STARTED_DELTAS, default_delta
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Evaluation, Split, TrialRecord
from batchlab.report.cells import (
    Cell,
    chosen_cells,
    final_gap,
    gap_quantity,
    has_plans,
    in_order,
)
from batchlab.report.text import (
    Kind,
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
)
from batchlab.words.catalogue import Shown, number_text, term_text, text
from batchlab.words.reasons import reason_text

Array = NDArray[np.float64]
Outcome = Literal["better", "worse", "same", "cannot_tell"]
ONE_SEED = "one seed: this may be chance"

# ---- one metric of every batch size at one point of training


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Whether one cell is better than another, judged by the scatter of all cells' seeds."""

    difference: Estimate  # first minus second; positive means that the first is better
    margin: float  # the difference that still counts as no worse, in the metric's unit

    @property
    def outcome(self) -> Outcome:
        """The verdict on the first cell; "same" if the whole interval is within the margin."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "cannot_tell"
        if -self.margin < low and high < self.margin:
            return "same"
        if low > 0:
            return "better"
        return "worse" if high < 0 else "cannot_tell"

    @property
    def missing(self) -> str | None:
        """The reason why there is no interval, or None if there is one."""
        if self.difference.low is not None:
            return None
        return reason_text(self.difference.reason) or text(ONE_SEED)

    @property
    def seeds_to_tell(self) -> int | None:
        """The rough number of seeds per cell that would decide, or None if it is unknown.

        The interval shrinks with the root of the number of seeds. It must exclude 0 or the margin.
        """
        known = self.difference
        if known.estimate is None or known.low is None or known.high is None:
            return None
        far = max(abs(known.estimate), self.margin - abs(known.estimate))
        return math.ceil(known.n / 2 * ((known.high - known.low) / 2 / far) ** 2)

    def size_text(self, quantity: str) -> str:
        """Return the size of the difference: "1.20 points (95 %: 1.01 to 1.39)"."""
        known = self.difference
        if known.estimate is None:
            return text("an unknown amount ({reason})", reason=reason_text(known.reason))
        size = quantity_text(quantity, abs(known.estimate))
        if known.low is None or known.high is None:
            return text("{size} (one seed: no interval)", size=size)
        low, high = (known.low, known.high) if known.estimate >= 0 else (-known.high, -known.low)
        ends = [quantity_text(quantity, end).removesuffix(" points") for end in (low, high)]
        return text("{size} (95 %: {low} to {high})", size=size, low=ends[0], high=ends[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One metric of every compared batch size and plan at one point of training."""

    kinds: tuple[Kind, ...]
    means: CellMeans  # in the order of `kinds`
    better: Better
    margin: float  # the difference that still counts as no worse, >= 0
    quantity: str  # the quantity that formats its values

    def values(self, cell: Cell) -> Sequence[float]:
        """Return the value of every seed that has one."""
        return self.means.cells[self.kinds.index(cell.kind)]

    def level(self, cell: Cell) -> float | None:
        """Return the mean of a cell, or None if no seed has a value."""
        return self.mean(cell).estimate

    def mean(self, cell: Cell) -> Estimate:
        """Return the mean of a cell with its interval."""
        return self.means.mean(self.kinds.index(cell.kind))

    def compare(self, first: Cell, second: Cell) -> Comparison:
        """Compare the first cell with the second."""
        if self.better == "lower":
            first, second = second, first
        one, other = (self.kinds.index(cell.kind) for cell in (first, second))
        return Comparison(difference=self.means.difference(one, other), margin=self.margin)

    def draws(self, cells: Sequence[Cell]) -> Array | None:
        """Return joint draws of the cells' values, higher is better, shape (n_draws, cells).

        The result is None if the scatter of the seeds is unknown or a cell has no value.
        """
        at = [self.kinds.index(cell.kind) for cell in cells]
        if self.means.draws is None or not all(len(self.means.cells[i]) for i in at):
            return None
        sign = 1.0 if self.better == "higher" else -1.0
        return np.asarray(sign * self.means.draws[:, at])


# ---- equal budgets

BudgetName = Literal["epochs", "steps", "time"]
NAMES: tuple[BudgetName, ...] = ("epochs", "steps", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualBudget:
    """The largest budget of one kind that every compared trial has spent."""

    study: Study
    name: BudgetName
    amount: float  # epochs, optimizer steps, or seconds at the step time measured in isolation

    @property
    def words(self) -> str:
        """The budget in words: "equal steps (1,280 each)", "equal time (2.1 s each)"."""
        form = "train_s" if self.name == "time" else ",.6g"
        return text(
            "equal {what} ({amount} each)",
            what=text(self.name),
            amount=number_text(self.amount, form),
        )

    def spent_at(self, record: TrialRecord, evaluation: Evaluation) -> float:
        """Return how much of such a budget a trial had spent at an evaluation."""
        return _place(self.study, self.name, record, evaluation)

    def value(self, record: TrialRecord, split: Split, metric: str) -> float | None:
        """Return a trial's metric when the budget was spent, on the line between two evaluations.

        The result is None if it is not known on both sides, nor exactly at that point.
        """
        *_, (_, value) = [(0.0, None), *self._curve(record, split, metric)]
        return value

    def end(self, record: TrialRecord, split: Split) -> float | None:
        """Return what a trial would have ended with if it had stopped with the budget spent."""
        metric = self.study.workload.metrics[0]
        if split != "validation":
            return self.value(record, split, metric.name)
        curve = [point for point in self._curve(record, split, metric.name) if point[0] > 0]
        return final_value(curve, better=metric.better, keeps_best=record.ended_by_patience)

    def _curve(self, record: TrialRecord, split: Split, metric: str) -> list[tuple[float, float]]:
        at, curve = self.amount, record.curve(split, metric)
        points = [(self.spent_at(record, each), value) for each, value in curve]
        # The budget is the end of one of the trials, so rounding must not put it past that end.
        slack = 1e-9 * abs(at)
        seen = [point for point in points if point[0] <= at + slack]
        if not seen or seen[-1][0] >= at - slack:
            return seen
        if len(seen) == len(points):
            return []
        (before, earlier), (after, later) = points[len(seen) - 1 : len(seen) + 1]
        return [*seen, (at, earlier + (later - earlier) * (at - before) / (after - before))]


def equal_budget(study: Study, cells: Sequence[Cell], name: BudgetName) -> EqualBudget | None:
    """Return the budget that all trials of `cells` that ended well have spent.

    The result is None if there are none, or for time if a step was not timed in isolation.
    """
    if name == "time" and any(study.timing(cell.batch_size) is None for cell in cells):
        return None
    spent = [
        _place(study, name, record, record.evaluations[-1])
        for cell in cells
        for record in cell.ended_well
        if record.evaluations
    ]
    return EqualBudget(study=study, name=name, amount=min(spent)) if spent else None


def _place(study: Study, name: BudgetName, record: TrialRecord, evaluation: Evaluation) -> float:
    """Return how much of such a budget was spent at an evaluation."""
    if name == "epochs":
        return record.epoch_of(evaluation)
    if name == "steps":
        return float(evaluation.step)
    train_s = study.train_s(record.trial, evaluation.step)
    assert train_s is not None, "equal_budget has looked"
    return train_s


def budget_split(study: Study) -> Split:
    """Return the split that budgets are compared on: scored often, and held out if possible."""
    if study.workload.has_validation:
        return "validation"
    return "test" if study.workload.n_test else "train"


def metric_text(split: Split, metric: str) -> str:
    """Return a metric of a split in words: "validation accuracy"."""
    return text(
        "{split} {metric}",
        split=term_text("training" if split == "train" else split),
        metric=label_text(metric),
    )


# ---- all the evidence

Said: TypeAlias = Shown | Cell | EqualBudget | Comparison | Sequence[Kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """The measurements behind the sentences and claims of a sweep."""

    study: Study
    cells: tuple[Cell, ...]  # the one shown for each batch size and plan, if a trial ended well
    budgets: tuple[EqualBudget, ...]  # those that exist, epochs first

    @classmethod
    def of(cls, study: Study) -> Evidence:
        """Gather the cells and the budgets of a study."""
        return cls._of(study, tuple(cell for cell in chosen_cells(study) if cell.ended_well))

    @classmethod
    def _of(cls, study: Study, cells: tuple[Cell, ...]) -> Evidence:
        # A plan changes at set places of its own run. So its trials can be compared only at their
        # end, and all of them end after the same number of epochs.
        names = ("epochs",) if has_plans(cells) else NAMES
        budgets = (equal_budget(study, cells, name) for name in names)
        return cls(study=study, cells=cells, budgets=tuple(filter(None, budgets)))

    @property
    def of_sizes(self) -> Evidence:
        """The same evidence without plans, for statements about batch sizes."""
        if not has_plans(self.cells):
            return self
        sizes = (cell for cell in self.cells if isinstance(cell.kind, int))
        return self._of(self.study, tuple(sizes))

    @property
    def metric(self) -> str:
        """The metric that counts."""
        return self.study.workload.metrics[0].name

    @property
    def better(self) -> Better:
        """The direction of the metric that counts."""
        return self.study.workload.metrics[0].better

    @property
    def improvement(self) -> float:
        """The smallest difference that counts as learning: the delta of the plateau rule."""
        finals = self._finals
        return default_delta(self.metric, finals) if finals else 0.0

    @property
    def margin(self) -> float:
        """The difference that still counts as no worse than the best cell."""
        split, finals = budget_split(self.study), self._finals
        if self.study.margin is not None or not finals:
            return self.study.margin or 0.0
        untrained = self.untrained(split)
        return margin_of(
            max(finals) if self.better == "higher" else min(finals),
            metric=self.metric,
            better=self.better,
            untrained=fmean(untrained) if untrained else None,
            n_examples=self.study.workload.n_evaluated(split),
        )

    @property
    def _finals(self) -> list[float]:
        finals = [cell.final(self.study, budget_split(self.study)) for cell in self.cells]
        return [fmean(values) for values in finals if values]

    def untrained(self, split: Split) -> list[float]:
        """Return the metric of untrained models, one value per trial evaluated at step 0."""
        return [
            value
            for cell in self.cells
            for record in cell.ended_well
            for at, value in record.curve(split, self.metric)
            if at.step == 0
        ]

    # ---- what was measured

    def measured(self, budget: EqualBudget, split: Split) -> Measured:
        """Return the metric that counts as it was when a budget was spent."""
        return self._pooled(split, lambda record: budget.end(record, split))

    def at_end(self, split: Split) -> Measured:
        """Return the metric that counts after equal epochs."""
        return self.measured(self.budgets[0], split)

    def final(self, split: Split) -> Measured:
        """Return the final values of the trials that ended well, in the metric that counts."""
        return self._pooled(split, lambda r: final_of(r, split, self.metric, self.better))

    def gaps(self, split: Split) -> Measured:
        """Return train metric minus that of `split` after equal epochs; less overfit is better.

        Overfit is a gap above 0 if the metric goes up, and a gap below 0 if it goes down.
        """
        budget = self.budgets[0]

        def gap(record: TrialRecord) -> float | None:
            train = budget.value(record, "train", self.metric)
            held_out = budget.value(record, split, self.metric)
            return None if train is None or held_out is None else train - held_out

        return self._gaps(gap, self.at_end(split))

    def final_gaps(self, split: Split) -> Measured:
        """Return the same gaps at the last evaluation of each trial."""
        return self._gaps(lambda r: final_gap(r, split, self.metric), self.final(split))

    def _gaps(self, gap: Callable[[TrialRecord], float | None], held_out: Measured) -> Measured:
        return Measured(
            kinds=self._kinds,
            means=held_out.means.of_gaps([_values(cell, gap) for cell in self.cells]),
            better="lower" if self.better == "higher" else "higher",
            margin=self.margin,
            quantity=gap_quantity(self.study),
        )

    def _pooled(self, split: Split, value: Callable[[TrialRecord], float | None]) -> Measured:
        means = CellMeans.of(
            [_values(cell, value) for cell in self.cells],
            metric=self.metric,
            better=self.better,
            n_examples=self.study.workload.n_evaluated(split),
            end_errors=self._end_errors if split == "validation" else (),
        )
        return Measured(
            kinds=self._kinds,
            means=means,
            better=self.better,
            margin=self.margin,
            quantity=self.metric,
        )

    @property
    def _end_errors(self) -> list[float]:
        return end_errors((r for cell in self.cells for r in cell.records), self.metric)

    @property
    def _kinds(self) -> tuple[Kind, ...]:
        return tuple(cell.kind for cell in self.cells)

    def ranked(self, measured: Measured) -> list[tuple[Cell, float]]:
        """Return the cells that have a known mean with that mean, the best first."""
        levels = [(cell, measured.level(cell)) for cell in self.cells]
        known = [(cell, level) for cell, level in levels if level is not None]
        return sorted(known, key=lambda pair: pair[1], reverse=self.better == "higher")

    # ---- in words

    def say(self, message: str, /, **values: Said) -> str:
        """Fill a message, with cells, budgets and differences of the study put into words.

        Several batch sizes become "batch sizes 32 and 64"; `{metric}` is the one that counts.
        """
        metric = metric_text(budget_split(self.study), self.metric)
        known: dict[str, Said] = {"metric": metric, **values}
        return text(message, **{name: self._word(value) for name, value in known.items()})

    def _word(self, value: Said) -> Shown:
        match value:
            case Cell():
                return self.name(value)
            case EqualBudget():
                return value.words
            case Comparison():
                return value.size_text(gap_quantity(self.study))
            case str() | float() | int() | None:
                return value
            case _:
                return batch_sizes_text(self.study, value)

    def name(self, cell: Cell) -> str:
        """Return a batch size or plan in words."""
        return batch_text(self.study, cell.kind)

    def difference_text(self, difference: float) -> str:
        """Return a difference of the metric that counts: "0.65 points"."""
        return quantity_text(gap_quantity(self.study), difference)

    def level_text(self, cell: Cell, level: float | None, quantity: str = "") -> str:
        """Return a value of the metric that counts, with its cell: "97.00 % at batch size 64"."""
        value = quantity_text(quantity or self.metric, level)
        return text("{value} at {size}", value=value, size=self.name(cell))


def _values(cell: Cell, value: Callable[[TrialRecord], float | None]) -> list[float]:
    """Return a number from each trial that ended well and has it."""
    values = (value(record) for record in cell.ended_well)
    return [known for known in values if known is not None]


# ---- who leads


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """The cells that lead under one budget."""

    budget: EqualBudget
    best: tuple[Kind, ...]  # the cell with the best mean, and any with exactly the same
    level: float  # that mean
    as_good: tuple[Kind, ...]  # what may be as good: batch sizes, ascending, then plans
    has_intervals: bool  # whether there are intervals to judge that by

    @property
    def standing(self) -> Literal["clear", "tied", "no_interval"]:
        """Whether the leader is better than every other, which is unknown without intervals."""
        if not self.has_intervals:
            return "no_interval"
        return "tied" if self.as_good or len(self.best) > 1 else "clear"


def races(evidence: Evidence) -> tuple[Race, ...]:
    """Return the race of two or more cells under every equal budget that exists, epochs first."""
    raced = []
    for budget in evidence.budgets:
        measured = evidence.measured(budget, budget_split(evidence.study))
        ranked = evidence.ranked(measured)
        if len(ranked) < 2:
            continue
        best = ranked[0][1]
        draws = measured.draws([cell for cell, _ in ranked])
        alike = [] if draws is None else [ranked[i] for i in as_good(draws, 0, measured.margin)]
        race = Race(
            budget=budget,
            best=_kinds(cell for cell, level in ranked if level == best),
            level=best,
            as_good=_kinds(cell for cell, level in alike if level != best),
            has_intervals=draws is not None,
        )
        raced.append(race)
    return tuple(raced)


def _kinds(cells: Iterable[Cell]) -> tuple[Kind, ...]:
    return tuple(cell.kind for cell in in_order(cells))


# ---- which cells can be compared

# In improvements that count, so 0.01 of an accuracy or 5 % of a held-out loss. Nobody makes claims
# about smaller held-out differences, and fits this close cannot explain a larger difference.
_IMPROVEMENTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFit:
    """The batch sizes that fit their training data alike after equal epochs, and the others.

    A run that has hardly trained says nothing about generalization: its held-out metric only shows
    how far training got. So claims about generalization compare runs of similar training fit only.
    """

    alike: tuple[Cell, ...]  # within the margin of the best fit, including the best
    others: tuple[Cell, ...]  # outside the margin
    begun: bool  # whether the best is clearly better than untrained; True if that is unknown
    best: tuple[Cell, float]  # the cell of the best fit, and that fit
    worst: tuple[Cell, float]
    margin: float  # two fits that differ by more are not alike


def training_fit(evidence: Evidence) -> TrainingFit | None:
    """Return the training fit of the compared cells, or None if the train metric is unknown."""
    known = evidence.ranked(evidence.at_end("train"))
    if not known:
        return None
    best = known[0]
    margin = _IMPROVEMENTS * evidence.improvement
    alike = {cell.batch_size for cell, level in known if abs(level - best[1]) <= margin}
    untrained = evidence.untrained("train")
    gained = best[1] - fmean(untrained) if untrained else math.inf
    return TrainingFit(
        alike=tuple(cell for cell in evidence.cells if cell.batch_size in alike),
        others=tuple(cell for cell in evidence.cells if cell.batch_size not in alike),
        begun=abs(gained) > STARTED_DELTAS * evidence.improvement,
        best=best,
        worst=max(known, key=lambda found: abs(found[1] - best[1])),
        margin=margin,
    )
