"""What a script tells, as evaluations, and when its training is to end."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Evaluation, Status, Target, Trial, crossing_of
from batchlab.runs.script_course import ScriptCourse
from batchlab.script.command import TrainingCommand
from batchlab.script.reading import Reading
from batchlab.training.plain import divergence

TRIAL = Trial(workload_id="w", workload="w", n_train=1000, batch_size=10, learning_rate=0.1, seed=0)


def command(better: Better) -> TrainingCommand:
    return TrainingCommand(arguments=("train", "{batch_size}"), metric="m", better=better)


def course(
    *, steps: int = 100, until: float | None = None, better: Better = "lower"
) -> ScriptCourse:
    target = None if until is None else Target(metric="m", value=until, better=better)
    return ScriptCourse(
        RunRequest(trial=TRIAL, length=RunLength(steps=steps, until=target)), command(better)
    )


def told(seen: ScriptCourse, *values: float, every: int = 10) -> None:
    for index, value in enumerate(values, start=1):
        seen.add({"m": value}, step=index * every, samples=index * every * 10, at_s=float(index))


def test_only_what_has_the_metric_is_an_evaluation() -> None:
    seen = course()

    assert seen.add({"loss": 2.0}, step=1, samples=10, at_s=5.0) is None
    made = seen.add({"m": 1.0}, step=4, samples=40, at_s=8.0)

    assert (made.step, made.samples, made.train_s, made.batch_loss) == (4, 40, 3.0, 2.0)
    assert made.score("validation", "m") == 1.0


def test_values_of_a_near_name_are_forgotten() -> None:
    seen = course()
    for step, name in ((10, "M"), (20, "m"), (30, "M")):
        seen.take(Reading(at_s=0.0, shape="words", step=step, values=((name, 1.0),)))

    assert [(each.step, seen.is_renamed) for each in seen.evaluations] == [(20, True)]


def test_the_batch_loss_is_the_mean_since_the_evaluation_before() -> None:
    seen = course()
    for step, loss in ((1, 4.0), (2, 2.0)):
        seen.add({"train_loss": loss}, step=step, samples=10 * step, at_s=float(step))
    seen.add({"m": 1.0}, step=2, samples=20, at_s=2.0)
    seen.add({"train_loss": 1.0}, step=3, samples=30, at_s=3.0)

    seen.add({"m": 0.9}, step=4, samples=40, at_s=4.0)

    assert [each.batch_loss for each in seen.evaluations] == [3.0, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_ends_it_but_for_the_untrained_model(value: float) -> None:
    seen = course()
    seen.add({"m": value}, step=0, samples=0, at_s=0.0)
    assert seen.verdict() is None
    seen.add({"m": value}, step=1, samples=10, at_s=1.0)

    verdict = seen.verdict()

    assert verdict.status is Status.NAN


@pytest.mark.parametrize(
    ("name", "is_of_batches"),
    [
        *((name, True) for name in ("Loss", "Training loss", "train/loss")),
        *((name, False) for name in ("val loss", "M", "test_loss")),
    ],
)
def test_a_batch_loss_that_is_no_number_is_a_result_and_an_infinite_one_may_be_a_skipped_step(
    name: str, is_of_batches: bool
) -> None:
    seen = course()
    seen.add({name: math.inf if is_of_batches else 1.0}, step=1, samples=10, at_s=0.5)
    assert seen.verdict() is None

    seen.add({name: math.nan}, step=3, samples=30, at_s=1.0)

    verdict = seen.verdict()
    found = verdict and (verdict.status, verdict.reason)
    lost = (Status.NAN, Reason.of("metric_not_finite", metric="loss", step=3))
    assert found == (lost if is_of_batches else None)


def script_status(
    evaluations: Sequence[Evaluation], request: RunRequest, metric: str, better: Better
) -> Status | None:
    """How it is to end, by all of its evaluations each time: slow and obvious."""
    by_step = sorted(evaluations, key=lambda each: each.step)
    if not by_step:
        return None
    last = by_step[-1]
    if last.step > 0 and last.is_not_finite("validation", metric):
        return Status.NAN
    if better == "lower" and divergence([_as_loss(each) for each in by_step]) is not None:
        return Status.DIVERGED
    until = request.length.until
    crossing = None if until is None else crossing_of(by_step, until)
    if crossing is not None and crossing.held:
        return Status.TARGET_REACHED
    return Status.OK if last.step >= request.last_step else None


def _as_loss(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, scores=(replace(evaluation.scores[0], metric="loss"),))


def random_course(
    draws: random.Random, better: Better
) -> tuple[ScriptCourse, RunRequest, list[tuple[int, float]]]:
    """A course with something earlier, and what it is told: steps again, and now and then back."""
    target = None
    if draws.random() < 0.8:
        held_for = draws.choice([0.0, 0.1, 0.5])
        target = Target(metric="m", value=0.5, better=better, held_for=held_for)
    request = RunRequest(trial=TRIAL, length=RunLength(steps=draws.randint(20, 80), until=target))
    before = ScriptCourse(request, command(better))
    told(before, *(draws.uniform(0.3, 1.0) for _ in range(draws.randint(0, 3))), every=2)
    step, steps = draws.randint(0, 8), []
    for _ in range(30):
        step = max(0, step + draws.choice([0, 0, 1, 2, 3, 6, -4 if draws.random() < 0.2 else 1]))
        odd = draws.choice([math.nan, math.inf, 20.0, 20.0])
        steps.append((step, odd if draws.random() < 0.15 else draws.uniform(0.3, 0.8)))
    return ScriptCourse(request, command(better), earlier=before.evaluations), request, steps


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_it_is_ended_where_a_look_at_all_of_its_evaluations_would_end_it(better: Better) -> None:
    draws, seen_all = random.Random(0), set()
    for _ in range(150):
        seen, request, steps = random_course(draws, better)
        for step, value in steps:
            seen.add({"m": value}, step=step, samples=10 * step, at_s=float(step))

            verdict = seen.verdict()
            status = None if verdict is None else verdict.status
            assert [each.step for each in seen.evaluations] == sorted(
                {each.step for each in seen.evaluations}
            )
            assert status == script_status(seen.evaluations, request, "m", better)
            seen_all.add(status)

    assert {None, Status.NAN, Status.OK, Status.TARGET_REACHED} <= seen_all
    assert (Status.DIVERGED in seen_all) == (better == "lower")


def test_a_thousandth_value_costs_no_more_than_the_first() -> None:
    target = Target(metric="m", value=0.1, better="lower")
    request = RunRequest(trial=TRIAL, length=RunLength(steps=10**6, until=target))
    seen = ScriptCourse(request, command("lower"))
    began_s = time.process_time()

    for step in range(4000):
        seen.add({"m": 1.0}, step=step, samples=10 * step, at_s=float(step))
        assert seen.verdict() is None

    assert time.process_time() - began_s < 2.0  # a look at all of them each time took 30 s


@pytest.mark.parametrize(
    ("losses", "better", "status"),
    [
        ([0.7] * 4, "lower", Status.ERROR),
        ([0.7] * 2, "lower", Status.OK),  # too few to tell
        ([0.7, 0.7, 0.6], "lower", Status.OK),
        ([0.0] * 4, "lower", Status.OK),  # as good as can be
        ([1.0] * 4, "higher", Status.OK),
    ],
)
def test_a_metric_that_never_changes_was_not_trained(
    losses: list[float], better: Better, status: Status
) -> None:
    seen = course(steps=1000, better=better)
    told(seen, *losses)

    assert seen.whole().status is status


def test_one_value_told_again_and_again_is_one_evaluation() -> None:
    seen = course(steps=1000)
    for _ in range(5):
        seen.add({"m": 0.7}, step=3, samples=30, at_s=1.0)

    assert seen.whole().status is Status.OK


def test_a_metric_that_never_changes_beside_a_loss_that_does_was_trained() -> None:
    seen = course(steps=1000)
    for step in range(1, 5):
        values = {"m": 0.7, "loss": 1 / step}
        seen.add(values, step=step, samples=step, at_s=float(step))

    assert seen.whole().status is Status.OK
