"""The conclusion: the fastest that is not seen to end worse, and what stays open beside it."""

from __future__ import annotations

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


def test_what_runs_that_came_since_speak_for_leaves_it_open_which_is_the_best(concluding_again):
    no_worse = verified(128, "no_worse", better_by=0.0)

    found, _ = concluding_again(no_worse, by_now=64)

    assert found.verification == no_worse
    assert (found.decision.verdict, found.decision.batch_size) == ("cannot_tell", None)


def test_what_all_its_seeds_speak_against_leaves_nothing_open(concluding_again):
    found, state = concluding_again(verified(128, "worse", better_by=-0.004))

    assert found.verification.batch_size == 64
    assert found.passed_over is None
    assert (found.decision.verdict, found.decision.batch_size) == ("recommend", 64)
    assert 128 in state.ruled_out


def test_what_stays_open_with_all_its_seeds_is_told_with_all_of_them(concluding_again):
    still_open = verified(128, "open", better_by=-0.003)

    found, _ = concluding_again(still_open)

    assert found.passed_over == still_open.endings
    assert (found.decision.verdict, found.decision.batch_size) == ("cannot_tell", None)


def test_without_budget_for_further_seeds_it_is_passed_over_by_its_first(concluding_again):
    found, _ = concluding_again(verified(128, "no_worse", better_by=0.0), n_left=1)

    assert found.passed_over.seeds == (80,)
    assert found.verification.batch_size == 64


def test_where_nothing_else_ends_no_worse_all_its_seeds_are_told_of(concluding_again):
    is_open = verified(128, "open", better_by=-0.001)
    out = verified(64, "worse", better_by=-0.009)

    found, state = concluding_again(is_open, next_one=out)

    assert (found.verification, found.passed_over) == (is_open, None)
    assert 128 not in state.ruled_out
