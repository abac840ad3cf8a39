"""Who a workload is: its files, its functions, and all that its data hold."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.tiny_workload import workload
from tests.reference.user_file import write_user_file
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.random_state import RandomState, seed_everything
from batchlab.workload import file_region
from batchlab.workload.builtin import workload_names
from batchlab.workload.file_region import FileRegion, add_region
from batchlab.workload.identity import made_model
from batchlab.workload.loading import load_workload, with_model

ROOT = Path(__file__).parents[2]


def identity(**fields: Any) -> str:
    return load_workload(workload(**{"validation": None} | fields), {}).workload_id


# Files


def test_an_edited_file_is_another_workload(tmp_path):
    """So is another name or setting in one file; the same file in another folder is the same."""
    known = []
    for name in ("a", "b", "c"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "layers.py").write_text("WIDTH = 4\n")
        reference = write_user_file(folder, before="import layers" + "  #" * (name == "c"))
        with (folder / "mine.py").open("a") as file:
            file.write("\n\ndef other():\n    return workload()\n")
        known.append(load_workload(reference, {}).workload_id)
    known.append(load_workload(reference, {"momentum": "0.75"}).workload_id)
    known.append(load_workload(reference.replace(":workload", ":other"), {}).workload_id)

    assert known[0] == known[1]
    assert len(set(known)) == 4


# Live workloads


class Net(nn.Module):
    depth = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, width)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class DeeperNet(Net):
    depth = 3


class LateralNet(Net):
    def forward(self, x: Any) -> Any:
        return -self.layer(x)


def holding(value: Any) -> Callable[[], Any]:
    """Return a function that closes over a value, as a notebook's do."""
    return lambda: value


def seeded_net(seed: int) -> Net:
    torch.manual_seed(seed)
    return Net(3)


