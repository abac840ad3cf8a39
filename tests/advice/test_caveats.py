"""Caveats: that a rate lies beside one that diverges, that the end was not seen, and others."""

import pytest
from tests.reference.simulated_advice import ScriptEngine, WatchedEngine, advised, runs_of_named

from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text


def caveats(advice):
    return {caveat.code: caveat for caveat in advice.caveats}


def test_a_rate_that_held_beside_one_that_diverged_says_how_many_may_diverge():
    def fails(size, rate, seed):
        return Status.DIVERGED if rate > 0.3 else None

    advice, _ = advised(trainings=8.0, fails=fails)

    values = caveats(advice)["at_the_edge"].named
    n = len(runs_of_named(advice))
    assert (values["size"], values["rate"]) == (advice.named.batch_size, advice.named.learning_rate)
    assert values["above"] == pytest.approx(2 * advice.named.learning_rate)
    assert (values["held"], values["n"]) == (n, n)
    # Of those that held each diverges with probability p: (1 - p)^n = 5 %.
    assert (1 - values["share"]) ** n == pytest.approx(0.05)
    assert f"{n} of {n} seeds held" in reason_text(caveats(advice)["at_the_edge"])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "is_said"), [(ScriptEngine, True), (WatchedEngine, False)])
def test_a_script_that_evaluates_seldom_hardly_knows_when_the_target_was_met(kind, is_said):
    """The reference meets it in its second epoch."""
    advice, _ = advised(kind=kind, s_min=50.0, trainings=2.5)

    assert ("marks_too_wide" in caveats(advice)) == is_said
