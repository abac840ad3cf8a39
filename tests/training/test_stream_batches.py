"""A stream is read in its own order, as often as its length says, and touches nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.data_kinds import Streamed, workload_of
from tests.reference.small_workloads import points, small_trial
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from batchlab.errors import UsageError, WorkloadError
from batchlab.training.batching import check_streams, training_batches
from batchlab.workload.definition import Workload
from batchlab.workload.given_data import check_sampling
from batchlab.workload.loading import live_workload

CPU = torch.device("cpu")
N = 40


def streamed(train: Any = None, **fields: Any) -> Workload:
    train = Streamed(*points(N)) if train is None else train
    return workload_of({"train": train, "validation": points(20, seed=1)}, **fields)


def seen(workload: Workload, epoch: int, *, first_step: int = 0, micro: int = 5) -> list[Tensor]:
    """The labels and inputs of each micro-batch of an epoch in steps of 12."""
    trial = small_trial(workload, batch_size=12, micro_batch_size=micro)
    batches = training_batches(workload, trial, CPU)
    steps = batches(epoch, first_step)
    return [torch.cat([x, y[:, None]], 1) for step in steps for x, y in step]


def test_every_epoch_gives_all_examples_once_in_an_order_of_its_own() -> None:
    workload = streamed()

    first, second = (torch.cat(seen(workload, epoch)) for epoch in (0, 1))

    labels = points(N)[1].sort().values
    assert [len(part) for part in seen(workload, 0)] == [5, 5, 2, 5, 5, 2, 5, 5, 2, 4]
    assert torch.equal(first[:, -1].sort().values, labels.float())
    assert not torch.equal(first[:, -1], second[:, -1])
    # Each epoch shifts the points by a hundredth: the sums differ by that much for each number.
    shift = float((second[:, :-1].sum() - first[:, :-1].sum()) / first[:, :-1].numel())
    assert 0.005 < shift < 0.015


@pytest.mark.parametrize("first_step", [1, 3])
def test_taken_up_in_the_middle_it_goes_on_with_the_same_examples(first_step: int) -> None:
    workload = streamed()

    whole, rest = seen(workload, 2), seen(workload, 2, first_step=first_step)

    assert all(torch.equal(a, b) for a, b in zip(whole[3 * first_step :], rest, strict=True))


def test_what_a_collate_draws_belongs_to_its_step_wherever_a_run_is_taken_up() -> None:
    def drawn(examples: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.rand(len(examples), 1), torch.zeros(len(examples))

    workload = streamed(collate=drawn)

    whole, rest = seen(workload, 0, micro=12), seen(workload, 0, first_step=2, micro=12)

    assert not torch.equal(whole[0], whole[1])
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_the_random_numbers_of_the_run_and_of_the_stream_do_not_meet() -> None:
    workload = streamed()
    trial = small_trial(workload, batch_size=12)

    torch.manual_seed(5)
    undisturbed = torch.rand(4)
    torch.manual_seed(5)
    between, batches = [], []
    for (batch,) in training_batches(workload, trial, CPU)(0, 0):
        batches.append(batch[0])
        between.append(torch.rand(()))

    assert torch.equal(torch.stack(between), undisturbed)
    (expected,) = next(training_batches(workload, trial, CPU)(0, 0))
    assert torch.equal(batches[0], expected[0])


@pytest.mark.parametrize("length", [35, 45])
def test_a_wrong_length_is_said(length: int) -> None:
    with pytest.raises(WorkloadError, match="workload 'kinds': "):  # where the epoch ends
        seen(streamed(Streamed(*points(N), length=length)), 0)


@pytest.mark.parametrize("length", [85, 95])
def test_a_wrong_length_is_said_before_anything_is_spent(length: int) -> None:
    workload = streamed(Streamed(*points(90), length=length))

    with pytest.raises(WorkloadError, match=f"length says {length};|the {length} examples that"):
        check_streams(workload)
    check_streams(streamed(Streamed(*points(90))))


class Counting(IterableDataset[Any]):
    """Reads its examples in an order of each pass, which it counts itself."""

    def __init__(self, n: int, *, at_the_end: bool = False, matters: bool = True) -> None:
        self.x, self.labels = points(n)
        self.passes = 0
        self.at_the_end, self.matters = at_the_end, matters

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[Any]:
        seed = self.passes if self.matters else 0
        self.passes += not self.at_the_end
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for place in order.tolist():
            yield {"x": self.x[place], "y": [self.labels[place], place]}
        self.passes += self.at_the_end


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_stream_that_counts_its_own_passes_is_refused(at_the_end: bool) -> None:
    with pytest.raises(WorkloadError, match="'kinds': train counts its passes itself") as caught:
        check_streams(streamed(Counting(N, at_the_end=at_the_end)))

    assert "give it a set_epoch(epoch)" in str(caught.value)
    assert "\n" not in str(caught.value)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(*points(N), strict=True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"train": Endless()}, "train is of type Endless without a length"),
        ({"validation": "split"}, "train is read in its own order"),
        (
            {"workers": 2},
            "workers is given and train is read in its own order, by the training itself",
        ),
        (
            {"make_sampler": lambda batch_size, seed: range(N)},
            "make_sampler is given and train is read in its own order, by the training itself",
        ),
    ],
)
def test_what_a_stream_cannot_do_is_refused(fields: dict[str, Any], told: str) -> None:
    data = {"train": Streamed(*points(N)), "validation": points(20, seed=1)}

    with pytest.raises(WorkloadError) as caught:
        workload_of(data | fields)

    assert str(caught.value).startswith(f"workload 'kinds': {told}")


def test_the_record_says_that_the_order_is_the_streams_own() -> None:
    plain = replace(streamed(), name="mine")
    loader = DataLoader(Streamed(*points(N)), batch_size=4, num_workers=2)

    loaded = live_workload(replace(plain, train=loader, batch_size=4), {})

    assert loaded.notes == (
        "train is an IterableDataset, which the training itself reads in its order: the "
        "DataLoader's 2 workers are not taken",
        "its training examples come in the order that its own data set gives them",
    )
    with pytest.raises(UsageError, match="sampling replacement: workload 'mine' chooses the order"):
        check_sampling(loaded.workload, "replacement")
