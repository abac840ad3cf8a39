"""LayerNorms: norms of the gradients of single examples from what each layer saw.

The gradient of a linear layer by one example is the product of what went in and of what came back:
its norm is the product of two norms, so the gradients themselves are never made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.measurements.batch_gradient import flat_gradient
from batchlab.training.batching import n_examples
from batchlab.workload.definition import Batch, Workload

# The input of a layer, and the gradient by its output, each of n examples -> n squared norms.
_Norm = Callable[[nn.Module, Tensor, Tensor], Tensor]


class UnknownLayerError(Exception):
    """A parameter is not one of a layer whose norms are known, or a layer ran more than once."""


def by_layers(workload: Workload, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean gradient of a batch, shape (P,), and each example's squared norm, shape (n,).

    One forward and one backward pass. It is right where every example goes through each layer on
    its own and along its first dimension; who calls it makes sure of that.

    Raises:
        UnknownLayerError: this model has other layers.

    Source: Goodfellow 2015, arXiv:1510.01799, for linear layers; Li et al. 2022, arXiv:2110.05679,
        section 4, for sequences.
    """
    n = n_examples(batch)
    parameters = [part for part in model.parameters() if part.requires_grad]
    with _watched(model) as seen:
        loss = workload.loss(model, batch)
        layers = {id(part) for layer, _, _ in seen for part in own_parameters(layer)}
        if layers != {id(part) for part in parameters}:
            raise UnknownLayerError("a trainable parameter belongs to no layer that ran")
        outputs = [output for _, _, output in seen]
        found = torch.autograd.grad(loss, [*parameters, *outputs], allow_unused=True)
    squares = torch.zeros((), device=loss.device)
    for (layer, value, output), back in zip(seen, found[len(parameters) :], strict=True):
        if len(output) != n or len(value) != n:
            raise UnknownLayerError("a layer's first dimension is not that of the examples")
        if back is not None:
            # The loss is the mean: what comes back holds the n-th part of each example's own.
            squares = squares + squared_norms(layer, value.detach(), back * n)
    return flat_gradient(found[: len(parameters)], parameters), squares


def is_known(layer: nn.Module) -> bool:
    """Whether `squared_norms` is right for a layer of this kind with its options."""
    return type(layer) in _NORMS and _is_usual(layer)


def squared_norms(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    """Squared norms of the gradients of single examples by the layer's own trainable parameters.

    Args:
        layer: one that is known.
        value: what went in, examples first, shape (n, ...).
        back: the gradient of each example's own loss by what came out, shape (n, ...).

    Returns:
        Shape (n,).
    """
    return _NORMS[type(layer)](layer, value, back)


def own_parameters(layer: nn.Module) -> list[nn.Parameter]:
    """The layer's trainable parameters without those of layers inside it."""
    return [part for part in layer.parameters(recurse=False) if part.requires_grad]


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor, Tensor]]]:
    """Context: each layer with trainable parameters, with its input and output, as it runs."""
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    in_place = any(getattr(module, "inplace", False) for module in model.modules())

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if any(layer is other for other, _, _ in seen):
            raise UnknownLayerError("a layer ran more than once")
        seen.append((layer, inputs[0], output))
        # What changes the output in place must not change the one that is watched.
        return output.clone() if in_place else output

    hooks = []
    try:
        for module in model.modules():
            if not own_parameters(module):
                continue
            if not is_known(module):
                raise UnknownLayerError(f"{type(module).__name__} is not known")
            hooks.append(module.register_forward_hook(keep))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _is_usual(layer: nn.Module) -> bool:
    """Whether its options are those that the norms are right for."""
    if isinstance(layer, nn.Embedding):
        plain = layer.max_norm is None and not layer.scale_grad_by_freq
        return plain and layer.padding_idx is None
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return True


def _linear(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    n = len(value)
    value, back = value.reshape(n, -1, layer.in_features), back.reshape(n, -1, layer.out_features)
    squares = _of_product(value, back) if layer.weight.requires_grad else value.new_zeros(n)
    return squares + _of_bias(layer, back.sum(dim=1))


def _of_product(value: Tensor, back: Tensor) -> Tensor:
    """Squared norms of sum over t of back_t value_t^T; shapes (n, T, i) and (n, T, o)."""
    _, length, n_in = value.shape
    n_out = back.shape[2]
    if length == 1:
        return value.square().sum(dim=(1, 2)) * back.square().sum(dim=(1, 2))
    if length * (n_in + n_out) < n_in * n_out:
        inside, outside = value @ value.transpose(1, 2), back @ back.transpose(1, 2)
        return (inside * outside).sum(dim=(1, 2))
    return (back.transpose(1, 2) @ value).square().sum(dim=(1, 2))


def _of_bias(layer: nn.Module, summed: Tensor) -> Tensor:
    bias = getattr(layer, "bias", None)
    if bias is None or not bias.requires_grad:
        return summed.new_zeros(len(summed))
    return summed.square().sum(dim=1)


def _conv2d(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    n = len(value)
    back = back.flatten(2)
    squares = value.new_zeros(n)
    if layer.weight.requires_grad:
        assert not isinstance(layer.padding, str)
        patches = F.unfold(
            value,
            kernel_size=layer.kernel_size,
            dilation=layer.dilation,
            padding=layer.padding,
            stride=layer.stride,
        )
        grouped = patches.reshape(n * layer.groups, -1, patches.shape[2]).transpose(1, 2)
        apart = back.reshape(n * layer.groups, -1, back.shape[2]).transpose(1, 2)
        squares = _of_product(grouped, apart).reshape(n, -1).sum(dim=1)
    return squares + _of_bias(layer, back.sum(dim=2))


def _embedding(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    n = len(value)
    value, back = value.reshape(n, -1), back.reshape(n, value[0].numel(), -1)
    same = (value.unsqueeze(1) == value.unsqueeze(2)).to(back)
    return (same * (back @ back.transpose(1, 2))).sum(dim=(1, 2))


def _layer_norm(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    shape, n = layer.normalized_shape, len(value)
    normalised = F.layer_norm(value, shape, eps=layer.eps)
    squares = value.new_zeros(n)
    if layer.weight is not None and layer.weight.requires_grad:
        scaled = (normalised * back).reshape(n, -1, layer.weight.numel()).sum(dim=1)
        squares = scaled.square().sum(dim=1)
    return squares + _of_bias(layer, back.reshape(n, -1, layer.weight.numel()).sum(dim=1))


_NORMS: dict[type[nn.Module], _Norm] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
}
