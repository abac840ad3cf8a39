"""A memory map goes to a child by the name of its file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.packed_functions import anonymous_bytes, own_bytes_of_training
from tests.reference.small_workloads import small_trial
from torch import nn

from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import PackedWorkload, reduced_map
from batchlab.workload import file_region
from batchlab.workload.definition import Workload
from batchlab.workload.loading import live_workload

WIDTH = 4096  # numbers of an example: 16 KiB
VALUES = np.arange(60_000, dtype=np.float32).reshape(10_000, 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "values.npy", VALUES)
    return tmp_path / "values.npy"


@pytest.mark.parametrize(
    "part",
    [np.s_[:], np.s_[7000:], np.s_[3], np.s_[9_999:], np.s_[::2], np.s_[:, 1], np.s_[5:, 1:3]],
)
@pytest.mark.parametrize("kind", [np.asanyarray, torch.from_numpy])
def test_a_map_or_a_tensor_over_one_is_opened_again_at_the_same_numbers(
    file: Path, part: Any, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_region, "WORTH_LOOKING_UP_BYTES", 1)
    mapped = kind(np.load(file, mmap_mode="r+"))[part]

    reduced = reduced_map(mapped)

    assert reduced is not None
    opened = reduced[0](*reduced[1])
    assert isinstance(opened, torch.Tensor) == isinstance(mapped, torch.Tensor)
    assert reduced_map(opened) is None  # what is written to it is in this process only
    assert np.array_equal(np.asarray(opened), VALUES[part])
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


class Read:
    """Opens its file when it is asked for an example."""

    def __init__(self, file: Path, n: int) -> None:
        self.file, self.n = file, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        rows = np.memmap(self.file, dtype="float32", mode="r", shape=(self.n, WIDTH))
        return torch.from_numpy(np.array(rows[index])), 0


class Held(Read):
    """Holds a map, or a tensor over one."""

    def __init__(self, file: Path, n: int, *, as_tensor: bool) -> None:
        super().__init__(file, n)
        rows = np.memmap(file, dtype="float32", mode="r+", shape=(n, WIDTH))
        self.rows: Any = torch.from_numpy(rows) if as_tensor else rows

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.as_tensor(self.rows[index]).clone(), 0


def mapped_data(kind: str, file: Path, n: int) -> Any:
    rows = np.memmap(file, dtype="float32", mode="r+", shape=(n, WIDTH))
    labels = np.zeros(n, dtype=np.int64)
    return {
        "tuple": (rows, labels),
        "two columns": (rows[:, : WIDTH // 2], rows[:, WIDTH // 2 :], labels),
        "dict": {0: rows, 1: labels},
        "tensor": (torch.from_numpy(rows), torch.from_numpy(labels)),
        "map in a Dataset": Held(file, n, as_tensor=False),
        "tensor in a Dataset": Held(file, n, as_tensor=True),
        "file in a Dataset": Read(file, n),
    }[kind]


def own_bytes(kind: str, file: Path, n_bytes: int) -> tuple[float, int, int]:
    """Loss, and what loading and training take of memory in the parent and in a child."""
    n = n_bytes // (4 * WIDTH)
    with file.open("wb") as sparse:  # takes no room on the disk
        sparse.truncate(n_bytes)
    before = anonymous_bytes()
    workload = Workload(
        name="mapped",
        model=lambda: nn.Linear(WIDTH, 2),
        train=mapped_data(kind, file, n),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(
            model(torch.cat([batch[i] for i in range(len(batch) - 1)], 1)), batch[len(batch) - 1]
        ),
    )
    loaded = live_workload(workload, {}).workload
    packed = PackedWorkload(loaded)
    trial = small_trial(loaded, batch_size=64)
    ended = run_in_child(own_bytes_of_training, packed, trial, timeout_s=60.0)
    loss, in_child = ended.value
    return loss, anonymous_bytes() - before, in_child


KINDS = (
    *("tuple", "two columns", "dict", "tensor"),
    *("map in a Dataset", "tensor in a Dataset", "file in a Dataset"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", by_day(KINDS, ["tuple", "tensor in a Dataset"]))
def test_a_large_map_takes_no_more_memory_than_a_small_one(kind: str, tmp_path: Path) -> None:
    megabyte = 1024**2
    own_bytes(kind, tmp_path / "first", megabyte)  # what is imported on the way is there then

    _, small, small_in_child = own_bytes(kind, tmp_path / "small", 16 * megabyte)
    loss, large, large_in_child = own_bytes(kind, tmp_path / "large", 1024 * megabyte)

    # A copy of the tenth that is for validation would be 102 MiB. The allocator keeps freed batches
    # of 4 MiB, now three of them and now seven (16 to 512 MiB of data: 12 to 29 MiB in the child).
    assert loss > 0
    assert large - small < 50 * megabyte
    assert large_in_child - small_in_child < 50 * megabyte
