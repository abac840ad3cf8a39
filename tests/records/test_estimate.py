"""Estimates hold what their bounds do not exclude; reasons come back as they went."""

import msgspec
import pytest

from batchlab.records.estimate import Estimate, Reason


@pytest.mark.parametrize(
    ("interval", "value", "held"),
    [
        ((1.0, 3.0), 1.0, True),
        ((1.0, 3.0), 3.0, True),
        ((1.0, 3.0), 0.99, False),
        ((1.0, 3.0), 3.01, False),
        ((None, 3.0), -1e9, True),
        ((None, 3.0), 3.01, False),
        ((1.0, None), 1e9, True),
        ((1.0, None), 0.99, False),
        ((None, None), 0.0, True),
    ],
)
def test_a_bound_that_cannot_be_told_excludes_nothing(
    interval: tuple[float | None, float | None], value: float, held: bool
) -> None:
    assert Estimate.of(2.0, interval=interval, n=5).holds(value) is held


@pytest.mark.parametrize(
    ("interval", "is_too_wide"),
    [
        ((1.0, 99.0), False),
        ((1.0, 100.0), True),
        ((0.0, 5.0), True),
        ((4.64e-8, 286_200.0), True),  # a step of 0.05 µs to 79.5 h
        ((-1.0, 5.0), False),  # no quantity above 0
        ((None, 5.0), False),
    ],
)
def test_an_interval_whose_ends_tell_nothing_is_too_wide(
    interval: tuple[float | None, float | None], is_too_wide: bool
) -> None:
    assert Estimate.of(1.0, interval=interval, n=2).is_too_wide is is_too_wide


def test_what_cannot_be_told_has_its_bound_in_the_new_unit_too() -> None:
    why = Reason.of("why")

    assert Estimate.of(2.0, interval=(1.0, 4.0), n=5).times(3.0) == Estimate.of(
        6.0, interval=(3.0, 12.0), n=5
    )
    assert Estimate.cannot_tell(why, low=2.0, n=3).times(0.5) == Estimate.cannot_tell(
        why, low=1.0, n=3
    )


QUOTED = Reason.of("inner", text="a “quoted” text", n=3, share=0.5, met=True, unknown=None)
REASON = Reason.of("outer", why=QUOTED, sizes=[16, 32], whys=(QUOTED, Reason("bare")))


def test_a_reason_comes_back_from_json_as_it_went() -> None:
    back = msgspec.json.decode(msgspec.json.encode(REASON), type=Reason)

    assert back == REASON
    assert hash(back) == hash(REASON)


def test_the_order_in_which_values_are_given_makes_no_difference() -> None:
    assert Reason.of("code", a=1, b=2) == Reason.of("code", b=2, a=1)
    assert Reason.of("code", a=1) != Reason.of("code", a=2)
    assert Reason.of("code", a=1) != Reason.of("other", a=1)


def test_a_whole_number_stays_whole_in_json() -> None:
    whole, real = Reason.of("code", x=3), Reason.of("code", x=3.0)

    texts = [msgspec.json.encode(reason) for reason in (whole, real)]

    kinds = [type(msgspec.json.decode(text, type=Reason).named["x"]) for text in texts]
    assert kinds == [int, float]


def test_a_value_that_is_no_plain_value_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        Reason.of("code", thing=object())
