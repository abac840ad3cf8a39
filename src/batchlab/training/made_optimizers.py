"""MadeOptimizers: what a workload's `optimizer` has made for one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.workload.definition import Workload
from batchlab.workload.own_training import asks_for_names


@runtime_checkable
class Stateful(Protocol):
    """What can be kept in a checkpoint: an optimizer, a scheduler, a GradScaler."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers: tensors, numbers, texts, and lists and dicts of them."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take back what `state_dict` gave."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeOptimizers:
    """What `optimizer` returned, and what is in it.

    Attributes:
        given: as it was returned: what a `step` of the workload's own is called with.
        optimizers: those in it, at least one.
        kept: all that a checkpoint keeps beside the first optimizer, by name.
    """

    given: Any
    optimizers: tuple[torch.optim.Optimizer, ...]
    kept: Mapping[str, Stateful]


def made_optimizers(workload: Workload, model: nn.Module, learning_rate: float) -> MadeOptimizers:
    """Call the workload's `optimizer` for a new model.

    Args:
        workload: without an `optimizer` it gets SGD with momentum 0.9.
        model: whose parameters are trained.
        learning_rate: what the optimizers are made with.

    Raises:
        WorkloadError: it returned something else than an optimizer, or than a dict with one.
    """
    make = workload.optimizer or default_optimizer
    named = list(model.named_parameters())
    asked: Any = named if asks_for_names(make) else [parameter for _, parameter in named]
    given = make(asked, learning_rate)
    if isinstance(given, torch.optim.Optimizer):
        return MadeOptimizers(given=given, optimizers=(given,), kept={})
    if not isinstance(given, Mapping):
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` returned a {type(given).__name__}; "
            f"expected a torch.optim.Optimizer made from the parameters and the rate it is given"
        )
    return _several(workload, given)


def _several(workload: Workload, given: Mapping[str, Any]) -> MadeOptimizers:
    if workload.step is None:
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` returned a dict, and only a `step` of your "
            f"own knows when each of them steps; give step=..., or return one optimizer"
        )
    for name, part in given.items():
        if not (isinstance(name, str) and isinstance(part, Stateful)):
            raise WorkloadError(
                f"workload {workload.name!r}: the dict that `optimizer` returned has an "
                f"object of type {type(part).__name__} under {name!r}; expected names with "
                f"optimizers, or with what has a state_dict and a load_state_dict"
            )
    optimizers = [part for part in given.values() if isinstance(part, torch.optim.Optimizer)]
    if not optimizers:
        raise WorkloadError(
            f"workload {workload.name!r}: the dict that `optimizer` returned has no "
            f"torch.optim.Optimizer in it; expected at least one"
        )
    kept = {f"optimizer {name}": part for name, part in given.items() if part is not optimizers[0]}
    return MadeOptimizers(given=given, optimizers=tuple(optimizers), kept=kept)


def default_optimizer(
    parameters: Sequence[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, for a workload that names no optimizer."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)
