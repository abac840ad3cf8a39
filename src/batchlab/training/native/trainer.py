"""Trainer: a stepper that takes many steps per call in C, and a check of C against PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from batchlab.random_state import derived_seed
from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial
from batchlab.training.batching import part_of, resident_order
from batchlab.training.evaluator import as_metric
from batchlab.training.native.graph import RefusedError, unsupported
from batchlab.training.native.program import (
    STEPS,
    NativeBuild,
    Program,
    check_same,
    check_tensors,
    columns_of,
    examples_layout,
    native_build,
    native_scores,
)
from batchlab.training.native.updates import rule_of
from batchlab.training.stepper import Stepper
from batchlab.training.untouched import untouched_model
from batchlab.workload.definition import Batch, Workload

_CPU = torch.device("cpu")


class NativeStepper(Stepper):
    """A `Stepper` that takes steps in C, on the PyTorch tensors of the model and the optimizer.

    Results differ from the plain stepper's only by rounding, and do not depend on the number of
    steps per call, not even in the last bit.
    """

    name = "native"

    def __init__(self, workload: Workload, trial: Trial, build: NativeBuild) -> None:
        """Make model and optimizer as the plain stepper does, and load the build.

        Raises:
            RefusedError: the build is for another workload, the optimizer has hooks or no update
                rule, or the trial uses micro-batches.
        """
        super().__init__(workload, trial, _CPU)
        columns = columns_of(workload)
        check_same(build.columns == examples_layout(columns.parts))
        self._run = Program(build, STEPS, self.model)
        check_tensors(self.model, self.optimizer)
        if trial.accumulates:
            raise unsupported("micro-batches")
        self._rule = rule_of(self.optimizer)
        if len(self.optimizers) > 1 or _has_hooks(self.optimizer):
            raise unsupported("an optimizer with hooks")
        if build.metrics:
            self.fast = native_scores(build, self.evaluated)
        self._columns = columns.parts
        self._trained: list[Tensor | None] = []
        for parameter, is_trained in zip(self.model.parameters(), build.trained, strict=True):
            self._trained.append(parameter if is_trained else None)
        self._order = (-1, torch.empty(0, dtype=torch.int64))

    def stream(self, step: int) -> Iterator[Sequence[Batch]]:
        """Return an endless iterator of empty batches, because the C code fetches the examples."""
        return iter(lambda: (), None)

    def steps(
        self, stream: Iterator[Sequence[Batch]], n_steps: int, *, first_step: int
    ) -> list[float]:
        """Take `n_steps` steps and return each step's loss; `stream` is not used."""
        if self.averaged is None:
            return self._steps(first_step, n_steps)
        losses = []
        for step in range(first_step, first_step + n_steps):
            losses += self._steps(step, 1)
            self._update_average(step)
        return losses

    def _steps(self, first: int, n_steps: int) -> list[float]:
        sizes = list(map(self._plan.batch_size_at, range(first, first + n_steps)))
        numbers = self._numbers(first, n_steps)
        losses = torch.empty(n_steps, dtype=torch.float64)
        counts: list[Tensor | None] = [None] * len(self._trained)
        if self._rule.counts:
            counts = self._state_of(["step"])
        self._run(
            index=self._index(first, n_steps),
            sizes=torch.tensor(sizes),
            numbers=numbers,
            told=losses,
            clip=self._workload.clip_norm or 0.0,
            first_step=first,
            seed=noise_seed(self._trial),
            tensors={
                "columns": self._columns,
                "states": self._state_of(self._rule.states(self.optimizer.param_groups[0])),
                "counts": counts,
            },
        )
        return losses.tolist()

    def _index(self, first: int, n_steps: int) -> Tensor:
        """Return the indices of the examples of `n_steps` steps, in the plain stepper's order."""
        plan = self._plan
        by_epoch = []
        step, last = first, first + n_steps
        while step < last:
            epoch, _ = plan.position(step)
            end = min(last, plan.steps_in(epoch + 1))
            of_epoch, order = self._order
            if of_epoch != epoch:
                order = resident_order(self._workload, self._trial, epoch)
                self._order = (epoch, order)
            by_epoch.append(part_of(order, plan, epoch, step, end))
            step = end
        return torch.cat(by_epoch)

    def _numbers(self, first: int, n_steps: int) -> Tensor:
        """Return the optimizer settings of all parameter groups, with one row per step."""
        rows: list[list[float]] = []
        n_rows = n_steps if self.rates.changes else 1
        for step in range(first, first + n_rows):
            if self.rates.changes:
                self.rates.before(step)
            row: list[float] = []
            for group in self.optimizer.param_groups:
                row += self._rule.numbers(group)
            rows.append(row)
        numbers = torch.tensor(rows, dtype=torch.float64).expand(n_steps, -1).contiguous()
        if self._begins():  # as in PyTorch, the first gradient is the initial momentum
            n_numbers = len(self._rule.numbers(self.optimizer.param_groups[0]))
            numbers[0, n_numbers - 1 :: n_numbers] = 0.0
        return numbers

    def _begins(self) -> bool:
        """Create missing optimizer state; return whether the next step initializes the momentum."""
        names = self._rule.states(self.optimizer.param_groups[0])
        states: dict[Any, dict[str, Any]] = self.optimizer.state
        trained = [parameter for parameter in self._trained if parameter is not None]
        n_fresh = 0
        for parameter in trained:
            state = states[parameter]
            if self._rule.counts:
                state.setdefault("step", torch.zeros((), dtype=torch.float32))
            if any(state.get(name) is None for name in names):
                for name in names:
                    state[name] = torch.zeros_like(parameter)
                n_fresh += 1
        check_same(n_fresh in (0, len(trained)))
        return n_fresh > 0 and not self._rule.counts

    def _state_of(self, names: Sequence[str]) -> list[Tensor | None]:
        """Return each parameter's optimizer tensors `names`; None for an untrained parameter."""
        states: list[Tensor | None] = []
        for parameter in self._trained:
            if parameter is None:
                states += [None] * len(names)
            else:
                states += map(self.optimizer.state[parameter].__getitem__, names)
        return states


