"""A plan gives what walking every step and counting its examples gives; a trial is one of it."""

import random
from dataclasses import replace
from itertools import islice

import pytest
from tests.reference.batch_plan import WalkedBatchPlan
from tests.reference.made_up import made_up_trial

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
every_plan = pytest.mark.parametrize("plan", [*CONSTANT, *map(staged_plan, range(40))])


@every_plan
def test_it_is_at_every_step_where_the_walk_is(plan):
    draw = random.Random(repr(plan))
    step_s = {size: draw.uniform(0.1, 2) for size in range(1, plan.n_train + 1)}

    samples, took_s, smaller = 0, 0.0, set()
    for here in islice(walked_plan(plan).walk(), 8 * plan.n_train):
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
    # Rounding takes no step: (1.1 - 1) × 100 is a little more than 10.
    stages = (Stage(from_samples=300, batch_size=20),)
    assert replace(staged, n_train=100, stages=stages).steps_in(1.1) == 11


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "micro_batch_size", "notes"),
    [
        (10, False, 10, ""),
        (7, False, 7, "the last batch of every epoch has 5 examples"),
        (7, True, 7, "5 examples are left out of every epoch (the last, smaller batch)"),
        (
            *(10, True, 4),
            "each step adds up 3 micro-batches of at most 4; layers that normalize over the batch "
            "normalize over the micro-batch",
        ),
    ],
)
def test_notes_say_what_is_ragged_or_added_up(batch_size, drop_last, micro_batch_size, notes):
    plan = constant_plan(40, batch_size, drop_last=drop_last)

    assert "".join(map(reason_text, plan.notes(micro_batch_size))) == notes


# ---- a trial's identity: the same for ever, and another one for every other field

TRIAL = made_up_trial()
OTHERWISE = {
    "settings": (("width", 8),),
    "micro_batch_size": 16,
    "sampling": "replacement",
    "drop_last": True,
    "scaling_rule": "sqrt",
    "horizon_steps": 100,
    "device": "cuda",
}
STAGES = (
    Stage(from_samples=100, batch_size=32),
    Stage(from_samples=200, batch_size=128, rate_factor=0.5),
)


def test_an_identity_is_the_same_for_ever_and_leaves_out_what_is_at_its_default():
    whole = replace(TRIAL, batch_size=32, micro_batch_size=32)

    assert TRIAL.trial_id == "7ac45b8771f86750"
    assert replace(TRIAL, **OTHERWISE).trial_id == "7506421a88cb9209"
    of_workload = {"workload_id": "made-up-id", "workload": "made-up", "n_train": 4096}
    of_trial = {"format": 2, "batch_size": 64, "learning_rate": 0.01, "seed": 0}
    assert TRIAL.identity == of_workload | of_trial
    assert "micro_batch_size" not in whole.identity


def test_every_field_tells_trials_apart():
    others = dict.fromkeys(("workload_id", "workload"), "other")
    others |= {"n_train": 5000, "batch_size": 32, "learning_rate": 0.02, "seed": 1}
    others |= {"world_size": 2}
    changes = [*(OTHERWISE | others).items(), ("stages", STAGES), ("stages", STAGES[:1])]

    known = {replace(TRIAL, **{name: value}).trial_id for name, value in changes}

    assert len({TRIAL.trial_id, *known}) == 1 + len(changes)


def test_stages_are_part_of_an_identity_and_of_the_plan():
    staged = replace(TRIAL, micro_batch_size=0, stages=STAGES)

    assert staged.identity["stages"] == [
        {"from_samples": 100, "batch_size": 32, "rate_factor": 1.0},
        {"from_samples": 200, "batch_size": 128, "rate_factor": 0.5},
    ]
    assert "micro_batch_size" not in staged.identity
    assert staged.micro_batch_sizes == {64: 64, 32: 32, 128: 128}
    assert not staged.accumulates
    assert replace(staged, micro_batch_size=64).accumulates
    assert staged.plan.stage_at(10).batch_size == 128
