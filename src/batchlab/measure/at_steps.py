"""Measurements of a model at one step of its training.

The quantities are norms and distances of the weights, the noise of the gradient, and the
sharpness of the loss around the weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor, nn

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.gradient_noise import drawn_variance, sample_gradients
from batchlab.measure.gradients import (
    batches_at,
    flat_gradient,
    trainable_parameters,
    widened,
)
from batchlab.measure.measurements import measurement_rows
from batchlab.random_state import derived_seed, untouched_randomness
from batchlab.records.measurement import AtStep, AtSteps, Measurement, Moment
from batchlab.training.evaluator import shares_of
from batchlab.workload.data import shuffled
from batchlab.workload.definition import Workload, size_of

Vector = NDArray[np.float64]

# ---- the distance of weights


def distance_between(first: Iterable[Tensor], second: Iterable[Tensor]) -> float:
    """Return the Euclidean distance between two lists of tensors, each list as one vector."""
    return math.hypot(*map(_norm, first, second))


def _norm(first: Tensor, second: Tensor) -> float:
    gap = widened(first.detach()) - widened(second.detach()).to(first.device)
    return float(torch.linalg.vector_norm(gap).double())


# ---- the loss around the weights

_PASS_EXAMPLES = 512  # the most examples per forward and backward pass


class LossSurface:
    """The mean loss of some training examples as a function of a model's weights.

    The loss is deterministic: each forward pass has the same examples and random numbers at every
    call, and dropout is off. Batch normalization takes its statistics from each pass, as in
    training (and in Keskar et al.). The surface uses a copy, so the model does not change.
    """

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        chosen: Tensor,
        *,
        device: torch.device,
    ) -> None:
        """Copy the model, and split the example indices `chosen` into one batch per pass."""
        self._workload = workload
        self._device = device
        self._seed = derived_seed("loss surface")
        self._model = copy.deepcopy(model)
        self._is_recurrent = False
        for module in self._model.modules():
            module.training = isinstance(module, nn.modules.batchnorm._BatchNorm)
            self._is_recurrent |= isinstance(module, nn.RNNBase)
        # Passes are nearly equal, because batch normalization rejects a pass of one example.
        self._passes = chosen.tensor_split(math.ceil(len(chosen) / _PASS_EXAMPLES))
        self._parameters = trainable_parameters(self._model)
        flat = torch.cat([weights.detach().flatten().double() for weights in self._parameters])
        self.weights: Vector = flat.cpu().numpy()  # all trainable parameters in a vector (P,)

    def gradient(self, weights: Vector) -> tuple[float, Vector]:
        """Return the mean loss at `weights` and its gradient for the weights, shape (P,)."""
        flat = torch.from_numpy(weights).to(self._device)
        with torch.no_grad():
            pieces = flat.split(list(map(Tensor.numel, self._parameters)))
            for parameter, piece in zip(self._parameters, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))
        with untouched_randomness(self._seed):
            batches = batches_at(self._workload, self._device, self._passes)
            shares = shares_of(self._workload, batches)
        total, gradient = 0.0, torch.zeros(())
        with ExitStack() as kernels:
            if self._is_recurrent:  # cuDNN's recurrent layers need training mode for a derivative
                kernels.enter_context(torch.backends.cudnn.flags(enabled=False))
            for batch, share in zip(batches, shares, strict=True):
                with untouched_randomness(self._seed):
                    loss = self._workload.loss(self._model, batch)
                gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
                total += share * float(loss.detach())
                gradient = gradient.to(loss) + share * flat_gradient(gradients, self._parameters)
        return total, gradient.double().cpu().numpy()


_EPSILON = 1e-3  # A weight w may change by at most this × (|w| + 1), as in the paper.
# The search for the largest loss stops after ten iterations, as in Keskar et al., so it may find a
# smaller loss than the largest.
_ITERATIONS = 10
# The gradient at trained weights is near 0, so a search that starts there may hardly move. A second
# search starts at random weights whose changes are at most this fraction of the allowed changes.
_BESIDE = 0.1


def sharpness(surface: LossSurface, *, epsilon: float = _EPSILON) -> float:
    """Return 100 (max f - f) / (1 + f), where f is the loss and max f its maximum in a box.

    The box is x + z with |z_i| <= epsilon (|x_i| + 1) around the weights x. L-BFGS-B takes ten
    iterations from the weights and ten from a random point in a tenth of the box; the larger
    maximum is used. (The paper does not specify the starting points.) Sharpness is >= 0, and can be
    compared between trainings of one workload, but not between workloads.

    Source: Keskar et al. 2017, arXiv:1609.04836, section 2.2.2.
    """

    def downhill(z: Vector) -> tuple[float, Vector]:
        loss, gradient = surface.gradient(surface.weights + z)
        return -loss, -gradient

    box = epsilon * (np.abs(surface.weights) + 1)
    # There may be a million bounds. Convert them to tuples here, only once, because
    # `scipy.optimize.minimize` would convert them three times.
    bounds = list(zip((-box).tolist(), box.tolist(), strict=True))
    beside = _BESIDE * box * np.random.default_rng(0).uniform(-1, 1, len(box))
    highest = []
    for start in (np.zeros(len(box)), beside):
        _, lowest, _ = fmin_l_bfgs_b(downhill, start, bounds=bounds, maxiter=_ITERATIONS)
        highest.append(-float(lowest))
    at_weights = surface.gradient(surface.weights)[0]
    return 100 * (max(at_weights, *highest) - at_weights) / (1 + at_weights)


# ---- at a step of a training

# A noise scale is estimated from at most this many examples, to limit the time. An estimate above a
# quarter of this number is inexact.
_MOST_EXAMPLES = 16_384
# A variance is estimated from as many batches as an epoch has, but at least 4 and at most 16.
_MOST_BATCHES, _FEWEST_BATCHES = 16, 4
# Sharpness uses the loss of this many training examples, the same at each step.
_LOOKED_AT = 2000


def _distance(moment: Moment) -> float:
    return distance_between(moment.model.parameters(), moment.initial)


def _parameter_norm(moment: Moment) -> float:
    weights = map(Tensor.detach, moment.model.parameters())
    return math.hypot(*map(float, map(torch.linalg.vector_norm, weights)))


def _noise_scale(moment: Moment) -> float | None:
    """Return the noise scale, or None if the squared mean gradient is not significantly above 0."""
    # Use the same examples at every step, so that sampling errors cancel in comparisons of steps.
    sample = sample_gradients(
        moment.workload, moment.model, moment.device, seed=0, most_examples=_MOST_EXAMPLES
    )
    return noise_scale(sample).scale.estimate


def _gradient_variance(moment: Moment) -> float:
    """Estimate the variance of the gradient at the trial's current batch size from 4-16 batches."""
    trial = moment.trial
    if trial.stages:
        trial = trial.throughout(trial.plan.stage_at(moment.step).batch_size)
    in_an_epoch = trial.n_train // trial.batch_size
    return drawn_variance(
        moment.workload,
        moment.model,
        trial,
        device=moment.device,
        seed=trial.seed,
        n_batches=min(_MOST_BATCHES, max(_FEWEST_BATCHES, in_an_epoch)),
    )


