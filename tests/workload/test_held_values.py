"""What a Dataset holds in memory counts whole: one changed number among many is other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.reference.handed_over import workload
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

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


def identity(train: Any) -> str:
    return live_workload(workload(train=train, validation=None), {}).workload_id


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
    ids=[
        *("TensorDataset", "Subset", "ConcatDataset", "array", "dict", "texts", "list of tensors"),
        *("list", "NumPy's numbers", "pairs", "records", "frame", "stream"),
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
        lambda: [object()] * 50,
        lambda: np.array([("a", object())] * 40, dtype=object),
        lambda: {1, 2, 3},
    ],
    ids=["meta", "nested", "sparse", "objects", "array of objects", "set"],
)
def test_what_has_no_numbers_to_read_is_no_obstacle(odd: Any) -> None:
    assert identity(Held(odd=odd())) == identity(Held(odd=odd()))


def test_what_two_splits_share_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from batchlab.workload import identity as held_values

    read = []
    add_tensor = held_values.add_tensor
    monkeypatch.setattr(
        held_values, "add_tensor", lambda *given: (read.append(given[1]), add_tensor(*given))
    )
    data = TensorDataset(X)

    live_workload(
        workload(train=Subset(data, range(1000)), validation=Subset(data, range(1000, N))), {}
    )

    assert sum(one is X for one in read) == 1


def test_a_map_that_a_dataset_holds_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchlab.workload import identity as held_values

    np.zeros((N, 3), dtype=np.float32).tofile(tmp_path / "rows.bin")
    rows = np.memmap(tmp_path / "rows.bin", dtype=np.float32, mode="r", shape=(N, 3))
    monkeypatch.setattr(held_values, "add_array", lambda *given: pytest.fail("read whole"))

    identity(Held(rows=rows))
