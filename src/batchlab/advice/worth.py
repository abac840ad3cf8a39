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
    Worth(trainings=0.0, n_answers=345, n_workloads=9, n_good=5, slower=0.0, ends_worse=0.0),
    Worth(trainings=1.0, n_answers=430, n_workloads=14, n_good=6, slower=0.016, ends_worse=0.07),
    Worth(trainings=3.0, n_answers=300, n_workloads=13, n_good=8, slower=0.013, ends_worse=0.137),
    Worth(trainings=6.0, n_answers=260, n_workloads=11, n_good=7, slower=0.0, ends_worse=0.108),
    Worth(trainings=10.0, n_answers=232, n_workloads=14, n_good=11, slower=0.009, ends_worse=0.069),
    Worth(trainings=20.0, n_answers=238, n_workloads=14, n_good=10, slower=0.004, ends_worse=0.101),
    Worth(trainings=40.0, n_answers=371, n_workloads=11, n_good=7, slower=0.075, ends_worse=0.275),
)
RECOMMENDED: tuple[Worth, ...] = (
    Worth(trainings=10.0, n_answers=83, n_workloads=9, n_good=4, slower=0.024, ends_worse=0.0),
    Worth(trainings=20.0, n_answers=82, n_workloads=9, n_good=6, slower=0.085, ends_worse=0.012),
    Worth(trainings=40.0, n_answers=94, n_workloads=8, n_good=6, slower=0.149, ends_worse=0.0),
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
