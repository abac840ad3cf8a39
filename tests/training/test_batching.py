"""Batches: the right examples in the right order, wherever a run is taken up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests.reference.small_workloads import cropped_workload, jitter, small_trial, small_workload
from tests.reference.textbook_loop import cut_into_steps
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from batchlab.errors import WorkloadError
from batchlab.records.batch_plan import Stage
from batchlab.records.trial import Sampling, Trial
from batchlab.training import batching
from batchlab.training.batching import on_device, training_batches
from batchlab.workload.data import epoch_order, n_examples
from batchlab.workload.definition import Workload

CPU = torch.device("cpu")


def numbered(n: int, **changes: Any) -> Workload:
    """A workload whose n-th example is the number n."""
    numbers = torch.arange(n)
    return replace(small_workload(), train=(numbers, 10 * numbers), **changes)


def examples_of(
    workload: Workload, trial: Trial, *, epoch: int = 0, first_step: int = 0
) -> list[list[int]]:
    """The numbers that each step of an epoch sees, micro-batches joined."""
    return [
        [number for x, _ in micro_batches for number in x.tolist()]
        for micro_batches in training_batches(workload, trial, CPU)(epoch, first_step)
    ]


class TestOrder:
    @pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
    def test_epochs_and_seeds_have_orders_of_their_own(self, sampling: Sampling) -> None:
        orders = {
            tuple(epoch_order(50, seed=seed, epoch=epoch, sampling=sampling).tolist())
            for seed in range(5)
            for epoch in range(5)
        }

        assert len(orders) == 25


class TestSteps:
    @pytest.mark.parametrize("drop_last", [False, True])
    @pytest.mark.parametrize("batch_size", [1, 4, 7, 19, 20, 21, 39, 40])
    @pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
    def test_they_cut_the_order_as_the_textbook_does(
        self, batch_size: int, drop_last: bool, sampling: Sampling
    ) -> None:
        workload = numbered(40)
        trial = small_trial(workload, batch_size=batch_size, drop_last=drop_last, sampling=sampling)

        seen = examples_of(workload, trial, epoch=1)

        order = epoch_order(40, seed=0, epoch=1, sampling=sampling).tolist()
        if trial.batch_mode == "full" and sampling == "reshuffle":
            order = list(range(40))
        assert seen == cut_into_steps(order, batch_size, drop_last=drop_last)
        assert len(seen) == trial.plan.steps_in(1)

    @pytest.mark.parametrize("batch_size", [1, 3, 8, 40])
    @pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
    def test_taken_up_anywhere_they_go_on_as_they_would_have(
        self, batch_size: int, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batching, "_GATHER_EXAMPLES", 16)  # several gathers an epoch
        workload = numbered(40)
        trial = small_trial(workload, batch_size=batch_size, sampling=sampling)
        whole = examples_of(workload, trial)

        for first_step in range(trial.plan.steps_in(1) + 1):
            assert examples_of(workload, trial, first_step=first_step) == whole[first_step:]

    @pytest.mark.parametrize("batch_size", [1, 3, 7, 8])
    def test_every_batch_begins_where_a_tensor_of_its_own_would(self, batch_size: int) -> None:
        """Else products differ in their last bits from those of a run taken up elsewhere."""
        workload = small_workload()
        trial = small_trial(workload, batch_size=batch_size)

        for ((x, _),) in training_batches(workload, trial, CPU)(0, 0):
            assert x.data_ptr() % 64 == 0

    @pytest.mark.parametrize("batch_size", [10, 40])
    def test_micro_batches_cut_the_step_and_the_last_may_be_smaller(self, batch_size: int) -> None:
        workload = numbered(40)
        whole = small_trial(workload, batch_size=batch_size)
        cut = replace(whole, micro_batch_size=4)

        steps = list(training_batches(workload, cut, CPU)(0, 0))

        sizes = [[len(x) for x, _ in step] for step in steps]
        assert sizes == [[4, 4, 2]] * 4 if batch_size == 10 else [[4] * 10]
        if batch_size == 10:
            assert examples_of(workload, cut) == examples_of(workload, whole)

    def test_a_full_batch_in_micro_batches_is_mixed_anew_each_epoch(self) -> None:
        """Else layers that normalise over a micro-batch would always see the same examples."""
        workload = numbered(40)
        trial = small_trial(workload, batch_size=40, micro_batch_size=8)

        (first,), (second,) = (examples_of(workload, trial, epoch=epoch) for epoch in (0, 1))

        assert sorted(first) == sorted(second) == list(range(40))
        assert first != second

    @pytest.mark.parametrize("batch_size", [8, 40])
    def test_an_augmentation_that_writes_leaves_the_training_set_alone(
        self, batch_size: int
    ) -> None:
        workload = replace(small_workload(), augment=jitter)
        trial = small_trial(workload, batch_size=batch_size)
        before = workload.train[0].clone()

        for step in training_batches(workload, trial, CPU)(0, 0):
            for batch in step:
                jitter(batch)

        assert torch.equal(workload.train[0], before)

    def test_a_loss_that_writes_into_the_training_set_is_refused(self) -> None:
        workload = small_workload()
        trial = small_trial(workload, batch_size=40)
        steps = training_batches(workload, trial, CPU)(0, 0)
        ((x, _),) = next(steps)

        x /= 255

        with pytest.raises(WorkloadError, match="writes into the training examples themselves"):
            next(steps)


class TestDataset:
    @pytest.mark.parametrize(("workers", "first_steps"), [(0, range(7)), (2, (0, 3))])
    def test_random_crops_are_the_same_wherever_a_run_is_taken_up_and_whatever_the_workers(
        self, workers: int, first_steps: Iterable[int]
    ) -> None:
        whole = fetched(cropped_workload())

        assert len(whole) == 6
        for first_step in first_steps:
            found = fetched(cropped_workload(workers=workers), first_step=first_step)
            torch.testing.assert_close(found, whole[first_step:], rtol=0, atol=0)

    def test_random_crops_differ_from_epoch_to_epoch_and_from_step_to_step(self) -> None:
        workload = cropped_workload(n=4)
        trial = small_trial(workload, batch_size=4)
        clean = workload.train.x

        shifts = set()
        for epoch in range(3):
            for (batch,) in training_batches(workload, trial, CPU)(epoch, 0):
                for row in batch["x"]:
                    nearest = (clean - row).std(dim=1).argmin()
                    shifts.add(round(float((row - clean[nearest]).mean()), 6))

        assert len(shifts) == 12

    def test_fetching_leaves_the_random_streams_of_the_run_alone(self) -> None:
        drawn = []
        for fetches in (False, True):
            for stream_seed in (random.seed, np.random.seed, torch.manual_seed):
                stream_seed(5)
            if fetches:
                fetched(cropped_workload())
            drawn.append((random.random(), float(np.random.random()), float(torch.rand(()))))

        assert drawn[0] == drawn[1]

    def test_collate_sees_one_micro_batch_at_a_time(self) -> None:
        workload = cropped_workload()
        trial = small_trial(workload, batch_size=7, micro_batch_size=3)

        steps = list(training_batches(workload, trial, CPU)(0, 0))

        sizes = [[len(batch["y"]) for batch in step] for step in steps]
        assert sizes == [*[[3, 3, 1]] * 5, [3, 2]]


def fetched(workload: Workload, *, first_step: int = 0) -> list[dict[str, Tensor]]:
    trial = small_trial(workload, batch_size=7)
    steps = training_batches(workload, trial, CPU)(1, first_step)
    return [batch for (batch,) in steps]


class Pair(NamedTuple):
    x: Tensor
    name: str


class TestContainers:
    @pytest.mark.parametrize(
        "batch",
        [
            torch.zeros(3, 2),
            (torch.zeros(3), torch.zeros(9)),
            [torch.tensor(5.0), torch.zeros(3)],
            {"name": "a", "x": torch.zeros(3)},
            Pair(torch.zeros(3), "a"),
            ("a", {"deep": [torch.zeros(3)]}),
        ],
    )
    def test_examples_are_counted_by_the_first_tensor_with_a_length(self, batch: Any) -> None:
        assert n_examples(batch) == 3

    def test_packed_sequences_count_as_sequences_and_not_as_time_steps(self) -> None:
        sequences = [torch.zeros(length, 5) for length in (3, 9, 2)]
        packed = pack_sequence(sequences, enforce_sorted=False)

        assert n_examples((packed, torch.zeros(3))) == 3

    def test_every_tensor_moves_and_every_container_stays_what_it_is(self) -> None:
        batch = {"x": [torch.zeros(2), (torch.ones(1), "name")], "pair": Pair(torch.ones(3), "b")}

        moved = on_device(batch, torch.device("meta"))

        assert moved["x"][0].device.type == "meta"
        assert moved["x"][1][0].device.type == "meta"
        assert moved["x"][1][1] == "name"
        assert isinstance(moved["pair"], Pair)
        assert moved["pair"].x.device.type == "meta"


def test_a_sampler_of_batches_is_asked_for_the_size_that_an_epoch_begins_with() -> None:
    """Batches of neighbours, which a growing batch cuts anew only where it grows."""
    asked: list[int] = []

    def neighbours(batch_size: int, seed: int) -> list[list[int]]:
        asked.append(batch_size)
        return cut_into_steps(range(12), batch_size, drop_last=False)

    workload = numbered(12, make_sampler=neighbours)
    stages = (Stage(from_samples=18, batch_size=4),)
    trial = small_trial(workload, batch_size=2, micro_batch_size=4, stages=stages)

    seen = [examples_of(workload, trial, epoch=epoch) for epoch in (1, 2)]

    assert asked == [2, 4]
    assert seen == [
        [[0, 1], [2, 3], [4, 5], [6, 7, 8, 9], [10, 11]],
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
    ]
