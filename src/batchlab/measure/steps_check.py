"""Checks with real steps of throw-away trainings: whether they run, train, and resume as before."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measure.examples import batch_from, places, succeeds
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import Trial
from batchlab.training.batching import on_device
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.evaluator import asking
from batchlab.training.stepper import Stepper
from batchlab.workload.data import chosen_part, is_stream, resident
from batchlab.workload.definition import Workload, size_of

_SEED = 0
_EXAMPLES = 8  # the batch size of the steps that are looked at more closely
# A GradScaler skips its first steps until its scale is small enough; a GAN may train one of its
# parts every few steps.
_MOST_STEPS = 20
LEAST_STEPS = 3
"""A training is stopped after at least this many steps, and continues for as many."""
# A lost state changes more than this fraction of the update; kernels that add up in any order,
# far less.
_TOLERANCE = 1e-3
_GRAINS = 4  # the rounding of a weight may amount to this many grains of its type
_DRAW_FROM = "Draw from the global generators of torch, NumPy or Python"
_MAKING = "making its optimizer or its scheduler"
_MOST_S = 0.5  # a training that takes longer to make and to do its first step is not checked

_Weights = list[Tensor]


def _stepper_of(workload: Workload, device: torch.device, n_examples: int) -> Stepper:
    """Start a throw-away training in steps of `n_examples` examples."""
    n_train = size_of(workload.train)
    trial = Trial(
        workload_id="",
        workload=workload.name,
        n_train=n_train,
        batch_size=min(n_examples, n_train),
        learning_rate=workload.learning_rate,
        seed=_SEED,
    )
    if workload.has_schedule:
        trial = replace(trial, horizon_steps=trial.plan.steps_in(1))
    return Stepper(workload, trial, device)


def _at_a_constant_rate(workload: Workload) -> Workload:
    """Remove the schedules, because one may begin with a rate of 0, or need a length."""
    return replace(workload, schedule=None, scheduler=None, scheduler_every="epoch")


# ---- steps of the usual kind


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSeen:
    """The outcome of training steps of `examples` examples, and of an epoch's last batch."""

    examples: int
    warnings: tuple[str, ...]
    last_batch_runs: bool = True


def check_step(workload: Workload, device: torch.device) -> StepSeen:
    """Take real training steps of a few examples, and of the last batch of an epoch.

    Raises:
        WorkloadError: a step fails both with a few examples and with the workload's batch size.
    """
    steps = _Steps(workload, device)
    n_train = size_of(workload.train)
    own, rest = min(workload.batch_size, n_train), n_train % workload.batch_size
    n = min(_EXAMPLES, own)
    if not succeeds(lambda: steps.take(n)):  # it may accept only its own batch size
        n = own
    warnings: tuple[str, ...] = ()
    if workload.step is None:  # `check_own_step` looks more closely at a workload's own step
        warnings = steps.first(n)
    has_workers = workload.collate is not None or resident(workload.train) is None
    if has_workers and steps.read_s > steps.step_s * max(1, workload.workers):
        warnings = (
            *warnings,
            f"reading {n} examples took {1000 * steps.read_s:.2g} ms and their step only "
            f"{1000 * steps.step_s:.2g} ms, so reading sets the pace: more `workers` may help more "
            f"than another batch size",
        )
    if workload.batch_size <= n_train and rest:
        try:
            with asking(workload, f"a training step of {rest} examples, an epoch's last batch,"):
                steps.take(rest)
        except WorkloadError as error:
            # Leave out `workload 'mine': `, because a warning begins with it anyway.
            warnings = (*warnings, str(error).partition(": ")[2])
            return StepSeen(examples=n, warnings=warnings, last_batch_runs=False)
        except Exception as error:
            if not is_out_of_memory(error):  # the profile finds out what fits
                raise
    return StepSeen(examples=n, warnings=warnings)


