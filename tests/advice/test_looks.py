"""Looks: batch sizes beside the best are trained once, as far as the budget goes."""

import math
from dataclasses import replace

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.allocation import (
    _SIZES_SEEN,
    decision_of,
    look,
    look_at_the_rest,
    visit,
)
from batchlab.advice.decision import candidate, costs_of
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import run_valuations, tune
from batchlab.records.estimate import Reason

WHY = Reason.as_written("a test")


def state_of(*visited, budget_s=1e6, step_s=None, truth=None):
    """A study in which the reference was tuned and valued, and these were visited."""
    step_s = step_s or knee(1024)
    engine = SimulatedEngine(truth=truth or Truth(noise=0.0), step_s=step_s)
    asked = question(step_s, budget_s=budget_s)
    state = StudyState(question=asked, engine=engine, until=asked.target)
    tune(state, state.reference, limit_steps=10**6)
    run_valuations(state, state.reference, 2)
    for batch_size in visited:
        visit(state, state.sizes[batch_size], why=WHY)
    return state, engine


def sizes_in(state):
    return sorted({batch_size for batch_size, _, _ in state.records})


def test_those_nearest_to_the_best_are_trained_once_at_the_rate_that_follows():
    state, engine = state_of(256, 1024)
    before, n_before = sizes_in(state), len(engine.asked)

    look_at_the_rest(state)

    new = engine.asked[n_before:]
    assert len(sizes_in(state)) == _SIZES_SEEN
    assert sorted(ask.trial.batch_size for ask in new) == sorted(set(sizes_in(state)) - {*before})
    best = state.best.batch_size
    apart = {ask.trial.batch_size: abs(math.log2(ask.trial.batch_size / best)) for ask in new}
    farther = [s for s in state.sizes if s not in sizes_in(state)]
    assert max(apart.values()) <= min(abs(math.log2(size / best)) for size in farther)
    for ask in new:
        octave = math.log2(ask.trial.learning_rate / state.question.reference.learning_rate)
        start = state.rate_start(state.sizes[ask.trial.batch_size])
        assert abs(octave - start) <= 0.5
        assert ask.trial.seed == state.seeds.tune[0]
    assert all(state.sizes[size].search is None for size in apart)


def test_what_is_sooner_than_the_best_was_is_tuned():
    # Steps fall as 1/B up to far beyond what was visited: the next larger sizes are sooner.
    state, _ = state_of(step_s=lambda batch_size: 1e-3)
    assert state.best.batch_size == 64

    look(state)

    tuned = [size.batch_size for size in state.tuned]
    assert max(tuned) > 64
    assert state.best.batch_size > 64


@pytest.mark.parametrize("looks", [look, look_at_the_rest])
def test_looks_keep_within_what_is_left(looks):
    state, engine = state_of()
    n_before = len(engine.asked)
    state.question = replace(state.question, budget_s=engine.spent_s())

    looks(state)

    assert len(engine.asked) == n_before


def test_an_answer_shows_what_a_look_saw_and_values_nothing_by_it():
    state, engine = state_of(256)
    n_before = len(engine.asked)
    look_at_the_rest(state)
    costs = costs_of(state)

    now = decision_of(state, costs)
    shown = {n: candidate(state, costs, now, size) for n, size in state.sizes.items()}

    looked = {ask.trial.batch_size: ask.trial for ask in engine.asked[n_before:]}
    assert len(looked) == _SIZES_SEEN - 2
    for batch_size, trial in looked.items():
        seen = shown[batch_size]
        record = state.records[batch_size, trial.learning_rate, trial.seed]
        assert seen.note.code == "seen_in_single_run"
        assert seen.learning_rate == trial.learning_rate
        assert seen.steps_to_target.estimate == pytest.approx(state.learning_cost(record))
        assert seen.steps_to_target.low is seen.steps_to_target.high is None
        assert (seen.steps_to_target.n, seen.n_runs) == (1, 0)
        assert seen.relative.estimate is None
        assert not seen.in_flat_set
