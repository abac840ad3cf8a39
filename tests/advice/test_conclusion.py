"""The conclusion: the fastest that is not seen to end worse, and what stays open beside it."""

from dataclasses import replace

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
def concluding_again(monkeypatch):
    """128 gives way to 64 after its first seed; then the budget has left for so many more."""

    def run(then, *, n_left=3, next_one=None, by_now=128):
        cut = verified(128, "open", better_by=-0.004)
        cut = replace(cut, is_cut=True, endings=replace(cut.endings, seeds=(80,)))
        next_one = next_one or verified(64, "no_worse", better_by=0.0)

        def verify(state, size, may_stop=True):
            return next_one if size.batch_size == 64 else cut if may_stop else then

        again = decision(verdict="recommend", batch_size=64)
        monkeypatch.setattr(conclusion, "verify", verify)
        monkeypatch.setattr(conclusion, "n_seeds_left", lambda state, size: n_left)
        now = decision(verdict="recommend", batch_size=by_now)
        monkeypatch.setattr(conclusion, "decision_of", lambda state, costs: now)
        monkeypatch.setattr(conclusion, "allocate", lambda state, for_more_seeds: again)
        state = state_of()
        return concluded(state, decision()), state

    return run


def test_what_its_first_seed_spoke_against_is_named_if_the_others_show_that_it_is_no_worse(
    concluding_again,
):
    no_worse = verified(128, "no_worse", better_by=0.0)

    found, state = concluding_again(no_worse)

    assert (found.verification, found.passed_over) == (no_worse, None)
    assert (found.decision.verdict, found.decision.batch_size) == ("recommend", 128)
    assert 128 not in state.ruled_out


def test_what_stays_open_with_all_its_seeds_is_told_with_all_of_them(concluding_again):
    still_open = verified(128, "open", better_by=-0.003)

    found, _ = concluding_again(still_open)

    assert found.passed_over == still_open.endings
    assert (found.decision.verdict, found.decision.batch_size) == ("cannot_tell", None)


def test_where_nothing_else_ends_no_worse_all_its_seeds_are_told_of(concluding_again):
    is_open = verified(128, "open", better_by=-0.001)
    out = verified(64, "worse", better_by=-0.009)

    found, state = concluding_again(is_open, next_one=out)

    assert (found.verification, found.passed_over) == (is_open, None)
    assert 128 not in state.ruled_out