class _Steps:
    """Real training steps of throw-away models, in train mode.

    Attributes:
        read_s: the least seconds that reading the examples of a step took; 0 for a stream, which
            has no workers.
        step_s: the least seconds that the step itself took.
    """

    def __init__(self, workload: Workload, device: torch.device) -> None:
        self._workload = workload
        self._device = device
        self._stepper: Stepper | None = None
        self.read_s = self.step_s = math.inf

    def first(self, n: int) -> tuple[str, ...]:
        """Return what is odd about the first step of a new model.

        Raises:
            WorkloadError: the step fails.
        """
        with asking(self._workload, "a training step (forward, backward, optimizer)"):
            model = self.begin().model
            before = [part.detach().clone() for part in model.parameters()]
            loss = self.take(n)
        rate = f"learning rate {self._workload.learning_rate:g}"
        # If the examples have nothing to average, the loss may be 0 or not a number.
        is_number = bool(torch.isfinite(loss))
        if is_number and loss.item() != 0 and not _has_moved(model, before):
            return (
                f"a training step of {n} examples at {rate} changed no weight of the model; is its "
                f"optimizer made from the parameters that it is given?",
            )
        is_finite = all(bool(torch.isfinite(part).all()) for part in model.parameters())
        if is_number and not is_finite:
            return (
                f"one training step at {rate} left weights that are not finite; is the rate too "
                f"high, or a gradient infinite?",
            )
        return ()

    def take(self, n: int) -> Tensor:
        """Take a step of `n` examples and return its loss."""
        try:
            stepper = self._stepper or self.begin()
            chosen, train = places(self._workload, n), self._workload.train
            started_s = time.perf_counter()
            batch = batch_from(self._workload, train, chosen, split="train")
            read_at_s = time.perf_counter()
            loss = stepper.step((on_device(batch, self._device),))
            loss.item()  # waits for the device
            self.step_s = min(self.step_s, time.perf_counter() - read_at_s)
            self.read_s = 0.0 if is_stream(train) else min(self.read_s, read_at_s - started_s)
            return loss
        except Exception:
            # A failed step may have left traces in the model, so the next try makes a new one.
            self._stepper = None
            raise

    def begin(self) -> Stepper:
        """Make a new model for the next steps."""
        workload = replace(_at_a_constant_rate(self._workload), make_sampler=None)
        if isinstance(workload.train, tuple):  # steps get their examples, so one row is enough
            workload = replace(workload, train=tuple(part[:1] for part in workload.train))
        self._stepper = _stepper_of(workload, self._device, 1)
        return self._stepper


def _has_moved(model: nn.Module, before: _Weights) -> bool:
    pairs = zip(before, model.parameters(), strict=True)
    return any(not torch.equal(old, new) for old, new in pairs)


# ---- a step of its own kind


def check_own_step(workload: Workload, device: torch.device, *, n_examples: int) -> int:
    """Take steps of the workload's own kind; return how many it takes until a weight changes.

    Raises:
        WorkloadError: the step changes no weights.
    """
    _check_validation(workload, device, n_examples)
    if workload.step is None:
        return 1
    steps, called = _Steps(workload, device), list[object]()
    with asking(workload, _MAKING):
        stepper = steps.begin()
    for each in stepper.optimizers:
        each.register_step_post_hook(lambda *_: called.append(1))
    before = [part.detach().clone() for part in stepper.model.parameters()]
    for n_taken in range(1, _MOST_STEPS + 1):
        with asking(workload, "`step`"):
            steps.take(n_examples)
        if _has_moved(stepper.model, before):
            return n_taken
    if called:
        raise WorkloadError(
            f"workload {workload.name!r}: `step` calls the optimizer, but in {_MOST_STEPS} steps "
            f"no weight of the model changed; call loss.backward() between zero_grad() and step()"
        )
    raise WorkloadError(
        f"workload {workload.name!r}: `step` never calls the optimizer: in {_MOST_STEPS} steps no "
        f"weight changed; end it with optimizer.step()"
    )


def _check_validation(workload: Workload, device: torch.device, n_examples: int) -> None:
    """Refuse a workload that waits for validation data and has none."""
    waits = "patience_epochs" if workload.patience_epochs is not None else ""
    if not waits and workload.scheduler is not None:
        with asking(workload, _MAKING):
            stepper = _stepper_of(workload, device, n_examples)
        waits = "its ReduceLROnPlateau" if stepper.rates.follows_metric else ""
    if waits and workload.validation is None:
        raise WorkloadError(
            f"workload {workload.name!r}: {waits} waits for the metric on validation data, and "
            f"there are none; give it `validation`"
        )


# ---- a training that is stopped


