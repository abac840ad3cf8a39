"""GroupFit: the law of one group of points, its batch sizes, and the powers across groups."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.fitting.points_file import Point
from batchlab.laws.power_law import PowerLawFit
from batchlab.laws.steps_law import FittedLaw
from batchlab.laws.steps_to_target import StepsToTargetFit
from batchlab.records.estimate import Estimate

METHOD = (
    "least squares on log steps; 95 % intervals from joint draws with the scatter of the seeds "
    "pooled over batch sizes"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizeSummary:
    """One batch size of a group, at the learning rate that was chosen for it.

    Attributes:
        batch_size: examples per step.
        n: runs at that rate.
        n_reached: those that reached the target.
        learning_rate: the rate chosen, None where the points have none.
        rate_at_edge: whether it is the smallest or largest of several tried.
        steps_to_target: geometric mean over the runs, None where one did not get there.
        fitted_steps: the law's, None where it does not hold.
        step_s: median seconds per step, None where not known.
        time_to_target_s: their product, None where either is not known.
    """

    batch_size: int
    n: int
    n_reached: int
    learning_rate: float | None
    rate_at_edge: bool
    steps_to_target: float | None
    fitted_steps: float | None
    step_s: float | None
    time_to_target_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupFit:
    """The law of one group.

    Attributes:
        group: value by grouping column, as written; empty without grouping.
        points: the runs that were used, at the rates chosen.
        fit: the law that decisions use.
        laws: every law of the registry fitted to these runs, that one first.
        batch_at_overhead: the largest batch size within the overhead.
        reference_batch_size: what the overhead is counted from.
        batch_sizes: one summary a batch size, ascending.
    """

    group: tuple[tuple[str, str], ...]
    points: tuple[Point, ...]
    fit: StepsToTargetFit
    laws: tuple[FittedLaw, ...]
    batch_at_overhead: Estimate
    reference_batch_size: float
    batch_sizes: tuple[BatchSizeSummary, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AcrossFit:
    """A power law of one quantity over a grouping column.

    Attributes:
        quantity: "b_crit" or "batch_at_overhead".
        column: the column that it goes over.
        group: value by the other grouping columns.
        law: the power law through the groups where the quantity is known.
        left_out: groups where it is not.
    """

    quantity: str
    column: str
    group: tuple[tuple[str, str], ...]
    law: PowerLawFit
    left_out: int
