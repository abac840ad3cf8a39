"""The pilot: what it ends with, the level that counts as ending as well, and which rate sets it."""

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.made_up import approach, made_up_curves, made_up_record, made_up_trial
from tests.reference.simulated_advice import END, OWN, advised, runs_of, study
from tests.reference.simulated_question import knee, question

from batchlab.advice.advice import Advice
from batchlab.advice.level import Pilots, as_well_as, end_level, ends_early, level_of_ends
from batchlab.records.estimate import Reason, Value
from batchlab.records.trial import Status

ASKED = question(knee(64), budget_s=100.0, target=None)
LOSS = replace(ASKED, metric="loss", better="lower")
NEVER = 10**9


def codes(reason: Value) -> set[str]:
    """The codes of a reason and of those in it."""
    if isinstance(reason, tuple):
        return {code for part in reason for code in codes(part)}
    if not isinstance(reason, Reason):
        return set()
    return {reason.code}.union(*(codes(value) for _, value in reason.values))


def record_of(curve, *, epochs=40, metric="accuracy", **changes):
    curves = {**made_up_curves(), ("validation", metric): curve}
    return made_up_record(curves=curves, epochs=epochs, evaluations_per_epoch=2, **changes)


ENDED = record_of(approach(0.9, rate=1.0))
RISING = record_of(approach(0.9, rate=0.02), epochs=20)


def level_of(value, margin, asked=ASKED):
    return as_well_as(value, margin, metric=asked.metric, better=asked.better)


@pytest.mark.parametrize(
    ("n_validation", "asked_margin", "margin"),
    [(None, None, 0.05 * 0.1), (1000, None, 0.05 * 0.1), (15, None, 1 / 15), (15, 0.002, 0.002)],
)
def test_at_a_plateau_it_is_read_off_the_last_quarter(n_validation, asked_margin, margin):
    """Of 15 examples 14 are as good as all that no run was better than."""
    asked = replace(ASKED, n_validation=n_validation, margin=asked_margin)

    end = end_level(asked, ENDED, planned_steps=NEVER)

    assert end.ended_by == "end"
    assert end.value == pytest.approx(0.9, abs=1e-4)
    assert end.margin == pytest.approx(margin, rel=1e-3)
    assert level_of_ends(asked, end, [0.9]).value == pytest.approx(0.9 - margin, abs=0.2 * margin)


def test_a_planned_end_is_the_end_and_neither_a_rise_nor_a_plateau_before_it():
    """A loss that falls a little in each epoch falls by margins until then."""
    assert end_level(ASKED, RISING, planned_steps=RISING.steps + 1) is None
    end = end_level(ASKED, RISING, planned_steps=RISING.steps)
    assert end.ended_by == "end"
    last = RISING.evaluations[-1].score("validation", "accuracy")
    assert end.value == pytest.approx(last, abs=0.002)
    planned = replace(ASKED, planned_epochs=80)
    assert ends_early(ASKED, ENDED)
    assert not ends_early(planned, ENDED)
    assert end_level(planned, ENDED, planned_steps=2 * ENDED.steps) is None
    assert end_level(planned, ENDED, planned_steps=ENDED.steps).ended_by == "end"


@pytest.mark.parametrize(("batch_size", "epochs", "is_end"), [(64, 28, False), (512, 32, True)])
def test_a_short_run_that_rests_is_not_taken_to_be_at_its_end(batch_size, epochs, is_end):
    """On a saddle for twenty epochs, then on: seen with losses that are sums, and with F1."""
    trial = made_up_trial(batch_size=batch_size)
    rests = record_of(approach(0.5, rate=1.0), epochs=epochs, trial=trial)

    end = end_level(ASKED, rests, planned_steps=NEVER)

    assert ends_early(ASKED, rests) == is_end == (end is not None)


def test_of_a_run_that_overfits_it_is_the_best_that_it_had_for_a_while():
    """One lucky evaluation is not what it had: three in a row count."""

    lucky = record_of(lambda epoch: 0.46 - 0.01 * abs(epoch - 10) + 0.1 * (epoch == 7.5))

    end = end_level(ASKED, lucky, planned_steps=NEVER)

    assert end.ended_by == "overfitting"
    assert 0.45 <= end.value <= 0.49


