"""Workloads that are right under accumulation, and faults to break them with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from tests.reference.small_workloads import Unpacked, cross_entropy
from torch import Tensor, nn

from batchlab.measure.accumulation import check_accumulation
from batchlab.measure.finding import Accumulation
from batchlab.workload.definition import Batch, Workload

N = 60
PADDING, WORDS = 0, 12


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole_numbers(below: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


def _kind(name: str, usual_model: Callable[[], nn.Module], **usual: Any) -> Callable[..., Workload]:
    def made(model: Callable[[], nn.Module] | None = None, **fields: Any) -> Workload:
        given = {"name": name, "validation": None, "batch_size": 8, **usual, **fields}
        return Workload(model=model or usual_model, **given)

    return made


def accumulation_of(workload: Workload) -> Accumulation:
    return check_accumulation(None, Unpacked(workload), "cpu")  # type: ignore[arg-type]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4))


vectors = _kind("vectors", _mlp, loss=cross_entropy, train=(numbers(N, 6), whole_numbers(4, N)))


def _squared(model: nn.Module, batch: Batch) -> Tensor:
    return (model(batch[0]).squeeze(1) - batch[1]).square().mean()


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(144, 1)
    )


images = _kind("images", _network, loss=_squared, train=(numbers(N, 1, 8, 8), numbers(N, seed=1)))


# Words, some sentences shorter than others.


class Reader(nn.Module):
    """Guesses each next word from the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, 8)
        self.hidden, self.scores = nn.Linear(8, 16), nn.Linear(16, WORDS)

    def forward(self, ids: Tensor) -> Tensor:
        return self.scores(torch.tanh(self.hidden(self.table(ids))))


def _sentences() -> Tensor:
    ids = 1 + whole_numbers(WORDS - 1, N, 9)
    for row, length in enumerate(2 + whole_numbers(8, N, seed=1)):
        ids[row, int(length) :] = PADDING
    return ids


def _guessed(model: nn.Module, batch: Batch) -> Tensor:
    (ids,) = batch
    scores = model(ids[:, :-1])
    return F.cross_entropy(scores.transpose(1, 2), ids[:, 1:], ignore_index=PADDING)


def _n_words(batch: Batch) -> float:
    return float((batch[0][:, 1:] != PADDING).sum())


words = _kind("words", Reader, loss=_guessed, weight=_n_words, train=(_sentences(),))
SOUND: dict[str, Callable[[], Workload]] = {"vectors": vectors, "images": images, "words": words}

# The faults: each takes a sound workload and gives one that is not.


class Centred(nn.Module):
    """It takes off a running mean of its outputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("center", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        y = y * (1 + self.center)
        with torch.no_grad():
            self.center += 0.1 * (1 + y.mean().abs())
        return y


class Normalized(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        normal: Tensor = self.norm(y.reshape(len(y), 1, -1)).reshape(y.shape)
        return y + normal


def _with_model(change: Callable[[nn.Module], nn.Module]) -> Callable[[Workload], Workload]:
    return lambda given: replace(given, model=lambda: change(given.model()))


def _with_loss(change) -> Callable[[Workload], Workload]:
    return lambda given: replace(given, loss=lambda *of: change(given, *of))


def _centered(model: nn.Module) -> nn.Module:
    model.register_forward_hook(lambda model, x, y: y - 0.5 * y.mean(dim=0, keepdim=True))
    return model


def _clipped(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    return model


def _dropped_out(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.Dropout(0.3))


def _summed(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    units = len(batch[0]) if workload.weight is None else workload.weight(batch)
    return workload.loss(model, batch) * units


def _singles(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    singles = zip(*(part.split(1) for part in batch), strict=True)
    return torch.stack([workload.loss(model, single) for single in singles])


def _mixed(batch: Batch) -> Batch:
    """Each example with a part of its neighbor."""
    x, *others = batch
    if not x.is_floating_point():
        return (torch.cat([x[:, :4], x.roll(1, 0)[:, 4:]], dim=1), *others)
    return (0.7 * x + 0.3 * x.roll(1, 0), *others)


def _by_size(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    """A mean whose weights nobody was told of."""
    weights = 1 + batch[0].flatten(1).double().abs().sum(dim=1)
    return (_singles(workload, model, batch) * weights).sum() / weights.sum()


Fault = tuple[Callable[[Workload], Workload], str, str]
"""What breaks it, the cause that must be named, and what its place must hold."""

FAULTS: dict[str, Fault] = {
    "sum": (_with_loss(_summed), "sum", "loss"),
    "mean with weights": (_with_loss(_by_size), "weight", ""),
    "constant weight": (lambda w: replace(w, weight=lambda _: 1.0), "weight", "weight"),
    "batch normalization": (_with_model(Normalized), "batch_norm", "norm"),
    "dropout layer": (_with_model(_dropped_out), "random", "model"),
    "batch statistics": (_with_model(_centered), "coupled", "model"),
    "hardest example": (_with_loss(lambda *given: _singles(*given).max()), "coupled", "loss"),
    "mixed examples": (lambda w: replace(w, augment=_mixed), "coupled", "augment"),
    "clipped gradients": (_with_model(_clipped), "coupled", "model"),
    "running mean": (_with_model(Centred), "coupled", "model"),
}
