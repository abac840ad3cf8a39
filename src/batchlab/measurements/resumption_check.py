"""ResumptionCheck: does a training that is stopped and taken up again go on as it would have?

A step, a loss, an augmentation or a data set may keep something that no checkpoint has: in a
closure, an attribute, a generator. Nobody can search all places. So a few steps in one go are
compared with as many that are stopped in the middle. Each part unpacks the workload anew, and so
begins with what a process of its own would have.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from batchlab.errors import WorkloadError
from batchlab.measurements.few_examples import places
from batchlab.measurements.own_step_check import at_a_constant_rate
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.reason import Reason
from batchlab.records.trial import Trial
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.stepper import Stepper
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.fetching import chosen_part
from batchlab.workload.stream import is_stream

LEAST_STEPS = 3
"""A training is stopped after so many steps at least, and goes on for as many."""
# Of the whole update: a lost state shows as more, kernels that add up in any order as far less.
_TOLERANCE = 1e-3
_GRAINS = 4  # of a weight's type: what its rounding may do by itself
_MOST_S = 0.5  # for making a training and its first step: a dearer one is not looked at
_SEED = 0

_Weights = list[Tensor]


def resumption_warnings(
    packed: PackedWorkload, device: str, *, n_examples: int, n_steps: int
) -> tuple[str, ...]:
    """Take twice `n_steps` steps in one go, and again with a stop in the middle.

    Args:
        packed: the workload.
        device: the PyTorch device.
        n_examples: of a step that runs.
        n_steps: before the stop, and after it.

    Returns:
        What is odd, in words; nothing where both end alike, or where steps are dear.

    Raises:
        WorkloadError: a checkpoint cannot hold what the optimizer keeps.
    """
    check = _Check(packed, torch.device(device), n_examples, n_steps)
    try:
        whole = check.in_one_go()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return ()  # the other checks have looked at steps: what fails so late, a trial will tell
    if whole is None:
        return ()
    begin, end = whole
    update = _length(begin, end, grains=0)
    if not 0 < update < float("inf"):
        return ()
    try:
        resumed = check.with_a_stop()
    except _CannotBeKeptError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(str(error.__cause__ or error).split())
        return (reason_text(Reason.of("cannot_be_taken_up", error=text)),)
    off = _length(end, resumed, grains=_GRAINS) / update
    if off <= _TOLERANCE:
        return ()
    repeated = check.in_one_go()
    off_by_itself = 0.0 if repeated is None else _length(end, repeated[1], grains=_GRAINS) / update
    if off_by_itself > _TOLERANCE:
        return (reason_text(Reason.of("not_repeatable", percent=_percent(off_by_itself))),)
    return (reason_text(Reason.of("taken_up_otherwise", percent=_percent(off))),)


class _CannotBeKeptError(WorkloadError):
    """Every trial would end with it at its first checkpoint."""


class _Check:
    """Trainings on a few examples."""

    def __init__(
        self, packed: PackedWorkload, device: torch.device, n_examples: int, n_steps: int
    ) -> None:
        self._packed, self._device = packed, device
        self._n_examples, self._n_steps = n_examples, n_steps

    def in_one_go(self) -> tuple[_Weights, _Weights] | None:
        """The weights before and after all steps; None: they are dear."""
        started_s = time.perf_counter()
        stepper = self._begun()
        begin = _weights(stepper)
        stream = stepper.stream(0)
        stepper.step(next(stream))
        # A step of its own kind may need many before it changes a weight.
        factor = self._n_steps / LEAST_STEPS
        if factor * (time.perf_counter() - started_s) > _MOST_S:
            return None
        for _ in range(2 * self._n_steps - 1):
            stepper.step(next(stream))
        return begin, _weights(stepper)

    def with_a_stop(self) -> _Weights:
        """The weights after as many steps, taken up in the middle from a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            first = self._begun()
            self._go_on(first, 0)
            self._keep(first, path)
            del first
            second = self._begun()
            load_checkpoint(
                path, model=second.model, optimizer=second.optimizer, beside=second.kept
            )
        self._go_on(second, self._n_steps)
        return _weights(second)

    def _keep(self, stepper: Stepper, path: Path) -> None:
        try:
            save_checkpoint(
                path,
                model=stepper.model,
                optimizer=stepper.optimizer,
                progress=_progress(self._n_steps),
                beside=stepper.kept,
            )
        except WorkloadError as error:
            raise _CannotBeKeptError(f"workload {self._name!r}: {error}") from error

    def _go_on(self, stepper: Stepper, step: int) -> None:
        stream = stepper.stream(step)
        for _ in range(self._n_steps):
            stepper.step(next(stream))

    def _begun(self) -> Stepper:
        workload = self._of_few(self._packed.unpack())
        self._name = workload.name
        n_train = size_of(workload.train)
        trial = Trial.of_whole_batches(
            workload_id="",
            workload=workload.name,
            n_train=n_train,
            batch_size=min(self._n_examples, n_train),
            learning_rate=workload.learning_rate,
            seed=_SEED,
        )
        return Stepper(workload, trial, self._device)

    def _of_few(self, workload: Workload) -> Workload:
        """The workload with no more examples than are used, fetched by this process."""
        workload = replace(at_a_constant_rate(workload), workers=0)
        if is_stream(workload.train) or workload.make_sampler is not None:
            return workload
        n = min(2 * self._n_steps * self._n_examples, size_of(workload.train))
        chosen = torch.tensor(places(workload, n))
        return replace(workload, train=chosen_part(workload.train, chosen))


def _weights(stepper: Stepper) -> _Weights:
    return [
        part.detach().clone()
        for part in stepper.model.parameters()
        if part.is_floating_point() or part.is_complex()
    ]


def _length(some: _Weights, others: _Weights, *, grains: int) -> float:
    """How far weights lie apart, each without so many grains of its own type."""
    squares = 0.0
    for one, other in zip(some, others, strict=True):
        apart = (one - other).abs()
        apart = (apart - grains * torch.finfo(one.dtype).eps * one.abs()).clamp_min(0)
        squares += float(apart.double().square().sum())
    return float(squares**0.5)


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _progress(step: int) -> Progress:
    return Progress(
        step=step,
        samples=0,
        train_s=0.0,
        eval_s=0.0,
        loss_sum=0.0,
        loss_examples=0,
        evaluations=(),
        versions=(),
        engine="plain",
        threads=1,
    )