@given(value=st.floats(0.01, 0.999), margin=st.floats(1e-6, 0.5))
def test_the_level_is_worse_than_the_end_by_the_margin_and_a_little_rounding(value, margin):
    for asked, sign in ((ASKED, -1), (LOSS, 1)):
        worse = sign * (level_of(value, margin, asked).value - value)
        assert margin * (1 - 1e-6) <= worse <= 1.2 * margin * (1 + 1e-6) + 1e-12
    assert level_of(0.97721, 0.00114).value == 0.976  # a round figure


def end_by(*records):
    """The end by which these pilots set the level, the reference's first."""
    return Pilots(ASKED, records, planned_steps=NEVER).end


def test_the_reference_sets_the_level_whatever_ran_beside_it_and_its_seeds_by_their_mean():
    """What one seed ends with, half of the others miss."""
    for beside in (0.8, 0.91, 0.95):
        assert end_by(ENDED, record_of(approach(beside, rate=1.0))) == end_by(ENDED)
    end = end_by(ENDED)
    assert level_of_ends(ASKED, end, [0.88, 0.9, 0.92, 0.94]) == level_of(0.91, end.margin)


def test_a_run_about_as_good_as_the_untrained_model_all_the_way_sets_no_level():
    """A level within the wobble of labels drawn at random would be met by whoever is luckiest."""
    cut = record_of(lambda e: 0.1 + 0.002 * (e > 0) + 0.001 * (e % 2), epochs=20)

    assert end_by(cut) is None
    assert end_by(cut, ENDED) == end_by(ENDED)
    assert end_by(cut, RISING).ended_by == "cut"


def pilot_at(rate, curve, *, metric="loss", epochs=20, **changes):
    record = record_of(curve, metric=metric, epochs=epochs, **changes)
    return replace(record, trial=replace(record.trial, learning_rate=rate))


def pilots_of(asked, *runs):
    return Pilots(asked, runs, planned_steps=runs[0].steps)


CRAWLS = pilot_at(0.01, approach(5.67, start=5.70, rate=0.05))
FOUR_TIMES = pilot_at(0.04, approach(5.58, start=5.70, rate=0.05))
LEARNS = pilot_at(0.64, approach(1.0, start=5.70, rate=0.5))
WHY = Reason.of("metric_not_finite", metric="loss", step=3)
BROKEN = replace(pilot_at(0.01, lambda epoch: 5.7, status=Status.NAN), reason=WHY)
FLAT = [pilot_at(rate, lambda epoch: 5.7) for rate in (0.01, 0.04, 0.32)]
# A model that was trained before starts near its end; a higher rate learns no more of it.
TRAINED = pilot_at(0.01, approach(1.05, start=1.12, rate=0.5))
AS_FAR = replace(TRAINED, trial=replace(TRAINED.trial, learning_rate=0.04))
BEYOND = pilot_at(0.32, lambda epoch: 1.12 + 0.1 * (epoch > 0))
# An accuracy that starts at the most common class may learn little.
COMMON = [
    pilot_at(rate, approach(end, start=0.95, rate=0.5), metric="accuracy")
    for rate, end in ((0.01, 0.965), (0.04, 0.96))
]
LOWER = replace(LEARNS, trial=replace(LEARNS.trial, learning_rate=0.0006))
FAR = {"another_rate_learns"}


@pytest.mark.parametrize(
    ("asked", "runs", "is_open", "hardly", "rate"),
    [
        (LOSS, [CRAWLS], True, {"hardly_learns"}, None),
        (LOSS, [CRAWLS, FOUR_TIMES], True, {"hardly_learns"}, None),
        # The last is the highest, and gained by far the most.
        (LOSS, [CRAWLS, FOUR_TIMES, LEARNS], True, FAR | {"hardly_learns"}, 0.64),
        (LOSS, [pilot_at(0.01, approach(5.4, start=5.70, rate=0.5))], True, set(), 0.01),
        (LOSS, [TRAINED, AS_FAR, BEYOND], False, set(), 0.01),
        (ASKED, COMMON, False, set(), 0.01),
        (LOSS, FLAT, False, {"hardly_learns"}, None),
        (LOSS, [BROKEN, LOWER], False, FAR | {"own_fails", "metric_not_finite"}, 0.0006),
    ],
)
def test_the_rate_that_learns_sets_the_level(asked, runs, is_open, hardly, rate):
    pilots = pilots_of(asked, *runs)

    assert pilots.is_open == is_open
    why, end = pilots.hardly_learns, pilots.end
    assert (set() if why is None else codes(why)) == hardly
    assert (end and end.learning_rate) == rate
    if "another_rate_learns" in hardly:
        assert why.named["rate"] == rate
    if why is not None and runs[0] is CRAWLS:
        assert why.named.get("why", why).named["first"] == pytest.approx(5.70)
    if not hardly:
        start = runs[0].evaluations[0].score("validation", asked.metric)
        assert asked.sign * (level_of_ends(asked, end, [end.value]).value - start) > 0


