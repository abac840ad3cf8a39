"""ReplacedForward: another `forward` for a model, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    model.forward = other(model.forward)
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own