def _sharpness(moment: Moment) -> float:
    """Return the sharpness on 2,000 training examples, or on all if there are fewer."""
    n_train, seed = size_of(moment.workload.train), derived_seed("loss surface")
    chosen = shuffled(n_train, seed=seed)[:_LOOKED_AT]
    return sharpness(LossSurface(moment.workload, moment.model, chosen, device=moment.device))


# These functions are sent to child processes by name, so none is a lambda.
AT_STEP: AtSteps = {
    "distance": _distance,
    "parameter_norm": _parameter_norm,
    "noise_scale": _noise_scale,
    "gradient_variance": _gradient_variance,
    "sharpness": _sharpness,
}


def measured_at_steps(asked: Collection[str] = ()) -> AtSteps:
    """Return, by name, functions that measure the default quantities and the quantities `asked`."""
    rows = measurement_rows()
    functions: AtSteps = {}
    for name, at_step in AT_STEP.items():
        row = rows[name]
        if name in asked or not row.on_request:
            functions[name] = partial(_taken, at_step, row)
    return functions


def _taken(at_step: AtStep, row: Measurement, moment: Moment) -> float | None:
    if not row.on_request:
        return at_step(moment) if moment.step > 0 else None
    # `is_last` is true at a training's last step and also before its first step. `is_end` is true
    # at the same moments and at the end of each epoch.
    is_due = moment.is_last if row.figure == "at_the_end" else moment.is_end
    if not is_due:
        return None
    try:
        return at_step(moment)
    except Exception:
        # A failed measurement must not stop a training: the model may have diverged, may not be
        # twice differentiable, or may leave too little memory.
        return None
