"""The crossing of a curve that is still told is the crossing of what was told of it."""

from __future__ import annotations

import random

import pytest

from batchlab.records.trial import Evaluation, Score, Target, crossing_of
from batchlab.runs.script_course import CrossingSoFar


def evaluation(step: int, scores: tuple[Score, ...]) -> Evaluation:
    return Evaluation(
        step=step, samples=10 * step, train_s=1.0, eval_s=0.0, batch_loss=None, scores=scores
    )


def drawn(draws: random.Random, metric: str) -> tuple[Score, ...]:
    if draws.random() < 0.1:
        return ()
    value = None if draws.random() < 0.1 else draws.random()
    return (Score(split="validation", metric=metric, value=value),)


@pytest.mark.parametrize("held_for", [0.0, 0.1, 0.5])
def test_it_is_what_a_look_at_all_evaluations_says(held_for: float) -> None:
    draws, n_held = random.Random(0), 0
    for _ in range(100):
        target = Target(metric="m", value=draws.random(), better="lower", held_for=held_for)
        seen, known = CrossingSoFar(target=target), []
        for step in sorted(draws.sample(range(200), 20)):
            known.append(evaluation(step, drawn(draws, "m")))
            seen = seen.after(known[-1])
            assert seen.crossing == crossing_of(known, target)
        n_held += seen.crossing is not None and seen.crossing.held

    assert 10 < n_held < 100