def test_the_untrained_model_counts_in_no_mean_and_may_not_have_been_seen():
    """Without it a pilot hardly learns only where it stays flat."""
    own, learns = (replace(each, evaluations=each.evaluations[2:]) for each in (CRAWLS, LEARNS))
    flat = replace(own, evaluations=own.evaluations[-9:])

    assert codes(pilots_of(LOSS, flat, learns).hardly_learns) >= {"hardly_learns"}
    early = pilot_at(0.01, approach(0.9, start=5.7, rate=3.0))
    early = replace(early, evaluations=early.evaluations[2:])
    assert pilots_of(LOSS, early).hardly_learns is None
    # Of three evaluations the first is before the first step.
    own = pilot_at(0.01, lambda epoch: 5.7, epochs=1)
    learns = pilot_at(0.64, lambda epoch: 5.7 - 4 * epoch, epochs=1)
    why = pilots_of(LOSS, own, learns).hardly_learns
    assert why.named["value"] == pytest.approx((3.7 + 1.7) / 2)


FIVE = pytest.param(5.0, "pilot", marks=pytest.mark.slow)


def pilots(advice: Advice) -> list[float]:
    return [run.learning_rate for run in advice.tried if run.purpose == "pilot"]


@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("trainings", "origin"), [(0.3, "easier"), (2.5, "pilot")])
def test_the_end_of_the_reference_less_a_margin_is_the_level(n_workers, trainings, origin):
    """Also where a higher rate is trained beside it, and where it was cut."""
    advice, _ = study("alike", trainings=trainings, n_workers=n_workers)

    assert pilots(advice) == [OWN[1], 4 * OWN[1]][:n_workers]
    assert advice.target_origin == origin
    end = fmean(run.end for run in runs_of(advice, OWN))
    margin = 0.05 * (1 - end)
    assert end - 1.25 * margin <= advice.target.value <= end - 0.99 * margin  # a round figure


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("trainings", "origin"), [(1.2, "easier"), FIVE])
def test_where_the_reference_hardly_learns_a_higher_rate_sets_the_level(
    n_workers, trainings, origin
):
    truth = {"best_rate": 0.5, "end": lambda size, rate: END if rate > 0.2 else 0.1 + 0.2 * rate}
    advice, _ = advised(trainings=trainings, n_workers=n_workers, **truth)

    assert min(pilots(advice)) == OWN[1]  # what learns a little is not at too high a rate
    assert codes(advice.hardly_learns) >= {"another_rate_learns", "hardly_learns"}
    assert (advice.target_origin, advice.target.value > 0.9) == (origin, True)
    assert advice.named.learning_rate > 0.2


@pytest.mark.parametrize(("trainings", "origin"), [(1.2, "easier"), FIVE])
def test_where_the_reference_diverges_a_lower_rate_sets_the_level(trainings, origin):
    advice, _ = study("own_diverges", trainings=trainings)

    assert "own_fails" in codes(advice.hardly_learns)
    assert (advice.target_origin, advice.target.value > 0.95) == (origin, True)
    assert any(step.did.code == "pilot_at_other_rates" for step in advice.steps)
    assert advice.named.learning_rate < OWN[1]
    assert advice.gain.low > 1
    (end,) = [each.end for each in advice.believed if (each.batch_size, each.learning_rate) == OWN]
    assert end.n == 0  # no training of it came to an end that a table could show


def test_where_no_rate_learns_nothing_is_named():
    advice, engine = advised(end=lambda size, rate: 0.1005, trainings=30.0)

    assert (advice.verdict, advice.named) == ("cannot_tell", None)
    assert advice.reason.code == "no_pilot_learned"
    assert {size for size, _ in engine.cells} == {OWN[0]}
