"""Evidence: batch sizes of a sweep held against each other under equal budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from statistics import fmean
from typing import Literal

from batchlab.laws.plateau import STARTED_DELTAS, default_delta
from batchlab.laws.scatter import PooledCells, Right, paired_difference
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Evaluation, Split, TrialRecord
from batchlab.report.cells import Cell, chosen_cells, deciding_split, held_out_split
from batchlab.report.table import Column, Table
from batchlab.report.text import (
    Sentence,
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
    term_text,
)
from batchlab.words.catalogue import number_text, text
from batchlab.words.reasons import reason_text

Difference = Literal["better", "worse", "same", "cannot_tell"]
Seeds = Mapping[int, float]  # seed -> value
ONE_SEED = "one seed: this may be chance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference of two cells.

    Attributes:
        difference: first less second, turned so that positive means that the first is better.
        tolerance: a difference below it does not matter, in the metric's unit.
    """

    difference: Estimate
    tolerance: float

    @property
    def outcome(self) -> Difference:
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

    @property
    def at_most_slightly_worse(self) -> bool:
        """Whether the interval rules out that the first is worse by more than the tolerance."""
        return self.difference.low is not None and self.difference.low > -self.tolerance


def difference_text(metric: str, comparison: Comparison) -> str:
    """The size of the difference: "0.0120 (95 %: 0.0101 to 0.0139)"."""
    found = comparison.difference
    if found.estimate is None:
        return text("an unknown amount ({reason})", reason=reason_text(found.reason))
    size = quantity_text(metric, abs(found.estimate))
    if found.low is None or found.high is None:
        return text("{size} (one seed: no interval)", size=size)
    low, high = found.low, found.high
    if found.estimate < 0:
        low, high = -high, -low
    return text(
        "{size} (95 %: {low} to {high})",
        size=size,
        low=quantity_text(metric, low),
        high=quantity_text(metric, high),
    )


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One metric of every compared batch size in one place.

    Attributes:
        by_batch_size: the value of every seed that has one, by batch size.
        pooled: the seeds' scatter over all of them.
        better: direction of the metric.
        tolerance: a difference below it does not matter, >= 0.
    """

    by_batch_size: Mapping[int, Seeds]
    pooled: PooledCells
    better: Better
    tolerance: float

    @classmethod
    def of(
        cls,
        by_batch_size: Mapping[int, Seeds],
        *,
        metric: str,
        n_examples: int,
        better: Better,
        tolerance: float,
    ) -> Measured:
        """Pool the scatter of these cells' seeds.

        Args:
            by_batch_size: the value of every seed that has one, by batch size.
            metric: what was measured.
            n_examples: how many examples each value is a mean of.
            better: direction of the metric.
            tolerance: a difference below it does not matter, >= 0.
        """
        values = [list(seeds.values()) for seeds in by_batch_size.values()]
        pooled = PooledCells.of(values, metric=metric, n_examples=n_examples)
        return cls(by_batch_size=by_batch_size, pooled=pooled, better=better, tolerance=tolerance)

    def level(self, cell: Cell) -> float | None:
        """The mean of a cell; None where no seed has a value."""
        values = self._values(cell)
        return fmean(values) if values else None

    def mean(self, cell: Cell) -> Estimate:
        """The mean of a cell with its interval."""
        return self.pooled.mean(self._values(cell))

    def compare(self, first: Cell, second: Cell, *, n_comparisons: int = 1) -> Comparison:
        """Compare two of the cells.

        Args:
            first: the cell that the outcome is about.
            second: the cell it is held against.
            n_comparisons: how many comparisons one conclusion rests on; each interval is widened
                so that all of them hold together 95 times in 100 (Bonferroni).
        """
        if self.better == "lower":
            first, second = second, first
        difference = self.pooled.difference(
            self._values(first), self._values(second), confidence=1 - 0.05 / n_comparisons
        )
        return Comparison(difference=difference, tolerance=self.tolerance)

    def _values(self, cell: Cell) -> list[float]:
        return list(self.by_batch_size[cell.batch_size].values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the claims are held against.

    Attributes:
        study: the study.
        cells: of every batch size the cell that the report shows, where a trial ended well.
        budgets: the equal budgets that exist, epochs first.
    """

    study: Study
    cells: tuple[Cell, ...]
    budgets: tuple[EqualBudget, ...]

    @classmethod
    def of(cls, study: Study) -> Evidence:
        """Gather the cells and the budgets of a study."""
        cells = tuple(cell for cell in chosen_cells(study) if cell.ended_well)
        budgets = (equal_budget(study, cells, name) for name in NAMES)
        return cls(
            study=study,
            cells=cells,
            budgets=tuple(budget for budget in budgets if budget is not None),
        )

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
        values = [final.mean for final in finals if final is not None]
        return default_delta(self.metric, values) if values else 0.0

    def measured(self, budget: EqualBudget, split: Split) -> Measured:
        """The metric that counts when a budget was spent."""
        by_batch_size = {
            cell.batch_size: budget.by_seed(cell, split, self.metric) for cell in self.cells
        }
        return self._of_metric(by_batch_size, split)

    def at_end(self, split: Split) -> Measured:
        """The metric that counts after equal epochs."""
        return self.measured(self.budgets[0], split)

    def final(self, split: Split) -> Measured:
        """The last known value of the metric that counts, of the trials that ended well."""
        by_batch_size = {
            cell.batch_size: {
                record.trial.seed: value
                for record in cell.ended_well
                if (value := record.final(split, self.metric)) is not None
            }
            for cell in self.cells
        }
        return self._of_metric(by_batch_size, split)

    def gaps(self, split: Split) -> Measured:
        """Train metric less that of `split` after equal epochs; the smaller overfit is better.

        Ahead in training means a gap above 0 for a metric that goes up, below 0 for one that goes
        down.
        """
        train, held_out = self.at_end("train").by_batch_size, self.at_end(split).by_batch_size
        by_batch_size = {
            cell.batch_size: {
                seed: value - held_out[cell.batch_size][seed]
                for seed, value in train[cell.batch_size].items()
                if seed in held_out[cell.batch_size]
            }
            for cell in self.cells
        }
        return Measured.of(
            by_batch_size,
            metric="generalization_gap",
            n_examples=self._n_examples(split),
            better="lower" if self.better == "higher" else "higher",
            tolerance=self.tolerance,
        )

    def _of_metric(self, by_batch_size: Mapping[int, Seeds], split: Split) -> Measured:
        return Measured.of(
            by_batch_size,
            metric=self.metric,
            n_examples=self._n_examples(split),
            better=self.better,
            tolerance=self.tolerance,
        )

    def _n_examples(self, split: Split) -> int:
        workload = self.study.workload
        return {
            "train": workload.n_train_evaluated,
            "validation": workload.n_validation or 0,
            "test": workload.n_test,
        }[split]

    def ranked(self, measured: Measured) -> list[Cell]:
        """The cells with a known value, the best mean first."""
        levels = [
            (level, cell) for cell in self.cells if (level := measured.level(cell)) is not None
        ]
        best_first = sorted(levels, key=itemgetter(0), reverse=self.better == "higher")
        return [cell for _, cell in best_first]

    def level_text(self, cell: Cell, level: float | None) -> str:
        """A value of the metric that counts and whose it is: "0.97 at batch size 64"."""
        value = quantity_text(self.metric, level)
        return text("{value} at {size}", value=value, size=self.name(cell))

    def name(self, cell: Cell) -> str:
        """A batch size in words."""
        return batch_text(self.study, cell.batch_size)


