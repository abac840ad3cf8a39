"""The measurements of a model at a step of its training, by the names of their quantities."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch

from batchlab.measure.distance import distance_between
from batchlab.measure.gradient_noise import GradientNoise, drawn_variance
from batchlab.measure.gradients import gradient_norm
from batchlab.measure.measurements import measurement_rows
from batchlab.measure.sharpness import sharpness, surface_at, top_eigenvalues
from batchlab.records.measurement import AtStep, AtSteps, Moment

# This limits the cost of a noise scale. One above about a quarter of it is known only roughly.
_MOST_EXAMPLES = 16_384
# A variance needs several batches. If an epoch has only a few, the smaller number must do.
_MOST_BATCHES, _FEWEST_BATCHES = 16, 4
_EPSILON, _HALF = 1e-3, 5e-4  # The paper uses these two sizes of the box for sharpness.
_SUBSPACE = 100  # The paper uses this number of directions.
_TOLERANCE = 1e-3  # An eigenvalue may have this relative error, because seeds differ by more.


def _gradient_norm(moment: Moment) -> float | None:
    """Return the norm of the last step's gradient, or None before the first step."""
    norm = gradient_norm(moment.model.parameters())
    return None if norm is None else float(norm)


def _update_norm(moment: Moment) -> float | None:
    """Return the length of the last step, or None if the run was resumed after it."""
    return distance_between(moment.model.parameters(), moment.before) if moment.before else None


def _distance(moment: Moment) -> float:
    return distance_between(moment.model.parameters(), moment.initial)


def _parameter_norm(moment: Moment) -> float:
    parts = [torch.linalg.vector_norm(part.detach()) for part in moment.model.parameters()]
    return float(torch.linalg.vector_norm(torch.stack([part.double() for part in parts])))


def _noise_scale(moment: Moment) -> float | None:
    """Return the noise scale, or None if the gradient is lost in the noise of the examples."""
    noise = GradientNoise(moment.workload, moment.device)
    # Use the same examples each time, so that errors that the points of a curve share cancel.
    found = noise.sample(moment.model, seed=0, most_examples=_MOST_EXAMPLES)
    return found.gradient_noise_scale.estimate


def _gradient_variance(moment: Moment) -> float:
    """Return the variance at the batch size that the trial has at this step, from drawn batches."""
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


def _sharpness(epsilon: float, n_directions: int | None, moment: Moment) -> float:
    """Return the sharpness in percent, in all directions if `n_directions` is None."""
    return sharpness(surface_at(moment), epsilon=epsilon, n_directions=n_directions)


def _top_eigenvalue(moment: Moment) -> float:
    return top_eigenvalues(surface_at(moment), tolerance=_TOLERANCE)[0]


AT_STEP: AtSteps = {
    "gradient_norm": _gradient_norm,
    "update_norm": _update_norm,
    "distance": _distance,
    "parameter_norm": _parameter_norm,
    "noise_scale": _noise_scale,
    "gradient_variance": _gradient_variance,
    "sharpness": partial(_sharpness, _EPSILON, None),
    "sharpness_half_box": partial(_sharpness, _HALF, None),
    "sharpness_subspace": partial(_sharpness, _EPSILON, _SUBSPACE),
    "sharpness_subspace_half_box": partial(_sharpness, _HALF, _SUBSPACE),
    "top_eigenvalue": _top_eigenvalue,
}


def measured_at_steps(asked: Collection[str] = ()) -> AtSteps:
    """Return how to measure a model at a step, by quantity; those on request only if `asked`."""
    rows = measurement_rows()
    return {
        name: partial(_where_asked, at_step, rows[name].at_ends)
        if rows[name].on_request
        else partial(_after_a_step, at_step)
        for name, at_step in AT_STEP.items()
        if name in asked or not rows[name].on_request
    }


def _after_a_step(at_step: AtStep, moment: Moment) -> float | None:
    return at_step(moment) if moment.step > 0 else None


def _where_asked(at_step: AtStep, at_ends: bool, moment: Moment) -> float | None:
    """Measure when an epoch ends, or if `at_ends` only before the first step and after the last."""
    if not (moment.is_last if at_ends else moment.is_end):
        return None
    try:
        return at_step(moment)
    except Exception:
        # A failed measurement must not end a training. The model may diverge or not be twice
        # differentiable, or the memory may be enough only for its steps.
        return None
