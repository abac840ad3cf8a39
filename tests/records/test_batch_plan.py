"""The plans give what walking every step and counting its examples gives."""

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
EPOCHS = 4


def both(n: int, batch_size: int, drop_last: bool) -> tuple[BatchPlan, WalkedBatchPlan]:
    return (
        BatchPlan(n_train=n, batch_size=batch_size, drop_last=drop_last),
        WalkedBatchPlan(n_train=n, wanted=lambda step, samples: batch_size, drop_last=drop_last),
    )


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "batch_size"), CONFIGURATIONS)
def test_within_an_epoch_every_step_counts_the_same_and_is_whole(
    n: int, batch_size: int, drop_last: bool
) -> None:
    plan, _ = both(n, batch_size, drop_last)
    draw = random.Random(n)

    for epoch in range(EPOCHS):
        begin, end = plan.steps_in(epoch), plan.steps_in(epoch + 1)
        for taken in range(end - begin):
            assert plan.epoch_at(begin + taken) == pytest.approx(epoch + taken / (end - begin))
    for epochs in (draw.uniform(0.01, EPOCHS) for _ in range(20)):
        step = plan.steps_in(epochs)
        assert plan.epoch_at(step - 1) < epochs <= plan.epoch_at(step)


def test_its_arithmetic_does_not_grow_with_the_run() -> None:
    plan = BatchPlan(n_train=50_001, batch_size=1, drop_last=False)
    step = 10**15 * 50_001 + 7

    assert plan.samples_at(step) == step
    assert plan.step_at(step) == step
    assert plan.position(step) == (10**15, 7)
    assert plan.steps_in(10**15) == step - 7


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "micro_batch_size", "notes"),
    [
        (10, False, 10, ()),
        (7, False, 7, ("the last batch of every epoch has 5 examples",)),
        (7, True, 7, ("5 examples are left out of every epoch (the last, smaller batch)",)),
        (
            10,
            True,
            4,
            (
                "each step adds up 3 micro-batches of at most 4; layers that normalize over "
                "the batch see the micro-batch",
            ),
        ),
    ],
)
def test_its_notes_say_what_is_ragged_and_what_is_accumulated(
    batch_size: int, drop_last: bool, micro_batch_size: int, notes: tuple[str, ...]
) -> None:
    plan = BatchPlan(n_train=40, batch_size=batch_size, drop_last=drop_last)

    assert tuple(map(reason_text, plan.notes(micro_batch_size))) == notes


def staged(seed: int) -> tuple[BatchPlan, WalkedBatchPlan]:
    """A plan drawn at random: up to four stages, growing or shrinking, and its walk."""
    draw = random.Random(seed)
    n, drop_last = draw.randint(1, 60), draw.random() < 0.4
    places = sorted(draw.sample(range(1, 4 * n + 1), min(draw.randint(0, 4), n)))
    sizes = [draw.randint(1, n) for _ in range(len(places) + 1)]
    stages = tuple(
        Stage(from_samples=place, batch_size=size, rate_factor=draw.uniform(0.1, 2))
        for place, size in zip(places, sizes[1:], strict=True)
    )

    def wanted(step: int, samples: int) -> int:
        return [sizes[0], *(s.batch_size for s in stages if s.from_samples <= samples)][-1]

    plan = BatchPlan(n_train=n, batch_size=sizes[0], drop_last=drop_last, stages=stages)
    return plan, WalkedBatchPlan(n_train=n, wanted=wanted, drop_last=drop_last)


Case = int | tuple[int, int, bool]


def plan_of(case: Case) -> tuple[BatchPlan, WalkedBatchPlan]:
    return staged(case) if isinstance(case, int) else both(*case)


CONSTANT = [(*cut, drop_last) for cut in CONFIGURATIONS for drop_last in (False, True)]


@pytest.mark.parametrize("case", [*CONSTANT, *range(60)])
class TestEveryBatchPlan:
    def test_it_is_at_every_step_where_the_walk_is(self, case: Case) -> None:
        plan, walked = plan_of(case)

        samples = 0
        for here in islice(walked.walk(), 6 * plan.n_train):
            assert plan.samples_at(here.step) == samples
            assert plan.position(here.step) == (here.epoch, here.step_of_epoch)
            assert plan.batch_size_at(here.step) == here.batch_size
            first = Stage(from_samples=0, batch_size=plan.batch_size)
            begun = [first, *(s for s in plan.stages if s.from_samples <= samples)]
            assert plan.stage_at(here.step) == begun[-1]
            samples += here.batch_size

    def test_so_many_samples_and_epochs_take_as_many_steps_as_on_the_walk(self, case: Case) -> None:
        plan, walked = plan_of(case)
        draw = random.Random(str(case))
        n = plan.n_train

        for wanted in (0, 1, n - 0.5, n, n + 0.25, *(draw.uniform(0, 6 * n) for _ in range(20))):
            assert plan.step_at(wanted) == walked.step_at(wanted)
        # Within an epoch of one batch size every step counts the same, the smaller last one too.
        parts = [draw.uniform(0.01, 6) for _ in range(10)] if plan.stages else []
        for epochs in (0, 1, 2, 3, 6, *parts):
            step = plan.steps_in(epochs)
            assert step == walked.steps_in(epochs)
            assert plan.epoch_at(step) == pytest.approx(walked.epoch_at(step))

    def test_its_seconds_are_those_of_each_step_on_the_walk(self, case: Case) -> None:
        plan, walked = plan_of(case)
        draw = random.Random(str(case))
        step_s = {size: draw.uniform(0.1, 2) for size in range(1, plan.n_train + 1)}

        took_s = 0.0
        for here in islice(walked.walk(), 4 * plan.n_train):
            assert plan.train_s_at(here.step, step_s) == pytest.approx(took_s)
            took_s += step_s[plan.stage_at(here.step).batch_size]

    def test_its_smaller_last_batches_are_those_of_the_walk(self, case: Case) -> None:
        plan, walked = plan_of(case)

        found = set()
        for here in islice(walked.walk(), 40 * plan.n_train):
            if here.batch_size < plan.stage_at(here.step).batch_size:
                found.add(here.batch_size)
        # So far along every epoch is like the one before.
        assert plan.last_batch_sizes() == found


def test_rounding_of_a_part_of_an_epoch_takes_no_step() -> None:
    stages = (Stage(from_samples=300, batch_size=20),)
    plan = BatchPlan(n_train=100, batch_size=10, drop_last=False, stages=stages)

    # (1.1 - 1) × 100 is a little more than 10.
    assert plan.steps_in(1.1) == 11


def test_a_staged_plan_is_asked_in_no_time_far_along_a_run() -> None:
    stages = (Stage(from_samples=10**6, batch_size=1000),)
    plan = BatchPlan(n_train=50_000, batch_size=10, drop_last=False, stages=stages)

    assert plan.samples_at(10**5 + 10**12) == 10**6 + 10**15
    assert plan.position(10**5 + 50 * 10**12) == (20 + 10**12, 0)
