from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.workload.data import Collated
from batchlab.workload.definition import Workload
from batchlab.workload.given_data import with_data_as_read, with_validation

X = torch.arange(400.0).reshape(100, 4)
Y = torch.arange(100)


def a_workload(**fields: Any) -> Workload:
    base: dict[str, Any] = {
        "name": "split",
        "model": lambda: nn.Linear(4, 1),
        "train": (X, Y),
        "loss": lambda model, batch: model(batch[0]).mean(),
    }
    return Workload(**(base | fields))


def split_off(workload: Workload) -> Workload:
    return with_validation(with_data_as_read(workload)[0])


def refusal(**fields: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        split_off(a_workload(**fields))
    message = str(caught.value)
    assert "\n" not in message
    assert "'split'" in message
    return message


class Squares(Dataset[Any]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return index, index**2


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(range(3))


# The split


def test_a_tenth_is_held_out_the_same_every_time_and_every_example_is_in_one_of_the_two() -> None:
    torch.manual_seed(1)
    split = split_off(a_workload())
    torch.manual_seed(2)
    again, of_dataset = split_off(a_workload()), split_off(a_workload(train=Squares(100)))

    kept, held = split.train[1], split.validation[1]
    assert (len(kept), len(held)) == (90, 10)
    assert torch.equal(torch.cat([kept, held]).sort().values, Y)
    assert torch.equal(again.validation[1], held)
    assert [of_dataset.validation[k][0] for k in range(10)] == held.tolist()


# What cannot be used


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"train": (X[:9], Y[:9])}, "9 training examples are too few to split a tenth off"),
        ({"train": Squares(9)}, "9 training examples are too few"),
        ({"validation": "half"}, "validation='half'; expected data"),
        ({"train": Squares(0)}, "train holds no examples"),
        ({"validation": (X[:0],)}, "validation holds no examples"),
        ({"train": X}, "train is one tensor"),
        ({"train": [X, Y]}, "train is a list of 2 arrays or tensors"),
        ({"train": (X, 3)}, "train[1] is of type int"),
        ({"train": (X, Y[:50])}, "train holds the shapes (100, 4) in [0], (50,) in [1]"),
        ({"train": (X, torch.tensor(1.0))}, "train holds the shapes (100, 4) in [0], () in [1]"),
        ({"train": None}, "train is a NoneType"),
        ({"train": Endless()}, "train is of type Endless without a length"),
        ({"test": 5}, "test is a int"),
    ],
)
def test_data_that_cannot_be_used_are_refused_in_one_line(
    fields: dict[str, Any], told: str
) -> None:
    assert told in refusal(**fields)


# Apart


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ((X, Y), (X[90:], Y[90:])),
        ((X[:91], Y[:91]), (X[90:], Y[90:])),
        ((X[::2], Y[::2]), (X[50:], Y[50:])),
        ((X[:, :3], Y), (X[90:, 1:], Y[90:])),
        (TensorDataset(X, Y), (X[90:], Y[90:])),
        ((X,), (X[0].expand(5, 4),)),
    ],
)
def test_a_validation_set_in_the_memory_of_train_is_refused(train: Any, validation: Any) -> None:
    message = refusal(train=train, validation=validation)

    assert "train and validation share storage" in message
    assert "give validation examples of its own" in message


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ((X[90:], Y[90:]), (X[:90], Y[:90])),
        ((X[::2], Y[::2]), (X[1::2], Y[1::2])),
        ((X[:50:2], Y[:50:2]), (X[50:], Y[50:])),
        ((X, Y), (X.clone(), Y)),
    ],
)
def test_slices_of_one_tensor_that_hold_other_examples_are_fine(
    train: Any, validation: Any
) -> None:
    assert split_off(a_workload(train=train, validation=validation)).train is train


def test_train_and_test_in_the_same_memory_are_refused_too() -> None:
    assert "train and test share storage" in refusal(test=(X[:5], Y[:5]))


SQUARES = Squares(30)
FIRST_20, LAST_10 = Subset(SQUARES, range(20)), Subset(SQUARES, range(20, 30))
LAST_11 = Subset(SQUARES, range(19, 30))


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (SQUARES, LAST_10),
        (SQUARES, SQUARES),
        (SQUARES, Collated(dataset=SQUARES, collate=list)),
        (FIRST_20, Collated(dataset=LAST_11, collate=list)),
    ],
)
def test_parts_of_one_dataset_may_not_overlap_whatever_their_collate(
    train: Any, validation: Any
) -> None:
    assert "share storage" in refusal(train=train, validation=validation)


def test_parts_of_one_dataset_that_lie_apart_are_fine() -> None:
    split_off(a_workload(train=FIRST_20, validation=Collated(dataset=LAST_10, collate=list)))
