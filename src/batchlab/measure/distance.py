"""WeightDistance: the distance between two models of one architecture, whole and by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.gradients import widened


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightDistance:
    """The distance between two models of one architecture.

    Attributes:
        whole: the Euclidean distance of all entries together.
        layers: the name and distance of each entry; the squares add up to the square of `whole`.
    """

    whole: float
    layers: tuple[tuple[str, float], ...]


def weight_distance(
    first: nn.Module | Mapping[str, Any], second: nn.Module | Mapping[str, Any]
) -> WeightDistance:
    """Return how far two models lie apart, such as checkpoints of one training or ends of two.

    Args:
        first: a model, whose parameters count, or a state dict, whose tensors of floating-point or
            complex numbers count. Weights that two names share count once.
        second: another one. If just one of the two is a model, only its parameters count.

    Returns:
        `whole`, the Euclidean distance of all entries together, and `layers`, the distance of each
        entry by its name.

    Raises:
        UsageError: their entries or the shapes of these differ, or there are no entries.
    """
    both = _entries(first), _entries(second)
    left_out = set().union(*map(_shared, both))
    if isinstance(first, nn.Module) != isinstance(second, nn.Module):
        parameters = both[0] if isinstance(first, nn.Module) else both[1]
        left_out |= (both[0].keys() | both[1].keys()) - parameters.keys()
    ours, theirs = (
        {name: value for name, value in entries.items() if name not in left_out} for entries in both
    )
    if not ours and not theirs:
        raise UsageError("there is no tensor of weights in them; give models or their state_dict()")
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
    """Return the Euclidean distance of all tensors together, paired in their order."""
    squares = [_norm(part, other) ** 2 for part, other in zip(first, second, strict=True)]
    return math.sqrt(sum(squares))


def _norm(first: Tensor, second: Tensor) -> float:
    gap = widened(first.detach()) - widened(second.detach()).to(first.device)
    return float(torch.linalg.vector_norm(gap).double())


def _entries(model: nn.Module | Mapping[str, Any]) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        return dict(model.named_parameters(remove_duplicate=False))
    return {
        name: value
        for name, value in model.items()
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    }


def _shared(entries: Mapping[str, Tensor]) -> set[str]:
    """Return the names of tensors that an earlier name has too."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name
        for name, value in entries.items()
        if value.numel() and first.setdefault((value.data_ptr(), tuple(value.shape)), name) != name
    }
