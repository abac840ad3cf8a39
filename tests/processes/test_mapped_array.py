"""A memory map goes to a child by the name of its file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from batchlab.processes.mapped_array import reduced_map
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.definition import Workload

VALUES = np.arange(60_000, dtype=np.float32).reshape(10_000, 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "values.npy", VALUES)
    return tmp_path / "values.npy"


@pytest.mark.parametrize(
    "part",
    [np.s_[:], np.s_[7000:], np.s_[3], np.s_[9_999:], np.s_[::2], np.s_[:, 1], np.s_[5:, 1:3]],
    ids=["whole", "its end", "one example", "the last one", "every second", "a column", "two"],
)
def test_a_map_is_opened_again_at_the_same_numbers(file: Path, part: Any) -> None:
    mapped = np.load(file, mmap_mode="r")[part]

    reduced = reduced_map(mapped)

    assert reduced is not None
    opened = reduced[0](*reduced[1])
    assert reduced_map(opened) is None  # what is written to it is in this process only
    assert np.array_equal(opened, VALUES[part])
    assert len(pickle.dumps(reduced)) < 1000


def test_what_is_written_there_stays_there(file: Path) -> None:
    reduced = reduced_map(np.load(file, mmap_mode="r+"))
    assert reduced is not None

    reduced[0](*reduced[1])[:] = 0

    assert np.array_equal(np.load(file), VALUES)


def test_what_is_not_all_in_a_file_travels_by_its_bytes(file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")

    others = (mapped[::-1], mapped + 1, VALUES, np.load(file, mmap_mode="c"), None)

    assert [reduced_map(other) for other in others] == [None] * 5


@pytest.mark.parametrize("part", [np.s_[:], np.s_[2000:, :500]], ids=["whole", "two slices"])
def test_a_tensor_over_a_map_is_opened_again_at_the_same_numbers(tmp_path: Path, part: Any) -> None:
    values = np.random.default_rng(0).normal(size=(3000, 600)).astype(np.float32)
    np.save(tmp_path / "large.npy", values)
    mapped = np.load(tmp_path / "large.npy", mmap_mode="r+")
    tensor = torch.from_numpy(mapped)[part]

    reduced = reduced_map(tensor)

    assert reduced is not None
    assert torch.equal(reduced[0](*reduced[1]), torch.from_numpy(values)[part])
    assert len(pickle.dumps(reduced)) < 1000


def test_a_plain_array_over_a_map_travels_by_name_too(file: Path) -> None:
    plain = np.asarray(np.load(file, mmap_mode="r"))

    reduced = reduced_map(plain)

    assert type(plain) is np.ndarray
    assert reduced is not None
    assert np.array_equal(reduced[0](*reduced[1]), VALUES)


def test_columns_that_lie_together_travel_by_name_too(tmp_path: Path) -> None:
    np.save(tmp_path / "columns.npy", np.asfortranarray(VALUES))

    reduced = reduced_map(np.load(tmp_path / "columns.npy", mmap_mode="r"))

    assert reduced is not None
    assert np.array_equal(reduced[0](*reduced[1]), VALUES)


def test_a_map_whose_file_is_gone_travels_by_its_bytes(file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")
    file.unlink()

    assert reduced_map(mapped) is None


class Mapped:
    def __init__(self, file: Path) -> None:
        self.values = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.values[index].copy())


def test_a_dataset_with_a_map_reaches_a_child_without_its_bytes(file: Path) -> None:
    workload = Workload(
        name="mapped",
        model=lambda: nn.Linear(6, 1),
        train=Mapped(file),
        loss=lambda model, batch: model(batch).mean(),
    )

    packed = PackedWorkload(workload)

    assert len(packed._blob) < 20_000
    assert torch.equal(packed.unpack().train[9_999], torch.from_numpy(VALUES[9_999]))