def _differs(what: str, step: int) -> RefusedError:
    return RefusedError(f"{what} differed from PyTorch's after step {step}, by more than rounding")


def _has_hooks(optimizer: torch.optim.Optimizer) -> bool:
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return True
    # A learning rate scheduler also replaces `step`; such a replacement does not count as a hook.
    replaced_step = vars(optimizer).get("step")
    return replaced_step is not None and not hasattr(replaced_step, "_wrapped_by_lr_sched")


_STEPS = 4  # The number of steps in a check.
# C and PyTorch add numbers in different orders, so a check allows small differences. A parameter in
# C may be this far from the same parameter in PyTorch: _OF_WAY times the norm of its change during
# the check, plus _OF_SIZE times its own norm.
_OF_WAY = 5e-3
_OF_SIZE = 1e-6
_OF_LOSS = 2e-5  # A loss may differ by this fraction of |loss| + 1.
_OF_LARGEST = 1e-6  # A gradient below this fraction of the model's largest is only rounding.


def self_check(build: NativeBuild, workload: Workload, trials: Sequence[Trial]) -> None:
    """Compare each trial's first steps in C with the same steps in PyTorch, from equal weights.

    Raises:
        RefusedError: the results differ by more than rounding.
    """
    for trial in trials:
        native = NativeStepper(workload, trial, build)
        initial = [weight.detach().clone() for weight in native.model.parameters()]
        losses = native.steps(iter(()), _STEPS, first_step=0)
        plain = Stepper(workload, trial, _CPU)
        for step, (loss, expected) in enumerate(
            zip(losses, _plain_losses(plain, trial), strict=True), start=1
        ):
            if not abs(loss - expected) <= _OF_LOSS * (abs(expected) + 1):
                raise _differs("loss", step)
        _check_scores(native, workload)
        rounding = _moved_by_rounding(plain.optimizer)
        for (name, expected_end), end, begin in zip(
            plain.model.named_parameters(), native.model.parameters(), initial, strict=True
        ):
            difference = end - expected_end
            if expected_end in rounding:
                difference = difference.masked_fill(rounding[expected_end], 0.0)
            way = _norm(expected_end - begin)
            if not _norm(difference) <= _OF_WAY * way + _OF_SIZE * _norm(expected_end):
                raise _differs(name, _STEPS)


def _moved_by_rounding(optimizer: torch.optim.Optimizer) -> dict[Tensor, Tensor]:
    """Return for each parameter of an Adam which of its weights had only rounding as gradients.

    The biases of attention's keys are such weights, because softmax ignores them. Adam divides a
    gradient by its size, so it moves them as far as others, and elsewhere in C than in PyTorch.
    """
    sizes = {}
    for parameter, state in optimizer.state.items():
        if "exp_avg_sq" in state:
            sizes[parameter] = state["exp_avg_sq"].sqrt()
    largest = max((float(size.max()) for size in sizes.values()), default=0.0)
    return {
        parameter: (0 < size) & (size < _OF_LARGEST * largest) for parameter, size in sizes.items()
    }


