"""The answer: rows, figures, caveats and ends; its intervals hold the truth 95 times in 100."""

import math
import statistics

import pytest
from scipy.stats import binom
from tests.reference.simulated_advice import (
    END,
    MARGIN,
    OWN,
    SIZES,
    STEP_S,
    ScriptEngine,
    WatchedEngine,
    advised,
    named_of,
    runs_of,
    study,
    true_gain,
    true_time_s,
    worse_where,
)
from tests.reference.simulated_question import knee

from batchlab.records.trial import Status


@pytest.mark.slow
def test_every_batch_size_has_a_row_with_its_truth():
    """All end alike, and 1024 is 6.6 times as fast."""
    advice, engine = study("alike", trainings=14.0)

    assert [row.batch_size for row in advice.candidates] == list(SIZES)
    for row in advice.candidates:
        time_s = true_time_s(advice, engine, (row.batch_size, row.learning_rate))
        assert row.time_to_target_s.holds(time_s)
        assert row.cost == row.time_to_target_s
        samples = row.steps_to_target.estimate * row.batch_size
        assert row.samples_to_target.estimate == pytest.approx(samples, rel=0.03)
    assert len(runs_of(advice, named_of(advice))) >= 5
    assert advice.flat_set == (1024,)
    assert advice.candidate(64).cost.low > 4 * advice.candidate(1024).cost.high
    row = advice.candidate(1024)
    steps, time_s = row.steps_to_target, row.time_to_target_s
    assert time_s.estimate == pytest.approx(steps.estimate * STEP_S(1024))
    halves = math.log(steps.high / steps.low) / 2, math.log(1.01 / 0.99) / 2
    assert math.log(time_s.high / time_s.low) / 2 == pytest.approx(math.hypot(*halves), rel=0.01)
    assert row.peak_bytes == 100_000_000 + 1000 * 1024


def test_what_never_met_the_level_has_a_lower_bound():
    advice, _ = study("large_ends_worse", trainings=14.0)

    for size in (256, 1024):
        row = advice.candidate(size)
        followed = [run.steps for run in advice.tried if run.batch_size == size]
        assert row.steps_to_target.estimate is None
        assert 0 < row.steps_to_target.low <= max(followed)
        assert row.steps_to_target.reason.code in ("stopped_when_slower", "missed_the_level")
        assert row.time_to_target_s.low == row.cost.low > 0
        assert not row.in_flat_set
    assert advice.flat_set == (64,)


@pytest.mark.slow
def test_the_end_is_compared_with_what_the_chance_compares_with():
    """The reference batch size ends three margins better than all others at a higher rate."""
    truth = worse_where(lambda size, rate: size == 64 and rate > 0.015, margins=-3)

    advice, _ = advised(trainings=10.0, **truth)

    assert advice.named.batch_size == 1024  # five times as fast, and ends as the reference does
    assert advice.end_quality.verdict == "no_worse"
    assert advice.end_quality.difference.holds(0)
    tuned, named = (
        statistics.fmean(run.end for run in advice.tried if at.is_same(run) and run.end)
        for at in (advice.reference_tuned, advice.named)
    )
    assert tuned > named + 2 * MARGIN


@pytest.mark.parametrize("is_usual", [False, True])
def test_where_nobody_chose_the_rate_the_tuned_one_is_what_stays(is_usual):
    """A step takes as long as its examples, so no batch size is faster than the reference's.

    The headline does not credit the batch size with what the rate gained.
    """
    advice, _ = advised(
        step_s=knee(1), b_crit=600.0, s_min=110.0, best_rate=0.16, asked={"is_usual": is_usual}
    )

    assert advice.is_usual == is_usual
    assert (advice.named.batch_size, advice.named.learning_rate > 0.05) == (64, True)
    assert (advice.recommendation is None) == is_usual
    assert (advice.chance is None) == is_usual
    assert advice.gain_from_batch_size.estimate == 1
    assert is_usual or advice.gain.low > 1.5


def test_what_is_likely_no_worse_and_is_not_named_is_told(monkeypatch):
    """A batch of 128 is 1.3 times as fast, and ends half a margin lower; that weighs a lot here."""
    monkeypatch.setattr("batchlab.belief.outlook._ENDS_WORSE", 16.0)

    advice, _ = advised(
        trainings=4.0,
        salt=5,
        end=lambda size, rate: END - (0.5 * MARGIN if size > 64 else 0.0),
        end_noise=0.0006,
        best_rate=0.01,
        noise=0.1,
        asked={"sizes": (64, 128)},
        step_s=lambda size: 1e-3 * (size / 64) ** 0.6,
    )

    assert advice.named == advice.reference
    assert (advice.reason.code, advice.reason.named["size"]) == ("risk_outweighs", 128)


