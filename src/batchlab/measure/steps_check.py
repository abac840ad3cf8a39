"""Check with a few real training steps that they run, change weights, and resume identically."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measure.examples import batch_from, places, succeeds
from batchlab.measure.loader_speed import loader_limit
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import Trial
from batchlab.training.batching import on_device
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.evaluator import asking
from batchlab.training.stepper import Stepper
from batchlab.workload.data import chosen_part, is_stream
from batchlab.workload.definition import Workload, size_of

_EXAMPLES = 8  # The batch size of most checked steps.
# The most steps until a weight must change: a GradScaler skips its first steps until its scale is
# small enough, and a GAN may train one of its parts only every few steps.
_MOST_STEPS = 20
# A training is stopped after at least three steps, and resumed for as many steps.
_LEAST_STEPS = 3
# A resumed training fails the check if its final weights differ from those of an uninterrupted
# training by more than this fraction of the weights' total change. Kernels that add in random order
# cause far smaller differences.
_TOLERANCE = 1e-3
_GRAINS = 4  # Rounding changes a weight by at most _GRAINS × machine epsilon × the weight.
_MOST_S = 0.5  # Resuming is not tested if making a model and one step take longer than this.


def check_steps(packed: PackedWorkload, device: torch.device) -> tuple[tuple[str, ...], bool]:
    """Check steps with a few examples, with an epoch's smaller last batch, and after resuming.

    Return warnings, and whether a step with an epoch's smaller last batch runs.

    Raises:
        WorkloadError: a step fails both with a few examples and with the workload's batch size, the
            workload's own step changes no weight, a schedule or patience needs validation data,
            but there are none, or the optimizer has state that a checkpoint cannot store.
    """
    workload = packed.unpack()
    _check_validation(workload, device)
    n_train = size_of(workload.train)
    batch_size, n_last = min(workload.batch_size, n_train), n_train % workload.batch_size
    n = min(_EXAMPLES, batch_size)
    # The model may need larger batches.
    if not succeeds(lambda: _take(workload, _new_stepper(workload, device), device, n)):
        n = batch_size
    started_s = time.perf_counter()
    stepper = _new_stepper(workload, device)
    n_until_update, warnings = _first_update(workload, stepper, device, n)
    make_and_step_s = (time.perf_counter() - started_s) / n_until_update
    warnings += _loader_warnings(workload, device)
    last_batch_runs = True
    if batch_size == workload.batch_size and n_last:
        try:
            with asking(workload, f"a training step of {n_last} examples, an epoch's last batch,"):
                _take(workload, stepper, device, n_last)
        except WorkloadError as error:
            # Remove `workload 'mine': `, because every warning is printed with this prefix.
            warnings += (str(error).partition(": ")[2],)
            last_batch_runs = False
    # If the weights first change after several steps, stop the training just before this change, to
    # test whether the checkpoint contains the state that has led to it.
    n_steps = max(_LEAST_STEPS, n_until_update - 1)
    if n_steps / _LEAST_STEPS * make_and_step_s <= _MOST_S:
        warnings += _resumption_warnings(packed, device, n, n_steps)
    return warnings, last_batch_runs


def _check_validation(workload: Workload, device: torch.device) -> None:
    """Refuse a workload without validation data whose patience or scheduler needs such data."""
    waits = None
    if workload.patience_epochs is not None:
        waits = "patience_epochs"
    elif workload.scheduler is not None:
        with asking(workload, "making its scheduler"):
            stepper = _stepper_of(workload, device, _EXAMPLES)
        if stepper.rates.follows_metric:
            waits = "its ReduceLROnPlateau"
    if waits is not None and workload.validation is None:
        raise WorkloadError(
            f"workload {workload.name!r}: {waits} waits for the metric on validation data, and "
            f"there are none; give it `validation`"
        )


def _first_update(
    workload: Workload, stepper: Stepper, device: torch.device, n: int
) -> tuple[int, tuple[str, ...]]:
    """Take a training step, and return the number of steps taken, and warnings.

    If the workload has its own `step`, or computes in fp16, take up to 20 steps, until a weight
    changes: a GradScaler skips its first steps.

    Raises:
        WorkloadError: a step fails, or the workload's own step changes no weight.
    """
    what, most = "a training step (forward, backward, optimizer)", 1
    if workload.step is not None:
        what, most = "`step`", _MOST_STEPS
    elif workload.precision == "fp16":
        most = _MOST_STEPS
    before, has_moved, n_taken = _weights(stepper.model), False, 0
    while not has_moved and n_taken < most:
        with asking(workload, what):
            loss = _take(workload, stepper, device, n)
        n_taken += 1
        has_moved = not torch.equal(before, _weights(stepper.model))
    if not has_moved and workload.step is not None:
        raise WorkloadError(
            f"workload {workload.name!r}: `step` changed no weight of the model in {most} steps; "
            f"call loss.backward() between optimizer.zero_grad() and optimizer.step()"
        )
    # A loss of 0 or NaN may rightly change no weight: the mean may have been over no example. So
    # warn only for other losses.
    if not has_moved and math.isfinite(loss) and loss != 0:
        return n_taken, (
            f"a training step of {n} examples at learning rate {workload.learning_rate:g} changed "
            f"no weight of the model; is its optimizer made from the parameters that it is given?",
        )
    return n_taken, ()


def _loader_warnings(workload: Workload, device: torch.device) -> tuple[str, ...]:
    """Return a warning if fetching examples limits the speed at the workload's batch size."""
    workload = replace(workload, schedule=None, scheduler=None)  # steps may exceed an epoch
    try:
        trial = replace(_trial_of(workload, workload.batch_size), drop_last=True)
        warning = loader_limit(workload, trial, device)
    except Exception:
        # Do not report a failure of whole batches here, because the trials will report it.
        return ()
    return () if warning is None else (warning,)


