"""What a script tells, as evaluations, and when its training is to end."""

import math
import random
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


def course(*, steps=1000, until=None, better="lower", earlier=()) -> ScriptCourse:
    request = RunRequest(trial=TRIAL, length=RunLength(steps=steps, until=until))
    command = TrainingCommand(arguments=("train", "{batch_size}"), metric="m", better=better)
    return ScriptCourse(request, command, earlier=earlier)


def add(seen: ScriptCourse, step: int, **values: float) -> Evaluation | None:
    return seen.add(values, step=step, samples=10 * step, at_s=float(step))


def test_only_what_has_the_metric_is_an_evaluation_with_the_mean_loss_since_the_one_before():
    seen = course()

    assert add(seen, 1, train_loss=4.0) is None
    add(seen, 2, train_loss=2.0)
    first = add(seen, 5, m=1.0)
    add(seen, 6, train_loss=1.0)
    second = add(seen, 7, m=0.9)

    assert (first.step, first.samples, first.train_s, first.batch_loss) == (5, 50, 4.0, 3.0)
    assert (first.score("validation", "m"), second.batch_loss) == (1.0, 1.0)


def test_values_of_a_near_name_are_forgotten():
    seen = course()
    for step, name in ((10, "M"), (20, "m"), (30, "M")):
        seen.take(Reading(at_s=0.0, shape="words", step=step, values=((name, 1.0),)))

    assert [(each.step, seen.is_renamed) for each in seen.evaluations] == [(20, True)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_ends_it_but_for_the_untrained_model(value):
    seen = course()
    add(seen, 0, m=value)
    assert seen.verdict() is None
    add(seen, 1, m=value)

    assert seen.verdict().status is Status.NAN


@pytest.mark.parametrize(
    ("name", "is_of_batches"),
    [
        *((name, True) for name in ("Loss", "Training loss", "train/loss")),
        *((name, False) for name in ("val loss", "M", "test_loss")),
    ],
)
def test_a_batch_loss_that_is_no_number_is_a_result_and_an_infinite_one_may_be_a_skipped_step(
    name, is_of_batches
):
    seen = course()
    add(seen, 1, **{name: math.inf if is_of_batches else 1.0})
    assert seen.verdict() is None

    add(seen, 3, **{name: math.nan})

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
    as_losses = [replace(e, scores=(replace(e.scores[0], metric="loss"),)) for e in by_step]
    if better == "lower" and divergence(as_losses) is not None:
        return Status.DIVERGED
    until = request.length.until
    crossing = None if until is None else crossing_of(by_step, until)
    if crossing is not None and crossing.held:
        return Status.TARGET_REACHED
    return Status.OK if last.step >= request.last_step else None


def random_course(
    draws: random.Random, better: Better
) -> tuple[ScriptCourse, list[tuple[int, float]]]:
    """A course with something earlier, and what it is told: steps again, and now and then back."""
    until = None
    if draws.random() < 0.8:
        held_for = draws.choice([0.0, 0.1, 0.5])
        until = Target(metric="m", value=0.5, better=better, held_for=held_for)
    before = course()
    for index in range(draws.randint(0, 3)):
        add(before, 2 * index + 2, m=draws.uniform(0.3, 1.0))
    step, steps = draws.randint(0, 8), []
    for _ in range(30):
        step = max(0, step + draws.choice([0, 0, 1, 2, 3, 6, -4 if draws.random() < 0.2 else 1]))
        odd = draws.choice([math.nan, math.inf, 20.0, 20.0])
        steps.append((step, odd if draws.random() < 0.15 else draws.uniform(0.3, 0.8)))
    length = draws.randint(20, 80)
    return course(steps=length, until=until, better=better, earlier=before.evaluations), steps


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_it_is_ended_where_a_look_at_all_of_its_evaluations_would_end_it(better):
    draws, seen_all = random.Random(0), set()
    for _ in range(50):
        seen, steps = random_course(draws, better)
        for step, value in steps:
            add(seen, step, m=value)

            verdict = seen.verdict()
            status = None if verdict is None else verdict.status
            assert [each.step for each in seen.evaluations] == sorted(
                {each.step for each in seen.evaluations}
            )
            assert status == script_status(seen.evaluations, seen._request, "m", better)
            seen_all.add(status)

    assert {None, Status.NAN, Status.OK, Status.TARGET_REACHED} <= seen_all
    assert (Status.DIVERGED in seen_all) == (better == "lower")


@pytest.mark.parametrize(
    ("told", "better", "status"),
    [
        ([{"m": 0.7}] * 4, "lower", Status.ERROR),
        ([{"m": 0.7}] * 2, "lower", Status.OK),  # too few to tell
        ([{"m": 0.7}, {"m": 0.7}, {"m": 0.6}], "lower", Status.OK),
        ([{"m": 0.0}] * 4, "lower", Status.OK),  # as good as can be
        ([{"m": 1.0}] * 4, "higher", Status.OK),
        ([{"m": 0.7, "loss": 1 / n} for n in (1, 2, 3, 4)], "lower", Status.OK),  # another moves
        ([{"m": 0.7}] * 5, "lower", "told again"),
    ],
)
def test_a_metric_that_never_changes_was_not_trained(told, better, status):
    seen = course(better=better)
    for step, values in enumerate(told, start=1):
        add(seen, 3 if status == "told again" else step, **values)

    assert seen.whole().status == (Status.OK if status == "told again" else status)
