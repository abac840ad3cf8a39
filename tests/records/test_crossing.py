"""Crossing: where a target was met to stay, against the definition read word for word."""

from dataclasses import replace
from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.made_up import made_up_evaluation, made_up_record

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Crossing, Evaluation, Status, Target, crossing_of

TARGET = Target(metric="accuracy", value=0.9, better="higher")
FIRST_TOUCH = replace(TARGET, held_for=0.0)


def evaluations(*points: tuple[int, float | None]) -> tuple[Evaluation, ...]:
    """One evaluation per (samples, accuracy); a step has ten examples."""
    return tuple(made_up_evaluation(n // 10, value, batch_size=10) for n, value in points)


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


# ---- estimates hold what their bounds do not exclude; reasons come back as they went


WHY = Reason.of("why")


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ((1.0, 3.0), (1.0, 3.0), (0.99, 3.01)),
        ((None, 3.0), (-1e9,), (3.01,)),
        ((1.0, None), (1e9,), (0.99,)),
        ((None, None), (0.0,), ()),
    ],
)
def test_a_bound_that_cannot_be_told_excludes_nothing(interval, inside, outside):
    estimate = Estimate.of(2.0, interval=interval, n=5)

    assert all(map(estimate.holds, inside))
    assert not any(map(estimate.holds, outside))


def test_an_interval_whose_ends_tell_nothing_is_too_wide():
    # The last: a step of 0.05 µs to 79.5 h.
    wide = ((1.0, 100.0), (0.0, 5.0), (4.64e-8, 286_200.0))
    told = ((1.0, 99.0), (-1.0, 5.0), (None, 5.0))  # a quantity below 0 may end at 0

    for intervals in (wide, told):
        found = [Estimate.of(1.0, interval=each, n=2).is_too_wide for each in intervals]
        assert found == [intervals is wide] * 3


def test_what_cannot_be_told_has_its_bound_in_the_new_unit_too():
    known = Estimate.of(2.0, interval=(1.0, 4.0), n=5)

    assert known.times(3.0) == Estimate.of(6.0, interval=(3.0, 12.0), n=5)
    halved = Estimate.cannot_tell(WHY, low=2.0, n=3).times(0.5)
    assert halved == Estimate.cannot_tell(WHY, low=1.0, n=3)


def test_a_reason_comes_back_from_json_as_it_went():
    quoted = Reason.of("inner", text="a “quoted” text", n=3, share=0.5, met=True, unknown=None)
    reason = Reason.of("outer", why=quoted, sizes=[16, 32], whys=(quoted, Reason("bare")), x=3.0)

    back = msgspec.json.decode(msgspec.json.encode(reason), type=Reason)

    assert (back, hash(back)) == (reason, hash(reason))
    assert [type(each) for each in (back.named["x"], *back.named["sizes"])] == [float, int, int]


def test_reasons_are_the_same_by_code_and_values_in_any_order_and_hold_plain_ones():
    assert Reason.of("code", a=1, b=2) == Reason.of("code", b=2, a=1)
    assert len({Reason.of("code", a=1), Reason.of("code", a=2), Reason.of("other", a=1)}) == 3
    with pytest.raises(TypeError, match="object"):
        Reason.of("code", thing=object())
