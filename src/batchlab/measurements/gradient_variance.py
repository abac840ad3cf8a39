"""GradientVariance: the spread of mini-batch gradients by batch size, measured by drawing them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

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
from batchlab.training.evaluator import weight_of
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.keyed_order import first_shuffled

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
        mean_gradient = _MeanGradient(workload, copy.deepcopy(model), device, _PASS_EXAMPLES)
        whole = mean_gradient(torch.arange(n_train))
        points = []
        for size in batch_sizes:
            distances = [
                float((mean_gradient(torch.randperm(n_train)[:size]) - whole).square().sum())
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

    The sample variance of the gradients of batches that are drawn as the trial draws them: tr Cov
    without bias. Of the whole training set without replacement there is one batch, and no variance.

    Args:
        workload: gives the loss, and by `weight` how much each micro-batch counts.
        model: left as it is.
        trial: gives the batch size, how it is cut and how it is drawn.
        device: where the model is.
        seed: of the draws.
        n_batches: >= 2.

    Source: Welford 1962, Technometrics 4 (3), for a variance in one pass without cancellation.
    """
    n_train, n_drawn = size_of(workload.train), trial.batch_size
    is_replaced = trial.sampling == "replacement"
    if n_drawn == n_train and not is_replaced:
        return 0.0
    with untouched_randomness():
        seed_everything(derived_seed("gradient variance", seed))
        mean_gradient = _MeanGradient(
            workload, copy.deepcopy(model), device, trial.micro_batch_size
        )
        mean: Tensor | None = None
        squares = 0.0
        for n_seen in range(1, n_batches + 1):
            own_seed = derived_seed("variance batch", seed, n_seen)
            found = mean_gradient(
                torch.randint(n_train, (n_drawn,))
                if is_replaced
                else first_shuffled(n_train, n_drawn, seed=own_seed)
            )
            if mean is None:
                mean = found
                continue
            gap = found - mean
            mean += gap / n_seen
            squares += float((gap * (found - mean)).sum())
        return squares / (n_batches - 1)


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


class _MeanGradient:
    """The gradient of the mean loss of some examples, in passes that fit into memory."""

    def __init__(
        self, workload: Workload, model: nn.Module, device: torch.device, pass_examples: int
    ) -> None:
        self._workload = workload
        self._model = model
        self._device = device
        self._pass_examples = pass_examples

    def __call__(self, chosen: Tensor) -> Tensor:
        """Each pass counts by its weight, as in a step of the training."""
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for part in chosen.split(self._pass_examples):
            batch = on_device(examples_at(self._workload, part), self._device)
            weight = weight_of(self._workload, batch)
            if weight == 0:  # padding alone: its mean loss is not a number
                continue
            gradient = batch_gradient(self._workload, self._model, batch).double()
            total = total.to(gradient.device) + weight * gradient
            weights += weight
        return total / weights if weights else torch.full_like(total, math.nan)
