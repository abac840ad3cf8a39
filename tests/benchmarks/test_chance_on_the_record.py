from __future__ import annotations

import statistics

import pytest
from benchmarks.regret.chance import (
    Judged,
    brier,
    by_workload,
    fitted,
    judged,
    prior_after_worse,
    reliability,
    scaled_ends,
    scaled_priors,
)

from batchlab.advice.chance import AFTER_WORSE, LIKELY, LOG_ODDS, NO_END_SEEN, SCALED, SCALED_UNSEEN


@pytest.fixture(scope="module")
def answers() -> list[Judged]:
    return judged()


def test_what_answers_say_of_their_chance_is_what_the_record_gives(answers: list[Judged]) -> None:
    assert fitted(answers) == (NO_END_SEEN, LOG_ODDS, SCALED_UNSEEN)


def test_on_workloads_left_out_so_many_were_right_as_was_said(answers: list[Judged]) -> None:
    for low, some in reliability([each for each in answers if each.seen is not None]):
        said = statistics.fmean(each.chance for each in some)
        were = statistics.fmean(each.is_no_worse for each in some)
        # A first guess is told less well: few workloads have many of them.
        assert abs(said - were) <= (0.05 if low >= LIKELY else 0.08)


def test_where_no_end_was_seen_it_is_right_of_workloads_not_of_answers(
    answers: list[Judged],
) -> None:
    """Answers that lie far from the end are many where it is far off, and right there."""
    unseen = [each for each in answers if each.seen is None and each.scaled is None]

    assert abs(by_workload(unseen) - statistics.fmean(each.chance for each in unseen)) <= 0.05
    assert statistics.fmean(each.is_no_worse for each in unseen) > NO_END_SEEN


def test_it_tells_more_than_the_base_rate(answers: list[Judged]) -> None:
    said, base = brier(answers)

    assert said < 0.8 * base


def test_what_scaled_steps_end_with_is_what_the_record_gives() -> None:
    ends = scaled_ends()

    assert (scaled_priors(ends), prior_after_worse(ends)) == (SCALED, AFTER_WORSE)
