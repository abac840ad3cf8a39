"""Model functions as a notebook makes them, and the identity of a workload that has one."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import batchlab
from batchlab.workload.loading import live_workload


def live_identity(**fields: Any) -> str:
    base: dict[str, Any] = {
        "name": "live",
        "model": lambda: nn.Linear(2, 2),
        "train": (torch.arange(40.0).reshape(20, 2), torch.zeros(20).long()),
        "validation": None,
        "loss": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
    }
    return live_workload(batchlab.Workload(**(base | fields)), {}).workload_id


class Net(nn.Module):
    depth = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, width)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class DeeperNet(Net):
    depth = 3


class LateralNet(Net):
    def forward(self, x: Tensor) -> Any:
        return -self.layer(x)


@dataclass(frozen=True, slots=True)
class Recipe:
    width: int
    kinds: frozenset[str] = frozenset({"relu", "tanh", "gelu"})

    def build(self) -> nn.Module:
        return Net(self.width)


def recurse(depth: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        return Net(depth) if depth < 2 else build()

    return build


def of_globals(width: int) -> Callable[[], nn.Module]:
    """Return a function that names a global, as a notebook's do."""
    names = {"Net": Net, "WIDTH": width, "__name__": "__main__"}
    exec("def build():\n    return Net(WIDTH)", names)
    build: Callable[[], nn.Module] = names["build"]  # type: ignore[assignment]
    return build


# Each entry makes a model function anew; its value must not depend on where objects lie.
LIVE: dict[str, Callable[[], Any]] = {
    "lambda": lambda: lambda: nn.Linear(2, 3),
    "closure over a number": lambda: (lambda width: lambda: nn.Linear(2, width))(3),
    "closure over a tensor": lambda: (lambda t: lambda: t)(torch.arange(3.0)),
    "closure over an array": lambda: (lambda a: lambda: a)(np.arange(3.0)),
    "closure over a set": lambda: (lambda s: lambda: s)({"a", "b", "c"}),
    "closure over a generator": lambda: (lambda r: lambda: r)(random.Random(3)),
    "closure over a model": lambda: (lambda net: lambda: net)(made_net(0)),
    "closure over a lock": lambda: (lambda lock: lambda: lock)(threading.Lock()),
    "closure over itself": lambda: recurse(3),
    "constant set": lambda: lambda name: name in {"relu", "tanh", "gelu", "elu"},
    "partial": lambda: partial(Net, width=3),
    "class": lambda: partial(DeeperNet, 3),
    "method of a slotted dataclass": lambda: Recipe(3).build,
    "function of globals": lambda: of_globals(3),
}


def made_net(seed: int) -> Net:
    torch.manual_seed(seed)
    return Net(3)
