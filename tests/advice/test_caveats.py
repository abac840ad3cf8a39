"""Caveats: that a rate lies beside one that diverges, that the end was not seen, and others."""

import pytest
from tests.reference.simulated_advice import (
    OWN,
    ScriptEngine,
    WatchedEngine,
    advised,
    runs_of_named,
    study,
)

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


def test_a_level_that_is_not_the_end_is_a_caveat():
    cut, _ = study("alike", trainings=1.2)
    ended, _ = study("alike", trainings=2.5)

    assert (cut.target_origin, ended.target_origin) == ("easier", "pilot")
    assert caveats(cut)["easier_than_plateau"].named["value"] == cut.target.value
    assert caveats(ended) == {}


class Overfits(WatchedEngine):
    """From the level on it gets worse again, by a tenth in as long."""

    def _accuracy(self, trial, way):
        return super()._accuracy(trial, min(way, 1.0)) - 0.1 * max(0.0, way - 1.1)


@pytest.mark.slow
def test_a_reference_that_overfits_is_taken_at_its_best_and_that_is_said():
    advice, _ = advised(kind=Overfits, asked={"planned_epochs": 24.0})

    assert "reference_overfits" in caveats(advice)
    assert 0.96 < advice.target.value < 0.971
    own = [run for run in advice.tried if (run.batch_size, run.learning_rate) == OWN]
    assert advice.endings.own.mean == pytest.approx(own[0].best_value, abs=0.002)
    assert advice.recommendation is not None


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "is_said"), [(ScriptEngine, True), (WatchedEngine, False)])
def test_a_script_that_evaluates_seldom_hardly_knows_when_the_target_was_met(kind, is_said):
    """The reference meets it in its second epoch."""
    advice, _ = advised(kind=kind, s_min=50.0, trainings=2.5)

    assert ("marks_too_wide" in caveats(advice)) == is_said
