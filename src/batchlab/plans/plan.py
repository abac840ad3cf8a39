"""Plan: the batch sizes of a whole training, and how its learning rate scales with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import msgspec

from batchlab.errors import UsageError
from batchlab.plans.scaling import scaling_rule
from batchlab.records.batch_plan import BatchPlan, Stage

Unit = Literal["epochs", "steps", "samples"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone:
    """The point at which a plan changes to another size, or another rate.

    Attributes:
        at: the amount of training done before it, in the plan's `unit`.
        batch_size: examples per step from here on.
        rate_factor: a factor of the learning rate from here on, in addition to that of the plan's
            scaling rule.
    """

    at: float
    batch_size: int
    rate_factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The batch sizes of a whole training, for data of any size; it can be written as JSON.

    Attributes:
        epochs: passes over the training data.
        batch_size: examples per step at the beginning.
        milestones: the later changes, in the order of `at`.
        unit: the unit of the milestones: epochs, steps, or samples (examples).
        scaling_rule: how the learning rate (and Adam's settings) follow the batch size: a name of
            a rule, or the exponent of the size as a number.
    """

    epochs: float
    batch_size: int
    milestones: tuple[Milestone, ...] = ()
    unit: Unit = "epochs"
    scaling_rule: str | float = "none"

    def __post_init__(self) -> None:
        """Refuse a plan that fits no data.

        Raises:
            UsageError: a size below 1, milestones out of order or beyond the end, an unknown rule.
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
        """The batch size of each part, in order."""
        return (self.batch_size, *(later.batch_size for later in self.milestones))

    def for_data(self, n_train: int, *, drop_last: bool = False) -> BatchPlan:
        """Return the plan by steps for `n_train` training examples.

        Raises:
            UsageError: a batch size is larger than the data, or a milestone never comes.
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
        """Convert `at`, in the plan's unit, to examples; `so_far` is the plan up to `at`."""
        if self.unit == "steps":
            return so_far.samples_at(int(at))
        if self.unit == "epochs":
            return so_far.samples_at(so_far.steps_in(at))
        return max(1, round(at))

    def to_json(self) -> str:
        """Return the plan as JSON, which `from_json` reads."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read the plan from a JSON text.

        Raises:
            UsageError: the text is no plan.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UsageError(f"this is no plan: {error}") from error

    # ---- plans made from other plans

    def capped(self, most: int) -> Plan:
        """Return the plan with no batch size above `most`, such as what fits into memory."""
        return self._with_sizes(lambda size: min(size, most))

    def divisible_by(self, parts: int) -> Plan:
        """Return the plan with each batch size rounded down to a multiple of `parts`, at least one.

        `parts` may be devices × micro-batch size, or the number of generations per prompt.
        """
        _check("part", parts, is_whole=True)
        return self._with_sizes(lambda size: max(parts, size // parts * parts))

    def _with_sizes(self, function: Callable[[int], int]) -> Plan:
        milestones = [replace(m, batch_size=function(m.batch_size)) for m in self.milestones]
        resized = replace(self, batch_size=function(self.batch_size), milestones=tuple(milestones))
        return resized._without_repeats()

    def _without_repeats(self) -> Plan:
        milestones: list[Milestone] = []
        here = (self.batch_size, 1.0)
        for milestone in self.milestones:
            if (milestone.batch_size, milestone.rate_factor) != here:
                milestones.append(milestone)
            here = (milestone.batch_size, milestone.rate_factor)
        return replace(self, milestones=tuple(milestones))


def _check(name: str, value: object, *, is_whole: bool = False) -> None:
    """Refuse a value that is no number above 0, or that is not whole if it has to be."""
    kinds = (int,) if is_whole else (int, float)
    # Subclasses such as bool and numpy.float64 are refused too; the latter can't become JSON.
    if type(value) not in kinds or not 0 < value < math.inf:  # type: ignore[operator]
        kind = "a whole number, 1 or more" if is_whole else "a number above 0"
        raise UsageError(f"{name} {value!r} in a plan: expected {kind}")


def constant(batch_size: int, *, epochs: float) -> Plan:
    """Return a plan with one batch size throughout."""
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
        sizes: the later sizes by starting point: {0.3: 256} is 256 after 30 % of the run.
        epochs: passes over the training data.
        unit: the unit of the points: a fraction of the run, or epochs, steps, samples.
        scaling_rule: how the rate follows the size, as in `Plan`.

    Raises:
        UsageError: as `Plan` says.
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


def warm_up(batch_size: int, *, start: int, part: float = 0.1, epochs: float) -> Plan:
    """Begin with batches of `start`, and double up to `batch_size` within `part` of the run.

    Raises:
        UsageError: a start above the size, or a part that is not between 0 and 1.
    """
    _check("start", start, is_whole=True)
    if start > batch_size:
        raise UsageError(f"start={start} is above the batch size to reach, {batch_size}")
    if not 0 < part < 1:
        raise UsageError(f"part={part:g}: expected a part of the run, between 0 and 1")
    n = max(0, math.ceil(math.log2(batch_size / start)))
    sizes = {part * (i + 1) / n: min(batch_size, start * 2 ** (i + 1)) for i in range(n)}
    return steps(start, sizes, epochs=epochs)


def instead_of_decay(
    batch_size: int, decays: Sequence[float], *, cap: int, epochs: float, factor: float = 5.0
) -> Plan:
    """Multiply the size by `factor` where a schedule would divide the rate by it.

    Once the size is at `cap`, the rate is cut instead. So rate / batch size is always as in the
    schedule.

    Args:
        batch_size: the first one.
        decays: where the schedule cuts the rate, as parts of the run.
        cap: the largest size; Smith et al. take a tenth of the training set.
        epochs: passes over the training data.
        factor: the factor by which the schedule cuts the rate.

    Raises:
        UsageError: a cap below the first size, or a factor of 1 or less.

    Source: Smith et al. 2018, arXiv:1711.00489, section 3.
    """
    if cap < batch_size:
        raise UsageError(f"cap={cap} is below the first batch size, {batch_size}")
    if not factor > 1:
        raise UsageError(f"factor={factor:g}: expected by what the schedule cuts, above 1")
    milestones = []
    for n, place in enumerate(decays, start=1):
        size = min(cap, round(batch_size * factor**n))
        # The rate takes the part of the cut that the size could not take because of the cap.
        rate = size / batch_size / factor**n
        milestones.append(Milestone(at=place * epochs, batch_size=size, rate_factor=rate))
    plan = Plan(epochs=epochs, batch_size=batch_size, milestones=tuple(milestones))
    return plan._without_repeats()
