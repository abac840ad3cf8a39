"""Measured: one metric of every compared batch size in one place, by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.scatter import PooledCells
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.comparison import Comparison, Seeds


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
