"""Batches: whatever the kind of data, the right examples in the right order, wherever taken up."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests.reference.data_kinds import Streamed, kinds, workload_of
from tests.reference.engine_run import taken
from tests.reference.small_workloads import cropped_workload, points, small_trial, small_workload
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import BatchSampler, DataLoader

from batchlab.errors import UsageError, WorkloadError
from batchlab.random_state import seed_everything
from batchlab.records.batch_plan import Stage
from batchlab.training import evaluator
from batchlab.training.batching import on_device, order_of, training_batches
from batchlab.training.evaluator import Evaluator
from batchlab.workload.data import n_examples
from batchlab.workload.definition import Workload
from batchlab.workload.given_data import check_sampling
from batchlab.workload.loading import load_workload

CPU = torch.device("cpu")
N = 40
KINDS = ("dict", "dict of arrays", "nested", "mapped", "examples as dicts", "loader")


@pytest.fixture(scope="module")
def of_kind(tmp_path_factory):
    """A workload of the same points as data of each kind, loaded once."""
    data = kinds(tmp_path_factory.mktemp("kinds"))
    return cache(lambda kind: workload_of(data[kind]))


def numbered(n: int = N, **fields: Any) -> Workload:
    """A workload whose n-th example is the number n."""
    numbers = torch.arange(n)
    return small_workload(train=(numbers, 10 * numbers), **fields)


def streamed(train: Any = None, **fields: Any) -> Workload:
    train = Streamed(*points(N)) if train is None else train
    return workload_of({"train": train, "validation": points(20, seed=1)}, **fields)


def steps_of(workload: Workload, *, epoch=1, first_step=0, **trial: Any) -> list[Sequence[Any]]:
    """The micro-batches of each step of an epoch."""
    trial = {"batch_size": 12} | trial
    return list(training_batches(workload, small_trial(workload, **trial), CPU)(epoch, first_step))


def examples_of(workload: Workload, **trial: Any) -> list[list[int]]:
    """The numbers that each step of an epoch sees, micro-batches joined."""
    steps = steps_of(workload, **trial)
    return [[int(number) for x, _ in micro_batches for number in x] for micro_batches in steps]


def neighbours(batch_size: int, seed: int) -> Iterable[list[int]]:
    """Batches of neighbours in a random order, what is left at the end."""
    *full, last = BatchSampler(range(N), batch_size, drop_last=False)
    return [*(full[place] for place in np.random.permutation(len(full))), last]


def drawn(examples: list[Any]) -> tuple[Tensor, Tensor]:
    """A `collate` that draws what it gives."""
    return torch.rand(len(examples), 1), torch.zeros(len(examples))


IN_PIECES = {"batch_size": 12, "micro_batch_size": 5}
SEVENS = {"batch_size": 7}
# What makes a workload, how it is cut, and the steps that it is taken up at.
EPOCHS: dict[str, tuple[Callable[..., Workload], dict[str, Any], Iterable[int]]] = {
    **{
        f"{size} by {sampling}": (
            numbered,
            {"batch_size": size, "sampling": sampling},
            range(-(-N // size) + 1),
        )
        for size in (1, 3, 8, N)
        for sampling in ("reshuffle", "replacement")
    },
    "crops": (cropped_workload, SEVENS, range(7)),
    "crops by workers": (partial(cropped_workload, workers=2), SEVENS, (3,)),
    "stream": (streamed, IN_PIECES, (1, 3)),
    "stream with a collate": (partial(streamed, collate=drawn), IN_PIECES, (1, 3)),
}


@pytest.mark.parametrize("name", [*EPOCHS, *KINDS])
def test_taken_up_anywhere_an_epoch_goes_on_with_the_same_examples(name, of_kind):
    make, trial, first_steps = EPOCHS.get(name) or (partial(of_kind, name), IN_PIECES, (1, 3))
    whole = steps_of(replace(make(), workers=0), **trial)

    for first_step in first_steps:
        rest = steps_of(make(), **trial, first_step=first_step)
        torch.testing.assert_close(rest, whole[first_step:], rtol=0, atol=0)


@pytest.mark.parametrize(("size", "micro"), [(1, 1), (7, 7), (12, 5), (40, 40), (40, 16)])
def test_it_trains_as_a_tuple_of_the_same_tensors(size, micro, of_kind, monkeypatch):
    """The losses of two and a half epochs, and the scores after them."""
    monkeypatch.setattr(evaluator, "TRAIN_EXAMPLES_EVALUATED", 30)

    def trained(kind: str) -> list[Any]:
        workload = of_kind(kind)
        trial = small_trial(workload, batch_size=size, micro_batch_size=micro)
        stepper, losses = taken(workload, trial, trial.plan.steps_in(2.5))
        splits = Evaluator(workload, CPU, batch_size=7)
        scores = splits.scores(stepper.model, ("train", "validation"))
        return [*losses, *(score.value for score in scores)]

    expected = pytest.approx(trained("tuple"), rel=1e-5)
    for kind in KINDS:
        assert trained(kind) == expected, kind


@pytest.mark.parametrize(("make", "batch_size", "micro", "sizes"), [
    (numbered, 10, 4, [[4, 4, 2]] * 4),
    (numbered, 40, 4, [[4] * 10]),
    (cropped_workload, 7, 3, [*[[3, 3, 1]] * 5, [3, 2]]),
    (streamed, 12, 5, [*[[5, 5, 2]] * 3, [4]]),
    (partial(numbered, make_sampler=neighbours), 12, 5, [*[[5, 5, 2]] * 3, [4]]),
])  # fmt: skip
def test_micro_batches_cut_the_step_and_the_last_may_be_smaller(make, batch_size, micro, sizes):
    steps = steps_of(make(), batch_size=batch_size, micro_batch_size=micro)

    assert [[n_examples(micro_batch) for micro_batch in step] for step in steps] == sizes


def test_a_full_batch_in_micro_batches_is_mixed_anew_each_epoch():
    """Else layers that normalise over a micro-batch would always see the same examples."""
    cut = {"batch_size": 40, "micro_batch_size": 8}

    (first,), (second,) = (examples_of(numbered(), epoch=epoch, **cut) for epoch in (0, 1))

    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_random_crops_differ_from_epoch_to_epoch_and_from_step_to_step():
    workload = cropped_workload(n=4)
    clean, shifts = workload.train.x, set()
    for epoch in range(3):
        for (batch,) in steps_of(workload, epoch=epoch, batch_size=4):
            for row in batch["x"]:
                nearest = (clean - row).std(dim=1).argmin()
                shifts.add(round(float((row - clean[nearest]).mean()), 6))

    assert len(shifts) == 12


@pytest.mark.parametrize("make", [cropped_workload, streamed])
def test_the_random_numbers_of_the_run_and_of_the_data_do_not_meet(make):
    workload = make()

    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    seed_everything(5)
    undisturbed = [draw() for _ in range(4)]
    seed_everything(5)
    steps = training_batches(workload, small_trial(workload, batch_size=12), CPU)(0, 0)
    between, batches = zip(*((draw(), step) for step in steps), strict=True)

    assert list(between) == undisturbed
    torch.testing.assert_close(list(batches), steps_of(workload, epoch=0), rtol=0, atol=0)


class Pair(NamedTuple):
    x: Tensor
    name: str


def test_examples_are_counted_by_the_first_tensor_with_a_length():
    three = torch.zeros(3)
    packed = pack_sequence([torch.zeros(n, 5) for n in (3, 9, 2)], enforce_sorted=False)
    batches = [
        *(torch.zeros(3, 2), (three, torch.zeros(9)), [torch.tensor(5.0), three]),
        *({"name": "a", "x": three}, Pair(three, "a"), ("a", {"deep": [three]})),
        (packed, three),  # no time steps
    ]

    assert list(map(n_examples, batches)) == [3] * 7


def test_every_tensor_moves_and_every_container_stays_what_it_is():
    batch = {"x": [torch.zeros(2), (torch.ones(1), "name")], "pair": Pair(torch.ones(3), "b")}

    moved = on_device(batch, torch.device("meta"))

    first, (second, name) = moved["x"]
    assert isinstance(moved["pair"], Pair)
    assert {x.device.type for x in (first, second, moved["pair"].x)} == {"meta"}
    assert name == "name"


# ---- samplers


def test_a_sampler_of_batches_is_asked_for_the_size_that_an_epoch_begins_with():
    """A growing batch cuts them anew only where it grows."""
    sizes: list[int] = []

    def in_order(batch_size: int, seed: int) -> list[list[int]]:
        sizes.append(batch_size)
        return list(BatchSampler(range(12), batch_size, drop_last=False))

    workload = numbered(12, make_sampler=in_order)
    stages = (Stage(from_samples=18, batch_size=4),)
    trial = {"batch_size": 2, "micro_batch_size": 4, "stages": stages}

    steps = [examples_of(workload, epoch=epoch, **trial) for epoch in (1, 2)]

    assert sizes == [2, 4]
    assert steps == [
        [[0, 1], [2, 3], [4, 5], [6, 7, 8, 9], [10, 11]],
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
    ]


@pytest.mark.parametrize("make_sampler", [neighbours, None])
@pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
def test_each_epoch_and_seed_has_an_order_of_its_own(make_sampler, sampling):
    workload = numbered(make_sampler=make_sampler)
    trial = small_trial(workload, batch_size=5, sampling=sampling)

    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(order_of(workload, replace(trial, seed=seed), epoch).tolist())

    first = order(0, 0)
    np.random.seed(3)

    assert order(0, 0) == first
    assert len({order(seed, epoch) for seed in range(5) for epoch in range(5)}) == 25


@pytest.mark.parametrize(("make_sampler", "message"), [
    (lambda batch_size, seed: range(30), "gave 30 indices, from 0 to 29; expected 40"),
    (lambda batch_size, seed: range(1, 41), "gave 40 indices, from 1 to 40; expected 40"),
    (lambda batch_size, seed: BatchSampler(range(40), 7, False), "gave a batch of 7 examples"),
    (lambda batch_size, seed: ["a", "b"], "gave something that is not an index"),
])  # fmt: skip
def test_what_makes_no_epoch_is_said_in_one_line(make_sampler, message):
    with pytest.raises(WorkloadError) as caught:
        steps_of(numbered(make_sampler=make_sampler))

    assert str(caught.value).startswith(f"workload 'small': make_sampler(batch_size=12) {message}")


# ---- streams


def test_every_epoch_gives_all_examples_once_in_an_order_of_its_own():
    epochs = [torch.cat([x for ((x, _),) in steps_of(streamed(), epoch=epoch)]) for epoch in (0, 1)]

    # Each epoch shifts the points by a hundredth, with as much noise.
    x = points(N)[0].sort(0).values
    for epoch, points_seen in enumerate(epochs):
        shift = points_seen.sort(0).values - x - 0.01 * epoch
        assert -1e-6 < float(shift.min()) < float(shift.max()) < 0.01 + 1e-6
    assert (epochs[0] - epochs[1]).abs().max() > 0.1


def test_a_workload_may_choose_the_order_itself():
    sampled = load_workload(numbered(make_sampler=neighbours), {})
    loader = DataLoader(Streamed(*points(N)), batch_size=4, num_workers=2)
    loaded = load_workload(replace(streamed(), train=loader, batch_size=4), {})

    assert load_workload(numbered(), {}).workload_id != sampled.workload_id
    assert loaded.notes == ("of train's DataLoader these are not taken: num_workers",)
    with pytest.raises(UsageError, match="replacement: workload 'kinds' chooses the order"):
        check_sampling(loaded.workload, "replacement")
