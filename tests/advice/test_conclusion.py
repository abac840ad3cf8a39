"""The conclusion: the fastest that is not seen to end worse, and what stays open beside it."""

from __future__ import annotations

import pytest
from tests.reference.made_up_advice import ending_at, ends_beside
from tests.reference.made_up_outcome import decision, state_of, verification

from batchlab.advice import conclusion
from batchlab.advice.conclusion import concluded


def verified(size, verdict, *, better_by):
    """What fresh seeds said, with the ends of three whole trainings each."""
    yours, mine = ending_at(64, 0.01, 0.978), ending_at(size, 0.04, 0.978 + better_by)
    ends = ends_beside(yours, mine, better_by=better_by, half=0.002, verdict=verdict)
    return verification(batch_size=size, endings=ends)


@pytest.fixture
def concluding(monkeypatch):
    """The conclusion where 128 is decided on first, and 64 where that is out."""

    def run(of_128, of_64):
        found = {128: of_128, 64: of_64}
        again = decision(verdict="recommend", batch_size=64)
        monkeypatch.setattr(conclusion, "verify", lambda state, size: found[size])
        monkeypatch.setattr(conclusion, "allocate", lambda state, for_more_seeds: again)
        return concluded(state_of(), decision())

    return run


def test_beside_one_that_seems_to_end_worse_no_other_is_the_best_for_sure(concluding):
    seems_worse = verified(128, "open", better_by=-0.004)

    found = concluding(seems_worse, verified(64, "no_worse", better_by=0.0))

    assert found.verification.batch_size == 64
    assert found.passed_over == seems_worse.endings
    assert (found.decision.verdict, found.decision.batch_size) == ("cannot_tell", None)


def test_beside_one_that_ends_worse_for_sure_the_next_may_be_recommended(concluding):
    found = concluding(
        verified(128, "worse", better_by=-0.004), verified(64, "no_worse", better_by=0.0)
    )

    assert (found.decision.verdict, found.decision.batch_size) == ("recommend", 64)
    assert found.passed_over is None


def test_what_is_open_but_does_not_seem_worse_keeps_its_place(concluding):
    is_open = verified(128, "open", better_by=-0.001)

    found = concluding(is_open, verified(64, "no_worse", better_by=0.0))

    assert (found.verification, found.passed_over) == (is_open, None)


def test_where_all_seem_to_end_worse_the_fastest_of_them_is_told_of(concluding):
    seems_worse = verified(128, "open", better_by=-0.004)

    found = concluding(seems_worse, verified(64, "open", better_by=-0.005))

    assert found.verification == seems_worse
    assert found.endings.seems_worse
