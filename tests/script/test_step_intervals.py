"""Step times from the moments at which a script told of its steps."""

from __future__ import annotations

import statistics

import pytest

from batchlab.script.follow import Moment, step_intervals

STEP_S, EVALUATION_S = 0.002, 0.5


def moments(
    *, n: int, every: int, evaluate_every: int = 0, late_s: float = 0.0, step_s: float = STEP_S
) -> list[Moment]:
    """Of a script whose steps take the same and that evaluates now and then."""
    found, at_s = [], 0.0
    for step in range(1, n + 1):
        at_s += step_s
        is_evaluated = bool(evaluate_every) and step % evaluate_every == 0
        at_s += EVALUATION_S if is_evaluated else 0.0
        if step % every == 0 or is_evaluated:
            seen_s = at_s if not late_s else -(-at_s // late_s) * late_s
            found.append(
                Moment(at_s=seen_s, step=step, has_metric=is_evaluated, resolution_s=late_s)
            )
    return found


def test_steps_are_timed_without_the_evaluations_between_them() -> None:
    found = step_intervals(moments(n=1000, every=10, evaluate_every=100))

    assert not found.with_evaluations
    assert found.is_enough
    assert statistics.median(found.step_s) == pytest.approx(STEP_S)


def test_where_only_evaluations_are_told_the_time_holds_them_and_says_so() -> None:
    found = step_intervals(moments(n=1000, every=100, evaluate_every=100))

    assert found.with_evaluations
    assert statistics.median(found.step_s) == pytest.approx(STEP_S + EVALUATION_S / 100)


def test_an_evaluation_told_after_its_step_does_not_count_as_steps() -> None:
    told = []
    for step in range(10, 400, 10):
        told.append(Moment(at_s=step * 0.05, step=step, has_metric=False))
    told.insert(5, Moment(at_s=50 * 0.05 + 0.4, step=50, has_metric=True))

    found = step_intervals(told)

    assert statistics.median(found.step_s) == pytest.approx(0.05)
    assert not found.with_evaluations


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 3, 17])
def test_a_late_clock_makes_the_time_of_a_step_no_longer(every: int) -> None:
    found = step_intervals(moments(n=30_000, every=every, late_s=0.01, step_s=0.0003))

    # A stretch of 0.2 s has two ends that are late by 0.01 s at most.
    assert statistics.median(found.step_s) == pytest.approx(0.0003, rel=0.1)
    assert statistics.mean(found.step_s) == pytest.approx(0.0003, rel=0.02)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_little_is_not_enough(n: int) -> None:
    assert not step_intervals(moments(n=10 * n, every=10)).is_enough
