"""Who a workload is: its files, its functions, and all that its data hold."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from tests.reference.handed_over import workload
from tests.reference.live_models import (
    LIVE,
    DeeperNet,
    LateralNet,
    Net,
    Recipe,
    live_identity,
    made_net,
    of_globals,
)
from tests.reference.user_file import write_user_file
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.workload import file_region
from batchlab.workload import identity as identities
from batchlab.workload.file_region import FileRegion, add_region
from batchlab.workload.loading import live_workload, load_workload

ROOT = Path(__file__).parents[2]


# Files


def file_identity(reference: str, **settings: str) -> str:
    for name in ("mine", "layers", "deeper"):
        sys.modules.pop(name, None)
    return load_workload(reference, settings).workload_id


def test_a_file_is_the_same_workload_in_another_folder(tmp_path: Path) -> None:
    identities = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "layers.py").write_text("WIDTH = 4\n")
        identities.add(file_identity(write_user_file(folder, before="import layers")))

    assert len(identities) == 1


def test_an_edited_file_is_another_workload(tmp_path: Path) -> None:
    before = file_identity(write_user_file(tmp_path))

    assert file_identity(write_user_file(tmp_path, before="# edited")) != before


def test_another_name_or_setting_in_one_file_is_another_workload(tmp_path: Path) -> None:
    reference = write_user_file(tmp_path)
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n\ndef other():\n    return workload()\n")

    identities = {
        file_identity(reference),
        file_identity(f"{tmp_path}/mine.py:other"),
        file_identity(reference, momentum="0.75"),
    }

    assert len(identities) == 3


@pytest.mark.parametrize(
    ("line", "edited"),
    [
        ("import layers", "layers.py"),
        ("from layers import WIDTH", "layers.py"),
        ("def later(): import layers", "layers.py"),
        ("import layers", "deeper/sizes.py"),  # a neighbour of a neighbour
    ],
)
def test_an_edited_neighbour_makes_another_workload(tmp_path: Path, line: str, edited: str) -> None:
    reference = write_user_file(tmp_path, before=line)
    (tmp_path / "deeper").mkdir()
    for name, text in {
        "layers.py": "WIDTH = 4\ndef build():\n    from deeper import blocks\n",
        "deeper/__init__.py": "",
        "deeper/blocks.py": "from . import sizes\n",
        "deeper/sizes.py": "DEPTH = 2\n",
    }.items():
        (tmp_path / name).write_text(text)
    before = file_identity(reference)

    with (tmp_path / edited).open("a") as file:
        file.write("MORE = 1\n")

    assert file_identity(reference) != before


def test_a_file_that_is_not_imported_does_not_count(tmp_path: Path) -> None:
    reference = write_user_file(tmp_path)
    before = file_identity(reference)

    (tmp_path / "layers.py").write_text("WIDTH = 4\n")
    sys.path.insert(0, str(tmp_path))
    __import__("layers")  # by somebody else in this process

    assert file_identity(reference) == before


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_other_data_make_another_workload_though_the_source_is_the_same(
    tmp_path: Path, split: str
) -> None:
    file = tmp_path / "x.npy"
    reference = write_user_file(
        tmp_path,
        before="import numpy",
        fields=f"{split}=(torch.from_numpy(numpy.load({str(file)!r})), torch.zeros(30).long())",
    )
    np.save(file, np.zeros((30, 4), dtype=np.float32))
    before = file_identity(reference)

    changed = np.zeros((30, 4), dtype=np.float32)
    changed[7, 3] = 1e-30
    np.save(file, changed)

    assert file_identity(reference) != before


# Live workloads


@pytest.mark.parametrize("kind", LIVE)
def test_a_live_workload_made_again_is_the_same(kind: str) -> None:
    assert live_identity(model=LIVE[kind]()) == live_identity(model=LIVE[kind]())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.Linear(2, 3), lambda: nn.Linear(2, 4)),
        (lambda: nn.Linear(2, 3), lambda: nn.Bilinear(2, 3)),
        (lambda w=3: w, lambda w=4: w),
        (lambda *, w=3: w, lambda *, w=4: w),
        ((lambda w: lambda: w)(3), (lambda w: lambda: w)(4)),
        ((lambda w: lambda: w)(1), (lambda w: lambda: w)(True)),
        ((lambda w: lambda: w)(F.relu), (lambda w: lambda: w)(F.gelu)),
        ((lambda w: lambda: w)(torch.float32), (lambda w: lambda: w)(torch.float64)),
        ((lambda w: lambda: w)(range(3)), (lambda w: lambda: w)(range(4))),
        ((lambda w: lambda: w)({"a"}), (lambda w: lambda: w)({"b"})),
        ((lambda w: lambda: w)(np.zeros(3)), (lambda w: lambda: w)(np.ones(3))),
        ((lambda w: lambda: w)(torch.zeros(3)), (lambda w: lambda: w)(torch.ones(3))),
        ((lambda w: lambda: w)(torch.zeros(3)), (lambda w: lambda: w)(torch.zeros(3).double())),
        ((lambda w: lambda: w)(Path("a")), (lambda w: lambda: w)(Path("b"))),
        (partial(Net, 3), partial(DeeperNet, 3)),
        (partial(Net, 3), partial(LateralNet, 3)),
        (Recipe(3).build, Recipe(4).build),
        (lambda: made_net(0), lambda: made_net(1)),
        (of_globals(3), of_globals(4)),
        ((lambda w: lambda: w)(made_net(0)), (lambda w: lambda: w)(made_net(1))),
    ],
)
def test_a_model_that_does_something_else_is_another_workload(one: Any, other: Any) -> None:
    assert live_identity(model=one) != live_identity(model=other)


def test_a_module_of_the_users_counts_with_its_source(tmp_path: Path) -> None:
    identities = []
    for width in (4, 5):
        (tmp_path / "layers.py").write_text(f"WIDTH = {width}  # {'x' * width}\n")
        sys.path.insert(0, str(tmp_path))
        sys.modules.pop("layers", None)
        layers = __import__("layers")
        identities.append(live_identity(model=(lambda m: lambda: m)(layers)))

    assert identities[0] != identities[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": 0.5},
        {"batch_size": 32},
        {"name": "other"},
        {"schedule": lambda fraction: 1 - fraction},
        {"weight": lambda batch: 2.0 * len(batch[0])},
        {"optimizer": torch.optim.Adam, "learning_rate": 0.01},
        {"loss": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], reduction="sum")},
        {"train": (torch.zeros(20, 2), torch.zeros(20).long())},
        {"test": (torch.zeros(20, 2), torch.zeros(20).long())},
        {"validation": "split"},
        {"step": lambda model, optimizer, batch: None},
        {"step": abs, "accumulates": True},
        {"clip_norm": 1.0},
        {"ema": 0.99},
        {"scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3)},
        {"patience_epochs": 3},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_field_of_a_live_workload_counts(fields: dict[str, Any]) -> None:
    assert live_identity(**fields) != live_identity()


def test_who_chose_the_batch_size_is_no_part_of_it() -> None:
    assert live_identity(batch_size=None) == live_identity(batch_size=64)


class RandomCrops(Dataset[Any]):
    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        crop = torch.rand(2) + random.random() + np.random.rand() + self.offset
        return {"x": crop.numpy(), "label": np.int64(index)}


def test_a_dataset_that_draws_random_crops_is_the_same_and_the_streams_are_left() -> None:
    identities, drawn = set(), []
    for looks in (False, True):
        for seed in (1, 2):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            if looks:
                identities.add(live_identity(train=RandomCrops()))
            drawn.append((float(torch.rand(1)), random.random(), np.random.rand()))

    assert len(identities) == 1
    assert drawn[:2] == drawn[2:]


def test_a_dataset_that_cannot_be_read_is_told_with_its_place() -> None:
    class Missing(RandomCrops):
        def __getitem__(self, index: int) -> Any:
            raise FileNotFoundError("7.png")

    with pytest.raises(WorkloadError, match=r"train: reading example 0 raised .*7.png \(test_"):
        live_identity(train=Missing())


@pytest.mark.slow
def test_a_live_workload_is_the_same_in_two_processes() -> None:
    code = (
        "from tests.reference.live_models import LIVE, live_identity\n"
        "for kind, make in LIVE.items(): print(live_identity(model=make()))"
    )

    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    assert there == [live_identity(model=make()) for make in LIVE.values()]


N = 2000
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
    """At none of the 64 places that are looked at, nor among the first of a stream's."""
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


class Caching(Held):
    """Keeps what was read, and would keep the file that it opens to read."""

    def __getitem__(self, index: int) -> Any:
        self.is_open = True
        if self.read[index] is None:
            self.read[index] = self.by_index[index] = torch.full((3,), float(index)), 0
        return self.read[index]


def test_a_cache_that_fills_as_examples_are_read_does_not_count() -> None:
    data = Caching(read=[None] * N, by_index={})

    assert identity(data) == identity(data)
    identity(ConcatDataset([data]))
    assert "is_open" not in vars(data)  # an open file cannot be handed to other processes


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

    identity(Held(names=[str(file)] * 1000, a=file, b=str(file), note="none", empty="", c="\0"))
    identity(Held(rows=rows(file)))

    assert read == [FileRegion(path=str(file), offset=0, n_bytes=4 * N * 3)] * 2
