"""GradientVariance: the spread of mini-batch gradients by batch size, measured by drawing them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from batchlab.errors import BatchSizeError
from batchlab.laws.statistics import mean_interval
from batchlab.measurements.batch_gradient import batch_gradient
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Trial
from batchlab.records.variance_point import VariancePoint
from batchlab.training.batching import derived_seed, examples_at, on_device
from batchlab.workload.definition import Workload, size_of

# Of the whole set's gradient, in one pass.
_PASS_EXAMPLES = 1024


def gradient_variance(
    workload: Workload,
    model: nn.Module,
    batch_sizes: Sequence[int],
    *,
    device: torch.device,
    seed: int,
    n_batches: int = 64,
    trace: float | None = None,
) -> tuple[VariancePoint, ...]:
    """The variance of the mini-batch gradient at several batch sizes, at the model's weights.

    Of each batch size so many batches are drawn, each without replacement, and their gradients
    compared with that of the whole training set. A batch of the whole set has none.

    Args:
        workload: its loss must be the mean over examples that count alike.
        model: left as it is.
        batch_sizes: each 1 to N.
        device: where the model is.
        seed: of the draws.
        n_batches: of each batch size.
        trace: tr Sigma of the training set, for what is expected.

    Raises:
        BatchSizeError: a batch size outside 1 to N.

    Source: sampling without replacement, Cochran 1977, Sampling Techniques, theorem 2.2.
    """
    n_train = size_of(workload.train)
    for size in batch_sizes:
        if not 1 <= size <= n_train:
            raise BatchSizeError(f"batch size {size}: expected 1 to {n_train}, the training set")
    with untouched_randomness():
        seed_everything(derived_seed("gradient variance", seed))
        kept = copy.deepcopy(model)

        def gradient_at(chosen: Tensor) -> Tensor:
            batch = on_device(examples_at(workload, chosen), device)
            return batch_gradient(workload, kept, batch).double()

        whole = _in_passes(gradient_at, torch.arange(n_train))
        points = []
        for size in batch_sizes:
            distances = [
                float(
                    (_in_passes(gradient_at, torch.randperm(n_train)[:size]) - whole).square().sum()
                )
                for _ in range(n_batches if size < n_train else 0)
            ]
            points.append(_point(size, n_train, distances, trace))
        return tuple(points)


def drawn_variance(
    workload: Workload,
    model: nn.Module,
    trial: Trial,
    *,
    device: torch.device,
    seed: int,
    n_batches: int,
) -> float:
    """The variance of the mini-batch gradient at one batch size, without the whole set's gradient.

    The sample variance of the gradients of batches that are drawn, each without replacement: tr Cov
    without bias. Of the whole training set there is one batch, and no variance.

    Args:
        workload: its loss must be the mean over examples that count alike.
        model: left as it is.
        trial: gives the batch size and how it is cut.
        device: where the model is.
        seed: of the draws.
        n_batches: >= 2.
    """
    n_train = size_of(workload.train)
    if trial.batch_size == n_train:
        return 0.0
    with untouched_randomness():
        seed_everything(derived_seed("gradient variance", seed))
        kept = copy.deepcopy(model)

        def gradient_at(chosen: Tensor) -> Tensor:
            batch = on_device(examples_at(workload, chosen), device)
            return batch_gradient(workload, kept, batch).double()

        total: Tensor | None = None
        squares = 0.0
        for _ in range(n_batches):
            chosen = torch.randperm(n_train)[: trial.batch_size]
            found = _in_passes(gradient_at, chosen, trial.micro_batch_size)
            squares += float(found.square().sum())
            total = found if total is None else total + found
        assert total is not None
        return (squares - float(total.square().sum()) / n_batches) / (n_batches - 1)


def _point(
    size: int, n_train: int, distances: Sequence[float], trace: float | None
) -> VariancePoint:
    if size == n_train:  # there is one such batch
        variance = Estimate.of(0.0, interval=(0.0, 0.0), n=1)
    else:
        variance = mean_interval(distances)
    left = (n_train - size) / (n_train - 1) if n_train > 1 else 0.0
    return VariancePoint(
        batch_size=size,
        variance=variance,
        expected=None if trace is None else trace / size * left,
    )


def _in_passes(
    gradient_at: Callable[[Tensor], Tensor], chosen: Tensor, pass_examples: int = _PASS_EXAMPLES
) -> Tensor:
    """The mean gradient of these examples, in passes that fit into memory."""
    parts = chosen.split(pass_examples)
    total = gradient_at(parts[0]) * len(parts[0])
    for part in parts[1:]:
        total += gradient_at(part) * len(part)
    return total / len(chosen)