def test_a_rate_half_of_one_that_diverged_is_said_to_be_at_the_edge():
    def fails(size, rate, seed):
        return Status.DIVERGED if rate > 0.3 else None

    advice, _ = advised(trainings=8.0, fails=fails)

    (values,) = [caveat.named for caveat in advice.caveats if caveat.code == "at_the_edge"]
    assert values["size"] == advice.named.batch_size
    assert values["above"] == pytest.approx(2 * advice.named.learning_rate)


def given(target=0.97, *, planned_epochs=None, **truth):
    """The advice for a level; trainings go on rising, and no length is planned."""
    asked = {"target": target, "at_most_epochs": None, "planned_epochs": planned_epochs}
    return advised(trainings=3.0, asked=asked, end=None, **truth)


@pytest.mark.parametrize("kind", [WatchedEngine, ScriptEngine])
def test_where_the_reference_misses_the_level_others_are_found_and_the_gain_is_a_bound(kind):
    """Its rate is six octaves too low."""
    advice, engine = given(best_rate=0.64, kind=kind)

    assert [run.steps_to_target for run in runs_of(advice, OWN)] == [None]
    assert advice.gain.estimate is None
    assert 5 < advice.gain.low <= true_gain(advice, engine)
    assert true_gain(advice, engine) > 20


def test_a_level_that_nothing_meets_names_nothing_and_repeats_nothing():
    advice, engine = given(0.999, planned_epochs=12.0)

    assert (advice.verdict, advice.named, advice.reason.code) == ("cannot_tell", None, "none_met")
    assert {asked.trial.seed for asked in engine.asked} == {0}
    assert advice.reason.named["best"] == max(run.best_value for run in advice.tried)


def test_of_equally_long_trainings_one_that_diverges_is_never_named():
    asked = {"objective": "quality", "planned_epochs": 12.0}

    advice, _ = advised(asked=asked, best_rate=0.0006, cliff_octaves=1.5)

    assert advice.tried[0].status == "diverged"  # the reference
    assert advice.recommendation is not None
    assert advice.named.learning_rate < OWN[1]


N_STUDIES = 40
# At 95 % each, fewer than that hold the truth in one of a thousand such tests: 33 of 40.
FEWEST = binom.ppf(0.001, N_STUDIES, 0.95) / N_STUDIES


class FewRates(WatchedEngine):
    """Four rates at each batch size, an octave apart."""

    def learning_rates(self, batch_size, horizon=1.0):
        first = round(math.log2(batch_size / 64) / 2)
        return [0.01 * 2.0 ** (first + octave) for octave in range(4)]


def share_held(pairs):
    """Of the intervals that have both ends, which share holds the truth; and their median width."""
    known = [(found, truth) for found, truth in pairs if None not in (found.low, found.high)]
    assert len(known) > 0.7 * N_STUDIES
    width = statistics.median_high(found.high / found.low for found, _ in known)
    return sum(found.holds(truth) for found, truth in known) / len(known), width


@pytest.mark.slow
def test_intervals_of_gains_rows_the_law_and_ends_hold_the_truth_and_are_not_wide():
    """Seeds scatter by 10 % in their steps, and by a fifth of a margin in their ends."""
    noise = {"trainings": 3.1, "noise": 0.1, "end_noise": 0.0003}
    studies = [advised(kind=FewRates, salt=salt, **noise) for salt in range(N_STUDIES)]

    named = [(advice, engine) for advice, engine in studies if advice.recommendation]
    held, width = share_held((advice.gain, true_gain(advice, engine)) for advice, engine in named)
    assert held >= FEWEST
    assert width < 2
    tuned = 64, studies[0][1].truth.best_rate_at(64)
    from_size = ((a.gain_from_batch_size, true_gain(a, e, tuned)) for a, e in named)
    held, width = share_held(from_size)
    assert held >= FEWEST
    assert width < 3  # the reference batch size was hardly trained at its best rate

    rows = []
    for advice, engine in studies:
        for row in advice.candidates:
            if row.steps_to_target.estimate is not None:
                truth = true_time_s(advice, engine, (row.batch_size, row.learning_rate))
                rows.append(row.time_to_target_s.holds(truth))
    assert sum(rows) / len(rows) >= binom.ppf(0.001, len(rows), 0.95) / len(rows)
    held, width = share_held((a.laws.b_crit, 400.0) for a, _ in studies if a.laws is not None)
    assert held >= FEWEST
    assert width < 6

    # All end alike, so no difference is the truth, and none is called worse.
    ended = [advice.end_quality for advice, _ in studies if advice.end_quality is not None]
    assert sum(each.difference.holds(0) for each in ended) >= FEWEST * len(ended)
    assert "worse" not in {each.verdict for each in ended}
    widths = [(each.difference.high - each.difference.low) / each.margin for each in ended]
    assert statistics.median_high(widths) < 4
