"""Evidence: the metric of each batch size of a sweep, at the end and after equal budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from statistics import fmean

from batchlab.belief.cell_means import CellMeans
from batchlab.belief.cells import Cell, budget_split, chosen_cells, final_gap, has_plans, in_order
from batchlab.belief.equal_budget import NAMES, EqualBudget, equal_budget
from batchlab.belief.final_value import end_errors, final_of
from batchlab.belief.margin import margin_of
from batchlab.belief.statements import Array, as_good
from batchlab.laws.mean import known
from batchlab.laws.plateau import default_delta
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.records.run import Kind
from batchlab.records.study import Study
from batchlab.records.trial import Split, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The deciding metric of each batch size and plan, at the end or after equal budgets."""

    study: Study
    split: Split
    is_gap: bool = False  # True if the values are gaps: train metric minus metric on `split`.
    # The equal budget at which values are compared; None if they are compared at the end of each
    # training.
    budget: EqualBudget | None = None
    cells: tuple[Cell, ...]
    means: CellMeans  # the mean over seeds of each of `cells`, in the same order
    better: Better
    margin: float  # a value that is worse by up to this counts as no worse; >= 0

    @property
    def _kinds(self) -> list[Kind]:
        return [cell.kind for cell in self.cells]

    def _place(self, cell: Cell) -> int:
        return self._kinds.index(cell.kind)

    def values(self, cell: Cell) -> Sequence[float]:
        """Return the known values of one of `cells`, one per seed."""
        return self.means.cells[self._place(cell)]

    def level(self, cell: Cell) -> float:
        """Return the mean of a cell's values over seeds; the cell must have at least one value."""
        return fmean(self.values(cell))

    def mean(self, cell: Cell) -> Estimate:
        """Return the mean of a cell with its interval, or unknown if no trial ended well."""
        if cell.kind not in self._kinds:
            return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
        return self.means.mean(self._place(cell))

    def difference(self, first: Cell, second: Cell) -> Estimate:
        """Return how much better the first cell's mean is than the second's; negative if worse."""
        if self.better == "lower":
            first, second = second, first
        return self.means.difference(self._place(first), self._place(second))

    def draws(self, cells: Sequence[Cell]) -> Array | None:
        """Return joint random draws of the means of `cells`, negated if lower is better.

        The shape is (n_draws, cells). The result is None if the variance over seeds is unknown.
        """
        if self.means.draws is None:
            return None
        draws = self.means.draws[:, [*map(self._place, cells)]]
        return draws if self.better == "higher" else -draws

    @property
    def ranked(self) -> list[Cell]:
        """The cells with at least one value, sorted by mean, the best first."""
        measured = filter(self.values, self.cells)
        return sorted(measured, key=self.level, reverse=self.better == "higher")

    @property
    def rivals(self) -> tuple[Kind, ...] | None:
        """Batch sizes and plans that may be as good as the best; None if that is unknown."""
        ranked = self.ranked
        draws = self.draws(ranked)
        if draws is None:
            return None
        others = in_order(map(ranked.__getitem__, as_good(draws, self.margin)))
        return tuple(cell.kind for cell in others)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The measurements from which the statements about a sweep are derived."""

    study: Study
    # The best cell of each batch size and plan. Cells without a trial that ended well are left out.
    cells: tuple[Cell, ...]
    budgets: tuple[EqualBudget, ...]  # Trials are compared at these; equal epochs is first.

    @classmethod
    @lru_cache(maxsize=1)
    def of(cls, study: Study) -> Evidence:
        """Choose the best configuration per batch size, and equal budgets to compare them at."""
        cells = tuple(cell for cell in chosen_cells(study) if cell.ended_well)
        records = [record for cell in cells for record in cell.ended_well]
        # A plan changes settings during a trial, so its trials can be compared only at their end.
        # The ends of all trials have equal epochs, but not equal steps or seconds. So with plans,
        # epochs are the only equal budget.
        names = NAMES[:1] if has_plans(cells) else NAMES
        budgets = (equal_budget(study, records, name) for name in names)
        return cls(study=study, cells=cells, budgets=tuple(filter(None, budgets)))

    @property
    def _ended_well(self) -> list[TrialRecord]:
        return [record for cell in self.cells for record in cell.ended_well]

    @cached_property
    def of_sizes(self) -> Evidence:
        """The evidence from the trials without a plan that changes batch size or rate."""
        if not has_plans(self.cells):
            return self
        constant = tuple(r for r in self.study.records if not r.trial.stages)
        return Evidence.of(replace(self.study, records=constant))

    @property
    def metric(self) -> str:
        """The name of the deciding metric, which is the first metric of the workload."""
        return self.study.workload.metrics[0].name

    @property
    def better(self) -> Better:
        """Whether "higher" or "lower" values of the deciding metric are better."""
        return self.study.workload.metrics[0].better

    @property
    def improvement(self) -> float:
        """The least change of the metric that the plateau rule counts as an improvement."""
        finals = self._finals
        return default_delta(self.metric, finals) if finals else 0.0

    @cached_property
    def margin(self) -> float:
        """How much worse than the best mean a cell's mean may be and still count as no worse."""
        split, finals = budget_split(self.study), self._finals
        if self.study.margin is not None or not finals:
            return self.study.margin or 0.0
        best = max(finals) if self.better == "higher" else min(finals)
        untrained = self.untrained(split)
        return margin_of(
            best,
            metric=self.metric,
            better=self.better,
            untrained=fmean(untrained) if untrained else None,
            n_examples=self.study.workload.n_evaluated(split),
        )

    @cached_property
    def _finals(self) -> list[float]:
        split = budget_split(self.study)
        finals = [cell.final(self.study, split) for cell in self.cells]
        return [*map(fmean, filter(None, finals))]

    def untrained(self, split: Split) -> list[float]:
        """Return the metric before the first step, if known, of each trial that ended well."""
        curves = [record.curve(split, self.metric) for record in self._ended_well]
        return [value for at, value in chain(*curves) if at.step == 0]

    def ends(self, split: Split, budget: EqualBudget | None = None) -> Measured:
        """Return each cell's final values; with `budget`, as if trials had stopped at it."""

        def end(record: TrialRecord) -> float | None:
            if budget is not None:
                return budget.end(record, split)
            return final_of(record, split, self.metric, self.better)

        errors = []
        if split == "validation":
            errors = end_errors(self._ended_well, self.metric)
        means = CellMeans.of(
            self._values(end),
            metric=self.metric,
            better=self.better,
            n_examples=self.study.workload.n_evaluated(split),
            end_errors=errors,
        )
        return Measured(
            study=self.study,
            split=split,
            budget=budget,
            cells=self.cells,
            means=means,
            better=self.better,
            margin=self.margin,
        )

    @cached_property
    def by_budget(self) -> Mapping[str, Measured]:
        """Each cell's final values for each equal budget, by the budget's name.

        Budgets at which fewer than two cells have a value are left out.
        """
        split = budget_split(self.study)
        by_budget = {}
        for budget in self.budgets:
            ends = self.ends(split, budget)
            if len(ends.ranked) > 1:
                by_budget[budget.name] = ends
        return by_budget

    def gaps(self, held_out: Split, budget: EqualBudget | None = None) -> Measured:
        """Return each cell's gap (train minus held-out metric), at the end or at a budget.

        Less overfitting is better. If higher metrics are better, that means a smaller gap. If lower
        metrics are better, overfitting makes the gap negative, so a larger gap is better.
        """

        def gap(record: TrialRecord) -> float | None:
            if budget is None:
                return final_gap(record, held_out, self.metric)
            train, other = budget.value(record, "train"), budget.value(record, held_out)
            if train is None or other is None:
                return None
            return train - other

        ends = self.ends(held_out, budget)
        return replace(
            ends,
            is_gap=True,
            means=ends.means.of_gaps(self._values(gap)),
            better="lower" if self.better == "higher" else "higher",
        )

    def _values(self, value: Callable[[TrialRecord], float | None]) -> list[list[float]]:
        """Apply `value` to each cell's trials that ended well, and leave out unknown results."""
        return [known(map(value, cell.ended_well)) for cell in self.cells]
