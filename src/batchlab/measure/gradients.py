"""The gradient of a batch, and norms of single examples' gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.training.accumulator import backward_of_parts
from batchlab.training.batching import examples_at, on_device
from batchlab.workload.definition import Batch, Workload


def batch_gradient(workload: Workload, model: nn.Module, batch: Batch) -> Tensor:
    """Return the gradient of the loss by all trainable parameters, shape (P,)."""
    return accumulated_gradient(workload, model, [batch], [1.0])


def accumulated_gradient(
    workload: Workload, model: nn.Module, batches: Sequence[Batch], shares: Sequence[float]
) -> Tensor:
    """Return the sum of share × gradient over the batches, shape (P,), for P weights.

    A parameter on which the loss does not depend has a gradient of 0.
    """
    model.zero_grad()
    backward_of_parts(partial(workload.loss, model), batches, shares)
    parameters = trainable_parameters(model)
    return flat_gradient([parameter.grad for parameter in parameters], parameters)


def batches_at(workload: Workload, device: torch.device, pieces: Iterable[Tensor]) -> list[Batch]:
    """Return batches of training examples, one batch for each tensor of indices in `pieces`."""
    return [on_device(examples_at(workload, chosen), device) for chosen in pieces]


def flat_gradient(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return all gradients as one vector, shape (P,), in at least float32; None becomes zeros."""
    flat = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        flat.append(widened(gradient.to_dense()).flatten())
    return torch.cat(flat)


def gradient_values(gradient: Tensor) -> Tensor:
    """Return all entries of a gradient; of a sparse gradient (embeddings), the stored entries."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def widened(values: Tensor) -> Tensor:
    """Convert half precision to float32, because sums of squares would lose most digits.

    Complex numbers become real and imaginary parts, along an additional dimension of length 2.
    """
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values if values.dtype == torch.float64 else values.float()


def is_known(layer: nn.Module) -> bool:
    """Return whether `squared_norms` supports this layer's type and options."""
    if type(layer) not in _NORMS:
        return False
    if isinstance(layer, nn.Embedding):
        return layer.max_norm is layer.padding_idx is None and not layer.scale_grad_by_freq
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return True


def squared_norms(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    """Return the squared norm of each example's gradient for the layer's parameters, shape (n,).

    `value` is the layer's input, with examples in the first dimension. `back` is the gradient of
    each example's loss with respect to the layer's output. The layer must satisfy `is_known`.
    """
    n = len(value)
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    squares = back.new_zeros(n)
    if weight is not None and weight.requires_grad:
        squares = _NORMS[type(layer)](layer, value, back)
    if bias is not None and bias.requires_grad:
        if isinstance(layer, nn.Conv2d):
            back = back.movedim(1, -1)  # channels last, as the sum below requires
        summed = back.reshape(n, -1, bias.numel()).sum(dim=1)
        squares = squares + summed.square().sum(dim=1)
    return squares


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient."""
    return list(filter(attrgetter("requires_grad"), model.parameters()))


def n_numbers(parameters: Iterable[nn.Parameter]) -> int:
    """Return the total number of elements of the parameters."""
    return sum(map(nn.Parameter.numel, parameters))


def own_parameters(layer: nn.Module) -> list[nn.Parameter]:
    """Return a layer's own trainable parameters, without the parameters of nested layers."""
    return list(filter(attrgetter("requires_grad"), layer.parameters(recurse=False)))


def _linear(layer: nn.Linear, value: Tensor, back: Tensor) -> Tensor:
    n = len(value)
    inputs = value.reshape(n, -1, layer.in_features)
    return _of_product(inputs, back.reshape(n, -1, layer.out_features))


def _of_product(value: Tensor, back: Tensor) -> Tensor:
    """Return the squared norm of the matrix back^T value of each example, shape (n,).

    `value` has shape (n, T, inputs), and `back` has shape (n, T, outputs).
    """
    (_, length, n_in), n_out = value.shape, back.shape[2]
    if length * (n_in + n_out) < n_in * n_out:
        inside, outside = value @ value.transpose(1, 2), back @ back.transpose(1, 2)
        return (inside * outside).sum(dim=(1, 2))
    return (back.transpose(1, 2) @ value).square().sum(dim=(1, 2))


def _conv2d(layer: nn.Conv2d, value: Tensor, back: Tensor) -> Tensor:
    assert not isinstance(layer.padding, str)
    patches = F.unfold(
        value,
        kernel_size=layer.kernel_size,
        dilation=layer.dilation,
        padding=layer.padding,
        stride=layer.stride,
    )
    n, length = len(value), patches.shape[2]
    by_group = n * layer.groups, -1, length
    patches = patches.reshape(by_group).transpose(1, 2)
    back = back.reshape(by_group).transpose(1, 2)
    return _of_product(patches, back).reshape(n, -1).sum(dim=1)


def _embedding(layer: nn.Embedding, value: Tensor, back: Tensor) -> Tensor:
    n = len(value)
    value, back = value.reshape(n, -1), back.reshape(n, value[0].numel(), -1)
    same = (value.unsqueeze(1) == value.unsqueeze(2)).to(back)
    return (same * (back @ back.transpose(1, 2))).sum(dim=(1, 2))


def _layer_norm(layer: nn.LayerNorm, value: Tensor, back: Tensor) -> Tensor:
    normalized = F.layer_norm(value, layer.normalized_shape, eps=layer.eps)
    scaled = (normalized * back).reshape(len(value), -1, layer.weight.numel()).sum(dim=1)
    return scaled.square().sum(dim=1)


# For each type of layer, a function that computes the squared norms of the weight's gradients.
_NORMS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
}
