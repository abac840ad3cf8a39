"""What a script tells, as evaluations, and when its training is to end."""

import math
from dataclasses import replace

import pytest

from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, Trial, crossing_of
from batchlab.runs.script_course import ScriptCourse
from batchlab.script.command import TrainingCommand
from batchlab.script.reading import Reading

TRIAL = Trial(workload_id="w", workload="w", n_train=1000, batch_size=10, learning_rate=0.1, seed=0)


def course(*, steps=1000, until=None, better="lower", earlier=()) -> ScriptCourse:
    request = RunRequest(trial=TRIAL, length=RunLength(steps=steps, until=until))
    command = TrainingCommand(arguments=("train", "{batch_size}"), metric="m", better=better)
    return ScriptCourse(request, command, earlier=earlier)


def add(seen: ScriptCourse, step: int, **values: float) -> None:
    seen.add(values, step=step, at_s=float(step))


def test_only_what_has_the_metric_is_an_evaluation_with_the_mean_loss_since_the_one_before():
    seen = course()

    add(seen, 1, train_loss=4.0)
    add(seen, 2, train_loss=2.0)
    add(seen, 5, m=1.0)
    add(seen, 6, train_loss=1.0)
    add(seen, 7, m=0.9)

    first, second = seen.evaluations
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
def test_a_batch_loss_of_nan_is_a_result_and_an_infinite_one_is_not(name, is_of_batches):
    seen = course()
    add(seen, 1, **{name: math.inf if is_of_batches else 1.0})
    assert seen.verdict() is None

    add(seen, 3, **{name: math.nan})

    verdict = seen.verdict()
    found = verdict and (verdict.status, verdict.reason)
    lost = (Status.NAN, Reason.of("metric_not_finite", metric="loss", step=3))
    assert found == (lost if is_of_batches else None)


@pytest.mark.parametrize(
    ("values", "better", "held_for", "status"),
    [
        ([1.0, 0.9], "lower", 0.0, None),
        ([1.0, 11.0, 12.0, 13.0], "lower", 0.0, Status.DIVERGED),
        ([1.0, 11.0, math.nan], "lower", 0.0, Status.NAN),
        ([1.0, 11.0, 12.0, 13.0], "higher", 0.5, None),
        ([0.9, 0.4], "lower", 0.0, None),  # it has to be met twice
        ([0.9, 0.4, 0.6], "lower", 0.0, Status.TARGET_REACHED),
        ([0.9, 0.4, 0.6], "lower", 0.01, None),
        ([0.9, 0.4, 0.4], "lower", 0.01, Status.TARGET_REACHED),
        ([0.9] * 9 + [0.8], "lower", 0.0, Status.OK),  # at its length
    ],
)
def test_it_ends_once_its_curve_says_so(values, better, held_for, status):
    until = Target(metric="m", value=0.5, better=better, held_for=held_for)
    if better == "higher":
        until = replace(until, value=20.0)
    seen = course(steps=10, until=until, better=better)
    for step, value in enumerate(values, start=1):
        assert step == 1 or seen.verdict() is None
        add(seen, step, m=value)

    verdict = seen.verdict()

    assert (verdict and verdict.status) == status


def test_a_value_at_an_earlier_or_the_same_step_has_its_place():
    earlier = course()
    for step in (2, 4):
        add(earlier, step, m=0.9)
    seen = course(earlier=earlier.evaluations)
    for step, value in ((4, 0.8), (6, 0.7), (5, 0.6), (6, 0.5)):
        add(seen, step, m=value)

    curve = [(each.step, each.score("validation", "m")) for each in seen.evaluations]
    assert curve == [(2, 0.9), (4, 0.8), (5, 0.6), (6, 0.5)]


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


def test_evaluations_before_the_last_miss_are_not_read_again(monkeypatch):
    read: list[int] = []

    def counted(evaluations, target):
        read.append(len(evaluations))
        return crossing_of(evaluations, target)

    monkeypatch.setattr("batchlab.runs.script_course.crossing_of", counted)
    until = Target(metric="m", value=0.5, better="higher", held_for=0.5)
    seen = course(steps=10**6, until=until, better="higher")
    for step in range(1, 200):
        add(seen, step, m=0.4 + 0.2 * (step % 2))

    assert max(read) <= 3
    assert seen.ended is None
    for step in range(200, 400):
        add(seen, step, m=0.6)
    assert seen.ended.status is Status.TARGET_REACHED
