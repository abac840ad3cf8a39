"""The runs of a study, and of one below two whole trainings: what is asked for and named."""

import math
from dataclasses import dataclass, field, replace
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
    named_of,
    study,
    true_gain,
    true_worse,
    worse_where,
)
from tests.reference.simulated_question import knee, question

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.trial import Status

# What is seen of one truth, on one budget, by one kind of engine. `study` itself holds each to its
# budget, to asking for nothing twice, and to what it may name.
STUDIES = [
    *((name, 5.0, 1, WatchedEngine) for name in TRUTHS),
    *((name, 4.0, 2, ScriptEngine) for name in TRUTHS),
    *(("alike", trainings, n, WatchedEngine) for trainings in (0.3, 1.2, 2.5) for n in (1, 2)),
]
BY_DAY = [
    ("alike", 1.2, 1, WatchedEngine),
    *((name, 5.0, 1, WatchedEngine) for name in ("alike", "noisy", "large_ends_worse")),
    *((name, 4.0, 2, ScriptEngine) for name in ("noisy", "large_diverges_late", "own_diverges")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trainings", "n_workers", "kind"), by_day(STUDIES, BY_DAY))
def test_what_is_named_is_truly_sooner_and_ends_no_worse(name, trainings, n_workers, kind):
    advice, engine = study(name, trainings=trainings, n_workers=n_workers, kind=kind)

    if advice.recommendation is not None:
        assert true_gain(advice, engine) > 1
        assert true_worse(advice, engine) <= 1


@dataclass(kw_only=True)
class EndingEngine(WatchedEngine):
    """Its time ends after three quarters of the budget, as on a machine that becomes busy."""

    reasons: list[Reason | None] = field(default_factory=list)  # how each run ended

    def __post_init__(self):
        self.budget_s *= 0.75

    def answer(self, request):
        record = super().answer(request)
        self.reasons.append(record.reason)
        return record


def test_after_the_time_of_the_engine_has_ended_no_run_is_requested():
    advice, engine = advised(trainings=5.0, kind=EndingEngine)

    assert OUT_OF_TIME in engine.reasons
    assert OUT_OF_TIME not in engine.reasons[:-1]
    assert Reason.of("none_possible") in [step.why for step in advice.steps]


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_with_ten_whole_trainings_every_batch_size_is_trained_once_before_any_twice(n_workers):
    """The cheapest for its examples first, at the rate that the belief holds best."""
    sizes = (16, 64, 128, 256, 1024)
    _, engine = advised(trainings=10.5 / n_workers, n_workers=n_workers, asked={"sizes": sizes})

    cells = list(dict.fromkeys((a.trial.batch_size, a.trial.learning_rate) for a in engine.asked))
    beside_the_pilot = [size for size, _ in cells if size != OWN[0]]
    assert beside_the_pilot[:4] == [1024, 256, 128, 16]


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
    assert one_size.steps[-1].why.code == "promises_no_more"
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


MANY_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def raced(*, trainings=1.9, sizes=MANY_SIZES, asked=None, **truth):
    return advised(trainings=trainings, asked={"sizes": sizes, **(asked or {})}, **truth)


def large_worse(margins):
    return worse_where(lambda size, rate: size > 128, margins=margins)


def sizes_to_their_end(advice):
    """The batch sizes that were trained to their end, in their order, beside the reference's."""
    sizes = [run.batch_size for run in advice.tried if run.end is not None]
    return [size for size in dict.fromkeys(sizes) if size != OWN[0]]


def test_what_never_gets_to_the_level_gives_way_without_being_trained_to_its_end():
    advice, engine = raced(**large_worse(5))

    assert max(size for size, _ in engine.cells) == 512  # where it begins: eight times the own
    assert advice.named.batch_size == 128
    to_its_end = {asked.trial.batch_size for asked in engine.asked if asked.length.until is None}
    assert to_its_end == {64, 128}


def test_what_ends_a_little_worse_gives_way_to_half_of_it():
    """It still gets to the level, which is rounded to the easier side."""
    advice, _ = raced(end_noise=0.0, **large_worse(1.15))

    assert sizes_to_their_end(advice)[:2] == [512, 256]
    assert advice.named.batch_size <= 128


@pytest.mark.parametrize(("status", "seed"), [(Status.OOM, 0), (Status.DIVERGED, 1)])
def test_what_is_out_of_memory_or_diverges_on_a_further_seed_gives_way(status, seed):
    """It is asked for once more at most."""

    def fails(size, rate, its_seed):
        return status if size > 64 and its_seed == seed else None

    advice, engine = advised(trainings=1.9, fails=fails)

    asked = [asked for asked in engine.asked if asked.trial.batch_size == 256]
    assert [one.trial.seed for one in asked].count(seed) == 1
    assert advice.named == advice.reference


@pytest.mark.parametrize(("times", "stays"), [(1.0, False), (40.0, True)])
def test_what_it_names_is_timed_in_turn_with_the_reference(times, stays):
    """Beside the reference a step takes so many times as long as by the profile."""
    asked_for = []

    def in_turn(own, size):
        asked_for.append((own, size))
        return Estimate.of_log(math.log(times), 0.05, n=3)

    advice, _ = advised(trainings=1.9, in_turn=in_turn)

    assert asked_for[0] == (64, 256)
    assert (advice.named.batch_size == OWN[0]) == stays


def test_where_the_pilot_was_cut_what_was_dropped_is_not_trained_on():
    truth = {"step_s": knee(100), "best_rate": 0.01, "b_crit": 20.0}
    asked = {"planned_epochs": 3 * EPOCHS}

    advice, _ = raced(trainings=1.5, sizes=(64, 512, 1024), asked=asked, **truth)

    assert advice.target_origin == "easier"
    assert 512 in {run.batch_size for run in advice.tried}
    assert sizes_to_their_end(advice) == []


@pytest.mark.parametrize(
    ("trainings", "truth", "is_first"),
    [(0.15, {}, True), (0.6, {}, False), (0.15, {"step_s": lambda size: 1e-5 * size}, False)],
)
def test_a_pilot_that_hardly_saw_a_training_is_raced_by_twice_both_first(
    trainings, truth, is_first
):
    """Not where it processes hardly more examples."""
    _, engine = raced(trainings=trainings, **truth)

    others = [asked.trial for asked in engine.asked if asked.trial.batch_size != OWN[0]]
    first = [(each.batch_size, each.learning_rate) for each in others[:1]]
    assert (first == [(2 * OWN[0], 2 * OWN[1])]) == is_first


def test_twice_both_is_named_if_it_leads_and_nothing_else_does():
    """Larger ones never get to the level."""
    advice, _ = raced(trainings=0.2, **large_worse(500))

    assert named_of(advice) == (2 * OWN[0], 2 * OWN[1])
    assert advice.chance == 0.8
