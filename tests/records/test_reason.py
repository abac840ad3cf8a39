from __future__ import annotations

import msgspec
import numpy as np
import pytest

from batchlab.records.estimate import Reason

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


def test_numbers_of_numpy_become_plain() -> None:
    found = Reason.of("code", n=np.int64(3), x=np.float64(0.5), y=np.float32(0.5)).named

    assert [type(found[name]) for name in "nxy"] == [int, float, float]


def test_a_value_that_is_no_plain_value_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        Reason.of("code", thing=object())
