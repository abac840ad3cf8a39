"""Evidence: batch sizes of a sweep held against each other under equal budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal, NamedTuple, TypeAlias

from batchlab.laws.plateau import STARTED_DELTAS, default_delta
from batchlab.laws.scatter import PooledCells, Right, paired_difference
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Evaluation, Split, TrialRecord
from batchlab.report.cells import (
    Cell,
    chosen_cells,
    deciding_split,
    has_plans,
    held_out_split,
    in_order,
)
from batchlab.report.text import Kind, batch_sizes_text, batch_text, label_text, quantity_text
from batchlab.words.catalogue import Shown, number_text, term_text, text
from batchlab.words.reasons import reason_text

Outcome = Literal["better", "worse", "same", "cannot_tell"]
ONE_SEED = "one seed: this may be chance"

# ---- one metric of every batch size in one place


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Is one cell better than another, by the seeds' scatter of all cells?"""

    difference: Estimate  # first less second; positive means that the first is better
    tolerance: float  # a difference below it does not matter, in the metric's unit

    @property
    def outcome(self) -> Outcome:
        """What the interval says of the first; "same" where all of it is within the tolerance."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "cannot_tell"
        if -self.tolerance < low and high < self.tolerance:
            return "same"
        if low > 0:
            return "better"
        return "worse" if high < 0 else "cannot_tell"

    @property
    def missing(self) -> str | None:
        """Why there is no interval; None where there is one."""
        if self.difference.low is not None:
            return None
        return reason_text(self.difference.reason) or text(ONE_SEED)

    def size_text(self, metric: str) -> str:
        """The size of the difference: "0.0120 (95 %: 0.0101 to 0.0139)"."""
        found = self.difference
        if found.estimate is None:
            return text("an unknown amount ({reason})", reason=reason_text(found.reason))
        size = quantity_text(metric, abs(found.estimate))
        if found.low is None or found.high is None:
            return text("{size} (one seed: no interval)", size=size)
        low, high = (found.low, found.high) if found.estimate >= 0 else (-found.high, -found.low)
        return text(
            "{size} (95 %: {low} to {high})",
            size=size,
            low=quantity_text(metric, low),
            high=quantity_text(metric, high),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One metric of every compared batch size and plan in one place."""

    by_kind: Mapping[Kind, Sequence[float]]  # the value of every seed that has one
    pooled: PooledCells  # the seeds' scatter over all of them
    better: Better
    tolerance: float  # a difference below it does not matter, >= 0

    def level(self, cell: Cell) -> float | None:
        """The mean of a cell; None where no seed has a value."""
        values = self.by_kind[cell.kind]
        return fmean(values) if values else None

    def mean(self, cell: Cell) -> Estimate:
        """The mean of a cell with its interval."""
        return self.pooled.mean(self.by_kind[cell.kind])

    def compare(self, first: Cell, second: Cell, *, n_comparisons: int = 1) -> Comparison:
        """The first cell held against the second.

        Where a conclusion rests on several comparisons, each interval is widened so that all of
        them hold together 95 times in 100 (Bonferroni).
        """
        if self.better == "lower":
            first, second = second, first
        one, other = (self.by_kind[cell.kind] for cell in (first, second))
        difference = self.pooled.difference(one, other, confidence=1 - 0.05 / n_comparisons)
        return Comparison(difference=difference, tolerance=self.tolerance)


# ---- equal budgets

