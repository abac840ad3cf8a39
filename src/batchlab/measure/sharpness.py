"""Sharpness: the growth of the training loss around the weights, by two definitions."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from batchlab.errors import UsageError
from batchlab.measure.gradients import flat_gradient
from batchlab.random_state import derived_seed, seed_everything, untouched_randomness
from batchlab.records.measurement import Moment
from batchlab.training.batching import examples_at, on_device
from batchlab.training.evaluator import weight_of
from batchlab.workload.data import shuffled
from batchlab.workload.definition import Batch, Workload, size_of

Vector = NDArray[np.float64]
Columns = NDArray[np.float32]

_PASS_EXAMPLES = 512
# This many training examples stand for all of them when a training is measured on its way.
_LOOKED_AT = 2000


class LossSurface:
    """The mean loss of some training examples around a model's weights.

    It is the same function each time: examples stay in the same passes, random numbers are the
    same ones, and dropout is off. Batch normalization takes its statistics from each pass, as in
    training (and as Keskar et al. do). It works on a copy, so the model stays as it is.
    """

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        chosen: Tensor,
        *,
        device: torch.device,
        pass_examples: int = _PASS_EXAMPLES,
    ) -> None:
        """Copy the model and cut the examples into passes."""
        self._workload = workload
        self._device = device
        self._model = copy.deepcopy(model)
        for module in self._model.modules():
            module.training = isinstance(module, nn.modules.batchnorm._BatchNorm)
        # Passes are nearly equal, because batch normalization rejects a pass of one example.
        self._passes = chosen.tensor_split(math.ceil(len(chosen) / pass_examples))
        self._is_recurrent = any(isinstance(each, nn.RNNBase) for each in self._model.modules())
        self._parameters = [part for part in self._model.parameters() if part.requires_grad]
        flat = torch.cat([part.detach().flatten().double() for part in self._parameters])
        self.weights: Vector = flat.cpu().numpy()  # all trainable parameters end to end, shape (P,)

    def loss(self, weights: Vector) -> float:
        """Return the mean loss at these weights."""
        self._put(weights)
        with torch.no_grad():
            return sum(share * float(self._loss(batch)) for share, batch in self._batches())

    def gradient(self, weights: Vector) -> tuple[float, Vector]:
        """Return the mean loss and its gradient, shape (P,)."""
        self._put(weights)
        total, gradient = 0.0, torch.zeros(())
        with self._differentiable():
            for share, batch in self._batches():
                loss = self._loss(batch)
                found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
                total += share * float(loss.detach())
                gradient = gradient.to(loss) + share * flat_gradient(found, self._parameters)
        return total, gradient.double().cpu().numpy()

    def hessian_times(self, vector: Vector) -> Vector:
        """Return the Hessian at the model's own weights times a vector, shape (P,)."""
        self._put(self.weights)
        direction = torch.from_numpy(np.ascontiguousarray(vector)).to(self._device)
        product = torch.zeros(())
        with self._differentiable():
            for share, batch in self._batches():
                found = torch.autograd.grad(
                    self._loss(batch), self._parameters, create_graph=True, allow_unused=True
                )
                along = flat_gradient(found, self._parameters)
                second = self._gradient_of(along @ direction.to(along))
                product = product.to(along) + share * second
        return product.detach().double().cpu().numpy()

    def _gradient_of(self, value: Tensor) -> Tensor:
        """Return its gradient, shape (P,), which is 0 if it does not depend on the weights."""
        if not value.requires_grad:
            return torch.zeros_like(value).expand(len(self.weights))
        found = torch.autograd.grad(value, self._parameters, allow_unused=True)
        return flat_gradient(found, self._parameters)

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        """Use kernels that can be differentiated twice in evaluation mode."""
        with ExitStack() as stack:
            # The fused kernels of attention have no second derivative.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self._is_recurrent:  # cuDNN has none either, and outside of training no first one
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            yield

    def _batches(self) -> Iterator[tuple[float, Batch]]:
        """Yield each pass with its share of the mean; random data sets draw the same each time."""
        with untouched_randomness():
            seed_everything(derived_seed("loss surface"))
            batches = [
                on_device(examples_at(self._workload, chosen), self._device)
                for chosen in self._passes
            ]
            weights = [weight_of(self._workload, batch) for batch in batches]
        for batch, weight in zip(batches, weights, strict=True):
            yield weight / sum(weights), batch

    def _loss(self, batch: Batch) -> Tensor:
        with untouched_randomness():
            seed_everything(derived_seed("loss surface"))
            return self._workload.loss(self._model, batch)

    def _put(self, weights: Vector) -> None:
        flat = torch.from_numpy(np.ascontiguousarray(weights)).to(self._device)
        start = 0
        with torch.no_grad():
            for part in self._parameters:
                part.copy_(flat[start : start + part.numel()].view_as(part))
                start += part.numel()


