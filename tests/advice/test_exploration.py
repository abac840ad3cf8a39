"""Exploration: larger batch sizes first, none instead where the budget does not reach for them."""

from __future__ import annotations

from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advisor import advise
from batchlab.records.estimate import Reason


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
