"""UntouchedModel: a model in eval mode, which goes on training as if it had not been asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from batchlab.random_state import untouched_randomness
from batchlab.training.remembered_forward import versions_of


@contextmanager
def untouched_model(model: nn.Module) -> Iterator[None]:
    """Context: the model in eval mode, without gradients; it is left as it was.

    Modes, buffers, the parameters' `.grad` and the global random streams come back, after an
    exception too. Inside, no parameter has a `.grad`: that of the last step is no part of a model,
    and a run that was taken up again would not have it. Weights are not kept: a metric that moves
    them has to move them back.

    Args:
        model: what is asked.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(part, part.grad) for part in model.parameters()]
    buffers = _Buffers(model)
    try:
        model.eval()
        for part, _ in gradients:
            part.grad = None
        with torch.no_grad(), untouched_randomness():
            yield
    finally:
        buffers.restore()
        for part, gradient in gradients:
            part.grad = gradient
        for module, was_training in modes:
            module.training = was_training


class _Buffers:
    """A model's buffers: which tensors they are, and what these hold."""

    def __init__(self, model: nn.Module) -> None:
        self._names = [(module, dict(module._buffers.items())) for module in model.modules()]
        tensors = {id(part): part for _, held in self._names for part in held.values()}
        self._kept = [
            (part, part.detach().clone(), versions_of(part))
            for part in tensors.values()
            if part is not None
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put back the very tensors, for code that refers to them, with what they held."""
        for part, kept, versions in self._kept:
            if part.shape != kept.shape:
                part.data = kept
            elif versions != versions_of(part) or not _is_equal(part, kept):
                part.copy_(kept)
        for module, held in self._names:
            for name in set(module._buffers.keys()) - held.keys():
                del module._buffers[name]
            for name, tensor in held.items():
                if name not in module._buffers or module._buffers[name] is not tensor:
                    module._buffers[name] = tensor


def _is_equal(part: Tensor, kept: Tensor) -> bool:
    # What was written by `.data` shows in the values alone; those of a sparse one can't be asked.
    return part.layout != torch.strided or torch.equal(part, kept)