def recursive(depth: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        return Net(depth) if depth < 2 else build()

    return build


def of_globals(width: int) -> Callable[[], nn.Module]:
    """Return a function that names a global, as a notebook's do."""
    names: dict[str, Any] = {"Net": Net, "WIDTH": width, "__name__": "__main__"}
    exec("def build():\n    return Net(WIDTH)", names)
    return names["build"]


# Each entry makes a model function anew, or another one for 1 than for 0; what it is known by must
# not depend on where objects lie.
LIVE: dict[str, Callable[[int], Any]] = {
    "constant": lambda n: (lambda: nn.Linear(2, 3), lambda: nn.Linear(2, 4))[n],
    "constant set": lambda n: (lambda x: x in {"a", "b", "c"}, lambda x: x in {"a", "b"})[n],
    "name": lambda n: (lambda: nn.Linear(2, 3), lambda: nn.Bilinear(2, 3))[n],
    "default": lambda n: lambda width=n: width,
    "default of a keyword": lambda n: lambda *, width=n: width,
    "number": lambda n: holding(n),
    "function": lambda n: holding((F.relu, F.gelu)[n]),
    "set": lambda n: holding(({"a", "b", "c"}, {"a", "b"})[n]),
    "array": lambda n: holding(np.arange(3.0) + n),
    "tensor": lambda n: holding(torch.arange(3.0) + n),
    # Zeros have the same bytes in both types.
    "type of an array": lambda n: holding(np.zeros(3, ("float32", "int32")[n])),
    "type of a tensor": lambda n: holding(torch.zeros(3, dtype=(torch.float, torch.int32)[n])),
    "generator": lambda n: holding(random.Random(n)),
    "model": lambda n: holding(seeded_net(n)),
    "lock": lambda n: holding((threading.Lock(), n)),
    "itself": lambda n: recursive(n + 2),
    "called": lambda n: (lambda: seeded_net(0), lambda: seeded_net(1))[n],
    "global": lambda n: of_globals(n),
    "partial": lambda n: partial(Net, width=n),
    "attribute of a class": lambda n: partial((Net, DeeperNet)[n], 3),
    "method of a class": lambda n: partial((Net, LateralNet)[n], 3),
}


@pytest.mark.parametrize("kind", LIVE)
def test_a_live_workload_made_again_is_the_same(kind):
    """And one whose model does something else is another one."""
    first, again, other = (identity(model=LIVE[kind](n)) for n in (0, 0, 1))

    assert first == again != other


def identities_here() -> list[str]:
    """Each built-in workload, example and live workload with what it is known by."""
    references = list(workload_names())
    for path in sorted((ROOT / "examples").glob("*.py")):
        if "def workload" in path.read_text():
            references.append(f"{path}:workload")
    lines = []
    for reference in references:
        loaded = load_workload(reference, {})
        made = made_model(lambda loaded=loaded: loaded.workload, loaded.folder)
        lines.append(f"{reference} {with_model(loaded, *made).workload_id}")
    return lines + [f"live {identity(model=make(0))}" for make in LIVE.values()]


@pytest.mark.nightly
def test_every_workload_and_example_is_the_same_in_two_loads_and_two_processes():
    code = "from tests.workload.test_identity import *; print(*identities_here(), sep='\\n')"
    child = [sys.executable, "-c", code]

    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as there:
        here = identities_here()
        assert here == identities_here() == there.stdout.read().splitlines()

    assert len(set(here)) > 15 + len(LIVE)


DATA = (torch.zeros(20, 2), torch.zeros(20).long())

OTHER_FIELDS: list[dict[str, Any]] = [
    *({"learning_rate": 0.5}, {"batch_size": 32}, {"name": "other"}, {"validation": "split"}),
    *({"clip_norm": 1.0}, {"ema": 0.99}, {"patience_epochs": 3}, {"train": DATA}, {"test": DATA}),
    {"schedule": lambda fraction: 1 - fraction},
    {"weight": lambda batch: 2.0 * len(batch[0])},
    {"optimizer": torch.optim.Adam, "learning_rate": 0.01},
    {"loss": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], reduction="sum")},
    {"step": lambda model, optimizer, batch: None},
    {"step": abs, "accumulates": True},
    {"scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3)},
]


@pytest.mark.parametrize("fields", OTHER_FIELDS, ids=lambda fields: next(iter(fields)))
def test_every_field_of_a_live_workload_counts_except_who_chose_its_batch_size(fields):
    assert identity(**fields) != identity() == identity(batch_size=64)


# Data sets

N = 2000
X = torch.arange(3.0 * N).reshape(N, 3)
LABELS = [k % 3 for k in range(N)]


class RandomCrops(Dataset[Any]):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        crop = torch.rand(2) + random.random() + np.random.rand()
        return {"x": crop.numpy(), "label": np.int64(index)}


def test_a_dataset_that_draws_random_crops_is_the_same_and_the_streams_are_left():
    known = set()
    for seed in (1, 2):
        seed_everything(seed)
        kept = RandomState.now()
        known.add(identity(train=RandomCrops()))
        assert kept.is_now()

    assert len(known) == 1


def test_a_dataset_that_cannot_be_read_is_told_with_its_place():
    class Missing(RandomCrops):
        def __getitem__(self, index: int) -> Any:
            raise FileNotFoundError("7.png")

    with pytest.raises(WorkloadError, match=r"train: reading example 0 raised .*7.png \(test_"):
        identity(train=Missing())


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


# At none of the 64 places that are looked at, nor among the first of a stream's.
CHANGED = [*LABELS[:777], (LABELS[777] + 1) % 3, *LABELS[778:]]


def rows(file: Path) -> Any:
    return np.memmap(file, dtype=np.float32, mode="r", shape=(N, 3))


@pytest.fixture
def file(tmp_path):
    np.zeros((N, 3), dtype=np.float32).tofile(tmp_path / "rows.bin")
    return tmp_path / "rows.bin"


