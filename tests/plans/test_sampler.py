"""BatchSizeSampler: what a loader, its workers and several processes are given."""

import random
from itertools import chain, pairwise

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import batchlab
from batchlab import plans
from batchlab.errors import UsageError
from batchlab.plans import Plan
from batchlab.workload.data import epoch_order


class Places(Dataset[int]):
    """Examples that are their own places."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: int) -> int:
        return place


def drawn(seed: int) -> tuple[int, Plan]:
    """Some data and a plan for it: up to three changes, up or down, in any unit."""
    draw = random.Random(seed)
    n = draw.randint(20, 90)
    unit = draw.choice(["epochs", "steps", "samples"])
    most = {"epochs": 3.0, "steps": 3, "samples": 3 * n - 1}[unit]
    places = {draw.uniform(0.1, most) if unit == "epochs" else draw.randint(1, most) for _ in "abc"}
    sizes = {place: draw.randint(1, n // 3) for place in sorted(places)}
    return n, plans.steps(draw.randint(1, n // 3), sizes, unit=unit, epochs=3.1)


def loaded(n: int, sampler: batchlab.BatchSizeSampler, *, workers: int) -> list[list[int]]:
    loader = DataLoader(Places(n), batch_sampler=sampler, num_workers=workers)
    return [batch.tolist() for batch in loader]


def by_epoch(batches: list[list[int]], sampler: batchlab.BatchSizeSampler) -> list[list[int]]:
    ends = [sampler.plan.steps_in(epoch) for epoch in range(4)]
    return [list(chain(*batches[a:b])) for a, b in pairwise(ends)]


@pytest.mark.parametrize("seed", range(40))
def test_every_example_comes_once_an_epoch_in_batches_of_the_planned_sizes(seed: int) -> None:
    n, plan = drawn(seed)
    sampler = batchlab.BatchSizeSampler(Places(n), plan, seed=seed)

    batches = list(sampler)

    assert len(batches) == len(sampler) == sampler.n_steps
    assert [len(b) for b in batches] == [sampler.plan.batch_size_at(s) for s in range(len(batches))]
    for epoch in by_epoch(batches, sampler):
        assert sorted(epoch) == list(range(n))


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_processes_share_each_batch_and_miss_none(seed: int, world_size: int) -> None:
    n, plan = drawn(seed)
    # A batch of fewer examples than processes would be refused.
    given = {"plan": plan.divisible_by(world_size + 1), "seed": seed, "drop_last": True}
    alone = list(batchlab.BatchSizeSampler(Places(n), **given))

    ranks = [
        list(batchlab.BatchSizeSampler(Places(n), **given, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]

    for shares, batch in zip(zip(*ranks, strict=True), alone, strict=True):
        assert sorted(chain(*shares)) == sorted(batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("seed", range(40))
def test_stopped_at_any_step_it_goes_on_with_the_batches_that_were_left(seed: int) -> None:
    n, plan = drawn(seed)
    whole = list(batchlab.BatchSizeSampler(Places(n), plan, seed=seed))
    step = random.Random(seed).randint(0, len(whole))
    stopped = batchlab.BatchSizeSampler(Places(n), plan, seed=seed).state_dict(step=step)

    resumed = batchlab.BatchSizeSampler(Places(n), plan, seed=seed)
    resumed.load_state_dict(stopped)

    assert len(resumed) == len(whole) - step
    assert list(resumed) == whole[step:]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_workers_that_fetch_ahead_change_nothing(seed: int) -> None:
    n, plan = drawn(seed)
    one, two, three = (batchlab.BatchSizeSampler(Places(n), plan, seed=seed) for _ in range(3))

    assert loaded(n, one, workers=2) == loaded(n, two, workers=0) == list(three)


def test_a_second_pass_is_refused_and_a_look_at_the_first_batch_is_none() -> None:
    sampler = batchlab.BatchSizeSampler(Places(50), plans.constant(8, epochs=2))
    first = next(iter(sampler))  # as Keras looks

    whole = list(sampler)

    assert whole[0] == first
    with pytest.raises(UsageError, match="leave out the loop over epochs"):
        next(iter(sampler))
    sampler.load_state_dict(sampler.state_dict(step=10))
    assert list(sampler) == whole[10:]


def test_its_order_is_that_of_the_trainer_with_the_same_seed() -> None:
    sampler = batchlab.BatchSizeSampler(Places(50), plans.constant(8, epochs=2), seed=3)

    orders = [epoch_order(50, seed=3, epoch=epoch, sampling="reshuffle") for epoch in (0, 1)]

    assert list(chain(*sampler)) == torch.cat(orders).tolist()


def test_what_is_dropped_is_the_rest_of_an_epoch_at_the_size_of_its_end() -> None:
    plan = plans.steps(6, {0.5: 15}, epochs=2)

    sampler = batchlab.BatchSizeSampler(Places(40), plan, drop_last=True)

    assert [len(batch) for batch in sampler] == [6] * 6 + [15] * 2


def test_its_state_counts_the_steps_of_its_scheduler_not_what_was_fetched() -> None:
    sampler = batchlab.BatchSizeSampler(Places(50), plans.constant(8, epochs=2))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(UsageError, match="a loader fetches ahead"):
        sampler.state_dict()
    rates = sampler.scheduler(optimizer)
    fetched = iter(sampler)
    for _ in range(5):
        next(fetched)

    for _ in range(3):
        optimizer.step()
        rates.step()

    assert sampler.state_dict()["step"] == 3


def test_another_number_of_processes_goes_on_with_the_same_batches() -> None:
    plan = plans.steps(8, {0.5: 16}, epochs=2)
    state = batchlab.BatchSizeSampler(Places(64), plan).state_dict(step=5)

    ranks = [
        batchlab.BatchSizeSampler(Places(64), plan, rank=rank, world_size=2) for rank in (0, 1)
    ]
    for rank in ranks:
        rank.load_state_dict(state)

    whole = list(batchlab.BatchSizeSampler(Places(64), plan))
    shares = zip(*ranks, strict=True)
    assert [sorted(a + b) for a, b in shares] == [sorted(batch) for batch in whole[5:]]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: batchlab.BatchSizeSampler(iter([1]), plans.constant(1, epochs=1)),
            "list_iterator has no length",
        ),
        (lambda: batchlab.BatchSizeSampler(Places(9), 4), "4 is no plan"),
        (lambda: sampler_of(rank=2, world_size=2), "rank=2: expected 0 to 1"),
        (lambda: sampler_of(n=9, world_size=2), "a batch of 1 examples cannot be shared by 2"),
        (lambda: sampler_of(n=7), "batch size 8, and there are 7 training examples"),
        (lambda: sampler_of().load_state_dict(sampler_of(seed=1).state_dict(step=1)), "its seed"),
        (lambda: sampler_of().load_state_dict(sampler_of(n=20).state_dict(step=1)), "its n_train"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(make, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


def sampler_of(*, n: int = 16, **given: int) -> batchlab.BatchSizeSampler:
    return batchlab.BatchSizeSampler(Places(n), plans.constant(8, epochs=1), **given)