def resumption_warnings(
    packed: PackedWorkload, device: str, *, n_examples: int, n_steps: int
) -> tuple[str, ...]:
    """Take twice `n_steps` steps, with and without a stop in the middle; return warnings.

    Raises:
        WorkloadError: the optimizer keeps something that a checkpoint cannot hold.
    """
    check = _Resumed(packed, torch.device(device), n_examples, n_steps)
    try:
        whole = check.in_one_go()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return ()  # other checks have looked at steps; a trial will report what fails this late
    if whole is None:
        return ()
    begin, end = whole
    update = _length(begin, end, grains=0)
    if not 0 < update < float("inf"):
        return ()
    try:
        resumed = check.with_a_stop()
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, WorkloadError):
            raise
        text = " ".join(str(error.__cause__ or error).split())
        return (
            f"a training that is stopped cannot be resumed from its checkpoint ({text}); let each "
            f"new model and optimizer have the same parts",
        )
    off = _length(end, resumed, grains=_GRAINS) / update
    if off <= _TOLERANCE:
        return ()
    repeated = check.in_one_go()
    off_by_itself = 0.0 if repeated is None else _length(end, repeated[1], grains=_GRAINS) / update
    if off_by_itself > _TOLERANCE:
        return (
            f"a training is not repeatable from its seed: two alike ended "
            f"{_percent(off_by_itself)} of their change apart after a few steps. A generator of "
            f"its own draws without a seed, or a module keeps what the last training left. "
            f"{_DRAW_FROM}",
        )
    return (
        f"a training that is stopped and resumed goes another way: after a few steps its weights "
        f"were off by {_percent(off)} of their change. A counter, a hidden state or a random "
        f"generator is not in the checkpoint. Keep it in a buffer of the model (register_buffer), "
        f"or in the dict that `optimizer` returns. {_DRAW_FROM}",
    )


class _Resumed:
    """Trainings on a few examples that differ only by a stop."""

    def __init__(
        self, packed: PackedWorkload, device: torch.device, n_examples: int, n_steps: int
    ) -> None:
        self._packed, self._device = packed, device
        self._n_examples, self._n_steps = n_examples, n_steps

    def in_one_go(self) -> tuple[_Weights, _Weights] | None:
        """Return the weights before and after all steps, or None if the steps take too long."""
        started_s = time.perf_counter()
        stepper = self._begun()
        begin = _weights(stepper)
        stream = stepper.stream(0)
        stepper.step(next(stream))
        # A workload's own step may have to be taken many times before it changes a weight.
        factor = self._n_steps / LEAST_STEPS
        if factor * (time.perf_counter() - started_s) > _MOST_S:
            return None
        for batches in islice(stream, 2 * self._n_steps - 1):
            stepper.step(batches)
        return begin, _weights(stepper)

    def with_a_stop(self) -> _Weights:
        """Return the weights after as many steps, resumed in the middle from a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            first = self._begun()
            for batches in islice(first.stream(0), self._n_steps):
                first.step(batches)
            self._keep(first, path)
            del first
            second = self._begun()
            load_checkpoint(
                path, model=second.model, optimizer=second.optimizer, beside=second.kept
            )
        for batches in islice(second.stream(self._n_steps), self._n_steps):
            second.step(batches)
        return _weights(second)

    def _keep(self, stepper: Stepper, path: Path) -> None:
        progress = Progress(step=self._n_steps, versions=(), engine="plain", threads=1)
        try:
            save_checkpoint(
                path,
                model=stepper.model,
                optimizer=stepper.optimizer,
                progress=progress,
                beside=stepper.kept,
            )
        except WorkloadError as error:  # every trial would fail with it at its first checkpoint
            raise WorkloadError(f"workload {self._packed.unpack().name!r}: {error}") from error

    def _begun(self) -> Stepper:
        """Start a training on only the examples that are used, fetched by this process."""
        workload = replace(_at_a_constant_rate(self._packed.unpack()), workers=0)
        if not is_stream(workload.train) and workload.make_sampler is None:
            n = min(2 * self._n_steps * self._n_examples, size_of(workload.train))
            chosen = torch.tensor(places(workload, n))
            workload = replace(workload, train=chosen_part(workload.train, chosen))
        return _stepper_of(workload, self._device, self._n_examples)


def _weights(stepper: Stepper) -> _Weights:
    return [
        part.detach().clone()
        for part in stepper.model.parameters()
        if part.is_floating_point() or part.is_complex()
    ]


def _length(some: _Weights, others: _Weights, *, grains: int) -> float:
    """Return how far weights lie apart, each reduced by `grains` grains of its own type."""
    squares = 0.0
    for one, other in zip(some, others, strict=True):
        apart = (one - other).abs()
        apart = (apart - grains * torch.finfo(one.dtype).eps * one.abs()).clamp_min(0)
        squares += float(apart.double().square().sum())
    return float(squares**0.5)


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"
