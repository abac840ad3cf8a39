"""Shared parts of the built-in workloads: checks of settings, optimizers by name, MNIST."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.datasets.embedded import load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload.definition import Workload

Choice = TypeVar("Choice")


def chosen(value: str, choices: Mapping[str, Choice], *, setting: str, workload: str) -> Choice:
    """Return `choices[value]`; for an unknown `value`, raise an error that lists the choices."""
    if value not in choices:
        raise WorkloadError(
            f"{workload}: {setting}={value!r} is not a choice; give one of {', '.join(choices)}"
        )
    return choices[value]


def check_at_least(least: float, workload: str, **settings: float) -> None:
    """Raise an error if a setting of a built-in workload is below `least`."""
    for setting, value in settings.items():
        if value < least:
            raise WorkloadError(f"{workload}: {setting}={value}; expected at least {least}")


_CLASSES: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedOptimizer:
    """A workload's `optimizer`, by name: function(parameters, rate) -> PyTorch optimizer.

    Attributes:
        name: "sgd", "adam" or "adamw".
        workload: the workload's name, for error messages.
        momentum: SGD's momentum; for adam and adamw the decay of the first moment (beta 1).
        weight_decay: PyTorch's coefficient of an L2 penalty (sgd, adam) or of a decay (adamw).

    Raises:
        WorkloadError: an unknown name, or a momentum outside [0, 1).
    """

    name: str
    workload: str
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown name, or a momentum outside [0, 1)."""
        chosen(self.name, _CLASSES, setting="optimizer", workload=self.workload)
        if not 0 <= self.momentum < 1:
            raise WorkloadError(
                f"{self.workload}: momentum={self.momentum}; expected at least 0 and below 1"
            )

    def __call__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """Make a new optimizer of `parameters` at `learning_rate`."""
        parameters = list(parameters)
        settings: dict[str, Any] = {"betas": (self.momentum, 0.999)}
        if self.name == "sgd":
            settings = {"momentum": self.momentum}
        optimizer: torch.optim.Optimizer = _CLASSES[self.name](
            parameters,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            fused=_fused_is_safe(parameters),
            **settings,
        )
        return optimizer


def _fused_is_safe(parameters: list[nn.Parameter]) -> bool:
    """Return whether PyTorch's fused optimizer kernels are correct for all parameters.

    Fused kernels take half to a sixth of the plain step's time on a CPU. In half precision, fused
    SGD skips updates on a CPU (pytorch issue 191763, open in 2.13), so half precision is excluded.
    """
    for parameter in parameters:
        if parameter.device.type not in ("cpu", "cuda"):
            return False
        if parameter.dtype not in (torch.float32, torch.float64):
            return False
    return True


Labelled = tuple[Tensor, Tensor]


def cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the mean cross entropy of the batch in nats, a scalar."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return F.cross_entropy(scores, labels)


def accuracy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the fraction of examples whose label has the highest score, a scalar in [0, 1]."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return (scores.argmax(1) == labels).float().mean()


class Pixels(nn.Module):
    """A layer without parameters that converts bytes to numbers from 0 to 1."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Register the constant as a buffer, so that it moves with the model to a device or type
        # (`.double()`). The buffer is not persistent, because checkpoints need no constants.
        self.register_buffer("factor", torch.tensor(1 / 255), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels as floating-point numbers."""
        # Convert and multiply in the same new tensor: with a second new tensor, 1024 examples take
        # up to 30 times as long. `copy=True` keeps the multiplication from changing the original
        # images.
        return images.to(self.factor.dtype, copy=True).mul_(self.factor)


_N_VALIDATION = {"split": 10_000, "all": 0}


def digits_workload(
    model: Callable[[], nn.Module], *, train: str, optimizer: NamedOptimizer, learning_rate: float
) -> Workload:
    """Make a workload on MNIST, with 10,000 training images as validation if `train="split"`."""
    name = optimizer.workload
    mnist = load_mnist(n_validation=chosen(train, _N_VALIDATION, setting="train", workload=name))
    splits = {}
    for split, (images, labels) in mnist.items():
        splits[split] = torch.from_numpy(images), torch.from_numpy(labels).long()
    return Workload(
        name=name,
        model=model,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits["test"],
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=optimizer,
        batch_size=64,
        learning_rate=learning_rate,
    )
