"""A sampler of the user's own chooses the examples; batch sizes stay what the trial says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.data_kinds import kinds, workload_of
from tests.reference.small_workloads import small_trial
from torch.utils.data import BatchSampler, WeightedRandomSampler

from batchlab.errors import WorkloadError
from batchlab.training.batching import order_of
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload
from batchlab.workload.loading import live_workload

CPU = torch.device("cpu")
N = 40


def with_sampler(make_sampler: Any, tmp_path: Any, kind: str = "tuple") -> Workload:
    return workload_of(kinds(tmp_path)[kind], make_sampler=make_sampler)


def weighted(batch_size: int, seed: int) -> Iterable[int]:
    draw = torch.Generator().manual_seed(seed)
    return WeightedRandomSampler([0.0] * 30 + [1.0] * 10, N, generator=draw)


def bucketed(batch_size: int, seed: int) -> Iterable[list[int]]:
    """Neighbours together, the full batches in a random order, what is left at the end."""
    groups = [list(range(at, min(at + batch_size, N))) for at in range(0, N, batch_size)]
    full = [group for group in groups if len(group) == batch_size]
    order = np.random.permutation(len(full))
    return [*(full[place] for place in order), *groups[len(full) :]]


@pytest.mark.parametrize("kind", ["tuple", "dict", "mapped", "examples as dicts"])
def test_a_weighted_sampler_decides_which_examples_are_met(kind: str, tmp_path: Any) -> None:
    workload = with_sampler(weighted, tmp_path, kind)
    stream = Stepper(workload, small_trial(workload, batch_size=12), CPU).stream(0)

    batches = [next(stream)[0] for _ in range(4)]

    met = torch.cat([batch["x"] if isinstance(batch, dict) else batch[0] for batch in batches])
    x = kinds(tmp_path)["tuple"]["train"][0]
    assert len(met) == N
    places = (met[:, None] == x[None]).all(2).int().argmax(1)
    assert int(places.min()) >= 30


def test_batches_of_buckets_stay_together_in_every_micro_batch(tmp_path: Any) -> None:
    workload = with_sampler(bucketed, tmp_path)
    trial = small_trial(workload, batch_size=12, micro_batch_size=5)

    order = order_of(workload, trial, 0)

    for batch in order.split(12):
        assert batch.tolist() == list(range(int(batch[0]), int(batch[0]) + len(batch)))
    steps = [next(Stepper(workload, trial, CPU).stream(k)) for k in range(4)]
    assert [[len(part[1]) for part in step] for step in steps] == [[5, 5, 2]] * 3 + [[4]]


def test_each_epoch_and_seed_has_an_order_of_its_own_whatever_was_drawn_before(
    tmp_path: Any,
) -> None:
    workload = with_sampler(bucketed, tmp_path)
    trial = small_trial(workload, batch_size=5)
    others = [order_of(workload, trial, 1), order_of(workload, replace(trial, seed=1), 0)]

    first = order_of(workload, trial, 0)
    np.random.seed(3)
    again = order_of(workload, trial, 0)

    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("make_sampler", "told"),
    [
        (lambda batch_size, seed: range(30), "gave 30 indices for an epoch"),
        (lambda batch_size, seed: range(1, 41), "gave the index 40"),
        (lambda batch_size, seed: BatchSampler(range(40), 7, False), "gave a batch of 7 examples"),
        (lambda batch_size, seed: ["a", "b"], "gave something that is no index"),
    ],
)
def test_what_makes_no_epoch_is_said_in_one_line(
    make_sampler: Any, told: str, tmp_path: Any
) -> None:
    workload = with_sampler(make_sampler, tmp_path)

    with pytest.raises(WorkloadError) as caught:
        order_of(workload, small_trial(workload, batch_size=12), 0)

    assert str(caught.value).startswith(f"workload 'kinds': make_sampler(batch_size=12) {told}")


def test_the_record_says_that_a_sampler_chose_and_a_workload_without_one_is_as_ever(
    tmp_path: Any,
) -> None:
    plain = workload_of(kinds(tmp_path)["tuple"])

    sampled = live_workload(replace(plain, make_sampler=weighted), {})

    assert sampled.notes == ("its make_sampler chooses the examples of each epoch and their order",)
    assert live_workload(plain, {}).workload_id != sampled.workload_id
