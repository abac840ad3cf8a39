"""CoupledLayer: the first layer whose output for an example depends on the rest of its batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchlab.random_state import seed_everything
from batchlab.training.batching import n_examples
from batchlab.workload.definition import Batch, Workload

_TOLERANCE = 1e-5


def first_coupled_layer(
    workload: Workload, make: Callable[[], nn.Module], batch: Callable[[slice], Batch]
) -> str | None:
    """The name of the first layer, in the order in which they end, that couples examples.

    Args:
        workload: whose loss runs the model.
        make: a fresh model with the same weights each time.
        batch: a part of the same examples each time.

    Returns:
        Its name and class; None: no layer does, or the layers cannot be compared.
    """
    n = n_examples(batch(slice(None)))
    half = n // 2
    whole = _outputs(workload, make(), batch(slice(None)))
    first, second = (
        _outputs(workload, make(), batch(cut)) for cut in (slice(half), slice(half, n))
    )
    for name, outputs in whole.items():
        parts = [found.get(name, []) for found in (first, second)]
        if any(len(part) != len(outputs) for part in parts):
            return None
        for of_whole, *of_parts in zip(outputs, *parts, strict=True):
            lengths = [len(of_whole), *map(len, of_parts)]
            if lengths != [n, half, n - half]:
                continue  # its first dimension is not that of the examples
            together = torch.cat(of_parts)
            if together.shape == of_whole.shape and not _close(together, of_whole):
                return name
    return None


def _close(one: Tensor, other: Tensor) -> bool:
    far = torch.linalg.vector_norm((one - other).double())
    return bool(far <= _TOLERANCE * torch.linalg.vector_norm(other.double()))


def _outputs(workload: Workload, model: nn.Module, batch: Batch) -> dict[str, list[Tensor]]:
    """What each layer gave, by name, in the order in which they ended."""
    found: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim:
                found.setdefault(name, []).append(output.detach().clone())

        return hook

    hooks = [
        module.register_forward_hook(
            keep(f"{name} ({type(module).__name__})" if name else type(module).__name__)
        )
        for name, module in model.named_modules()
    ]
    seed_everything(0)
    try:
        with torch.no_grad():
            workload.loss(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found