def surface_at(moment: Moment) -> LossSurface:
    """Return the surface of 2,000 training examples that stand for all, at a moment of a training.

    They are the same each time. If there are fewer, all of them are used.
    """
    n_train, seed = size_of(moment.workload.train), derived_seed("loss surface")
    assert isinstance(moment.model, nn.Module)
    return LossSurface(
        moment.workload,
        moment.model,
        shuffled(n_train, seed=seed)[:_LOOKED_AT],
        device=moment.device,
    )


# The search for the maximum is inexact, as in the paper.
_ITERATIONS = 10
# The gradient at a trained point is nearly 0, so the search also begins a little away from it.
_BESIDE = 0.1


def sharpness(
    surface: LossSurface, *, epsilon: float, n_directions: int | None = None, seed: int = 0
) -> float:
    """Return 100 (max f - f) / (1 + f) over a box around the weights, in percent.

    The box is |z_i| <= epsilon (|x_i| + 1) around the weights x, or, in the space that the columns
    of a random matrix A span, |y_i| <= epsilon (|(A+ x)_i| + 1) around x + A y. The maximum is
    sought by ten iterations of L-BFGS-B, from the weights and from a random point of a tenth of the
    box; the larger counts. It is at least 0, and can be compared between solutions of one workload,
    not between workloads. The paper leaves open where the search starts and how A is drawn. Here
    the entries of A are standard normal.

    Args:
        surface: the loss around the weights.
        epsilon: the size of the box, > 0; the paper has 1e-3 and 5e-4.
        n_directions: the columns of A, >= 1; None if every weight may move by itself.
        seed: the seed of A and of the start.

    Raises:
        UsageError: epsilon is not above 0.

    Source: Keskar et al. 2017, arXiv:1609.04836, section 2.2.2.
    """
    if not epsilon > 0:
        raise UsageError(f"epsilon={epsilon}: expected a number above 0, such as 0.001")
    stream = np.random.default_rng(seed)
    weights, spanned = surface.weights, None
    center = weights
    if n_directions is not None:
        # Single precision saves memory: for a million weights these are 400 MB.
        spanned = stream.standard_normal((len(weights), n_directions), dtype=np.float32)
        center = np.linalg.lstsq(
            spanned.T @ spanned, spanned.T @ weights.astype(np.float32), rcond=None
        )[0]
    box = epsilon * (np.abs(center) + 1)
    at_weights = surface.loss(weights)
    starts = (np.zeros(len(box)), _BESIDE * box * stream.uniform(-1, 1, len(box)))
    highest = max(_highest(surface, box, start, spanned) for start in starts)
    return 100 * (max(highest, at_weights) - at_weights) / (1 + at_weights)


def _highest(surface: LossSurface, box: Vector, start: Vector, spanned: Columns | None) -> float:
    """Return the highest loss found from `start`, in the space of the columns if there are any."""

    def downhill(z: Vector) -> tuple[float, Vector]:
        if spanned is None:
            loss, gradient = surface.gradient(surface.weights + z)
            return -loss, -gradient
        loss, gradient = surface.gradient(surface.weights + spanned @ z.astype(np.float32))
        return -loss, -(spanned.T @ gradient.astype(np.float32)).astype(float)

    # `minimize` would turn a million bounds into tuples three times; this does it once.
    _, lowest, _ = fmin_l_bfgs_b(
        downhill,
        start,
        bounds=list(zip((-box).tolist(), box.tolist(), strict=True)),
        maxiter=_ITERATIONS,
    )
    return -float(lowest)


# For this few weights the Hessian is made whole, because Lanczos needs more rows than eigenvalues.
_FEW = 16


def top_eigenvalues(
    surface: LossSurface, n: int = 1, *, tolerance: float = 0.0, seed: int = 0
) -> tuple[float, ...]:
    """Return the largest eigenvalues of the Hessian at the model's weights, descending.

    Lanczos iteration uses products of the Hessian and vectors, so a large Hessian is never made. It
    stops at the relative error `tolerance`; 0 means as exact as the products are.

    Source: SciPy's ARPACK (Lehoucq et al. 1998); products after Pearlmutter 1994.
    """
    size = len(surface.weights)
    if size <= max(_FEW, n + 1):
        rows = np.stack([surface.hessian_times(row) for row in np.eye(size)])
        found = np.linalg.eigvalsh((rows + rows.T) / 2)
        return tuple(float(value) for value in found[::-1][:n])
    operator = LinearOperator((size, size), matvec=surface.hessian_times, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    values = eigsh(operator, k=n, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)
    return tuple(float(value) for value in np.sort(values)[::-1])
