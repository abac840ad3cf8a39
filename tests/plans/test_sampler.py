"""BatchSizeSampler: what a loader, its workers and several processes are given."""

import random
from dataclasses import replace
from itertools import chain, pairwise

import pytest
import torch
from torch.utils.data import DataLoader

import batchlab
from batchlab import plans
from batchlab.errors import UsageError
from batchlab.plans import Plan
from batchlab.workload.data import epoch_order


def drawn(seed: int) -> tuple[int, Plan]:
    """Some data and a plan for it: up to three changes, up or down, in any unit."""
    draw = random.Random(seed)
    n = draw.randint(20, 90)
    unit = draw.choice(["epochs", "steps", "samples"])
    most = {"epochs": 3.0, "steps": 3, "samples": 3 * n - 1}[unit]
    places = {draw.uniform(0.1, most) if unit == "epochs" else draw.randint(1, most) for _ in "abc"}
    sizes = {place: draw.randint(1, n // 3) for place in sorted(places)}
    return n, plans.steps(draw.randint(1, n // 3), sizes, unit=unit, epochs=3.1)


def sampler_of(n: int = 16, plan: Plan | None = None, **given: int) -> batchlab.BatchSizeSampler:
    plan = plans.constant(8, epochs=2) if plan is None else plan
    return batchlab.BatchSizeSampler(range(n), plan, **given)


def test_every_example_comes_once_an_epoch_in_batches_of_the_planned_sizes():
    for seed in range(40):
        n, plan = drawn(seed)
        sampler = sampler_of(n, plan, seed=seed)

        batches = list(sampler)

        steps = range(len(batches))
        assert len(batches) == len(sampler) == sampler.n_steps
        assert list(map(len, batches)) == [sampler.plan.batch_size_at(step) for step in steps]
        for begin, end in pairwise(sampler.plan.steps_in(epoch) for epoch in range(4)):
            assert sorted(chain(*batches[begin:end])) == list(range(n))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_each_batch_and_miss_none(world_size):
    """From the first step on, or taken up at any by another number of processes."""
    for seed in range(20):
        n, plan = drawn(seed)
        # No batch may have fewer examples than processes, and each change must come.
        plan = replace(plan.divisible_by(4), epochs=6.1)
        given = {"n": n, "plan": plan, "seed": seed, "drop_last": True}
        whole = list(sampler_of(**given))
        for step in (0, random.Random(seed).randint(0, len(whole))):
            state = sampler_of(**given).state_dict(step=step)
            ranks = [sampler_of(**given, rank=r, world_size=world_size) for r in range(world_size)]
            for rank in ranks:
                rank.load_state_dict(state)

            assert len(ranks[0]) == len(whole) - step
            for shares, batch in zip(zip(*ranks, strict=True), whole[step:], strict=True):
                assert sorted(chain(*shares)) == sorted(batch)
                assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.slow
def test_workers_that_fetch_ahead_change_nothing():
    n, plan = drawn(0)

    loader = DataLoader(range(n), batch_sampler=sampler_of(n, plan), num_workers=2)

    assert [batch.tolist() for batch in loader] == list(sampler_of(n, plan))


def test_a_second_pass_is_refused_and_a_look_at_the_first_batch_is_none():
    sampler = sampler_of(50)
    first = next(iter(sampler))  # as Keras looks

    whole = list(sampler)

    assert whole[0] == first
    with pytest.raises(UsageError, match="leave out the loop over epochs"):
        next(iter(sampler))
    sampler.load_state_dict(sampler.state_dict(step=10))
    assert list(sampler) == whole[10:]


def test_its_order_is_that_of_the_trainer_and_what_is_dropped_the_rest_of_an_epoch():
    orders = [epoch_order(50, seed=3, epoch=epoch, sampling="reshuffle") for epoch in (0, 1)]
    dropping = sampler_of(40, plans.steps(6, {0.5: 15}, epochs=2), drop_last=True)

    assert list(chain(*sampler_of(50, seed=3))) == torch.cat(orders).tolist()
    assert list(map(len, dropping)) == [6] * 6 + [15] * 2  # at the size of its end


def test_its_state_counts_the_steps_of_its_scheduler_not_what_was_fetched():
    sampler = sampler_of(50)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(UsageError, match="a loader fetches ahead"):
        sampler.state_dict()
    rates = sampler.scheduler(optimizer)
    batches = iter(sampler)
    for _ in range(5):
        next(batches)

    for _ in range(3):
        optimizer.step()
        rates.step()

    assert sampler.state_dict()["step"] == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sampler_of(rank=2, world_size=2), "rank=2: expected 0 to 1"),
        (lambda: sampler_of(9, world_size=2), "a batch of 1 examples cannot be shared by 2"),
        (lambda: sampler_of(7), "batch size 8, and there are 7 training examples"),
        (lambda: sampler_of().load_state_dict(sampler_of(seed=1).state_dict(step=1)), "its seed"),
        (lambda: sampler_of().load_state_dict(sampler_of(20).state_dict(step=1)), "its n_train"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(make, message):
    with pytest.raises(UsageError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)
