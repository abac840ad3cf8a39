"""The same points as data of every kind that a workload may have."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.reference.small_workloads import points, small_mlp
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from batchlab.workload.definition import Metric, Workload
from batchlab.workload.loading import load_workload

N = 40


class Named(Dataset[dict[str, Any]]):
    """Examples as dicts, as those of Hugging Face's `datasets` are."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": self.x[index], "y": self.y[index]}


class Streamed(IterableDataset[tuple[Tensor, Tensor]]):
    """Points one after the other; those of each epoch in an order of its own."""

    def __init__(self, x: Tensor, y: Tensor, *, length: int | None = None) -> None:
        self.x, self.y = x, y
        self.length = len(x) if length is None else length
        self.epoch = -1

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.x)).tolist():
            noise = 0.01 * self.epoch + 0.01 * torch.rand(())
            yield self.x[index] + noise, self.y[index]


def mapped(folder: Path, name: str, values: Tensor) -> Any:
    np.save(folder / f"{name}.npy", values.numpy())
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _both(make: Callable[[str, Tensor, Tensor], Any]) -> dict[str, Any]:
    return {"train": make("train", *points(N)), "validation": make("other", *points(20, seed=1))}


def kinds(folder: Path) -> dict[str, dict[str, Any]]:
    """Train and validation data by kind; those that can be asked by index hold the same points."""
    return {
        "tuple": _both(lambda name, x, y: (x, y)),
        "dict": _both(lambda name, x, y: {"x": x, "y": y}),
        "dict of arrays": _both(lambda name, x, y: {"x": x.numpy(), "y": y.numpy()}),
        "nested": _both(lambda name, x, y: ({"x": (x[:, :2], [x[:, 2:]])}, y)),
        "mapped": _both(lambda name, x, y: (mapped(folder, name, x), y)),
        "examples as dicts": _both(lambda name, x, y: Named(x, y)),
        "loader": _both(lambda name, x, y: DataLoader(TensorDataset(x, y), 3, shuffle=True)),
    }


def outputs_and_targets(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The scores and labels of a batch, whichever its containers."""
    if isinstance(batch, dict):
        return model(batch["x"]), batch["y"]
    if isinstance(batch[0], dict):
        left, (right,) = batch[0]["x"]
        return model(torch.cat([left, right], 1)), batch[1]
    return model(batch[0]), batch[1]


def workload_of(data: dict[str, Any], **fields: Any) -> Workload:
    """A classifier of the points, loaded: with what loading makes of its data."""
    made = Workload(
        name="kinds",
        model=small_mlp,
        loss=lambda model, batch: functional.cross_entropy(*outputs_and_targets(model, batch)),
        metrics={
            "right": Metric(
                over_all=lambda scores, labels: (scores.argmax(1) == labels).double().mean(),
                predict=outputs_and_targets,
                better="higher",
            )
        },
        **data | fields,
    )
    return load_workload(made, {}).workload
