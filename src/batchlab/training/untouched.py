"""A context for evaluating a model, which restores the model's state afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from batchlab.random_state import untouched_randomness


@contextmanager
def untouched_model(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode, without gradients, and restore the model's state afterwards.

    Modes, buffers, the parameters' `.grad` and the global random streams are restored, also after
    an exception. In the context every `.grad` is None: a resumed run lacks the gradient of the last
    step, so a metric that reads `.grad` would otherwise have another value in a resumed run.
    Weights are not restored: a metric that changes weights has to restore the weights.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    values = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        model.eval()
        for parameter, _ in gradients:
            parameter.grad = None
        with torch.no_grad(), untouched_randomness():
            yield
    finally:
        # Restore the same tensor objects, because the user's code may refer to them.
        for live, before in buffers:
            live.clear()
            live.update(before)
        for buffer, value in values:
            buffer.data.copy_(value)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, was_training in modes:
            module.training = was_training
