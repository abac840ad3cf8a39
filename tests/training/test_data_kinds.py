"""Whatever the kind of data, the same examples train the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.data_kinds import kinds, workload_of
from tests.reference.small_workloads import small_trial

from batchlab.training.batching import examples_at
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload, size_of

CPU = torch.device("cpu")
KINDS = ("dict", "dict of arrays", "nested", "mapped", "mapped dict", "examples as dicts", "loader")


def trained(workload: Workload, *, batch_size: int, micro: int | None, first: int = 0) -> Any:
    """The losses of two and a half epochs, and the scores after them."""
    trial = small_trial(workload, batch_size=batch_size, micro_batch_size=micro)
    stepper = Stepper(workload, trial, CPU)
    n_steps = trial.plan.steps_in(2.5) - first
    losses, _ = stepper.steps(stepper.stream(first), n_steps, first_step=first)
    evaluator = Evaluator(workload, CPU, batch_size=7, most_train_examples=30)
    scores = evaluator.scores(stepper.model, ("train", "validation"))
    return losses, [(score.split, score.metric, score.value) for score in scores]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch_size", "micro"), [(1, None), (7, None), (12, 5), (40, None), (40, 16)]
)
def test_it_trains_as_a_tuple_of_the_same_tensors(
    kind: str, batch_size: int, micro: int | None, tmp_path: Path
) -> None:
    given = kinds(tmp_path)

    found = trained(workload_of(given[kind]), batch_size=batch_size, micro=micro)

    expected = trained(workload_of(given["tuple"]), batch_size=batch_size, micro=micro)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert [key[:2] for key in found[1]] == [key[:2] for key in expected[1]]
    assert [key[2] for key in found[1]] == pytest.approx([key[2] for key in expected[1]], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_taken_up_in_the_middle_of_an_epoch_it_meets_the_same_examples(
    kind: str, tmp_path: Path
) -> None:
    workload = workload_of(kinds(tmp_path)[kind])
    trial = small_trial(workload, batch_size=12, micro_batch_size=5)

    def seen(first: int, n: int) -> list[Any]:
        stream = Stepper(workload, trial, CPU).stream(first)
        return [next(stream) for _ in range(n)]

    assert_same(seen(0, 9)[6:], seen(6, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_of_it_is_split_off_as_it_is_of_a_tuple(kind: str, tmp_path: Path) -> None:
    given = kinds(tmp_path)

    split = {
        name: workload_of({"train": given[name]["train"], "validation": "split"})
        for name in (kind, "tuple")
    }

    sizes = {(size_of(each.train), size_of(each.validation)) for each in split.values()}
    found, expected = (trained(each, batch_size=12, micro=None) for each in split.values())
    assert sizes == {(36, 4)}
    assert found[0] == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_examples_of_it_are_a_batch(kind: str, tmp_path: Path) -> None:
    given = kinds(tmp_path)
    chosen = torch.tensor([5, 0, 39, 5])

    batch = examples_at(workload_of(given[kind]), chosen)

    x, y = examples_at(workload_of(given["tuple"]), chosen)
    found = list(leaves_of(batch))
    assert torch.equal(torch.cat(found[:-1], 1), x)
    assert torch.equal(found[-1], y)


def leaves_of(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        yield batch
        return
    for part in batch.values() if isinstance(batch, dict) else batch:
        yield from leaves_of(part)


def assert_same(some: list[Any], others: list[Any]) -> None:
    one, other = list(leaves_of(some)), list(leaves_of(others))
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
