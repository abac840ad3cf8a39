"""Estimates hold what their bounds do not exclude; reasons come back as they went."""

import msgspec
import pytest

from batchlab.records.estimate import Estimate, Reason

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