def _new_stepper(workload: Workload, device: torch.device) -> Stepper:
    """Return the stepper of a temporary model in training mode, for steps of any batch."""
    without_data = _with_few_examples(replace(workload, make_sampler=None), 1)
    return _stepper_of(without_data, device, 1)


def _take(workload: Workload, stepper: Stepper, device: torch.device, n: int) -> float:
    """Take a real training step with `n` examples and return its loss."""
    batch = batch_from(workload, places(workload, n))
    return stepper.step((on_device(batch, device),)).item()


def _with_few_examples(workload: Workload, n: int) -> Workload:
    """Return the workload with at most `n` training examples, no workers and no schedule.

    A schedule might start at rate 0 or need a step count. Streams and samplers keep all examples.
    """
    workload = replace(workload, schedule=None, scheduler=None, workers=0)
    if is_stream(workload.train) or workload.make_sampler is not None:
        return workload
    chosen = torch.tensor(places(workload, min(n, size_of(workload.train))))
    return replace(workload, train=chosen_part(workload.train, chosen))


def _stepper_of(workload: Workload, device: torch.device, n_examples: int) -> Stepper:
    """Return the stepper of a temporary training with batches of `n_examples` examples."""
    return Stepper(workload, _trial_of(workload, n_examples), device)


def _trial_of(workload: Workload, n_examples: int) -> Trial:
    """Return a temporary trial with batches of `n_examples` examples, but at most all examples."""
    n_train = size_of(workload.train)
    trial = Trial(
        workload_id="",
        workload=workload.name,
        n_train=n_train,
        batch_size=min(n_examples, n_train),
        learning_rate=workload.learning_rate,
        seed=0,
    )
    if workload.has_schedule:
        trial = replace(trial, horizon_steps=trial.plan.steps_in(1))
    return trial


def _weights(model: nn.Module) -> Tensor:
    """Return a copy of all weights of the model as one vector."""
    return torch.cat([weights.detach().flatten() for weights in model.parameters()])


# ---- whether a stopped training can be resumed


def _resumption_warnings(
    packed: PackedWorkload, device: torch.device, n_examples: int, n_steps: int
) -> tuple[str, ...]:
    """Train 2 × `n_steps` steps with and without a stop; warn if the final weights differ.

    Raises:
        WorkloadError: the optimizer has state that a checkpoint cannot store.
    """

    def begin() -> Stepper:
        workload = _with_few_examples(packed.unpack(), 2 * n_steps * n_examples)
        return _stepper_of(workload, device, n_examples)

    try:
        stepper = begin()
        initial = _weights(stepper.model)
        final = _trained(stepper, 0, 2 * n_steps)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Do not report a failure of several steps here, because trials will report it. Single steps
        # have run without a failure in an earlier check.
        return ()
    update = float((final - initial).norm())
    if not 0 < update < math.inf:
        return ()
    try:
        resumed = _with_a_stop(begin, n_steps)
    except WorkloadError as error:  # no checkpoint can be stored, so every trial would fail
        raise WorkloadError(f"workload {packed.unpack().name!r}: {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(str(error.__cause__ or error).split())
        return (
            f"a training that is stopped cannot be resumed from its checkpoint ({text}); let each "
            f"new model and optimizer have the same parts",
        )
    # Ignore differences that rounding explains.
    apart = (final - resumed).abs() - _GRAINS * torch.finfo(final.dtype).eps * final.abs()
    off = float(apart.clamp_min(0).norm()) / update
    if off <= _TOLERANCE:
        return ()
    return (
        "a training that is stopped and resumed does not continue as before: after a few steps "
        f"its weights differed by {100 * off:.1f} % of their change. A counter, a hidden state or "
        "a random generator is not in the checkpoint, or draws without a seed. Keep it in a "
        "buffer of the model (register_buffer), or in the dict that `optimizer` returns. Draw "
        "from the global generators of torch, NumPy or Python",
    )


def _trained(stepper: Stepper, first: int, n_steps: int) -> Tensor:
    """Take `n_steps` steps, from step `first` on, and return the weights after them."""
    for batches in islice(stepper.stream(first), n_steps):
        stepper.step(batches)
    return _weights(stepper.model)


def _with_a_stop(begin: Callable[[], Stepper], n_steps: int) -> Tensor:
    """Train `n_steps` steps, then `n_steps` more from a checkpoint, and return the weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        stepper = begin()
        _trained(stepper, 0, n_steps)
        progress = Progress(step=n_steps, versions=(), engine="plain", threads=1)
        save_checkpoint(path, kept=stepper.kept, progress=progress)
        del stepper  # memory may not suffice for a second stepper
        stepper = begin()
        load_checkpoint(path, kept=stepper.kept)
    return _trained(stepper, n_steps, n_steps)
