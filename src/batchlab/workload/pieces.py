"""The parts of the built-in workloads: checked settings, optimizers by name, digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from batchlab.datasets.embedded import load_mnist
from batchlab.errors import WorkloadError
from batchlab.workload.definition import Workload

Choice = TypeVar("Choice")


def chosen(value: str, choices: Mapping[str, Choice], *, setting: str, workload: str) -> Choice:
    """Return the object that the choice `value` stands for."""
    if not isinstance(value, str) or value not in choices:
        raise WorkloadError(
            f"{workload}: {setting}={value!r} is not a choice; give one of {', '.join(choices)}"
        )
    return choices[value]


def check_whole(
    value: int, *, setting: str, workload: str, low: int, high: int | None = None
) -> None:
    """Refuse anything but a whole number from `low` to `high` (None for no upper end)."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        allowed = f"from {low} to {high}"
        if high is None:
            allowed = f"of at least {low}"
        expected = f"a whole number {allowed}, such as {setting}={low}"
        raise WorkloadError(f"{workload}: {setting}={value!r}; expected {expected}")


def check_real(
    value: float, *, setting: str, workload: str, low: float, below: float = math.inf
) -> None:
    """Refuse anything but a finite number x with low <= x < below."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares false with everything, so it fails here too.
    if not (is_number and low <= value < below):
        allowed = f"of at least {low}"
        if below < math.inf:
            allowed += f" and below {below}"
        expected = f"a finite number {allowed}, such as {setting}={low}"
        raise WorkloadError(f"{workload}: {setting}={value!r}; expected {expected}")


_CLASSES: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedOptimizer:
    """A workload's `optimizer`: called with parameters and a rate, it makes a torch optimizer.

    Attributes:
        name: "sgd", "adam" or "adamw".
        workload: the workload's name, for messages.
        momentum: SGD's momentum; for adam and adamw the decay of the first moment (beta 1).
        nesterov: Nesterov's momentum; sgd with a momentum above 0 only.
        weight_decay: added to the gradient (sgd, adam) or taken from the weights (adamw).

    Raises:
        WorkloadError: an unknown name, a momentum outside [0, 1), a negative weight decay, or
            `nesterov` without "sgd" and a momentum above 0.
    """

    name: str
    workload: str
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that PyTorch would refuse only in training, or would ignore."""
        chosen(self.name, _CLASSES, setting="optimizer", workload=self.workload)
        check_real(self.momentum, setting="momentum", workload=self.workload, low=0, below=1)
        check_real(self.weight_decay, setting="weight_decay", workload=self.workload, low=0)
        if not isinstance(self.nesterov, bool):
            raise WorkloadError(
                f"{self.workload}: nesterov={self.nesterov!r}; expected true or false"
            )
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise WorkloadError(
                f"{self.workload}: nesterov=True with optimizer={self.name!r} and "
                f"momentum={self.momentum}; it needs optimizer='sgd' and a momentum above 0"
            )

    def __call__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """Make a new optimizer of `parameters` at `learning_rate`."""
        parameters = list(parameters)
        settings: dict[str, Any] = {"betas": (self.momentum, 0.999)}
        if self.name == "sgd":
            settings = {"momentum": self.momentum, "nesterov": self.nesterov}
        optimizer: torch.optim.Optimizer = _CLASSES[self.name](
            parameters,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            fused=_fused_is_safe(parameters),
            **settings,
        )
        return optimizer


def _fused_is_safe(parameters: list[nn.Parameter]) -> bool:
    """Return whether PyTorch's fused kernels are right for all of these.

    They take half to a sixth of the plain step's time on a CPU. In half precision fused SGD
    leaves out updates on a CPU (pytorch issue 191763, open in 2.13), so only these two types do.
    """
    return all(
        parameter.device.type in ("cpu", "cuda")
        and parameter.dtype in (torch.float32, torch.float64)
        for parameter in parameters
    )


Labelled = tuple[Tensor, Tensor]


def cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the mean cross entropy of the batch in nats, a scalar."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return F.cross_entropy(scores, labels)


def accuracy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the fraction of the batch whose highest score is its label's, a scalar in [0, 1]."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return (scores.argmax(1) == labels).float().mean()


# Each input takes a (mean, standard deviation) out of pixels between 0 and 1. The standardized one
# takes MNIST's own, those of all pixels of its 60,000 training images.
INPUTS = MappingProxyType({"unit": (0.0, 1.0), "standardized": (0.1307, 0.3081)})


class Pixels(nn.Module):
    """A layer from bytes to numbers, (byte / 255 - mean) / deviation, without parameters."""

    mean: Tensor
    factor: Tensor

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self._is_centred = mean != 0
        # Buffers follow the model to a device or a type (`.double()`); constants of the code
        # are no state of the training, so checkpoints leave them out.
        self.register_buffer("mean", torch.tensor(255 * mean), persistent=False)
        self.register_buffer("factor", torch.tensor(1 / (255 * deviation)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images as floating point."""
        # Change one new tensor in place: at B = 1024 two of them take 30 times as long when the
        # allocator hands the first back to the system. `copy` keeps the data itself unchanged.
        numbers = images.to(self.factor.dtype, copy=True)
        if self._is_centred:
            numbers.sub_(self.mean)
        return numbers.mul_(self.factor)


_N_VALIDATION = {"split": 10_000, "all": 0}


def digits_workload(
    model: Callable[[], nn.Module], *, train: str, optimizer: NamedOptimizer, learning_rate: float
) -> Workload:
    """Make a workload of MNIST's digits; `train` is "split" (last 10,000 validate) or "all"."""
    name = optimizer.workload
    mnist = load_mnist(n_validation=chosen(train, _N_VALIDATION, setting="train", workload=name))

    def tensors(split: tuple[NDArray[Any], NDArray[Any]]) -> Labelled:
        images, labels = split
        return torch.from_numpy(images), torch.from_numpy(labels).long()

    return Workload(
        name=name,
        model=model,
        train=tensors(mnist.train),
        validation=None if mnist.validation is None else tensors(mnist.validation),
        test=tensors(mnist.test),
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=optimizer,
        batch_size=64,
        learning_rate=learning_rate,
    )
