"""ReplacedForward: another `forward` for a model, for a while."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(model: nn.Module, other: Callable[[Forward], Forward]) -> Iterator[None]:
    """Context: the model computes with `other(its own forward)`; a TorchScript one as it is.

    Args:
        model: has its own again afterwards.
        other: makes of the model's forward the one that stands in for it.
    """
    if isinstance(model, torch.jit.ScriptModule):  # its forward cannot be replaced
        yield
        return
    # torch.compile and others give a module a forward of its own, which must come back.
    own = vars(model).get("forward")
    model.forward = _StandIn(model, own, other(model.forward))
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


class _StandIn:
    """What the model computes with meanwhile; a deep copy of the model has its own forward.

    A metric may copy the model and change the copy's weights: with the forward of the original,
    it would judge those of the original.
    """

    def __init__(self, model: nn.Module, own: Forward | None, forward: Forward) -> None:
        self._model = model
        self._own = own
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Forward:
        if self._own is not None:
            return copy.deepcopy(self._own, memo)
        return MethodType(type(self._model).forward, copy.deepcopy(self._model, memo))
