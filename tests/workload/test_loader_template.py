"""A DataLoader is taken apart; one that chooses by itself is sent where that belongs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.reference.handed_over import workload
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from batchlab.errors import WorkloadError
from batchlab.training.evaluator import Evaluator
from batchlab.workload.loading import live_workload

DATA = TensorDataset(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64))
OTHER = TensorDataset(torch.randn(10, 3), torch.zeros(10, dtype=torch.int64))


def together(examples: list[Any]) -> Any:
    return torch.utils.data.default_collate(examples)


def doubled(examples: list[Any]) -> Any:
    x, y = torch.utils.data.default_collate(examples)
    return 2 * x, y


def test_its_data_set_collate_and_workers_are_taken() -> None:
    loader = DataLoader(DATA, batch_size=7, shuffle=True, collate_fn=together, num_workers=2)
    loaded = live_workload(
        workload(train=loader, validation=DataLoader(OTHER, 5, collate_fn=together)), {}
    )

    taken = loaded.workload

    assert taken.train is DATA
    assert taken.validation is OTHER
    assert (taken.collate, taken.workers) == (together, 2)
    assert loaded.notes == ()


def batch_size_and_notes(**given: Any) -> tuple[int, tuple[str, ...]]:
    loaded = live_workload(workload(**given), {})
    return loaded.workload.batch_size, loaded.notes


def test_its_batch_size_is_taken_where_the_workload_states_none() -> None:
    in_batches = DataLoader(DATA, batch_sampler=BatchSampler(range(20), 5, drop_last=False))

    assert workload(train=DataLoader(DATA, 7)).batch_size == 7
    assert batch_size_and_notes(train=DataLoader(DATA, 7)) == (7, ())
    assert workload(train=in_batches).batch_size == 5
    assert batch_size_and_notes(train=DataLoader(DATA, 7), batch_size=7) == (7, ())
    assert batch_size_and_notes(train=DataLoader(DATA), batch_size=8) == (8, ())
    assert batch_size_and_notes(train=DATA) == (64, ())
    assert batch_size_and_notes(train=DATA, validation=DataLoader(OTHER, 5)) == (64, ())

    # A loader larger than its data makes one batch of all; a tenth is split off.
    assert batch_size_and_notes(train=DataLoader(DATA, 64), validation=None) == (20, ())
    assert batch_size_and_notes(train=DataLoader(DATA, 20)) == (18, ())
    batch_size, (note,) = batch_size_and_notes(train=DataLoader(DATA))
    assert batch_size == 1
    assert "batches of 1" in note


def test_a_validation_loader_keeps_a_collate_of_its_own() -> None:
    """As where only training examples are changed at random in the collate."""
    given = workload(train=DataLoader(DATA, 7, collate_fn=doubled), validation=DataLoader(OTHER, 5))
    taken = live_workload(given, {}).workload
    model = taken.model()

    scores = Evaluator(taken, torch.device("cpu"), batch_size=4).scores(model, ("validation",))

    expected = given.loss(model, OTHER.tensors)
    assert scores[0].value == pytest.approx(float(expected.detach()), rel=1e-6)


def test_what_is_not_taken_is_noted() -> None:
    loader = DataLoader(DATA, 7, drop_last=True, worker_init_fn=print, num_workers=1)

    loaded = live_workload(workload(train=loader), {})

    assert loaded.notes == (
        "worker_init_fn of the DataLoader of train is not called: the random numbers of each step "
        "are seeded anyway",
        "drop_last of the DataLoader of train is not taken: the option --drop-last leaves out a "
        "smaller last batch",
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"train": DataLoader(DATA, 7, sampler=WeightedRandomSampler([1.0] * 20, 20))},
            "train is a DataLoader with a WeightedRandomSampler of its own",
        ),
        (
            {"train": DataLoader(DATA, 7, sampler=RandomSampler(DATA, replacement=True))},
            "train is a DataLoader with a RandomSampler of its own",
        ),
        (
            {
                "train": DataLoader(
                    DATA, batch_sampler=type("Buckets", (BatchSampler,), {})(range(20), 4, False)
                )
            },
            "train is a DataLoader with a Buckets of its own",
        ),
        (
            {"train": DATA, "validation": DataLoader(OTHER, 7, sampler=SubsetRandomSampler([1]))},
            "validation is a DataLoader with a SubsetRandomSampler of its own",
        ),
        (
            {"train": DataLoader(DATA, batch_size=None)},
            "train is a DataLoader with batch_size=None, whose data set makes batches itself",
        ),
        (
            {"train": DataLoader(DATA, 7, collate_fn=together), "collate": doubled},
            "train is a DataLoader with a collate_fn",
        ),
    ],
)
def test_a_loader_that_cannot_be_taken_over_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        live_workload(workload(**given), {})

    assert str(caught.value).startswith(f"workload 'mine': {told}")
