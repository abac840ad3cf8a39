"""The parts of an Advice: configurations, candidates, what is expected, what was tried and seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.reason import Reason
from batchlab.records.target import Target

Objective = Literal["time", "samples", "quality"]
Verdict = Literal["recommend", "better", "indifferent", "cannot_tell"]
TargetOrigin = Literal["given", "pilot", "easier"]
EndingVerdict = Literal["no_worse", "worse", "open"]
Purpose = Literal["pilot", "tune", "value", "verify", "cool_down"]
MORE_ERRORS = 0.05
"""So many more errors count as trained as well, where a metric's remaining error is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What to set in a training script.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass.
        learning_rate: the rate.
        cool_down: the last part of the training over which it falls linearly to zero; 0.0: it
            does not.
    """

    batch_size: int
    micro_batch_size: int
    learning_rate: float
    cool_down: float = 0.0

    @property
    def accumulation_steps(self) -> int:
        """Forward and backward passes per optimizer step."""
        return -(-self.batch_size // self.micro_batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a configuration is expected to take to the target, each with a 95 % interval."""

    time_to_target_s: Estimate
    steps_to_target: Estimate
    samples_to_target: Estimate
    epochs_to_target: Estimate
    peak_bytes: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTried:
    """One run of the search for a batch size's learning rate, or of its valuation.

    Attributes:
        batch_size: examples per step.
        learning_rate: the rate tried.
        seed: its seed.
        purpose: "tune" (chooses the rate), "value" (fresh seeds of the chosen rate), "verify",
            "cool_down" (the same with a rate that falls to zero at the end).
        status: how the run ended.
        steps: optimizer steps it ran.
        steps_to_target: middle of the interval in which it met the target; None: it did not.
        best_value: the best validation value of the metric; None: it was never evaluated.
    """

    batch_size: int
    learning_rate: float
    seed: int
    purpose: Purpose
    status: str
    steps: int
    steps_to_target: float | None
    best_value: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One batch size that was in question.

    Attributes:
        batch_size: examples per step.
        micro_batch_size: how it fits into memory; equal to `batch_size` where it fits whole.
        fits: whether it ran within the memory limit.
        learning_rate: its tuned rate; None: it was not trained.
        n_runs: valuation runs behind its figures (runs that chose the rate are not among them).
        step_s: seconds per step, measured alone: by its own times and by what all batch sizes show.
        steps_to_target: at its tuned rate.
        time_to_target_s: steps times step time.
        samples_to_target: steps times batch size.
        cost: the objective's own figure: `time_to_target_s`, `samples_to_target`, or for quality
            the metric's distance from perfect.
        relative: that figure over the best candidate's; `high` is the simultaneous upper bound by
            which a batch size is inside the flat set.
        in_flat_set: whether it is.
        peak_bytes: peak memory of a step above an idle process; None: not reported.
        rule_learning_rates: what each scaling rule would have set from the reference
            configuration's tuned rate, by the name of the rule; a rule that refuses is left out.
        note: why it was not trained, or what is odd about it; None: nothing.
    """

    batch_size: int
    micro_batch_size: int
    fits: bool
    learning_rate: float | None
    n_runs: int
    step_s: Estimate
    steps_to_target: Estimate
    time_to_target_s: Estimate
    samples_to_target: Estimate
    cost: Estimate
    relative: Estimate
    in_flat_set: bool
    peak_bytes: int | None
    rule_learning_rates: tuple[tuple[str, float], ...] = ()
    note: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Laws:
    """The fitted laws, as far as they could be told; `b_crit` belongs to the target.

    Attributes:
        s_min: steps to target in the limit of large batches.
        e_min: examples to target in the limit of small ones; None where the law does not hold.
        b_crit: critical batch size: there the steps are 2 s_min, whatever the exponent.
        exponent: of the generalized law S = s_min (1 + (b_crit / B)^exponent).
        lack_of_fit: p value of the test of the law against the scatter of the seeds.
        learning_rate_exponent: p of the tuned rate ~ B^p.
        fixed_bytes: memory at batch size 0.
        bytes_per_example: memory that each further example of a batch takes.
        step_overhead_s: time of the smallest step.
        step_s_per_example: time that each further example takes once the machine is full.
        knee_batch_size: step_overhead_s / step_s_per_example, where the two are equal: far above
            it larger batches no longer save time.
        curve: (batch size, steps to target) along the fitted law or the interpolation used, each
            with its interval.
        step_curve: (batch size, seconds per step) along the law of the step time.
        law_holds: whether the law of steps to target was used; False: interpolation.
    """

    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    exponent: Estimate
    lack_of_fit: Estimate
    learning_rate_exponent: Estimate
    fixed_bytes: Estimate
    bytes_per_example: Estimate
    step_overhead_s: Estimate
    step_s_per_example: Estimate
    knee_batch_size: Estimate
    curve: tuple[tuple[int, Estimate], ...] = ()
    step_curve: tuple[tuple[int, Estimate], ...] = ()
    law_holds: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadToHead:
    """The verification on fresh seeds: each configuration's figure, seed by seed.

    Attributes:
        seeds: the seeds, fresh for all three.
        recommended: the objective's figure of the recommended configuration, by seed.
        reference: of the reference configuration; None: it missed the target.
        reference_tuned: of the reference batch size at its tuned rate.
        reference_bounds: where the reference missed: the figure it had not reached the target by.
    """

    seeds: tuple[int, ...]
    recommended: tuple[float | None, ...]
    reference: tuple[float | None, ...]
    reference_tuned: tuple[float | None, ...]
    reference_bounds: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How whole trainings of one configuration end, seed by seed.

    Attributes:
        batch_size: examples per optimizer step.
        learning_rate: its rate.
        epochs: passes over the training set of each training.
        values: the validation metric at the end, a mean over the last quarter of the training, or
            its last twentieth under a rate that falls; where the reference overfits, over the best
            evaluations in a row. None: it failed, or was not followed so far.
        test: the metric on test data after the last step; nothing was decided by it. None: not
            known, or the training went on, beside one that needed more epochs.
        cool_down: the last part of the training over which the rate fell to zero; 0.0: it did not.
    """

    batch_size: int
    learning_rate: float
    epochs: float
    values: tuple[float | None, ...]
    test: tuple[float | None, ...]
    cool_down: float = 0.0

    @property
    def found(self) -> tuple[float, ...]:
        """The values of the seeds that have one."""
        return tuple(value for value in self.values if value is not None)

    @property
    def mean(self) -> float:
        """What its trainings end with; at least one has an end."""
        return math.fsum(self.found) / len(self.found)

    @property
    def cell(self) -> tuple[int, float]:
        """Its batch size and rate."""
        return self.batch_size, self.learning_rate

    @property
    def as_reason(self) -> Reason:
        """The configuration, to be named in another reason."""
        return Reason.of("a_configuration", size=self.batch_size, rate=self.learning_rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endings:
    """Whether the recommendation ends no worse than the reference, as it is and tuned.

    Attributes:
        metric: the validation metric.
        better: its direction.
        seeds: the seeds, fresh for all three.
        recommended: how the recommendation ends, or what was to be one.
        reference: how the reference ends as it is.
        reference_tuned: the reference batch size at its tuned rate; None: it has none.
        compared_with: the one of the references that ends better.
        difference: how much better than that the recommendation ends, in the metric's unit;
            negative: it ends worse. Each end of its interval holds in 95 of 100 studies, also of
            those that look at their seeds twice.
        standard_error: of the difference; of a single seed, how far apart two trainings of the
            reference ended. None: not known.
        margin: so much worse still counts as no worse, by a rule that was fixed beforehand.
        verdict: "no_worse" (the whole interval lies above -margin), "worse" (below it, or a
            training failed), or "open".
        reason: why.
        at_constant_rate: the same without a cool-down, where these trainings had one; None: they
            had none.
    """

    metric: str
    better: Better
    seeds: tuple[int, ...]
    recommended: Ending
    reference: Ending
    reference_tuned: Ending | None
    compared_with: Ending
    difference: Estimate
    standard_error: float | None
    margin: float
    verdict: EndingVerdict
    reason: Reason
    at_constant_rate: Endings | None = None

    @property
    def seems_worse(self) -> bool:
        """Whether it ends worse by more than the margin, for sure or as far as can be seen.

        Not by the mean alone, for seeds scatter: by a standard error more than the margin, or by
        twice the margin where nothing is known of the scatter.
        """
        value, error = self.difference.estimate, self.standard_error
        if self.verdict == "worse" or value is None:
            return self.verdict == "worse"
        return value + (self.margin if error is None else error) < -self.margin

    @property
    def is_likely_worse(self) -> bool:
        """Whether more speaks for than against it that it ends worse by more than the margin."""
        value = self.difference.estimate
        return self.verdict == "worse" or (value is not None and value < -self.margin)

    @property
    def is_unseen(self) -> bool:
        """Whether no training of the recommendation came to its end, though the references' did."""
        return not self.recommended.found

    @property
    def gives_way(self) -> bool:
        """Whether the next fastest is looked at, and the better reference is named for now."""
        return self.is_likely_worse or self.is_unseen

    @property
    def references(self) -> tuple[Ending, ...]:
        """The reference as it is and tuned, as far as they are others than what is recommended."""
        known = {self.recommended.cell: self.recommended}
        for ending in (self.reference, self.reference_tuned):
            if ending is not None:
                known.setdefault(ending.cell, ending)
        return tuple(known.values())[1:]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetAnswer:
    """The decision at another target, from the same runs."""

    target: Target
    which: Literal["easier", "harder"]
    verdict: Verdict
    reason: Reason
    batch_size: int | None
    flat_set: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing the advice did, and why; `--explain` prints them."""

    spent_s: float
    did: Reason
    why: Reason
