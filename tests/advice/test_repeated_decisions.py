"""Repeated decisions: the same runs at an easier and a harder target, as far as they went."""

import pytest
from tests.reference.made_up_outcome import (
    FASTER_AT_LAST,
    FASTER_THROUGHOUT,
    SLOW_AT_LAST,
    state_of,
    two_levels,
)

from batchlab.advice.answer import is_another, repeated_decisions


def test_the_decision_is_repeated_at_an_easier_target_from_the_same_runs():
    state, decided = two_levels(SLOW_AT_LAST, FASTER_THROUGHOUT)

    easier, harder = repeated_decisions(state, decided)

    assert (easier.which, easier.target.value) == ("easier", 0.9)
    # Half as far beyond it would lie above 1; half of the errors is hard enough.
    assert (harder.which, harder.target.value) == ("harder", pytest.approx(0.985))
    assert (easier.verdict, easier.batch_size) == ("recommend", 128)
    assert easier.flat_set == (128,)
    assert not is_another(easier, decided)


def test_a_target_that_the_runs_were_not_followed_to_is_not_decided():
    state, decided = two_levels(SLOW_AT_LAST, FASTER_THROUGHOUT)

    harder = repeated_decisions(state, decided)[1]

    assert (harder.verdict, harder.batch_size, harder.flat_set) == ("cannot_tell", None, ())
    assert harder.reason


def test_a_run_that_was_cut_keeps_only_the_harder_target_open():
    state, decided = two_levels(SLOW_AT_LAST, [*FASTER_THROUGHOUT, ((50, 0.5),)])

    easier, harder = repeated_decisions(state, decided)

    assert (easier.batch_size, harder.batch_size) == (128, None)


def test_a_harder_target_is_decided_once_every_run_near_the_best_met_it():
    reached = {64: 5000, 128: 900}
    slow = [(*each[:2], (each[2][0], 0.971), (reached[64], 1.01)) for each in SLOW_AT_LAST]
    fast = [(*each, (reached[128], 1.01)) for each in FASTER_THROUGHOUT]
    whole, decided = two_levels(slow, fast)
    # 64 is twice as bad at the target, too far to win at a harder one: it need not be followed.
    near, _ = two_levels(SLOW_AT_LAST, fast)
    open_yet, _ = two_levels(slow, [*fast[:2], FASTER_THROUGHOUT[2]])

    answers = [repeated_decisions(s, decided)[1] for s in (whole, near, open_yet)]

    assert [a.batch_size for a in answers] == [128, 128, None]


def test_a_recommendation_outside_the_flat_set_is_another():
    state, decided = two_levels(SLOW_AT_LAST, FASTER_AT_LAST)

    easier, harder = repeated_decisions(state, decided)

    assert (decided.batch_size, easier.batch_size, harder.batch_size) == (128, 64, None)
    assert is_another(easier, decided)
    assert not is_another(harder, decided)
    assert not is_another(easier, None)


def test_where_the_curves_have_no_easier_level_there_is_no_other_target():
    _, decided = two_levels(SLOW_AT_LAST, FASTER_AT_LAST)

    assert repeated_decisions(state_of(), decided) == ()
