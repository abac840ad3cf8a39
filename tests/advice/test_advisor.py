"""The door of the advice: what is refused, what decides nothing, and engines with limits."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.simulated_advice import EPOCHS, OWN, SIZES, ScriptEngine, advised, study
from tests.reference.simulated_question import question
from tests.reference.whole_grid import CELLS, HEADER, N_TRAIN, write_whole_grid

from batchlab.advice.advice import Configuration, Option, Question
from batchlab.advice.advisor import advise
from batchlab.records.estimate import Estimate


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


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return RecordedGrid.read(write_whole_grid(tmp_path_factory.mktemp("grid")))


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_of_a_recorded_grid_the_truth_is_found_with_the_seeds_it_has(grid, n_workers):
    """The fastest of all ends worse by two margins."""
    step_s = {int(size): seconds for size, seconds in HEADER["step_s"].items()}
    engine = RecordedEngine(grid, seeds=range(6), step_s=step_s, n_workers=n_workers)
    asked = Question(
        objective="time",
        metric="accuracy",
        better="higher",
        target=None,
        target_origin="pilot",
        reference=Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.1),
        options=tuple(_recorded_option(size, seconds) for size, seconds in step_s.items()),
        n_train=N_TRAIN,
        budget_s=8.0,
        planned_epochs=HEADER["epochs"],
    )

    advice = advise(asked, engine)

    assert (advice.named.batch_size, advice.named.learning_rate) == (256, 0.8)
    assert advice.spent_s <= advice.budget_s
    cells = {(size, 0.1 * 2.0**octave) for size, octave, _, _ in CELLS}
    assert {(run.batch_size, run.learning_rate) for run in advice.tried} <= cells
    assert {run.seed for run in advice.tried} <= set(range(6))
    assert max(Counter((r.batch_size, r.learning_rate) for r in advice.tried).values()) <= 6
    # The reference halves what is left in 1.5 epochs of 16 steps, this one in 0.6 of 4.
    assert advice.gain.low <= 1.5 * 16 / (0.6 * 4) <= advice.gain.high


def _recorded_option(size: int, seconds: float) -> Option:
    step_s = Estimate.of(seconds, interval=(0.99 * seconds, 1.01 * seconds), n=8)
    return Option(batch_size=size, micro_batch_size=size, step_s=step_s, peak_bytes=None)
