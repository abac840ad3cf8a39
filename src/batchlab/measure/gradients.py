"""The gradient of a batch, its norm, and the gradients of its single examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from batchlab.workload.definition import Batch, Workload


def batch_gradient(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    """The gradient of the batch's loss by all trainable parameters, shape (P,).

    A parameter that the loss does not reach has a gradient of 0.
    """
    parameters = [part for part in model.parameters() if part.requires_grad]
    loss = workload.loss(model, batch)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return flat_gradient(found, parameters)


def flat_gradient(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Tensor:
    """The gradients end to end, shape (P,), in float32 at least; None stands for 0."""
    return torch.cat(
        [
            widened(torch.zeros_like(part) if gradient is None else _dense(gradient)).flatten()
            for gradient, part in zip(gradients, parameters, strict=True)
        ]
    )


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor | None:
    """The Euclidean norm of the gradients that a backward pass has left; None: it left none."""
    found = [part.grad for part in parameters if part.grad is not None]
    if not found:
        return None
    norms = [torch.linalg.vector_norm(widened(gradient_values(part))) for part in found]
    whole: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return whole


def gradient_values(gradient: Tensor) -> Tensor:
    """All entries of a gradient; of a sparse one (an embedding's) those that are not 0."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


def widened(part: Tensor) -> Tensor:
    """The same in float32 at least: sums of squares in half precision lose most digits.

    Of complex numbers both parts, along one more dimension of 2.
    """
    if part.is_complex():
        part = torch.view_as_real(part.resolve_conj())
    return part if part.dtype == torch.float64 else part.float()
