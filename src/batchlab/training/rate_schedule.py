"""RateSchedule: what the learning rate of each step is, where it does not stay as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from batchlab.errors import WorkloadError
from batchlab.records.trial import Trial
from batchlab.training.made_optimizers import MadeOptimizers, Stateful
from batchlab.workload.definition import Workload
from batchlab.workload.own_training import horizons_of


class RateSchedule:
    """Sets the rates before a step: the workload's `schedule` or `scheduler`, or a cool-down.

    Attributes:
        changes: whether the rate changes at all.
        kept: what a checkpoint has to keep of it, by name.
    """

    def __init__(self, workload: Workload, trial: Trial, made: MadeOptimizers) -> None:
        """Make the scheduler, which sets the first rates.

        Raises:
            WorkloadError: `scheduler` returned something else, or the mode of a ReduceLROnPlateau
                is not the direction of the metric that counts.
        """
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._optimizers = made.optimizers
        self._group_rates = [group["lr"] for group in self._groups()]
        self._schedulers = () if workload.scheduler is None else _made(workload, trial, made.given)
        for optimizer in made.optimizers if self._schedulers else ():
            # A run that is taken up again would be warned that its first step comes before
            # `optimizer.step()`, which was called before it was stopped.
            optimizer._opt_called = True  # type: ignore[attr-defined]
        self._plateaus = [each for each in self._schedulers if isinstance(each, ReduceLROnPlateau)]
        for each in self._plateaus:
            _check_mode(workload, each)
        self.changes = workload.has_schedule or trial.cool_down > 0
        self.kept: Mapping[str, Stateful] = {
            f"scheduler {index}": each for index, each in enumerate(self._schedulers)
        }

    @property
    def follows_metric(self) -> bool:
        """Whether it waits to be told the metric that counts at the end of each epoch."""
        return bool(self._plateaus)

    def before(self, step: int) -> None:
        """Set the rates for step `step`, counted from 0; called once for each step."""
        if self._schedulers:
            # What torch does after a step is done before the next one: a run that is taken up
            # again between the two does it once.
            is_due = step > 0 and (
                self._workload.scheduler_every == "step" or self._plan.position(step)[1] == 0
            )
            for each in self._schedulers:
                if is_due and not isinstance(each, ReduceLROnPlateau):
                    each.step()
            return
        factor = self._factor(step)
        for group, rate in zip(self._groups(), self._group_rates, strict=True):
            group["lr"] = rate * factor

    def saw(self, value: float) -> None:
        """Tell the metric that counts, on validation data at the end of an epoch."""
        for each in self._plateaus:
            each.step(value)

    def _groups(self) -> Iterator[dict[str, Any]]:
        # Asked for each time: a checkpoint's groups take the place of those that were made.
        return (group for each in self._optimizers for group in each.param_groups)

    def _factor(self, step: int) -> float:
        assert self._trial.horizon_steps is not None
        done = step / self._trial.horizon_steps
        if self._trial.cool_down:
            return min(1.0, (1.0 - done) / self._trial.cool_down)
        assert self._workload.schedule is not None
        # A plain number: a NumPy scalar in the optimizer's groups could not be kept as JSON.
        return float(self._workload.schedule(done))


def _made(workload: Workload, trial: Trial, optimizer: Any) -> tuple[LRScheduler, ...]:
    assert workload.scheduler is not None
    assert trial.horizon_steps is not None
    n_epochs = round(trial.plan.epoch_at(trial.horizon_steps))
    spans = {"n_steps": trial.horizon_steps, "n_epochs": max(1, n_epochs)}
    asked = {name: spans[name] for name in horizons_of(workload.scheduler)}
    returned = workload.scheduler(optimizer, **asked)
    found = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
    for each in found:
        if not isinstance(each, LRScheduler):
            raise WorkloadError(
                f"workload {workload.name!r}: `scheduler` returned a {type(each).__name__}; "
                f"expected a scheduler of torch.optim.lr_scheduler, or a list of them"
            )
    return found


def _check_mode(workload: Workload, scheduler: ReduceLROnPlateau) -> None:
    counts = workload.metric_names[0]
    better = workload.better(counts)
    mode = "max" if better == "higher" else "min"
    if scheduler.mode != mode:
        raise WorkloadError(
            f"workload {workload.name!r}: its ReduceLROnPlateau has mode={scheduler.mode!r}, and "
            f"{counts}, the metric that counts, is better {better}; give it mode={mode!r}"
        )