BudgetName = Literal["epochs", "steps", "time"]
NAMES: tuple[BudgetName, ...] = ("epochs", "steps", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualBudget:
    """The largest budget of one kind that every compared trial has spent."""

    study: Study
    name: BudgetName
    amount: float  # epochs, optimizer steps, or seconds at the step time measured alone

    @property
    def words(self) -> str:
        """The budget for people: "equal steps (1,280 each)", "equal time (2.1 s each)"."""
        form = "train_s" if self.name == "time" else ",.6g"
        return text(
            "equal {what} ({amount} each)",
            what=text(self.name),
            amount=number_text(self.amount, form),
        )

    def spent_at(self, record: TrialRecord, evaluation: Evaluation) -> float:
        """How much of such a budget a trial had spent at an evaluation."""
        return _place(self.study, self.name, record, evaluation)

    def value(self, record: TrialRecord, split: Split, metric: str) -> float | None:
        """The metric of a trial when the budget was spent, on the line between two evaluations.

        None where it is not known on both sides, nor exactly there.
        """
        at, curve = self.amount, record.curve(split, metric)
        points = [(self.spent_at(record, each), value) for each, value in curve]
        # The budget is the end of one of the trials: rounding must not put it beyond that end.
        slack = 1e-9 * abs(at)
        for where, value in points:
            if abs(where - at) <= slack:
                return value
        for (before, earlier), (after, later) in pairwise(points):
            if before < at < after:
                return earlier + (later - earlier) * (at - before) / (after - before)
        return None


def equal_budget(study: Study, cells: Sequence[Cell], name: BudgetName) -> EqualBudget | None:
    """The budget that all trials of `cells` that ended well have spent.

    None where there is no such trial, or for time where a step time was not measured alone.
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
    """How much of such a budget was spent at an evaluation."""
    if name == "epochs":
        return record.epoch_of(evaluation)
    if name == "steps":
        return float(evaluation.step)
    train_s = study.train_s(record.trial, evaluation.step)
    assert train_s is not None, "equal_budget has looked"
    return train_s


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


# ---- all of it

Said: TypeAlias = Shown | Cell | EqualBudget | Comparison | Sequence[Kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the sentences and claims of a sweep are held against."""

    study: Study
    cells: tuple[Cell, ...]  # the shown one of every batch size and plan, if a trial ended well
    budgets: tuple[EqualBudget, ...]  # those that exist, epochs first

    @classmethod
    def of(cls, study: Study) -> Evidence:
        """Gather the cells and the budgets of a study."""
        return cls._of(study, tuple(cell for cell in chosen_cells(study) if cell.ended_well))

    @classmethod
    def _of(cls, study: Study, cells: tuple[Cell, ...]) -> Evidence:
        # The changes of a plan lie at set places of its own run: its trials can be read only at
        # their end, and all of them end after the same number of epochs.
        names = ("epochs",) if has_plans(cells) else NAMES
        budgets = (equal_budget(study, cells, name) for name in names)
        return cls(study=study, cells=cells, budgets=tuple(filter(None, budgets)))

    @property
    def of_sizes(self) -> Evidence:
        """The same without plans, for what is said of batch sizes."""
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
        """Its direction."""
        return self.study.workload.metrics[0].better

    @property
    def tolerance(self) -> float:
        """The difference that does not matter: the delta of the plateau rule."""
        finals = [cell.final(budget_split(self.study), self.metric) for cell in self.cells]
        values = [fmean(values) for values in finals if values]
        return default_delta(self.metric, values) if values else 0.0

    # ---- what was measured

    def measured(self, budget: EqualBudget, split: Split) -> Measured:
        """The metric that counts when a budget was spent."""
        return self._pooled(split, lambda record: budget.value(record, split, self.metric))

    def at_end(self, split: Split) -> Measured:
        """The metric that counts after equal epochs."""
        return self.measured(self.budgets[0], split)

    def final(self, split: Split) -> Measured:
        """The last known value of the metric that counts, of the trials that ended well."""
        return self._pooled(split, lambda record: record.final(split, self.metric))

    def gaps(self, split: Split) -> Measured:
        """Train metric less that of `split` after equal epochs; the smaller overfit is better.

        Ahead in training is a gap above 0 for a metric that goes up, and below 0 for another.
        """
        budget = self.budgets[0]

        def gap(record: TrialRecord) -> float | None:
            train = budget.value(record, "train", self.metric)
            held_out = budget.value(record, split, self.metric)
            return None if train is None or held_out is None else train - held_out

        better: Better = "lower" if self.better == "higher" else "higher"
        return self._pooled(split, gap, metric="generalization_gap", better=better)

    def _pooled(
        self,
        split: Split,
        value: Callable[[TrialRecord], float | None],
        *,
        metric: str | None = None,
        better: Better | None = None,
    ) -> Measured:
        by_kind = {
            cell.kind: [known for record in cell.ended_well if (known := value(record)) is not None]
            for cell in self.cells
        }
        n_examples = self.study.workload.n_evaluated(split)
        return Measured(
            by_kind=by_kind,
            pooled=PooledCells.of(
                list(by_kind.values()), metric=metric or self.metric, n_examples=n_examples
            ),
            better=better or self.better,
            tolerance=self.tolerance,
        )

    def ranked(self, measured: Measured) -> list[tuple[Cell, float]]:
        """The cells with a known mean and that mean, the best first."""
        levels = [(cell, measured.level(cell)) for cell in self.cells]
        known = [(cell, level) for cell, level in levels if level is not None]
        return sorted(known, key=lambda pair: pair[1], reverse=self.better == "higher")

    # ---- in words

    def say(self, message: str, /, **values: Said) -> str:
        """A text with its values, those of the study in words: cells, budgets, differences.

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
                return value.size_text(self.metric)
            case str() | float() | int() | None:
                return value
            case _:
                return batch_sizes_text(self.study, value)

    def name(self, cell: Cell) -> str:
        """A batch size or plan in words."""
        return batch_text(self.study, cell.kind)

    def level_text(self, cell: Cell, level: float | None) -> str:
        """A value of the metric that counts and whose it is: "0.97 at batch size 64"."""
        value = quantity_text(self.metric, level)
        return text("{value} at {size}", value=value, size=self.name(cell))


# ---- who leads


class Behind(NamedTuple):
    """A batch size beside the leader: its trials, its mean, and the leader held against it."""

    cell: Cell
    level: float
    mean: Estimate  # `level` with its interval
    comparison: Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Who leads under one budget: the cell with the best mean, and the others, the best first."""

    budget: EqualBudget
    leader: Cell
    level: float
    others: tuple[Behind, ...]

    @property
    def standing(self) -> Literal["clear", "tied", "no_interval"]:
        """Whether the leader is better than every other; one seed each tells nothing."""
        if all(other.comparison.missing is not None for other in self.others):
            return "no_interval"
        is_clear = all(other.comparison.outcome == "better" for other in self.others)
        return "clear" if is_clear else "tied"

    @property
    def best(self) -> tuple[Kind, ...]:
        """The leader, and what has the very same mean."""
        level = (other.cell for other in self.others if other.level == self.level)
        return tuple(cell.kind for cell in in_order([self.leader, *level]))

    @property
    def as_good(self) -> tuple[Kind, ...]:
        """The batch sizes, ascending, and then the plans that may be as good.

        The comparison with the leader has room for it, and so has their own interval. The first
        alone says too little: it is wide, so that several comparisons hold together.
        """
        found = [
            other.cell
            for other in self.others
            if other.comparison.outcome == "same"
            or (other.comparison.outcome != "better" and other.mean.holds(self.level))
        ]
        return tuple(cell.kind for cell in in_order(found) if cell.kind not in self.best)


def races(evidence: Evidence) -> tuple[Race, ...]:
    """The race under every equal budget that exists, epochs first; of two batch sizes or more.

    The best of many is always ahead of some, so the intervals are wide enough to hold together.
    """
    found = []
    for budget in evidence.budgets:
        measured = evidence.measured(budget, budget_split(evidence.study))
        ranked = evidence.ranked(measured)
        if len(ranked) < 2:
            continue
        (leader, best), *others = ranked
        behind = tuple(
            Behind(
                cell=cell,
                level=level,
                mean=measured.mean(cell),
                comparison=measured.compare(leader, cell, n_comparisons=len(others)),
            )
            for cell, level in others
        )
        found.append(Race(budget=budget, leader=leader, level=best, others=behind))
    return tuple(found)


# ---- on the same examples


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """The best batch size on validation data beside each other one, on the same held-out examples.

    `more` is, of each other batch size, the share of examples that `best` is right about beyond it.
    """

    best: Cell
    split: Split
    n: int  # examples
    more: Mapping[Kind, Estimate]


def paired(evidence: Evidence) -> Paired | None:
    """Every batch size on test data beside the best on validation data; None without these."""
    split, deciding = held_out_split(evidence.study), deciding_split(evidence.study)
    # Of the data by which the best is chosen it looks better than it is.
    if split is None or split == deciding or len(evidence.cells) < 2:
        return None
    ranked = evidence.ranked(evidence.final(deciding))
    if not ranked:
        return None
    best, _ = ranked[0]
    right = {cell.kind: _right(cell, split, evidence.metric) for cell in evidence.cells}
    others = [cell.kind for cell in evidence.cells if cell is not best]
    more: dict[Kind, Estimate] = {}
    for kind in others:
        rights = [right[best.kind], right[kind]]
        if len({len(seed) for cell in rights for seed in cell}) == 1:
            # So that all intervals hold together 95 times in 100.
            found = paired_difference(*rights, confidence=1 - 0.05 / len(others))
            if found.low is not None:
                more[kind] = found
    if not more:
        return None
    return Paired(best=best, split=split, n=next(iter(more.values())).n, more=more)


def _right(cell: Cell, split: Split, metric: str) -> list[Right]:
    """Which examples each seed was right about at its end; those without are left out."""
    return [
        score.right.right
        for record in cell.ended_well
        for score in record.evaluations[-1].scores
        if (score.split, score.metric) == (split, metric) and score.right is not None
    ]


# ---- what can be compared

# The margin in tolerances: 0.01 of an accuracy, 5 % of a held-out loss. A held-out difference below
# it would be no claim that people make; a training fit within it explains no larger one.
_TOLERANCES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFit:
    """Which batch sizes fit their training data alike after equal epochs.

    A run that has hardly trained has no generalization to speak of: its held-out metric says how
    far training got. So claims about generalization compare runs of similar training fit only.
    """

    alike: tuple[Cell, ...]  # within the margin of the best fit, that one included
    others: tuple[Cell, ...]  # beyond it
    begun: bool  # is the best clearly better than untrained? True where that is not known
    best: tuple[Cell, float]  # the cell of the best fit, and that fit
    worst: tuple[Cell, float]
    margin: float  # beyond which two fits are not alike


def training_fit(evidence: Evidence) -> TrainingFit | None:
    """The training fit of the compared cells; None where the train metric is not known."""
    known = evidence.ranked(evidence.at_end("train"))
    if not known:
        return None
    best = known[0]
    margin = _TOLERANCES * evidence.tolerance
    alike = {cell.batch_size for cell, level in known if abs(level - best[1]) <= margin}
    untrained = [
        value
        for cell in evidence.cells
        for record in cell.ended_well
        for at, value in record.curve("train", evidence.metric)
        if at.step == 0
    ]
    gained = best[1] - fmean(untrained) if untrained else math.inf
    return TrainingFit(
        alike=tuple(cell for cell in evidence.cells if cell.batch_size in alike),
        others=tuple(cell for cell in evidence.cells if cell.batch_size not in alike),
        begun=abs(gained) > STARTED_DELTAS * evidence.tolerance,
        best=best,
        worst=max(known, key=lambda found: abs(found[1] - best[1])),
        margin=margin,
    )
