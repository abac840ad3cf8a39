"""Worth: what answers with so much budget came to on the record, to be told beside a new one."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What the answers with about so much budget came to.

    Attributes:
        trainings: the least budget, in whole trainings of the reference without their evaluations.
        n_answers: how many answers.
        n_workloads: to how many recorded workloads.
        n_good: on so many of these most answers took at most 20 % longer to the level than the
            best, and ended no worse than the reference as it is.
        slower: the share that took longer than the reference as it is.
        ends_worse: the share that ended worse than that by more than the margin.
    """

    trainings: float
    n_answers: int
    n_workloads: int
    n_good: int
    slower: float
    ends_worse: float


# `python -m benchmarks.regret.worth` prints these rows, from the answers of the second record.
NAMED_FOR_NOW: tuple[Worth, ...] = (
    Worth(trainings=0.0, n_answers=690, n_workloads=9, n_good=5, slower=0.0, ends_worse=0.0),
    Worth(trainings=1.0, n_answers=860, n_workloads=14, n_good=6, slower=0.023, ends_worse=0.072),
    Worth(trainings=3.0, n_answers=600, n_workloads=13, n_good=7, slower=0.02, ends_worse=0.118),
    Worth(trainings=6.0, n_answers=520, n_workloads=11, n_good=7, slower=0.01, ends_worse=0.083),
    Worth(trainings=10.0, n_answers=282, n_workloads=12, n_good=8, slower=0.025, ends_worse=0.121),
    Worth(trainings=20.0, n_answers=220, n_workloads=11, n_good=7, slower=0.036, ends_worse=0.291),
    Worth(trainings=40.0, n_answers=590, n_workloads=10, n_good=6, slower=0.069, ends_worse=0.353),
)
RECOMMENDED: tuple[Worth, ...] = (
    Worth(trainings=10.0, n_answers=349, n_workloads=10, n_good=7, slower=0.009, ends_worse=0.0),
    Worth(trainings=20.0, n_answers=416, n_workloads=11, n_good=9, slower=0.017, ends_worse=0.005),
    Worth(trainings=40.0, n_answers=328, n_workloads=8, n_good=6, slower=0.043, ends_worse=0.0),
)


def worth_of(trainings: float, *, is_recommended: bool) -> Reason | None:
    """What is known of answers like this one."""
    rows = RECOMMENDED if is_recommended else NAMED_FOR_NOW
    reached = [row for row in rows if row.trainings <= trainings]
    if not reached:
        return None
    row = reached[-1]
    return Reason.of(
        "worth_on_the_record",
        trainings=trainings,
        good=row.n_good,
        n=row.n_workloads,
        slower=row.slower,
        worse=row.ends_worse,
    )
