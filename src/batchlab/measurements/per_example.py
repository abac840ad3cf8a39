"""PerExample: the gradient of each example of a batch, as its norm, beside their mean.

Three ways, the first that is right for a model: from what its layers see, by `torch.func`, or one
example after the other. Each is compared with the last one on a few examples before it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from batchlab.measurements.batch_gradient import batch_gradient, flat_gradient, widened
from batchlab.measurements.layer_norms import by_layers
from batchlab.random_state import untouched_randomness
from batchlab.training.batching import mapped, n_examples
from batchlab.training.evaluator import weight_of
from batchlab.workload.definition import Batch, Workload

# Compared with gradients one by one on so many examples; float32 rounds to 1e-6 of a norm.
_COMPARED = 3
_TOLERANCE = 1e-3
# In half precision by so many of its grains, but never by so much.
_GRAINS, _LARGEST_TOLERANCE = 10.0, 0.05
# What the gradients of all examples of a chunk may take at once.
_CHUNK_BYTES = 2**27

Gradients = tuple[Tensor, Tensor]
"""The mean gradient of a batch, shape (P,), and the squared norm of each example's, shape (n,).

An example's gradient counts by its weight over the batch's mean weight, so that their mean is the
gradient of the batch's loss.
"""

Way = Callable[[Workload, nn.Module, Batch], Gradients]


@dataclass(frozen=True, kw_only=True, slots=True)
class PerExample:
    """How the gradients of single examples are taken for one model.

    Attributes:
        name: "layers", "vmap" or "one by one".
        of: the workload, the model and a batch -> its gradients.
    """

    name: str
    of: Way


def per_example(workload: Workload, model: nn.Module, batch: Batch) -> PerExample | None:
    """The fastest way that gives the gradients of single examples of this model.

    Args:
        workload: whose loss.
        model: left as it is but for its buffers; it should be a copy.
        batch: some training examples; at least two are compared.

    Returns:
        None: an example has no gradient of its own: batch normalization or the loss couples the
        examples of a batch, or the model does not take a single one.
    """
    if _normalises_over_batch(model):
        return None
    few = _sliced(batch, 0, min(_COMPARED, n_examples(batch)))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # without dropout, which draws anew for each way
    try:
        with untouched_randomness():
            return _first_right(workload, model, few)
    finally:
        for module, was_training in modes:
            module.training = was_training


def _first_right(workload: Workload, model: nn.Module, few: Batch) -> PerExample | None:
    try:
        truth = one_by_one(workload, model, few)
        whole = batch_gradient(workload, model, few)
        tolerance = _rounding(workload, model, few, whole)
        if not _agree(whole, truth[0], tolerance):
            return None
    except Exception:  # of the user's own code, which takes no single example
        return None
    for name, way in (("layers", by_layers), ("vmap", by_vmap)):
        try:
            found = way(workload, model, few)
        except Exception:  # it cannot take this model; another way can
            continue
        if all(_agree(*pair, tolerance) for pair in zip(found, truth, strict=True)):
            return PerExample(name=name, of=way)
    return PerExample(name="one by one", of=one_by_one)


def _rounding(workload: Workload, model: nn.Module, few: Batch, whole: Tensor) -> float:
    """How far two ways may lie apart: more where the model computes in half precision.

    There even a factor of 3 changes the gradient by a grain.
    """
    parameters = [part for part in model.parameters() if part.requires_grad]
    loss = 3 * workload.loss(model, few)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    tripled = flat_gradient(found, parameters) / 3
    grain = torch.linalg.vector_norm(tripled - whole) / torch.linalg.vector_norm(whole)
    return min(max(_TOLERANCE, _GRAINS * float(grain)), _LARGEST_TOLERANCE)


def one_by_one(workload: Workload, model: nn.Module, batch: Batch) -> Gradients:
    """One backward pass for each example: slow, and right wherever examples are independent."""
    weights = _weights(workload, batch)
    total = torch.zeros(())
    squares = []
    for index, weight in enumerate(weights):
        if weight == 0:  # without weight it may have no loss, such as 0/0
            squares.append(torch.zeros(()))
            continue
        gradient = batch_gradient(workload, model, _sliced(batch, index, index + 1)) * weight
        squares.append(gradient.square().sum())
        total = total.to(gradient) + gradient
    return total / len(weights), torch.stack([square.to(total) for square in squares])


def by_vmap(workload: Workload, model: nn.Module, batch: Batch) -> Gradients:
    """All examples at once, by `torch.func.vmap` of `torch.func.grad`, chunk by chunk."""
    asked = _Asked(model, workload)
    trained = {name: part.detach() for name, part in asked.named_parameters() if part.requires_grad}
    n_parameters = sum(part.numel() for part in trained.values())

    def loss_of(values: dict[str, Tensor], example: Batch) -> Tensor:
        loss: Tensor = functional_call(
            asked, values, (mapped(example, lambda part: part.unsqueeze(0)),)
        )
        return loss

    of_each = vmap(grad(loss_of), in_dims=(None, 0), randomness="different")
    weights = torch.tensor(_weights(workload, batch))
    n, chunk = len(weights), max(1, _CHUNK_BYTES // (4 * n_parameters))
    total = torch.zeros(())
    squares = []
    for start in range(0, n, chunk):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            found = of_each(trained, _sliced(batch, start, min(start + chunk, n)))
        flat = torch.cat([widened(part).flatten(1) for part in found.values()], dim=1)
        weight = weights[start : start + chunk].to(flat).unsqueeze(1)
        flat = torch.where(weight == 0, 0.0, flat * weight)
        squares.append(flat.square().sum(dim=1))
        total = total.to(flat) + flat.sum(dim=0)
    return total / n, torch.cat(squares)


class _Asked(nn.Module):
    """A workload's loss as a module, so that `functional_call` can put in the weights."""

    def __init__(self, model: nn.Module, workload: Workload) -> None:
        super().__init__()
        self.model = model
        self._loss = workload.loss

    def forward(self, batch: Batch) -> Tensor:
        """The loss of the batch."""
        return self._loss(self.model, batch)


def _weights(workload: Workload, batch: Batch) -> list[float]:
    """Each example's weight over the mean weight."""
    n = n_examples(batch)
    if workload.weight is None:
        return [1.0] * n
    weights = [weight_of(workload, _sliced(batch, index, index + 1)) for index in range(n)]
    return [weight * n / sum(weights) for weight in weights]


def _sliced(batch: Batch, start: int, stop: int) -> Batch:
    return mapped(batch, lambda part: part[start:stop])


def _agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    scale = torch.linalg.vector_norm(other.double())
    far = torch.linalg.vector_norm(one.double() - other.double())
    return bool(far <= tolerance * scale)


def _normalises_over_batch(model: nn.Module) -> bool:
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        for module in model.modules()
    )
