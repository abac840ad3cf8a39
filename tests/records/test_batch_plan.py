"""The plans give what walking every step and counting its examples gives."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from tests.reference.batch_plan import WalkedBatchPlan

from batchlab.records.batch_plan import BatchPlan, Stage
from batchlab.words.reasons import reason_text

# (N, B): one example, single examples, ragged, dividing, over half, all but one, all of them.
CONFIGURATIONS = [
    *((1, 1), (7, 1), (7, 2), (12, 4), (40, 13), (40, 21), (40, 39), (40, 40)),
    *((n, random.Random(n).randint(1, n)) for n in range(2, 60, 3)),
]


def constant_plan(n: int, batch_size: int, *, drop_last: bool = False) -> BatchPlan:
    return BatchPlan(n_train=n, batch_size=batch_size, drop_last=drop_last)


def staged_plan(seed: int) -> BatchPlan:
    """A plan drawn at random, with up to four stages, growing or shrinking."""
    draw = random.Random(seed)
    n, drop_last = draw.randint(1, 60), draw.random() < 0.4
    places = sorted(draw.sample(range(1, 4 * n + 1), min(draw.randint(0, 4), n)))
    sizes = [draw.randint(1, n) for _ in range(len(places) + 1)]
    stages = tuple(
        Stage(from_samples=place, batch_size=size, rate_factor=draw.uniform(0.1, 2))
        for place, size in zip(places, sizes[1:], strict=True)
    )
    return BatchPlan(n_train=n, batch_size=sizes[0], drop_last=drop_last, stages=stages)


def walked_plan(plan: BatchPlan) -> WalkedBatchPlan:
    def wanted(step: int, samples: int) -> int:
        return stage_from(plan, samples).batch_size

    return WalkedBatchPlan(n_train=plan.n_train, wanted=wanted, drop_last=plan.drop_last)


def stage_from(plan: BatchPlan, samples: int) -> Stage:
    first = Stage(from_samples=0, batch_size=plan.batch_size)
    return [first, *(stage for stage in plan.stages if stage.from_samples <= samples)][-1]


CONSTANT = [constant_plan(*sizes, drop_last=drop) for sizes in CONFIGURATIONS for drop in (0, 1)]
every_plan = pytest.mark.parametrize("plan", [*CONSTANT, *map(staged_plan, range(60))])


@every_plan
def test_it_is_at_every_step_where_the_walk_is(plan):
    draw = random.Random(repr(plan))
    step_s = {size: draw.uniform(0.1, 2) for size in range(1, plan.n_train + 1)}

    samples, took_s, smaller = 0, 0.0, set()
    for here in islice(walked_plan(plan).walk(), 40 * plan.n_train):
        stage = stage_from(plan, samples)
        assert plan.samples_at(here.step) == samples
        assert plan.position(here.step) == (here.epoch, here.step_of_epoch)
        assert plan.batch_size_at(here.step) == here.batch_size
        if not plan.stages:  # within an epoch every step counts the same
            share = here.step_of_epoch / plan.steps_in(1)
            assert plan.epoch_at(here.step) == pytest.approx(here.epoch + share)
        assert plan.stage_at(here.step) == stage
        assert plan.train_s_at(here.step, step_s) == pytest.approx(took_s)
        samples += here.batch_size
        took_s += step_s[stage.batch_size]
        if here.batch_size < stage.batch_size:
            smaller.add(here.batch_size)
    # This far along every epoch is like the one before.
    assert plan.last_batch_sizes() == smaller


@every_plan
def test_samples_and_epochs_take_as_many_steps_as_on_the_walk(plan):
    walked, n, draw = walked_plan(plan), plan.n_train, random.Random(repr(plan))

    for samples in (0, 1, n - 0.5, n, n + 0.25, *(draw.uniform(0, 6 * n) for _ in range(9))):
        assert plan.step_at(samples) == walked.step_at(samples)
    parts = [draw.uniform(0.01, 4) for _ in range(5)]
    for epochs in (0, 1, 2, 4, *(parts if plan.stages else ())):
        step = plan.steps_in(epochs)
        assert step == walked.steps_in(epochs)
        assert plan.epoch_at(step) == pytest.approx(walked.epoch_at(step))
    for epochs in parts:
        step = plan.steps_in(epochs)
        assert plan.epoch_at(step - 1) < epochs <= plan.epoch_at(step)


def test_its_arithmetic_does_not_grow_with_the_run():
    plan = constant_plan(50_001, 1)
    step = 10**15 * 50_001 + 7
    stages = (Stage(from_samples=10**6, batch_size=1000),)
    staged = BatchPlan(n_train=50_000, batch_size=10, drop_last=False, stages=stages)

    assert plan.samples_at(step) == plan.step_at(step) == step
    assert plan.position(step) == (10**15, 7)
    assert plan.steps_in(10**15) == step - 7
    assert staged.samples_at(10**5 + 10**12) == 10**6 + 10**15
    assert staged.position(10**5 + 50 * 10**12) == (20 + 10**12, 0)


def test_rounding_of_a_part_of_an_epoch_takes_no_step():
    stages = (Stage(from_samples=300, batch_size=20),)
    plan = BatchPlan(n_train=100, batch_size=10, drop_last=False, stages=stages)

    # (1.1 - 1) × 100 is a little more than 10.
    assert plan.steps_in(1.1) == 11


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "micro_batch_size", "notes"),
    [
        (10, False, 10, ""),
        (7, False, 7, "the last batch of every epoch has 5 examples"),
        (7, True, 7, "5 examples are left out of every epoch (the last, smaller batch)"),
        (
            *(10, True, 4),
            "each step adds up 3 micro-batches of at most 4; layers that normalize over the batch "
            "see the micro-batch",
        ),
    ],
)
def test_its_notes_say_what_is_ragged_and_what_is_accumulated(
    batch_size, drop_last, micro_batch_size, notes
):
    plan = constant_plan(40, batch_size, drop_last=drop_last)

    assert "".join(map(reason_text, plan.notes(micro_batch_size))) == notes
