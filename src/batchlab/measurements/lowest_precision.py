"""LowestPrecision: how coarse the numbers are that a loss is computed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# A mean in float32 differs by rounding from that of its parts; a coarse one by some of its grains.
_LEAST = 1e-3
_GRAINS = 8


class _Seen(TorchFunctionMode):
    """Notes the coarsest floating numbers that any function of torch gives, autocast's too."""

    def __init__(self) -> None:
        super().__init__()
        self.grain = 0.0

    def note(self, value: object) -> None:
        if isinstance(value, Tensor) and value.dtype.is_floating_point:
            self.grain = max(self.grain, torch.finfo(value.dtype).eps)
        elif isinstance(value, (tuple, list)):
            for part in value:
                self.note(part)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.note(found)
        return found


def rounding_of(model: nn.Module, compute: Callable[[], object]) -> float:
    """How far rounding may move a loss, as a fraction of it.

    Args:
        model: its parameters may be coarser than what its functions show.
        compute: computes the loss.

    Returns:
        1e-3, or eight grains of the coarsest dtype seen where that is more (bfloat16: 0.06).
    """
    seen = _Seen()
    with seen:
        seen.note(compute())
    seen.note(list(model.parameters()))
    return max(_LEAST, _GRAINS * seen.grain)
