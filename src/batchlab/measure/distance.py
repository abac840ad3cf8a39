"""WeightDistance: how far two models of one architecture lie apart, whole and by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.gradients import widened


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightDistance:
    """How far two models of one architecture lie apart.

    Attributes:
        whole: the Euclidean distance of all entries together.
        layers: that of each entry alone, by its name; their squares sum to the whole's.
    """

    whole: float
    layers: tuple[tuple[str, float], ...]


def weight_distance(
    first: nn.Module | Mapping[str, Any], second: nn.Module | Mapping[str, Any]
) -> WeightDistance:
    """How far two models lie apart: checkpoints of one training, say, or ends of two.

    Args:
        first: a model, whose parameters count, or a state dict, of which all tensors count that are
            not whole numbers. Weights that two names share count once.
        second: the same of another one. Where one of both is a model, its parameters count.

    Returns:
        `whole`, the Euclidean distance of all entries together, and `layers`, that of each entry
        alone by its name.

    Raises:
        UsageError: they have not the same entries with the same shapes, or no entry.
    """
    ours, theirs = _entries(first), _entries(second)
    if isinstance(first, nn.Module) != isinstance(second, nn.Module):
        names = ours.keys() if isinstance(first, nn.Module) else theirs.keys()
        statistics = (ours.keys() | theirs.keys()) - names
        ours, theirs = _without(ours, statistics), _without(theirs, statistics)
    shared = _shared(ours) | _shared(theirs)
    ours, theirs = _without(ours, shared), _without(theirs, shared)
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
    """The Euclidean distance of all tensors together, paired in their order."""
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
    """The names of what another name before has as well."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name
        for name, value in entries.items()
        if value.numel() and first.setdefault((value.data_ptr(), tuple(value.shape)), name) != name
    }


def _without(entries: Mapping[str, Tensor], left_out: Set[str]) -> dict[str, Tensor]:
    return {name: value for name, value in entries.items() if name not in left_out}
