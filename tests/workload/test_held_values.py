"""What data hold counts: in memory whole, in a large file by blocks and its time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.reference.handed_over import workload
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from batchlab.workload import file_region
from batchlab.workload import identity as identities
from batchlab.workload.file_region import FileRegion, add_region
from batchlab.workload.loading import live_workload

N = 2000
CHANGED = 7  # not among the 64 evenly spaced examples, and not among the first of a stream's
X = torch.arange(3.0 * N).reshape(N, 3)
LABELS = [k % 3 for k in range(N)]


class Held(Dataset[Any]):
    """Its examples tell nothing of what it holds."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(3), 0


class Stream(IterableDataset[Any]):
    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Any:
        return iter(list(zip(X, map(int, self.labels), strict=True)))


def identity(train: Any, validation: Any = None) -> str:
    return live_workload(workload(train=train, validation=validation), {}).workload_id


def changed(labels: list[int]) -> list[int]:
    return [*labels[:777], (labels[777] + 1) % 3, *labels[778:]]


@pytest.mark.parametrize(
    "data_of",
    [
        lambda labels: TensorDataset(X, torch.tensor(labels)),
        lambda labels: Subset(TensorDataset(X, torch.tensor(labels)), list(range(N))),
        lambda labels: ConcatDataset([Held(), TensorDataset(X, torch.tensor(labels))]),
        lambda labels: Held(rows=np.array(labels)),
        lambda labels: Held(rows={"y": np.array(labels)}),
        lambda labels: Held(rows=np.array(list(map(str, labels)), dtype=object)),
        lambda labels: Held(rows=[torch.tensor([label]) for label in labels]),
        lambda labels: Held(targets=labels),
        lambda labels: Held(targets=[np.int64(label) for label in labels]),
        lambda labels: Held(samples=[(f"{k}.png", label) for k, label in enumerate(labels)]),
        lambda labels: Held(rows=[{"text": "a", "label": label} for label in labels]),
        lambda labels: Held(frame=pd.DataFrame({"text": "a", "label": labels})),
        lambda labels: Stream(torch.tensor(labels)),
    ],
)
def test_one_changed_label_among_two_thousand_makes_another_workload(data_of: Any) -> None:
    first, again = identity(data_of(LABELS)), identity(data_of(list(LABELS)))

    assert first == again
    assert identity(data_of(changed(LABELS))) != first


def test_a_list_of_files_is_the_same_wherever_the_files_lie() -> None:
    places = [
        Held(samples=[(f"{folder}/{k}.png", label) for k, label in enumerate(LABELS)])
        for folder in ("/home/a", "/mnt/b")
    ]

    assert identity(places[0]) == identity(places[1])


class Caching(Held):
    """Keeps what was read."""

    def __getitem__(self, index: int) -> Any:
        if self.read[index] is None:
            self.read[index] = self.by_index[index] = torch.full((3,), float(index)), 0
        return self.read[index]


def test_a_cache_that_fills_as_examples_are_read_does_not_count() -> None:
    data = Caching(read=[None] * N, by_index={})

    assert identity(data) == identity(data)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "odd",
    [
        lambda: torch.zeros(3, device="meta"),
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.zeros(3, dtype=torch.bfloat16),
        lambda: torch.zeros(3, dtype=torch.complex64).conj(),
        lambda: torch.zeros(3, 0),
        lambda: torch.zeros(3, 4).t(),
        lambda: [object()] * 50,
        lambda: np.array([("a", object())] * 40, dtype=object),
        lambda: {1, 2, 3},
    ],
)
def test_what_has_odd_numbers_or_none_to_read_is_no_obstacle(odd: Any) -> None:
    assert identity(Held(odd=odd())) == identity(Held(odd=odd()))


def test_what_two_splits_share_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, add_tensor = [], identities.add_tensor
    monkeypatch.setattr(
        identities, "add_tensor", lambda *given: (read.append(given[1]), add_tensor(*given))
    )
    data = TensorDataset(X)

    identity(Subset(data, range(1000)), validation=Subset(data, range(1000, N)))

    assert sum(one is X for one in read) == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.zeros((N, 3), dtype=np.float32).tofile(tmp_path / "rows.bin")
    return tmp_path / "rows.bin"


def rows(file: Path) -> Any:
    return np.memmap(file, dtype=np.float32, mode="r", shape=(N, 3))


@pytest.mark.parametrize(
    "data_of",
    [
        lambda file: {"x": rows(file), "y": np.array(LABELS)},
        lambda file: (rows(file)[:, :2], rows(file)[:, 2:], np.array(LABELS)),
        lambda file: Held(rows=rows(file)),
        lambda file: Held(files={"train": [file]}),
        lambda file: ConcatDataset([Held(), Held(name=str(file))]),
    ],
)
def test_an_edited_file_is_another_workload_and_the_same_one_is_the_same(
    data_of: Any, file: Path
) -> None:
    first, again = identity(data_of(file)), identity(data_of(file))
    with file.open("r+b") as edited:  # a number that none of the examples looked at has
        edited.seek(4 * (3 * 5 + 1))
        edited.write(b"\1")

    assert first == again != identity(data_of(file))


def test_of_a_large_file_blocks_count_and_when_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_region, "_WHOLE_BYTES", 1024**2)
    monkeypatch.setattr(file_region, "_BLOCKS", 3)
    large = tmp_path / "large.bin"

    def told(*, place: int | None = None, at_ns: int = 10**18) -> str:
        large.write_bytes(bytes(2 * 1024**2))
        if place is not None:
            with large.open("r+b") as opened:
                opened.seek(place)
                opened.write(b"\1")
        os.utime(large, ns=(at_ns, at_ns))
        digest = hashlib.sha256()
        add_region(digest, FileRegion(path=str(large), offset=8, n_bytes=2 * 1024**2 - 8))
        return digest.hexdigest()

    assert told() == told(place=300_000)  # between the blocks, and its time put back
    assert told() != told(place=300_000, at_ns=10**18 + 1)
    assert told() != told(place=1024**2)


def test_a_file_named_twice_is_read_once_a_map_not_whole_and_other_texts_are_no_obstacle(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(identities, "add_region", lambda digest, region: read.append(region))
    monkeypatch.setattr(identities, "add_array", lambda *given: pytest.fail("read whole"))

    identity(Held(names=[str(file)] * 1000, a=file, b=str(file), note="none", empty="", c="\0"))
    identity(Held(rows=rows(file)))

    assert read == [FileRegion(path=str(file), offset=0, n_bytes=4 * N * 3)] * 2
