"""Plan: the batch sizes of a whole training, and how the learning rate changes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from batchlab.errors import UsageError
from batchlab.plans.scaling import scaling_rule
from batchlab.records.batch_plan import BatchPlan, Stage

Unit = Literal["epochs", "steps", "samples"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone:
    """A point of a training at which a plan changes the batch size or the learning rate.

    Attributes:
        at: the number of epochs, steps or samples (see `Plan.unit`) after which the change comes.
        batch_size: examples per step after the milestone.
        rate_factor: after the milestone, the training's first learning rate is multiplied by this
            number and by the factor of the plan's scaling rule.
    """

    at: float
    batch_size: int
    rate_factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The batch sizes of a whole training, for data of any size.

    Attributes:
        epochs: passes over the training data.
        batch_size: examples per step before the first milestone.
        milestones: the later changes of batch size or learning rate, in the order of `at`.
        unit: the unit of the milestones: epochs, steps, or samples (examples).
        scaling_rule: how the learning rate and Adam's settings change with the batch size: the name
            of a rule, or a number e for a rate proportional to size ** e.
    """

    epochs: float
    batch_size: int
    milestones: tuple[Milestone, ...] = ()
    unit: Unit = "epochs"
    scaling_rule: str | float = "none"

    def __post_init__(self) -> None:
        """Check all values that can be checked before the training data is known.

        Raises:
            UsageError: a size below 1, milestones out of order or beyond `epochs`, an unknown rule.
        """
        object.__setattr__(self, "milestones", tuple(self.milestones))
        scaling_rule(self.scaling_rule)
        if self.unit not in get_args(Unit):
            raise UsageError(f"unit {self.unit!r}: expected one of {', '.join(get_args(Unit))}")
        _check("epochs", self.epochs)
        for size in self.sizes:
            _check("batch size", size, is_whole=True)
        before = 0.0
        for milestone in self.milestones:
            _check("milestone", milestone.at, is_whole=self.unit == "steps")
            _check("rate factor", milestone.rate_factor)
            if not milestone.at > before:
                raise UsageError(
                    f"milestone {milestone.at:g} after {before:g}: give milestones in order"
                )
            before = milestone.at
        if self.unit == "epochs" and before >= self.epochs:
            raise UsageError(
                f"a milestone at {before:g} epochs of {self.epochs:g}: it would never come"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The first batch size, then the batch size after each milestone."""
        return (self.batch_size, *(later.batch_size for later in self.milestones))

    def for_data(self, n_train: int, *, drop_last: bool = False) -> BatchPlan:
        """Convert the plan to batch sizes by step, for `n_train` training examples.

        Raises:
            UsageError: a batch size is above `n_train`, or a milestone comes after the last step.
        """
        if max(self.sizes) > n_train:
            raise UsageError(
                f"the plan has batch size {max(self.sizes)}, and there are {n_train} training "
                f"examples; cap it: plan.capped({n_train})"
            )
        plan = BatchPlan(n_train=n_train, batch_size=self.batch_size, drop_last=drop_last)
        rule = scaling_rule(self.scaling_rule)
        for milestone in self.milestones:
            by_rule = rule.rate_factor(milestone.batch_size / self.batch_size)
            stage = Stage(
                from_samples=self._samples(milestone.at, plan),
                batch_size=milestone.batch_size,
                rate_factor=milestone.rate_factor * by_rule,
            )
            plan = replace(plan, stages=(*plan.stages, stage))
        last = plan.samples_at(plan.steps_in(self.epochs))
        if plan.stages and plan.stages[-1].from_samples >= last:
            raise UsageError(
                f"the milestone at {self.milestones[-1].at:g} {self.unit} never comes: "
                f"{self.epochs:g} epochs are {last:,} examples"
            )
        return plan

    def _samples(self, at: float, so_far: BatchPlan) -> int:
        """Convert a milestone's `at` to samples; `so_far` is the plan before the milestone."""
        if self.unit == "steps":
            return so_far.samples_at(int(at))
        if self.unit == "epochs":
            return so_far.samples_at(so_far.steps_in(at))
        return max(1, round(at))

    # ---- plans made from other plans

    def capped(self, most: int) -> Plan:
        """Return the plan with all batch sizes limited to `most`, to fit into memory."""
        return self._with_sizes(lambda size: min(size, most))

    def divisible_by(self, parts: int) -> Plan:
        """Return the plan with batch sizes rounded down to multiples of `parts`, at least `parts`.

        For example, `parts` is devices × micro-batch size, or the number of generations per prompt.
        """
        _check("part", parts, is_whole=True)
        return self._with_sizes(lambda size: max(parts, size // parts * parts))

    def _with_sizes(self, function: Callable[[int], int]) -> Plan:
        milestones = []
        for m in self.milestones:
            milestones.append(replace(m, batch_size=function(m.batch_size)))
        return replace(self, batch_size=function(self.batch_size), milestones=tuple(milestones))


def _check(name: str, value: object, *, is_whole: bool = False) -> None:
    kinds = (int,) if is_whole else (int, float)
    # Refuse subclasses too: bool is no number, and numpy.float64 can't be written as JSON.
    if type(value) not in kinds or not 0 < value < math.inf:  # type: ignore[operator]
        kind = "a whole number, 1 or more" if is_whole else "a number above 0"
        raise UsageError(f"{name} {value!r} in a plan: expected {kind}")


def constant(batch_size: int, *, epochs: float) -> Plan:
    """Return a plan with the same batch size at every step."""
    return Plan(epochs=epochs, batch_size=batch_size)


def steps(
    batch_size: int,
    sizes: Mapping[float, int],
    *,
    epochs: float,
    unit: Unit | Literal["fraction"] = "fraction",
    scaling_rule: str | float = "none",
) -> Plan:
    """Return a plan that changes its batch size at given points of the run.

    Args:
        batch_size: the first batch size.
        sizes: the later sizes by starting point: {0.3: 256} means 256 from 30 % of the run on.
        epochs: passes over the training data.
        unit: the unit of the keys of `sizes`: a fraction of the run, or epochs, steps, samples.
        scaling_rule: how the learning rate changes with the batch size, as in `Plan`.

    Raises:
        UsageError: a size below 1, points out of order or beyond the end, or an unknown rule.
    """
    for at in sizes:
        _check("milestone", at)
    if unit == "fraction":
        sizes = {at * epochs: size for at, size in sizes.items()}
        unit = "epochs"
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        milestones=tuple(Milestone(at=at, batch_size=size) for at, size in sizes.items()),
        unit=unit,
        scaling_rule=scaling_rule,
    )


def instead_of_decay(
    batch_size: int, decays: Sequence[float], *, cap: int, epochs: float, factor: float = 5.0
) -> Plan:
    """Return a plan that multiplies the batch size where a schedule would divide the rate.

    Once the batch size is `cap`, the plan divides the learning rate instead. So the ratio of
    learning rate to batch size always equals the schedule's ratio.

    Args:
        batch_size: the first batch size.
        decays: the points at which the schedule divides the rate, as fractions of the run.
        cap: the largest batch size; Smith et al. use a tenth of the training set.
        epochs: passes over the training data.
        factor: the number by which the schedule divides the rate and the plan multiplies the size.

    Raises:
        UsageError: `cap` is below `batch_size`, or `factor` is 1 or less.

    Source: Smith et al. 2018, arXiv:1711.00489, section 3.
    """
    if cap < batch_size:
        raise UsageError(f"cap={cap} is below the first batch size, {batch_size}")
    if not factor > 1:
        raise UsageError(f"factor={factor:g}: expected by what the schedule cuts, above 1")
    milestones = []
    for n, place in enumerate(decays, start=1):
        size = min(cap, round(batch_size * factor**n))
        # If `cap` limits the growth of the batch size, divide the learning rate by the rest.
        rate = size / batch_size / factor**n
        milestones.append(Milestone(at=place * epochs, batch_size=size, rate_factor=rate))
    return Plan(epochs=epochs, batch_size=batch_size, milestones=tuple(milestones))
