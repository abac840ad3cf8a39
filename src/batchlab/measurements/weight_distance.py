"""WeightDistance: how far two models of one architecture lie apart, whole and by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measurements.batch_gradient import widened


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightDistance:
    """How far two models of one architecture lie apart.

    Attributes:
        whole: the Euclidean distance of all floating-point entries together.
        layers: that of each entry alone, by its name; their squares sum to the whole's.
    """

    whole: float
    layers: tuple[tuple[str, float], ...]


def weight_distance(
    first: nn.Module | Mapping[str, Tensor], second: nn.Module | Mapping[str, Tensor]
) -> WeightDistance:
    """How far two models lie apart: checkpoints of one training, say, or ends of two.

    Args:
        first: a model, whose parameters count, or a state dict, of which all that is floating
            point counts.
        second: the same of another one.

    Raises:
        UsageError: they have not the same entries with the same shapes.
    """
    ours, theirs = _entries(first), _entries(second)
    if ours.keys() != theirs.keys():
        only = sorted(ours.keys() ^ theirs.keys())
        raise UsageError(
            f"these models differ in their entries: {', '.join(only[:5])} is in one of them alone; "
            f"give two of the same architecture"
        )
    for name, value in ours.items():
        if value.shape != theirs[name].shape:
            raise UsageError(
                f"{name!r} has shape {tuple(value.shape)} in one model and "
                f"{tuple(theirs[name].shape)} in the other; give two of the same architecture"
            )
    layers = tuple((name, _norm(value, theirs[name])) for name, value in ours.items())
    return WeightDistance(whole=math.sqrt(sum(each * each for _, each in layers)), layers=layers)


def distance_between(first: Iterable[Tensor], second: Iterable[Tensor]) -> float:
    """The Euclidean distance of all tensors together, paired in their order."""
    squares = [_norm(part, other) ** 2 for part, other in zip(first, second, strict=True)]
    return math.sqrt(sum(squares))


def _norm(first: Tensor, second: Tensor) -> float:
    gap = widened(first.detach()) - widened(second.detach()).to(first.device)
    return float(torch.linalg.vector_norm(gap).double())


def _entries(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        return dict(model.named_parameters())
    return {name: value for name, value in model.items() if value.is_floating_point()}
