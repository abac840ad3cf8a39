from __future__ import annotations

import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference import live_models
from tests.reference.live_models import (
    LIVE,
    DeeperNet,
    LateralNet,
    Net,
    Recipe,
    live_identity,
    made_net,
    of_global_names,
)
from tests.reference.user_file import write_user_file
from torch import nn
from torch.utils.data import Dataset

from batchlab.errors import WorkloadError
from batchlab.workload.loading import load_workload

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
        ((lambda w: lambda: w)(made_net(0)), (lambda w: lambda: w)(made_net(1))),
    ],
)
def test_a_model_that_does_something_else_is_another_workload(one: Any, other: Any) -> None:
    assert live_identity(model=one) != live_identity(model=other)


def test_a_global_that_a_function_names_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = live_identity(model=of_global_names)
    monkeypatch.setattr(live_models, "WIDTH", 3)

    assert live_identity(model=of_global_names) != before


def test_a_module_of_the_users_counts_with_its_source(tmp_path: Path) -> None:
    identities = []
    for width in (4, 5):
        (tmp_path / "layers.py").write_text(f"WIDTH = {width}  # {'x' * width}\n")
        sys.path.insert(0, str(tmp_path))
        sys.modules.pop("layers", None)
        layers = __import__("layers")
        identities.append(live_identity(model=(lambda m: lambda: m)(layers)))

    assert identities[0] != identities[1]


def test_a_module_whose_file_is_gone_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text("WIDTH = 4\n")
    sys.path.insert(0, str(tmp_path))
    layers = __import__("layers")
    (tmp_path / "layers.py").unlink()

    with pytest.raises(
        WorkloadError, match=r"module 'layers': .*layers\.py cannot be read \(No su"
    ):
        live_identity(model=(lambda m: lambda: m)(layers))


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
