"""The level of whole trainings: what the advice takes from one run, from many."""

from __future__ import annotations

import pytest
from benchmarks.regret.whole_level import WholeLevel, end_of, level_of

from batchlab.advice.end_level import as_well_as, end_level
from batchlab.advice.parts import Configuration
from batchlab.advice.question import Question
from batchlab.records.evaluation import Evaluation, Score
from batchlab.records.target import Target
from batchlab.records.trial import Status, Trial, TrialRecord

CURVE = [(step, round(0.9 - 0.8 * 0.9**step, 6)) for step in range(0, 41)]


def test_an_end_is_the_mean_of_the_last_quarter() -> None:
    curve = [(0, 0.0), (10, 0.5), (20, 0.7), (30, 0.8), (40, 0.9)]

    assert end_of(curve, has_schedule=False) == pytest.approx(0.85)


def test_under_a_schedule_an_end_is_the_mean_of_the_last_twentieth() -> None:
    curve = [(0, 0.0), (76, 0.5), (95, 0.8), (100, 0.9)]

    assert end_of(curve, has_schedule=True) == pytest.approx(0.85)


@pytest.mark.parametrize("curve", [[(0, 0.1)], [(0, 0.1), (30, 0.8), (40, None)]])
def test_what_was_not_seen_or_is_not_finite_has_no_end(
    curve: list[tuple[int, float | None]],
) -> None:
    assert end_of(curve, has_schedule=False) is None


def test_the_level_of_one_training_is_that_of_the_advice() -> None:
    question = Question(
        objective="time",
        metric="accuracy",
        better="higher",
        target=None,
        target_origin="pilot",
        reference=Configuration(batch_size=16, micro_batch_size=16, learning_rate=0.1),
        options=(),
        n_train=64,
        budget_s=1.0,
    )
    end = end_level(question, _record(), planned_steps=40)
    assert end is not None

    level = level_of([CURVE], metric="accuracy", better="higher", has_schedule=False)

    assert level.target == as_well_as(question, end)
    assert (level.end, level.margin) == pytest.approx((end.value, end.margin))


def test_the_level_of_several_is_taken_from_their_mean_end() -> None:
    worse = [(step, value - 0.1 if step else value) for step, value in CURVE]

    level = level_of([CURVE, worse], metric="accuracy", better="higher", has_schedule=False)

    first = end_of(CURVE, has_schedule=False)
    assert first is not None
    assert level.end == pytest.approx(first - 0.05)
    assert level.target.value == pytest.approx(level.end - 0.05 * (1 - level.end), abs=0.001)


@pytest.mark.parametrize(("better", "worse"), [("higher", 0.88), ("lower", 0.92)])
def test_a_shortfall_counts_margins(better: str, worse: float) -> None:
    target = Target(metric="m", value=0.9, better="higher" if better == "higher" else "lower")
    level = WholeLevel(target=target, end=0.9, margin=0.01)

    assert level.shortfall(worse, beside=0.9) == pytest.approx(2.0)


def _record() -> TrialRecord:
    trial = Trial.of_whole_batches(
        workload_id="w", workload="w", n_train=64, batch_size=16, learning_rate=0.1, seed=0
    )
    return TrialRecord(
        trial=trial,
        status=Status.OK,
        reason=None,
        engine="plain",
        threads=1,
        versions=(),
        target=None,
        evaluations=tuple(
            Evaluation(
                step=step,
                samples=16 * step,
                train_s=0.0,
                eval_s=0.0,
                batch_loss=None,
                scores=(Score(split="validation", metric="accuracy", value=value),),
            )
            for step, value in CURVE
        ),
        peak_bytes=None,
    )
