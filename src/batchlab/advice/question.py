"""Question, Option: what the advice is asked, by which objective, with which seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from batchlab.advice.advice import Configuration, Objective, TargetOrigin
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.records.trial import Target, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A batch size in question, as the profile saw it.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: how it fits into memory; equal to `batch_size` where it fits whole.
        step_s: seconds per step of the user's own training, measured alone: what is known of it,
            from this batch size's own times and from the others'; a mean over an epoch, whose last
            batch may be smaller.
        peak_bytes: peak memory above an idle process; None: not reported.
        note: why it cannot be had (out of memory, an error); None: it ran.
        timed_s: the step time by its own times alone, for the law; None: `step_s` is that.
    """

    batch_size: int
    micro_batch_size: int
    step_s: Estimate
    peak_bytes: int | None
    note: Reason | None = None
    timed_s: Estimate | None = None

    @property
    def runs(self) -> bool:
        """Whether it ran, so that it may be recommended."""
        return self.note is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of the advice.

    Attributes:
        objective: "time", "samples" or "quality".
        metric: the validation metric that says what is trained.
        better: its direction.
        target: the level that counts as trained; None: a pilot run of the reference sets it.
        target_origin: "given" where the user gave it.
        reference: the workload's own configuration.
        options: every batch size in question, ascending; the reference's is among them.
        n_train: examples in the training set.
        n_validation: examples that the metric is a mean over; None: not known.
        delta: tolerance of the flat set.
        budget_s: seconds that the runs may take, by the engine's clock, from its start.
        longest_epochs: no run goes further than this many passes; None: as the budget allows.
            For objective quality: the fixed number of passes that all batch sizes get.
        longest_s: for objective quality instead: the fixed seconds of training that all get.
        rules: by batch size, what each scaling rule sets from a rate tuned at the reference batch
            size, as multiples of that rate; rules that refuse are left out.
        not_comparable: why the metric cannot compare batch sizes, so that nothing is trained;
            None: it can.
    """

    objective: Objective
    metric: str
    better: Better
    target: Target | None
    target_origin: TargetOrigin
    reference: Configuration
    options: tuple[Option, ...]
    n_train: int
    n_validation: int | None = None
    delta: float = 0.1
    budget_s: float
    longest_epochs: float | None = None
    longest_s: float | None = None
    rules: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = ()
    not_comparable: Reason | None = None

    def option(self, batch_size: int) -> Option:
        """The option of `batch_size`; it is one of them."""
        return next(option for option in self.options if option.batch_size == batch_size)


def best_value(
    record: TrialRecord, metric: str, better: Better, *, within_samples: float = math.inf
) -> float | None:
    """The best validation value of the metric after the first step; None: there is none."""
    values = [
        value
        for evaluation, value in record.curve("validation", metric)
        if evaluation.step > 0 and evaluation.samples <= within_samples
    ]
    if not values:
        return None
    return max(values) if better == "higher" else min(values)


def distance(record: TrialRecord, metric: str, better: Better) -> float:
    """An order of runs by their best value, the best one first; infinite: never evaluated."""
    value = best_value(record, metric, better)
    if value is None:
        return math.inf
    return -value if better == "higher" else value


def shortfall(
    record: TrialRecord, metric: str, better: Better, *, n_validation: int | None = None
) -> float | None:
    """How far the best validation value is from perfect: 1 minus it, or for a loss itself.

    Args:
        record: the run.
        metric: whose values are compared.
        better: its direction.
        n_validation: examples that it is a mean over. A perfect value is short of perfect by half
            an example: so much is not seen of it. None: not known.

    Returns:
        None where that is no positive number (a metric outside 0 to 1): ratios of it mean nothing.
    """
    value = best_value(record, metric, better)
    if value is None:
        return None
    distance = 1 - value if better == "higher" else value
    if distance == 0 and n_validation:
        return 0.5 / n_validation
    return distance if distance > 0 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedPlan:
    """Which seeds choose the rate, which value the choice, which verify the recommendation.

    The best of many noisy runs looks better than it is, so no seed does two of these.
    """

    tune: tuple[int, ...]
    value: tuple[int, ...]
    verify: tuple[int, ...]

    @classmethod
    def of(cls, n_seeds: int | None) -> SeedPlan:
        """Shares out `n_seeds` seeds, at least 4; None: as many as may be needed."""
        if n_seeds is None:
            return cls(tune=(0, 1, 2, 3), value=tuple(range(10, 74)), verify=tuple(range(80, 128)))
        n_tune, n_verify = (2 if n_seeds >= 6 else 1), min(3, max(1, n_seeds // 3))
        return cls(
            tune=tuple(range(n_tune)),
            value=tuple(range(n_tune, n_seeds - n_verify)),
            verify=tuple(range(n_seeds - n_verify, n_seeds)),
        )

    def verifying_with_one(self) -> SeedPlan:
        """The plan in which all but one of the seeds that verify value instead."""
        return replace(self, value=(*self.value, *self.verify[1:]), verify=self.verify[:1])
