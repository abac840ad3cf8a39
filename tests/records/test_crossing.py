"""Crossing: where a target was met to stay, against the definition read word for word."""

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.made_up import made_up_record

from batchlab.records.trial import Crossing, Evaluation, Score, Status, Target, crossing_of

TARGET = Target(metric="accuracy", value=0.9, better="higher")
FIRST_TOUCH = replace(TARGET, held_for=0.0)


def evaluations(*points: tuple[int, float | None]) -> tuple[Evaluation, ...]:
    """One evaluation per (samples, accuracy); a step has ten examples."""
    return tuple(
        Evaluation(
            step=samples // 10,
            samples=samples,
            train_s=0.0,
            eval_s=0.0,
            batch_loss=None,
            scores=(Score(split="validation", metric="accuracy", value=value),),
        )
        for samples, value in points
    )


def by_definition(points: list[tuple[int, float]], target: Target) -> tuple[int, int | None] | None:
    """The first evaluation that met it, as did all until a tenth more examples; and that one."""
    for n, (samples, _) in enumerate(points):
        later = points[n:]
        until = [s for s, _ in later[1:] if s - samples >= target.held_for * samples]
        watched = [v for s, v in later if not until or s <= until[0]]
        if all(target.met_by(value) for value in watched):
            return samples, until[0] if until else None
    return None


@given(
    gaps=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    values=st.lists(st.sampled_from([0.85, 0.9, 0.95]), min_size=30, max_size=30),
    held_for=st.sampled_from([0.05, 0.1, 0.5]),
)
def test_it_is_what_the_definition_says(gaps, values, held_for):
    samples = [10 * total for total in accumulate(gaps)]
    points = list(zip(samples, values[: len(samples)], strict=True))
    target = replace(TARGET, held_for=held_for)

    crossing = crossing_of(evaluations(*points), target)

    assert (crossing is None) is (by_definition(points, target) is None)
    if crossing is not None:
        held = crossing.held_until_step
        places = crossing.samples, None if held is None else 10 * held
        assert places == by_definition(points, target)


def test_a_touch_that_does_not_last_is_not_where_it_was_met():
    curve = evaluations((100, 0.8), (200, 0.91), (210, 0.88), (300, 0.92), (320, 0.93), (330, 0.9))

    crossing, touch = crossing_of(curve, TARGET), crossing_of(curve, FIRST_TOUCH)

    assert crossing == Crossing(after_step=21, step=30, samples=300, held_until_step=33)
    assert touch == Crossing(after_step=10, step=20, samples=200, held_until_step=21)


@pytest.mark.parametrize(
    ("status", "until", "met"),
    [(Status.OK, 205, True), (Status.DIVERGED, 205, False), (Status.DIVERGED, 230, True)],
)
def test_a_run_that_ended_badly_before_the_target_had_held_has_not_met_it(status, until, met):
    curve = evaluations((100, 0.8), (200, 0.91), (until, 0.92))
    record = replace(made_up_record(), status=status, evaluations=curve)

    crossing = crossing_of(curve, TARGET)

    assert (record.crossing(TARGET) is not None) is met
    assert (crossing.step, crossing.held) == (20, until == 230)
    assert not crossing.would_hold_at(219, TARGET)
    assert crossing.would_hold_at(220, TARGET)


def test_a_value_that_is_not_a_number_does_not_meet_a_level_and_one_not_evaluated_says_nothing():
    broken = evaluations((100, 0.5), (200, 0.95), (210, None), (300, 0.95), (340, 0.95))
    unseen = (*broken[:2], replace(broken[2], scores=()), *broken[3:])

    met_late, met_early = crossing_of(broken, TARGET), crossing_of(unseen, TARGET)

    assert (met_late.samples, met_late.after_step) == (300, 21)
    assert met_early.samples == 200
