"""Caveats: that a rate lies beside one that diverges is said, with how often it may diverge."""

import pytest
from tests.reference.made_up_outcome import decision, verification
from tests.reference.made_up_state import cut, diverged, learning_rate, made_up_state, met

from batchlab.advice.answer import answered
from batchlab.advice.verification import Conclusion
from batchlab.words.reasons import reason_text

SIZE = 128
RATE = learning_rate(SIZE)


def state_with(at_rate, beside=(), *, times=2.0):
    """A study whose runs at the tuned rate went so, and those at so many times of it."""
    state = made_up_state({64: [met(120)] * 3, SIZE: at_rate})
    for seed, run in enumerate(beside):
        trial = state.engine.trial(batch_size=SIZE, learning_rate=times * RATE, seed=100 + seed)
        state.records[SIZE, times * RATE, 100 + seed] = run.record_of(trial)
        state.purposes[SIZE, times * RATE, 100 + seed] = "tune"
    return state


def caveats(state, **outcome):
    found = outcome or {"decision": decision(), "verification": verification()}
    return answered(state, Conclusion(**found), origin="given").caveats


def test_a_rate_that_held_beside_one_that_diverged_says_how_many_may_diverge():
    (caveat,) = caveats(state_with([met(90), met(95), cut(80)], [diverged(40)]))

    assert caveat.code == "at_the_edge"
    values = dict(caveat.values)
    assert (values["held"], values["n"]) == (3, 3)
    # Three that held, of which each diverges with probability p: (1 - p)^3 = 5 %.
    assert (1 - values["share"]) ** 3 == pytest.approx(0.05)
    assert "3 of 3 seeds held, so up to 63 % of trainings may diverge" in reason_text(caveat)


def test_a_rate_that_diverged_once_itself_is_told_though_nothing_above_it_was_run():
    (caveat,) = caveats(state_with([met(90), diverged(40), met(95)]))

    values = dict(caveat.values)
    assert (values["held"], values["n"], values["above"]) == (2, 3, RATE)
    # At this share one or none of three diverges in one of twenty studies.
    share = values["share"]
    assert (1 - share) ** 3 + 3 * share * (1 - share) ** 2 == pytest.approx(0.05)


@pytest.mark.parametrize("times", [0.5, 4.0])
def test_what_diverged_far_above_or_below_says_nothing(times):
    assert caveats(state_with([met(90), met(95)], [diverged(40)], times=times)) == ()
