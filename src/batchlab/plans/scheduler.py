"""PlanScheduler: an optimizer's learning rate, betas and eps by step, according to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from batchlab.errors import UsageError
from batchlab.plans.plan import Plan
from batchlab.plans.scaling import moved_settings, scaling_rule
from batchlab.records.batch_plan import BatchPlan

# The key under which a parameter group stores its settings from the start of the plan.
_BEGAN_WITH = "plan_began_with"


def scale(
    optimizer: Optimizer, rule: str | float, *, batch_size: int, reference_batch_size: int
) -> Callable[[], None]:
    """Scale an optimizer's settings to another batch size, in place; return the undo function.

    Args:
        optimizer: the optimizer; the rates of all its groups are multiplied by the same factor.
        rule: "none", "linear", "sqrt" or "sde-adam"; or a number e for a rate proportional to
            batch size ** e.
        batch_size: the batch size to train with.
        reference_batch_size: the batch size for which the current settings were chosen.

    Returns:
        A function that restores the previous settings, bit for bit.

    Raises:
        UsageError: the rule is unknown or not defined for `batch_size`; nothing is changed.
    """
    before = [_settings(group) for group in optimizer.param_groups]
    factor = scaling_rule(rule).rate_factor(batch_size / reference_batch_size)
    sizes = {"batch_size": batch_size, "reference_batch_size": reference_batch_size}
    whose = type(optimizer).__name__
    moved = [moved_settings(settings, rule, whose=whose, **sizes) for settings in before]
    for group, settings, adam in zip(optimizer.param_groups, before, moved, strict=True):
        _put(group, {"lr": settings["lr"] * factor, **adam})

    def undo() -> None:
        for group, settings in zip(optimizer.param_groups, before, strict=False):
            _put(group, settings)

    return undo


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    names = ("lr", "betas", "eps", "weight_decay", "decoupled_weight_decay")
    settings = {name: group[name] for name in names if name in group}
    for name, value in settings.items():
        if isinstance(value, Tensor):
            settings[name] = float(value)
    return settings


def _put(group: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if isinstance(group[name], Tensor):  # change in place: compiled code reads this tensor
            group[name].fill_(value)
        else:
            group[name] = value


class PlanScheduler(LRScheduler):
    """A scheduler that sets the rate of every step, and Adam's settings, according to a plan.

    Call `step` after each step of the optimizer, as with PyTorch's schedulers; also after a step
    that a GradScaler skips, because that step's batch is used up. Each setting is computed from its
    value at the plan's start, so a batch size has exactly the same settings whenever it occurs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        planned: Plan,
        plan: BatchPlan,
        *,
        first_step: int = 0,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        """Set the rate and Adam's settings for the first step.

        Args:
            optimizer: the optimizer of the training, with rates for the plan's first batch size.
            planned: the whole plan, with its batch sizes, epochs and scaling rule.
            plan: `planned` worked out step by step: the batch size and rate factor of each step.
            first_step: the step to start at; if it is above 0, the optimizer's state must be loaded
                from a run of this plan.
            schedule: a function that takes the fraction of the run that is done (0 to 1) and
                returns another factor for the rate; None to use only the plan's factor.

        Raises:
            UsageError: the optimizer lacks a setting that the rule scales, or a size is too large.
        """
        self._rule = planned.scaling_rule
        self._plan, self._schedule = plan, schedule
        self._n_steps = plan.steps_in(planned.epochs)
        for group in optimizer.param_groups:
            if first_step == 0 or _BEGAN_WITH not in group:
                group[_BEGAN_WITH] = _settings(group)
        for size in planned.sizes:  # report a size that is too large now, not during the run
            for group in optimizer.param_groups:
                self._adam(group, size, whose=type(optimizer).__name__)
        super().__init__(optimizer)
        if first_step:
            self.go_to(first_step)

    def go_to(self, step: int) -> None:
        """Set the rates and Adam's settings for step `step`, counted from 0."""
        self.last_epoch = step - 1
        # Without this, PyTorch warns that the scheduler steps before the optimizer.
        self._step_count = 0
        self.step()

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's rate for the next step, and set the group's other settings."""
        step = min(self.last_epoch, self._n_steps - 1)
        stage = self._plan.stage_at(step)
        factor = stage.rate_factor
        if self._schedule is not None:
            factor *= float(self._schedule(self.last_epoch / self._n_steps))
        rates: list[float | Tensor] = []
        for number, group in enumerate(self.optimizer.param_groups):
            if _BEGAN_WITH not in group:
                raise UsageError(
                    f"parameter group {number} was added after the plan's scheduler was made, so "
                    f"its rate at the plan's beginning is not known; make the scheduler after it"
                )
            _put(group, self._adam(group, stage.batch_size, whose=type(self.optimizer).__name__))
            rates.append(group[_BEGAN_WITH]["lr"] * factor)
        return rates

    def _adam(self, group: dict[str, Any], size: int, *, whose: str) -> Any:
        sizes = {"batch_size": size, "reference_batch_size": self._plan.batch_size}
        return moved_settings(group[_BEGAN_WITH], self._rule, whose=whose, **sizes)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps taken; the initial settings are in the optimizer's state."""
        return {"step": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`; the optimizer's state must already be loaded."""
        self.go_to(int(state_dict["step"]))