def _norm(tensor: Tensor) -> float:
    return float(tensor.detach().double().norm())


def noise_seed(trial: Trial) -> int:
    """Return the seed of the dropout masks in C, derived from the trial's seed."""
    return derived_seed("native noise", trial.seed)


def _plain_losses(plain: Stepper, trial: Trial) -> list[float]:
    """Take the first steps in PyTorch, with the random numbers of kernels.c; return the losses."""
    stream, losses = plain.stream(0), []
    for step in range(_STEPS):
        with _NoiseOfC(noise_seed(trial), step):
            losses += plain.steps(stream, 1, first_step=step)
    return losses


def _mixed(z: Any) -> Any:
    """Apply the hash function `mixed` of kernels.c to an array of type uint64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


class _NoiseOfC(TorchDispatchMode):
    """A context for one step, in which PyTorch's `bernoulli_` draws the same numbers as C does."""

    def __init__(self, seed: int, step: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._start = _mixed(np.array([seed], np.uint64) + _mixed(np.array([step], np.uint64)))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Draw the numbers of `bernoulli_` as kernels.c does; run other operations unchanged."""
        if str(func) not in ("aten.bernoulli_.float", "aten.bernoulli.p"):
            return func(*args, **(kwargs or {}))
        target, chance = (*args, 0.5)[:2]  # PyTorch leaves out a probability of 0.5
        elements = np.arange(target.numel(), dtype=np.uint64)
        noise = _mixed(self._start + elements * 0xD1B54A32D192ED03)
        self._start = self._start + 0x9E3779B97F4A7C15  # advance to the next draw of the step
        mask = torch.from_numpy((noise >> 40) * 2.0**-24 < chance).to(target).view(target.shape)
        return mask if str(func) == "aten.bernoulli.p" else target.copy_(mask)


# The check of evaluations uses _EXAMPLES examples, in batches of _AT_ONCE.
_EXAMPLES = 300
_AT_ONCE = 128


def _check_scores(native: NativeStepper, workload: Workload) -> None:
    if native.fast is None:
        return
    columns = columns_of(workload)
    few = [column[:_EXAMPLES] for column in columns.parts]
    scores = native.fast(few, _AT_ONCE)
    with untouched_model(native.evaluated):
        for name, sums in scores.items():
            metric = as_metric(workload, name)
            expected = 0.0
            for batch in zip(*(column.split(_AT_ONCE) for column in few), strict=True):
                expected += float(metric.sum(native.evaluated, columns.filled(batch)))
            # Allow a difference of 1, because rounding may make one correct prediction wrong.
            if not abs(float(sums.sum()) - expected) <= 1 + _OF_LOSS * abs(expected):
                raise _differs(name, _STEPS)


# The batch sizes at which a build is checked: small batches use other kernels than large batches.
_CHECKED_SIZES = (5, 200)


def stepper_of(
    workload: Workload, trial: Trial, device: torch.device, build: NativeBuild | None
) -> tuple[Stepper, Reason | None]:
    """Return a native stepper, or a plain stepper and the reason why C can't train the trial."""
    note = None
    if build is not None:
        try:
            return NativeStepper(workload, trial, build), None
        except RefusedError as refused:
            note = _left_to_pytorch(refused)
    return Stepper(workload, trial, device), note


def built_for(workload: Workload, trial: Trial) -> NativeBuild | Reason:
    """Build and check native code for a workload's trials; return the build or why it failed.

    Args:
        workload: the workload to train.
        trial: any trial of the workload; the check uses `_CHECKED_SIZES` and the workload's rate.
    """
    by_reference = replace(trial, learning_rate=workload.learning_rate, scaling_rule="none")
    checked = []
    for size in {min(size, trial.n_train) for size in _CHECKED_SIZES}:
        checked.append(replace(by_reference, batch_size=size, micro_batch_size=size))
    try:
        build = native_build(workload)
        self_check(build, workload, checked)
    except RefusedError as refused:
        return _left_to_pytorch(refused)
    return build


def _left_to_pytorch(refused: RefusedError) -> Reason:
    return Reason.of("trained_by_pytorch", why=str(refused))