DATA_OF: list[Callable[[Any, Path], Any]] = [
    lambda labels, file: TensorDataset(X, torch.tensor(labels)),
    lambda labels, file: Subset(TensorDataset(X, torch.tensor(labels)), list(range(N))),
    lambda labels, file: ConcatDataset([Held(), TensorDataset(X, torch.tensor(labels))]),
    lambda labels, file: Stream(torch.tensor(labels)),
    lambda _, file: {"x": rows(file), "y": np.array(LABELS)},
    lambda _, file: (rows(file)[:, :2], rows(file)[:, 2:], np.array(LABELS)),
    lambda _, file: Held(rows=rows(file)),
]
HELD_OF: list[Callable[[Any], Any]] = [
    lambda labels: np.array(labels),
    lambda labels: np.array(list(map(str, labels)), dtype=object),
    lambda labels: [torch.tensor([label]) for label in labels],
    lambda labels: list(labels),
    lambda labels: [np.int64(label) for label in labels],
    lambda labels: [(f"{k}.png", label) for k, label in enumerate(labels)],
    lambda labels: [{"text": "a", "label": label} for label in labels],
]
DATA_OF += [lambda labels, file, of=of: Held(held=of(labels)) for of in HELD_OF]


@pytest.mark.parametrize("data_of", DATA_OF)
def test_one_changed_number_among_thousands_makes_another_workload(data_of, file):
    first, again = (identity(train=data_of(LABELS, file)) for _ in range(2))

    with file.open("r+b") as edited:  # a number that none of the examples looked at has
        edited.seek(4 * (3 * 5 + 1))
        edited.write(b"\1")

    assert first == again != identity(train=data_of(CHANGED, file))


class Caching(Held):
    """Keeps what was read, and would keep the file that it opens to read."""

    def __getitem__(self, index: int) -> Any:
        self.is_open = True
        if self.read[index] is None:
            self.read[index] = self.by_index[index] = torch.full((3,), float(index)), 0
        return self.read[index]


def test_a_cache_that_fills_as_examples_are_read_does_not_count():
    data = Caching(read=[None] * N, by_index={})

    assert identity(train=data) == identity(train=data)
    identity(train=ConcatDataset([data]))
    assert "is_open" not in vars(data)  # an open file cannot be handed to other processes


ODD: list[Callable[[], Any]] = [
    lambda: torch.zeros(3, device="meta"),
    lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    lambda: torch.eye(3).to_sparse(),
    *(lambda: torch.zeros(3, dtype=torch.bfloat16), lambda: torch.zeros(3).cfloat().conj()),
    *(lambda: torch.zeros(3, 0), lambda: torch.zeros(3, 4).t()),
    *(lambda: [object()] * 50, lambda: np.array([("a", object())] * 40, dtype=object)),
    lambda: {1, 2, 3},
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("odd", ODD)
def test_what_has_odd_numbers_or_none_to_read_is_no_obstacle(odd):
    assert identity(train=Held(odd=odd())) == identity(train=Held(odd=odd()))


def test_of_a_large_file_blocks_count_and_when_it_was_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(file_region, "_WHOLE_BYTES", 1024**2)
    monkeypatch.setattr(file_region, "_BLOCKS", 3)
    large, n_bytes = tmp_path / "large.bin", 2 * 1024**2

    def digest_of(place: int, *, at_ns: int = 10**18) -> str:
        content = bytearray(n_bytes)
        content[place] = 1
        large.write_bytes(content)
        os.utime(large, ns=(at_ns, at_ns))
        digest = hashlib.sha256()
        add_region(digest, FileRegion(path=str(large), offset=8, n_bytes=n_bytes - 8))
        return digest.hexdigest()

    # Before the region; between the blocks, and its time put back; there, later; in a block.
    before, between = digest_of(0), digest_of(300_000)
    assert before == between != digest_of(300_000, at_ns=10**18 + 1)
    assert between != digest_of(1024**2)
