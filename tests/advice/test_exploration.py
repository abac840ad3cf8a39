"""Exploration: larger batch sizes first, none instead where the budget does not reach for them."""

from __future__ import annotations

from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advice import EndLevel
from batchlab.advice.advisor import advise
from batchlab.advice.allocation import explore
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import run_valuations, tune
from batchlab.records.estimate import Reason

TRUTH = Truth(noise=0.02)


def in_proportion(batch_size: int) -> float:
    """Seconds a step of a machine that a single example fills."""
    return 1e-5 * batch_size


def explored(*, trainings_left: float, end: EndLevel | None = None) -> StudyState:
    """The reference is tuned; so many trainings of it are left of the budget."""
    engine = SimulatedEngine(truth=TRUTH, step_s=in_proportion)
    asked = question(in_proportion, budget_s=1e6)
    state = StudyState(question=asked, engine=engine, until=asked.target)
    tune(state, state.sizes[64], limit_steps=10**6)
    run_valuations(state, state.sizes[64], 2)
    training_s = TRUTH.best_steps(64) * in_proportion(64)
    engine.elapsed_s = asked.budget_s - trainings_left * training_s
    state.end = end
    explore(state)
    return state


def test_where_a_larger_batch_size_is_too_dear_a_smaller_one_is_not_tried_instead():
    """A smaller one would cost half as much here, and has less to promise."""
    (tuned,) = explored(trainings_left=4.0).tuned
    assert tuned.batch_size == 64


def test_where_a_batch_size_misses_with_all_the_epochs_allowed_no_larger_one_is_tried():
    """The steps of this machine cost the same up to 8192 examples: larger ones look cheap."""
    truth = Truth(noise=0.02, override=lambda size: 2000.0 if size <= 64 else 90.0 * size)
    epochs = 64 * 4000 / N_TRAIN
    step_s = knee(8192)
    asked = question(step_s, budget_s=40 * 2000 * step_s(64), longest_epochs=epochs)
    engine = SimulatedEngine(truth=truth, step_s=step_s)

    advice = advise(asked, engine)

    assert max(ask.trial.batch_size for ask in engine.asked) == 256
    (at_1024,) = [each for each in advice.candidates if each.batch_size == 1024]
    assert at_1024.steps_to_target.reason == Reason.of("missed_by_smaller", size=256)
