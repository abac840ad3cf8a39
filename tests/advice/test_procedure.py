"""The runs of a study: what it may ask for, and what it may name."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from tests.reference.by_day import by_day
from tests.reference.simulated_advice import (
    EPOCHS,
    OWN,
    SIZES,
    TRUTHS,
    ScriptEngine,
    WatchedEngine,
    advised,
    study,
    true_gain,
    true_worse,
)
from tests.reference.simulated_question import question

from batchlab.records.estimate import Estimate

# What is seen of one truth, on one budget, by one kind of engine. `study` itself holds each to its
# budget, to asking for nothing twice, and to what it may name.
STUDIES = [
    *((name, 5.0, 1, WatchedEngine) for name in TRUTHS),
    *((name, 4.0, 2, ScriptEngine) for name in TRUTHS),
    *(("alike", trainings, n, WatchedEngine) for trainings in (0.3, 1.2, 2.5) for n in (1, 2)),
]
BY_DAY = [
    case
    for case in STUDIES
    if case[3] is WatchedEngine or case[0] in ("noisy", "large_diverges_late", "own_diverges")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trainings", "n_workers", "kind"), by_day(STUDIES, BY_DAY))
def test_what_is_named_is_truly_sooner_and_ends_no_worse(name, trainings, n_workers, kind):
    advice, engine = study(name, trainings=trainings, n_workers=n_workers, kind=kind)

    if advice.recommendation is not None:
        assert true_gain(advice, engine) > 1
        assert true_worse(advice, engine) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_with_ten_whole_trainings_every_batch_size_is_trained_once_before_any_twice(n_workers):
    """The cheapest for its examples first, at the rate that the belief holds best."""
    sizes = (16, 64, 128, 256, 1024)
    _, engine = advised(trainings=10.5 / n_workers, n_workers=n_workers, asked={"sizes": sizes})

    cells = list(dict.fromkeys((a.trial.batch_size, a.trial.learning_rate) for a in engine.asked))
    beside_the_pilot = [size for size, _ in cells if size != OWN[0]]
    assert beside_the_pilot[:4] == [1024, 256, 128, 16]


def test_what_cannot_win_is_followed_in_stretches_and_stopped():
    """A quarter of what led first, by its cost, and little beyond that.

    With fewer trainings no batch size is trained only for the picture.
    """
    assert {size for size, _ in study("large_ends_worse")[1].cells} == {64, 256}
    advice, engine = study("alike", trainings=14.0)

    lead_s = 1.47  # of the reference, whose step takes a millisecond
    followed = {asked.trial for asked in engine.asked if asked.length.until}
    for trial in {trial for trial in followed if trial.batch_size == 256}:
        stretches = [a.last_step * 1e-3 for a in engine.asked_of(trial) if a.length.until]
        assert stretches[0] <= 0.26 * lead_s
        assert stretches == sorted(stretches)
        assert stretches[-1] <= 1.4 * lead_s
    stopped = [run for run in advice.tried if run.purpose == "search" and run.end is None]
    assert any(run.steps_to_target is None for run in stopped)


@pytest.mark.slow
def test_of_what_diverged_no_further_seed_is_trained():
    advice, _ = study("large_diverges_late")

    runs = Counter((run.batch_size, run.learning_rate) for run in advice.tried)
    diverged = [run for run in advice.tried if run.status == "diverged"]
    assert len(diverged) > 1
    assert {runs[run.batch_size, run.learning_rate] for run in diverged} == {1}
    assert (advice.named.batch_size, advice.named.learning_rate) not in diverged


def test_a_pilot_that_cannot_go_on_is_trained_in_one_piece():
    """After a first part, by which it is known what a run costs."""
    _, engine = study("alike", trainings=4.0, kind=ScriptEngine)

    (own,) = {asked.trial for asked in engine.asked[:2]}
    assert (own.batch_size, own.learning_rate, own.seed) == (*OWN, 0)
    pilot = [asked.last_step for asked in engine.asked_of(own)]
    assert len(pilot) == 2
    assert pilot[1] == own.plan.steps_in(EPOCHS)


@pytest.mark.slow
def test_a_run_that_cannot_go_on_is_followed_once_and_then_trained_to_its_end():
    advice, engine = study("cliff_beside_the_best_rate", trainings=14.0, kind=ScriptEngine)

    followed = [asked.trial for asked in engine.asked if asked.length.until is not None]
    assert len(followed) == len(set(followed))
    assert advice.recommendation is not None


class OneRate(ScriptEngine):
    """A script whose rate stays as it is."""

    def learning_rates(self, batch_size, horizon=1.0):
        return (OWN[1],)


def test_of_a_single_batch_size_the_rate_is_tuned_and_of_a_single_rate_the_batch_size():
    one_size, of_size = advised(asked={"sizes": (64,)}, trainings=6.0)
    one_rate, of_rate = advised(kind=OneRate, best_rate=0.01)

    assert {size for size, _ in of_size.cells} == {64}
    assert one_size.named.learning_rate in (0.02, 0.04, 0.08)
    assert 1 < one_size.gain.estimate < 1.6
    assert of_rate.cells == {(size, OWN[1]) for size in SIZES}
    assert one_rate.recommendation is not None
    assert one_rate.named.learning_rate == OWN[1]


def test_only_whole_trainings_are_evaluated_on_train_and_test_data():
    """What is decided is decided on validation data, and by runs that end at the level."""
    advice, engine = study("alike")

    assert all(asked.last_step <= asked.trial.plan.steps_in(EPOCHS) for asked in engine.asked)
    for asked in engine.asked[3:]:
        is_whole = asked.length.until is None
        assert asked.length.all_splits == ("at_end" if is_whole else "never")
    assert {run.purpose for run in advice.tried} == {"pilot", "search", "whole"}


@pytest.mark.slow
@pytest.mark.parametrize("slow", [(64,), (64, 256)])
def test_a_load_while_the_reference_was_profiled_makes_nothing_else_faster(slow):
    """All take as long to the level; but steps took twice as long while these were timed."""

    def step_s(size):
        return 1e-3 * size / 64

    def in_turn(own, size):
        return Estimate.of_log(math.log(step_s(size) / step_s(own)), 0.02, n=3)

    usual = question(step_s, budget_s=1, sizes=SIZES).options
    options = [replace(o, step_s=o.step_s.times(2.0 if o.batch_size in slow else 1)) for o in usual]
    told = partial(
        advised,
        step_s=step_s,
        override=lambda size: 60_000 / size,
        best_rate=0.01,
        rate_exponent=0.0,
        noise=0.02,
        trainings=8.0,
        asked={"options": tuple(options)},
    )

    fooled, timed = told()[0], told(in_turn=in_turn)[0]

    assert fooled.gain.low > 1
    assert timed.gain.low <= 1
    assert any(step.did.code == "time_in_turn" for step in timed.steps)
