"""Measure the noise of gradients at fixed weights, along a training, or from whole batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.machine import thread_choices
from batchlab.measure.gradients import (
    accumulated_gradient,
    batch_gradient,
    batches_at,
    n_numbers,
    trainable_parameters,
)
from batchlab.measure.noise import NoisePoint
from batchlab.processes.children import Line
from batchlab.processes.memory import limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import derived_seed, seed_everything, untouched_randomness
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import GradientSample
from batchlab.records.trial import Trial
from batchlab.training.accumulator import cut
from batchlab.training.evaluator import shares_of, weight_of
from batchlab.training.stepper import Stepper
from batchlab.workload.data import epoch_order, n_examples, shuffled
from batchlab.workload.definition import Batch, Workload, size_of

# Store gradients of at most 64 blocks of examples; fewer if these exceed 512 MB, but at least 8.
_MOST_BLOCKS, _FEWEST_BLOCKS = 64, 8
_KEPT_BYTES = 2**29
# Gradients are averaged over blocks of examples; at first, a block has this number of examples.
_FIRST_BLOCK = 16
# The most examples per forward and backward pass; fewer if the workload's batch size is smaller,
# because larger passes may not fit in memory.
_PASS_EXAMPLES = 256
# Sampling stops when both bounds of the interval are within this fraction of the noise scale.
PRECISION = 0.2
_FEWEST_EXAMPLES = 3  # An interval needs three blocks of one or more examples.
# A gradient that changes by more than this fraction when repeated depends on random numbers.
_OTHER_GRADIENT = 1e-5
# Examples are coupled if cutting a batch in half changes its gradient by more than this fraction.
_COUPLED = 1e-3


_Block = tuple[float, Tensor]
"""The total weight of a block of examples, and weight × gradient summed over the examples, (P,)."""


def sample_gradients(
    workload: Workload,
    model: nn.Module,
    device: torch.device,
    *,
    seed: int,
    most_examples: int | None = None,
    until_s: float = math.inf,
) -> GradientSample:
    """Sample gradients at the model's weights until the noise scale is precise enough.

    The gradients of training examples are averaged over blocks of examples. Examples are drawn
    without replacement, and their number is doubled repeatedly. Sampling stops when both bounds of
    the 95 % interval are within the fraction `PRECISION` of the noise scale, when all examples (or
    `most_examples`) are used, or when the clock `time.monotonic()` has passed `until_s` (but not
    before eight blocks).

    A sample uses a copy of the model in its current mode, so the model's parameters, buffers and
    gradients do not change. The global random generators do not change either.

    Raises:
        WorkloadError: the training set has fewer than three examples.
    """
    n_train = size_of(workload.train)
    if n_train < _FEWEST_EXAMPLES:
        raise WorkloadError(
            f"workload {workload.name!r}: its training set has {n_train} examples; the "
            f"noise of a gradient takes at least {_FEWEST_EXAMPLES}"
        )
    with untouched_randomness():
        copied = copy.deepcopy(model)
        is_random, unit = _kind_of_gradients(workload, copied, device)
        seed_everything(derived_seed("gradient noise", seed))
        order = shuffled(n_train, seed=derived_seed("gradient noise", seed))[:most_examples]
        n_fitting = _KEPT_BYTES // (4 * max(1, n_numbers(trainable_parameters(model))))
        n_kept = max(_FEWEST_BLOCKS, min(_MOST_BLOCKS, n_fitting))
        most_blocks = 1 << (n_kept.bit_length() - 1)  # A power of two, to join blocks in pairs.
        # Make the blocks small enough for at least eight of them; fewer give a poor interval.
        n_next = max(1, min(unit or _FIRST_BLOCK, len(order) // _FEWEST_BLOCKS))
        n_pass = min(_PASS_EXAMPLES, workload.batch_size) if unit is None else n_next
        # If gradients are random, there are infinitely many of them.
        n_set = None if is_random else n_train
        blocks: list[_Block] = []
        start = 0
        while start + n_next <= len(order):
            passes = order[start : start + n_next].split(n_pass)
            blocks.append(_joined([_passed(workload, copied, device, few) for few in passes]))
            start += n_next
            if len(blocks) >= _FEWEST_BLOCKS and time.monotonic() > until_s:
                break
            if len(blocks) == most_blocks:
                sample = _sample_of(blocks, n_next, n_set)
                if _is_precise(noise_scale(sample).scale):
                    return sample
                blocks = list(map(_joined, zip(blocks[::2], blocks[1::2], strict=True)))
                n_next *= 2
        return _sample_of(blocks, n_next, n_set)


def _kind_of_gradients(
    workload: Workload, model: nn.Module, device: torch.device
) -> tuple[bool, int | None]:
    """Return whether gradients are random, and the number of examples that each pass must have.

    The number is None if each pass may have any number of examples. Only if the examples of a
    batch are coupled must each pass have the workload's batch size.
    """
    few = torch.arange(min(size_of(workload.train), _FIRST_BLOCK))
    gradients = []
    for seed in (0, 1):
        seed_everything(seed)
        gradients.append(batch_gradient(workload, model, _fetched(workload, device, few)))
    is_random = _distance(*gradients) > _OTHER_GRADIENT
    if _are_coupled(workload, copy.deepcopy(model), _fetched(workload, device, few)):
        return is_random, workload.batch_size
    return is_random, None


def _passed(workload: Workload, model: nn.Module, device: torch.device, chosen: Tensor) -> _Block:
    batch = _fetched(workload, device, chosen)
    weight = weight_of(workload, batch)
    return weight, batch_gradient(workload, model, batch).mul_(weight)


def _fetched(workload: Workload, device: torch.device, chosen: Tensor) -> Batch:
    (batch,) = batches_at(workload, device, [chosen])
    return batch if workload.augment is None else workload.augment(batch)


def _are_coupled(workload: Workload, model: nn.Module, batch: Batch) -> bool:
    """Return whether an example's gradient depends on the other examples of its batch."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training:
            return True
    # Disable dropout, which would draw other numbers for the whole batch than for its two halves.
    model.eval()
    halves = list(cut(batch, -(-n_examples(batch) // 2)))
    try:
        whole = batch_gradient(workload, model, batch)
        summed = accumulated_gradient(workload, model, halves, shares_of(workload, halves))
    except Exception:  # half a batch or evaluation mode fails: assume that examples are coupled
        return True
    return _distance(whole, summed) > _COUPLED


def _distance(one: Tensor, other: Tensor) -> float:
    """Return |one - other| / |one|."""
    apart = torch.linalg.vector_norm(one.double() - other.double())
    return float(apart / torch.linalg.vector_norm(one.double()))


def _joined(blocks: Sequence[_Block]) -> _Block:
    """Return one block with the examples of all blocks."""
    weights, gradients = zip(*blocks, strict=True)
    return math.fsum(weights), reduce(torch.add, gradients)


def _sample_of(
    blocks: Sequence[_Block], block_examples: int, n_train: int | None
) -> GradientSample:
    weights, gradients = zip(*blocks, strict=True)
    stacked = torch.stack(gradients) / (math.fsum(weights) / len(blocks))
    products = (stacked @ stacked.T).double().cpu()
    return GradientSample(
        n_train=n_train,
        block_examples=block_examples,
        products=tuple(map(tuple, products.tolist())),
    )


def _is_precise(scale: Estimate) -> bool:
    """Return whether both bounds are at most `PRECISION` × estimate away from the estimate."""
    if scale.estimate is None or scale.low is None or scale.high is None:
        return False
    reach = max(scale.high - scale.estimate, scale.estimate - scale.low)
    return reach <= PRECISION * scale.estimate


def drawn_variance(
    workload: Workload,
    model: nn.Module,
    trial: Trial,
    *,
    device: torch.device,
    seed: int,
    n_batches: int,
) -> float:
    """Estimate the variance (trace of the covariance) of the gradient of a random mini-batch.

    The result is the unbiased sample variance over `n_batches` batches, sampled as in the trial.
    Without replacement, the result is 0 if a batch is the whole training set.

    Source: Welford 1962, Technometrics 4 (3): a variance in one pass without cancellation.
    """
    if trial.batch_size == trial.n_train and trial.sampling == "reshuffle":
        return 0.0
    with untouched_randomness(derived_seed("gradient variance", seed)):
        drawn_from = copy.deepcopy(model)
        mean, squares = torch.zeros((), device=device), 0.0
        for n_seen in range(1, n_batches + 1):
            batch_seed = derived_seed("variance batch", seed, n_seen)
            order = epoch_order(trial.n_train, seed=batch_seed, epoch=0, sampling=trial.sampling)
            # Use the first batch of this epoch, cut into micro-batches as in a training.
            pieces = order[: trial.batch_size].split(trial.micro_batch_size)
            batches = batches_at(workload, device, pieces)
            shares = shares_of(workload, batches)
            gradient = accumulated_gradient(workload, drawn_from, batches, shares).double()
            gap = gradient - mean
            mean = mean + gap / n_seen
            squares += float((gap * (gradient - mean)).sum())
        return squares / (n_batches - 1)


# Losses are read every 64 steps, to stop a training that has diverged.
_BLOCK_STEPS = 64
# Noise is measured at the last step and at a half, a quarter, ... of it (eight halvings).
_HALVINGS = 8


def geometric_steps(last_step: int) -> tuple[int, ...]:
    """Return, ascending: 0, and `last_step` divided by 256, 128, ..., 2 and 1 (rounded down)."""
    halves = map(last_step.__rshift__, range(_HALVINGS + 1))
    return tuple(sorted({0, *halves}))


def measure_noise_along(
    line: Line,
    packed: PackedWorkload,
    trial: Trial,
    steps: Sequence[int],
    device: str,
    point_s: float,
    wall_bytes: int | None,
) -> Reason | None:
    """Train in this process, and send a `NoisePoint` through `line` at each of the sorted `steps`.

    A measurement samples for about `point_s` seconds. The process may allocate `wall_bytes` bytes.
    Return the reason if the training diverged before the last step, otherwise None.
    """
    on = torch.device(device)
    limit_memory(on, wall_bytes)
    torch.set_num_threads(max(thread_choices(device)))
    workload = packed.unpack()
    stepper = Stepper(workload, trial, on)
    stream, taken = stepper.stream(0), 0
    for step in steps:
        while taken < step:
            n_steps = min(_BLOCK_STEPS, step - taken)
            for loss in stepper.steps(stream, n_steps, first_step=taken):
                if not math.isfinite(loss):
                    return Reason.of("metric_not_finite", metric="loss", step=taken)
                taken += 1
        until_s = time.monotonic() + point_s
        sample = sample_gradients(workload, stepper.model, on, seed=step, until_s=until_s)
        line.say(NoisePoint.of(sample, step=step, samples=trial.plan.samples_at(step)))
    return None
