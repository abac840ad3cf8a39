"""Ghost batch normalization: large batches that are normalized in small parts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import BatchSizeError, WorkloadError


def ghost_batch_norm(model: nn.Module, size: int) -> nn.Module:
    """Let every batch normalization of a model normalize parts of a batch, each on its own.

    A large batch is then normalized as a small one is, and no differently when it is cut into
    micro-batches of `size`. Running statistics see one part after another. Evaluation is as usual.

        Workload(model=lambda: batchlab.ghost_batch_norm(build_model(), 64), ...)

    Args:
        model: the model, which is changed in place.
        size: examples per part; a last part of a single example joins the part before it.

    Returns:
        The same model.

    Raises:
        BatchSizeError: a size below 2.
        WorkloadError: the model has no batch normalization, or one over several processes.

    Source: Hoffer et al. 2017, arXiv:1705.08741, algorithm 1.
    """
    if size < 2:
        raise BatchSizeError(f"ghost batches of {size}: expected 2 or more, to have a variance")
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        raise WorkloadError(f"{type(model).__name__} has no batch normalization to change")
    if any(isinstance(layer, nn.SyncBatchNorm) for layer in layers):
        raise WorkloadError("SyncBatchNorm is over all processes; use plain batch normalization")
    for layer in layers:
        layer.forward = partial(_normalized, layer, size)  # type: ignore[method-assign]
    return model


def _normalized(layer: _BatchNorm, size: int, x: Tensor) -> Tensor:
    normalize = type(layer).forward
    if not layer.training or len(x) <= size:
        return normalize(layer, x)
    begins = list(range(size, len(x), size))
    if len(x) - begins[-1] == 1:
        del begins[-1]
    return torch.cat([normalize(layer, rows) for rows in torch.tensor_split(x, begins)])
