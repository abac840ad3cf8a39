"""NumPy arrays are data where a tensor of the same numbers comes of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.handed_over import workload

from batchlab.errors import WorkloadError
from batchlab.workload.loading import live_workload

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 2


def loaded(*train: Any) -> tuple[torch.Tensor, ...]:
    found: tuple[torch.Tensor, ...] = live_workload(
        workload(train=train, validation=None), {}
    ).workload.train
    return found


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shown = array.view()
    shown.flags.writeable = False
    return shown


@pytest.mark.parametrize(
    "x",
    [
        *(X, X.astype(">f4"), X[::-1], X[::-1][::-1], np.asfortranarray(X), read_only(X)),
        torch.from_numpy(X),
    ],
)
def test_arrays_become_tensors_of_the_same_numbers_without_a_warning(x: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = loaded(x, Y)

    assert np.array_equal(train[0].numpy(), np.asarray(x))
    assert train[1].dtype == torch.int64


def test_parts_of_one_array_that_share_examples_are_refused() -> None:
    wide = np.zeros((20, 6), dtype="float32")

    with pytest.raises(WorkloadError, match="train and validation share storage"):
        live_workload(
            workload(train=(wide[:15, :3], Y[:15]), validation=(wide[10:, :3], Y[10:])), {}
        )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((X.astype(">f8"), Y), "train holds a NumPy array of float64"),
        ((X, Y.astype("uint16")), "train holds a NumPy array of uint16"),
        ((np.array(["cat"] * 20), Y), "train holds a NumPy array of <U3"),
        (X, "train is one NumPy array"),
        ([X, Y], "train is a list of 2 arrays or tensors"),
        ({"x": X, "y": Y.astype("f8")}, "train['y'] holds a NumPy array of float64"),
        (
            {"x": X, "y": {"class": Y[:19]}},
            "train holds the shapes (20, 3) in ['x'], (19,) in ['y']['class']",
        ),
        ({"x": X, "y": 3}, "train['y'] is of type int"),
        ({}, "train is empty"),
    ],
)
def test_other_data_are_refused_with_what_to_give(data: Any, told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        live_workload(workload(train=data), {})

    assert str(caught.value).startswith(f"workload 'mine': {told}")
