"""BatchCountCheck: batches that cannot be counted by their first tensor are found beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader

from batchlab.errors import WorkloadError
from batchlab.measure.check import check_batch_counts
from batchlab.records.study import ANY_SIZE, RunnableSizes
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.loading import live_workload

SEQUENCES = [(torch.ones(3 + 5 * (n % 3), 2), n % 2) for n in range(12)]
EVEN = RunnableSizes(least=2, multiple_of=2)


def padded(examples: list[Any]) -> Any:
    return nn.utils.rnn.pad_sequence([x for x, _ in examples], batch_first=True), labels(examples)


def time_first(examples: list[Any]) -> Any:
    return nn.utils.rnn.pad_sequence([x for x, _ in examples]), labels(examples)


def packed(examples: list[Any]) -> Any:
    return pack_sequence([x for x, _ in examples], enforce_sorted=False), labels(examples)


def joined(examples: list[Any]) -> Any:
    return torch.cat([x for x, _ in examples]), labels(examples)


def listed(examples: list[Any]) -> Any:
    return [x for x, _ in examples], labels(examples)


def two_views(examples: list[Any]) -> Any:
    once, _ = padded(examples)
    return torch.cat([once, once]), labels(examples)


def labels(examples: list[Any]) -> Tensor:
    return torch.tensor([label for _, label in examples])


def check(
    collate: Callable[[list[Any]], Any], sizes: RunnableSizes = ANY_SIZE, **fields: Any
) -> None:
    given: dict[str, Any] = {
        "train": SEQUENCES,
        "validation": SEQUENCES[:5],
        "loss": lambda model, batch: torch.zeros(()),
    }
    workload = Workload(
        name="read", model=lambda: nn.Linear(2, 2), collate=collate, **(given | fields)
    )
    check_batch_counts(workload, sizes)


@pytest.mark.parametrize(
    ("collate", "counted"),
    [(time_first, "8 and 13"), (joined, "11 and 24"), (listed, "3 and 3")],
)
def test_a_first_tensor_that_does_not_count_examples_asks_for_a_weight(
    collate: Callable[[list[Any]], Any], counted: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        check(collate)

    told = str(caught.value)
    assert "\n" not in told
    assert "'read'" in told
    assert f"examples of train count as {counted}" in told
    assert "weight=lambda batch: len(batch[1])" in told


@pytest.mark.parametrize("collate", [padded, packed, two_views])
def test_counts_that_grow_with_the_examples_pass(collate: Callable[[list[Any]], Any]) -> None:
    check(collate)
    check(collate, EVEN)


def test_a_weight_answers_for_any_batch() -> None:
    check(time_first, weight=lambda batch: len(batch[1]))


def test_where_nothing_is_weighed_by_examples_nothing_is_asked() -> None:
    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        return torch.zeros(())

    metric = Metric(sum=lambda model, batch: torch.zeros(()), count=lambda batch: 1, better="lower")

    check(time_first, loss=None, step=step, metrics={"counted": metric})


def test_a_split_with_a_loader_of_its_own_is_looked_at() -> None:
    others = list(SEQUENCES)
    loader = DataLoader(others, collate_fn=time_first)  # type: ignore[arg-type]
    given = Workload(
        name="read",
        model=lambda: nn.Linear(2, 2),
        train=DataLoader(SEQUENCES, collate_fn=padded),  # type: ignore[arg-type]
        validation=loader,
        loss=lambda model, batch: torch.zeros(()),
    )

    with pytest.raises(WorkloadError, match="2 and 3 examples of validation count as 8 and 13"):
        check_batch_counts(live_workload(given, {}).workload, ANY_SIZE)