Standing = Literal["clear", "tied", "no_interval"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """A batch size beside the leader.

    Attributes:
        cell: its trials.
        level: its mean.
        comparison: the leader against it.
    """

    cell: Cell
    level: float
    comparison: Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Who leads under one budget.

    Attributes:
        budget: what is equal.
        leader: the cell with the best mean.
        level: that mean.
        others: the other batch sizes, the best first.
    """

    budget: EqualBudget
    leader: Cell
    level: float
    others: tuple[Behind, ...]

    @classmethod
    def of(cls, evidence: Evidence, budget: EqualBudget) -> Race | None:
        """Hold the best mean against all others; None where fewer than two have one.

        The best of many is always ahead of some, so each interval is as wide as it takes for all
        of them to hold together.
        """
        measured = evidence.measured(budget, budget_split(evidence.study))
        ranked = [(cell, measured.level(cell)) for cell in evidence.ranked(measured)]
        known = [(cell, level) for cell, level in ranked if level is not None]
        if len(known) < 2:
            return None
        (leader, best), *others = known
        return cls(
            budget=budget,
            leader=leader,
            level=best,
            others=tuple(
                Behind(
                    cell=cell,
                    level=level,
                    comparison=measured.compare(leader, cell, n_comparisons=len(others)),
                )
                for cell, level in others
            ),
        )

    @property
    def standing(self) -> Standing:
        """Whether the leader is better than every other; one seed each tells nothing."""
        if all(other.comparison.missing is not None for other in self.others):
            return "no_interval"
        return "tied" if self.rivals else "clear"

    @property
    def rivals(self) -> tuple[int, ...]:
        """The batch sizes that may be as good, ascending."""
        return tuple(
            sorted(
                other.cell.batch_size
                for other in self.others
                if other.comparison.outcome != "better"
            )
        )


def races(evidence: Evidence) -> tuple[Race, ...]:
    """The race under every equal budget that exists, epochs first."""
    found = (Race.of(evidence, budget) for budget in evidence.budgets)
    return tuple(race for race in found if race is not None)


_TOPIC = "held-out examples"
_AHEAD = "is right more often than {sizes}"
_BEHIND = "is right less often than {sizes}"
_ALIKE = "cannot be told from {sizes}"
_SHARE = "percent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """The best batch size on validation data beside each other one, on the same held-out examples.

    Attributes:
        best: the best on validation data.
        split: the examples are of.
        n: how many examples.
        more: of each other batch size, the share of examples that `best` is right about beyond
            it, with its interval; below zero it is behind.
    """

    best: Cell
    split: Split
    n: int
    more: Mapping[int, Estimate]

    @classmethod
    def of(cls, evidence: Evidence) -> Paired | None:
        """Every batch size on test data beside the best on validation data; None without these."""
        split = held_out_split(evidence.study)
        # Of the data by which the best is chosen it looks better than it is.
        if split is None or split == deciding_split(evidence.study) or len(evidence.cells) < 2:
            return None
        ranked = evidence.ranked(evidence.final(deciding_split(evidence.study)))
        if not ranked:
            return None
        best = ranked[0]
        right = {cell.batch_size: _right(cell, split, evidence.metric) for cell in evidence.cells}
        others = [cell for cell in evidence.cells if cell is not best]
        # So that all intervals hold together 95 times in 100.
        confidence = 1 - 0.05 / len(others)
        more = {
            cell.batch_size: paired_difference(
                right[best.batch_size], right[cell.batch_size], confidence=confidence
            )
            for cell in others
            if _are_alike([*right[best.batch_size], *right[cell.batch_size]])
        }
        known = {size: each for size, each in more.items() if each.low is not None}
        if not known:
            return None
        return cls(best=best, split=split, n=next(iter(known.values())).n, more=known)


def paired_sentences(evidence: Evidence) -> Iterator[Sentence]:
    """Which batch sizes the best one is told apart from; none where that is not known."""
    paired = Paired.of(evidence)
    if paired is None:
        return
    ahead = [size for size, each in paired.more.items() if (each.low or 0.0) > 0]
    behind = [size for size, each in paired.more.items() if (each.high or 0.0) < 0]
    alike = [size for size in paired.more if size not in (*ahead, *behind)]
    found = [
        text(words, sizes=batch_sizes_text(evidence.study, sizes))
        for words, sizes in ((_AHEAD, ahead), (_BEHIND, behind), (_ALIKE, alike))
        if sizes
    ]
    yield Sentence(
        topic=_TOPIC,
        text=text(
            "On the same {n:,} {split} examples, {best} (the best on {chosen_on} data) {found}.",
            n=paired.n,
            split=term_text(paired.split),
            best=evidence.name(paired.best),
            chosen_on=term_text(deciding_split(evidence.study)),
            found="; ".join(found),
        ),
    )


def paired_table(evidence: Evidence) -> Table:
    """How many more of the same examples the best one is right about; no rows: not known."""
    paired = Paired.of(evidence)
    more = {} if paired is None else paired.more
    return Table(
        caption=text(
            "How many more of the same examples the best one is right about than another; the "
            "intervals (95 %) hold for other seeds and examples too"
        ),
        columns=(
            Column(key="batch_size", quantity="batch", label=text("than")),
            Column(key="more", quantity="batch", label=text("more right")),
            Column(key="low", quantity="batch", label=text("at least")),
            Column(key="high", quantity="batch", label=text("at most")),
        ),
        rows=tuple(
            (
                batch_text(evidence.study, size),
                *(number_text(value, _SHARE) for value in (each.estimate, each.low, each.high)),
            )
            for size, each in more.items()
        ),
    )


def _right(cell: Cell, split: Split, metric: str) -> list[Right]:
    """Which examples each seed was right about at its end; those without are left out."""
    return [
        score.right.right
        for record in cell.ended_well
        for score in record.evaluations[-1].scores
        if (score.split, score.metric) == (split, metric) and score.right is not None
    ]


def _are_alike(rights: list[Right]) -> bool:
    """Whether all were asked about as many examples."""
    return len({len(right) for right in rights}) == 1


# The margin in tolerances: 0.01 of an accuracy, 5 % of a held-out loss. A held-out difference below
# it would be no claim that people make; a training fit within it explains no larger one.
_TOLERANCES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFit:
    """Which batch sizes fit their training data alike after equal epochs.

    Attributes:
        alike: the cells within the margin of the best fit, that one included.
        others: the cells beyond it.
        begun: whether the best fit is clearly better than the untrained models' mean; True where
            that is not known.
        metric: the training metric in words.
        best: its best value, and of which cell, in words.
        worst: its worst, likewise.
        margin: the difference beyond which two fits are not alike, in words.
    """

    alike: tuple[Cell, ...]
    others: tuple[Cell, ...]
    begun: bool
    metric: str
    best: str
    worst: str
    margin: str

    @classmethod
    def of(cls, evidence: Evidence) -> TrainingFit | None:
        """The training fit of the compared cells; None where the train metric is not known."""
        measured = evidence.at_end("train")
        levels = [
            (cell, level) for cell in evidence.cells if (level := measured.level(cell)) is not None
        ]
        if not levels:
            return None
        choose = max if evidence.better == "higher" else min
        first, best = choose(levels, key=lambda found: found[1])
        last, worst = max(levels, key=lambda found: abs(found[1] - best))
        margin = _TOLERANCES * evidence.tolerance
        alike = tuple(cell for cell, level in levels if abs(level - best) <= margin)
        return cls(
            alike=alike,
            others=tuple(cell for cell in evidence.cells if cell not in alike),
            begun=_begun(evidence, best),
            metric=metric_text("train", evidence.metric),
            best=evidence.level_text(first, best),
            worst=evidence.level_text(last, worst),
            margin=quantity_text(evidence.metric, margin),
        )

    def why_not_tested(self, evidence: Evidence) -> str:
        """Why no two batch sizes can be compared, with the numbers."""
        budget = evidence.budgets[0].words
        if not self.begun:
            return text(
                "Little has been learned yet: in {budget} the best {metric} is {best}, hardly "
                "better than before training. More epochs or a higher learning rate would tell.",
                budget=budget,
                metric=self.metric,
                best=self.best,
            )
        return text(
            "Some have trained further than others: in {budget} {metric} is {best}, but {worst}, "
            "more than {margin} apart. More epochs, or a tuned rate for each, would tell.",
            budget=budget,
            metric=self.metric,
            best=self.best,
            worst=self.worst,
            margin=self.margin,
        )

    def left_out(self, evidence: Evidence) -> str | None:
        """Which batch sizes are left out and why; None where none is."""
        if not self.others:
            return None
        return text(
            "Left out: {sizes}, whose {metric} is more than {margin} off the best. That shows how "
            "far training got, not how it generalizes.",
            sizes=batch_sizes_text(evidence.study, [cell.batch_size for cell in self.others]),
            metric=self.metric,
            margin=self.margin,
        )


def _begun(evidence: Evidence, best: float) -> bool:
    untrained = [
        value
        for cell in evidence.cells
        for record in cell.ended_well
        for at, value in record.curve("train", evidence.metric)
        if at.step == 0
    ]
    gained = best - fmean(untrained) if untrained else math.inf
    return abs(gained) > STARTED_DELTAS * evidence.tolerance
