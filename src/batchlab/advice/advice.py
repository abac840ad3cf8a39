"""Question (what the user asks) and Advice (the answer and its evidence, printed by `--json`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchlab.belief.final_value import final_of
from batchlab.belief.steps_law import StepsLaw
from batchlab.errors import UsageError
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.records.shown import Reported
from batchlab.records.study import AdamSettings, Study, WorkloadSummary
from batchlab.records.trial import Target, Trial, TrialRecord
from batchlab.version import __version__
from batchlab.words.document import SCHEMA, document_text, plain

Objective = Literal["time", "samples", "quality"]
Verdict = Literal["recommend", "cannot_tell"]
TargetOrigin = Literal["given", "pilot", "easier"]
EndingVerdict = Literal["no_worse", "worse", "open"]
Purpose = Literal["pilot", "search", "whole"]

# The least probability that is called "sure", and the least that is called "likely". A
# configuration is recommended only if it is likely no worse than the reference configuration.
SURE, LIKELY = 0.95, 0.8


Variant = tuple[int, float | None]
"""A batch size, and the epochs of a training (None if as many as in the reference training)."""


def is_same_rate(one: float, other: float) -> bool:
    """Return whether two learning rates are equal up to rounding errors (1e-9 relative)."""
    return math.isclose(one, other, rel_tol=1e-9)


def tenths_of(chance: float) -> int:
    """Return 10 * `chance`, rounded, but at most 9, and at most 7 if `chance` is below `LIKELY`."""
    return min(9 if chance >= LIKELY else math.ceil(10 * LIKELY) - 1, round(10 * chance))


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The settings for a training script.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass.
        accumulation_steps: forward and backward passes per optimizer step.
        learning_rate: the learning rate to set in the optimizer.
        epochs: the epochs that the learning-rate schedule spans; None if as many as in the
            reference configuration.
        adam: Adam's betas, eps and weight decay; None if equal to the reference configuration's.
    """

    batch_size: int
    micro_batch_size: int
    accumulation_steps: int = field(init=False)
    learning_rate: float
    epochs: float | None = None
    adam: AdamSettings | None = None

    def __post_init__(self) -> None:
        passes = -(-self.batch_size // self.micro_batch_size)
        object.__setattr__(self, "accumulation_steps", passes)

    def is_same(self, other: Configuration | RateTried) -> bool:
        """Return whether both have the same batch size, learning rate and epochs."""
        return (variant_of(self), self.learning_rate) == (variant_of(other), other.learning_rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A batch size that may be recommended, with its step time and memory from the profile."""

    batch_size: int  # Examples per optimizer step.
    micro_batch_size: int  # Examples per pass; fewer than `batch_size` if memory is short.
    # Seconds per step with nothing else running, from a fit to the times of all batch sizes. It is
    # the mean over an epoch, because the last batch of an epoch may be smaller.
    step_s: Estimate
    peak_bytes: int | None  # Peak memory without that of an idle process; None if not reported.
    note: Reason | None = None  # Why the batch size failed in the profile; None if it ran.
    adam: AdamSettings | None = None  # Adam's settings; None if equal to the reference's.

    @property
    def runs(self) -> bool:
        """Whether the batch size ran in the profile; if not, it is never recommended."""
        return self.note is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The question that an advice answers."""

    objective: Objective  # The quantity to optimize: "time", "samples" or "quality".
    metric: str  # The validation metric by which a model counts as trained.
    better: Better  # Whether "higher" or "lower" values of the metric are better.
    # A model that reaches this value counts as trained; None if a run of `reference` sets it.
    target: Target | None
    reference: Configuration  # The user's present configuration, or a default.
    # True if `reference` is a default that the user did not choose. Other configurations are then
    # compared with the reference batch size at its best learning rate.
    is_usual: bool = False
    # Every batch size that may be recommended, ascending, including the reference batch size.
    options: tuple[Option, ...]
    n_train: int  # Examples in the training set.
    n_validation: int | None = None  # Examples in the validation set; None if not known.
    # A final value that is worse by up to this margin counts as no worse; None if the rule of
    # `belief.margin` sets the margin.
    margin: float | None = None
    delta: float = 0.1  # Batch sizes in `Advice.flat_set` cost at most 1 + `delta` times the least.
    budget_s: float  # Seconds that all runs together may take, by the engine's clock.
    # The epochs that the user plans for one training; None if only the budget limits a training.
    # If the objective is "quality", every batch size is trained for this many epochs.
    planned_epochs: float | None = None
    # The most epochs of any training; None if trainings are limited only in seconds.
    at_most_epochs: float | None = None
    # True if the learning-rate schedule can span another number of epochs than `planned_epochs`.
    may_stretch: bool = True
    # The schedule keeps the learning rate constant for this first fraction of a training. Until
    # then, a shorter and a longer training are identical, so the longer can resume the shorter.
    constant_until: float = 0.0
    # True if the workload stops a training whose metric has not improved for some evaluations.
    stops_early: bool = False
    # For each batch size, the (name, factor) pairs of the scaling rules that apply to the size. A
    # rule multiplies the best learning rate of the reference batch size by the factor.
    rules: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = ()
    # The reason why the metric cannot compare batch sizes, so nothing is trained; None if it can.
    not_comparable: Reason | None = None

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1, so that a higher sign * value is better."""
        return 1 if self.better == "higher" else -1

    def values(self, record: TrialRecord) -> list[float]:
        """Return the metric's validation values in a run, in the order of the evaluations."""
        return [value for _, value in record.curve("validation", self.metric)]

    def final_value(
        self, record: TrialRecord, keeps_best: bool, *, steps: float = math.inf
    ) -> float | None:
        """Return a run's final (or best, if `keeps_best`) validation value up to step `steps`."""
        metric, better = self.metric, self.better
        return final_of(record, "validation", metric, better, steps=steps, keeps_best=keeps_best)

    def best_value(self, record: TrialRecord) -> float | None:
        """Return the best validation value after step 0, or None if nothing was evaluated then."""
        values = []
        for evaluation, value in record.curve("validation", self.metric):
            if evaluation.step > 0:
                values.append(value)
        return max(values, key=lambda value: self.sign * value, default=None)

    def distance(self, record: TrialRecord) -> float:
        """Return a key that sorts runs by best value, the best first; unevaluated runs last."""
        value = self.best_value(record)
        if value is None:
            return math.inf
        return -self.sign * value


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTried:
    """One training run of an advice.

    Attributes:
        batch_size: examples per step.
        learning_rate: the learning rate of the run.
        seed: the random seed of the run.
        purpose: "pilot" (sets the target), "search" (trained only while it may be faster than the
            fastest configuration so far), "whole" (trained to its end or the user's target).
        status: how the run ended.
        steps: optimizer steps that the run took.
        steps_to_target: the step halfway between the last evaluation that missed the target and the
            first that met it; None if the run never reached the target.
        best_value: the best validation value of the metric; None if the run was never evaluated.
        end: the final value on validation data; None if the run failed or was stopped early.
        end_test: the metric on test data after the last step, used in no decision; or None.
        epochs: the epochs of a training; None if as many as in a reference training.
    """

    batch_size: int
    learning_rate: float
    seed: int
    purpose: Purpose
    status: str
    steps: int
    steps_to_target: float | None
    best_value: float | None = None
    end: float | None = None
    end_test: float | None = None
    epochs: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Believed:
    """The expected results of one configuration, trained or not, by a model fitted to all runs.

    Attributes:
        batch_size: examples per step.
        learning_rate: the learning rate of the configuration.
        end: the final value of a whole training; `end.n` counts the whole trainings that ran.
        ends_better_by: how much better `end` is than the final value of the advised configuration
            (`Advice.named`), in the metric's unit.
        cost: what the objective minimizes: seconds or samples to the target, or the distance of the
            final value from a perfect value.
        epochs: the epochs of a training; None if as many as in a reference training.
    """

    batch_size: int
    learning_rate: float
    end: Estimate
    ends_better_by: Estimate
    cost: Estimate
    epochs: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One batch size that the advice considered.

    Attributes:
        batch_size: examples per step.
        micro_batch_size: examples per pass; fewer than `batch_size` if memory is short.
        fits: whether the batch size ran within the memory limit.
        learning_rate: the learning rate of the estimates below. It is the recommended rate at the
            recommended batch size, else the best trained rate, preferably one that reached the
            target. None if the batch size was not trained, or failed at every rate.
        step_s: seconds per step with nothing else running, from a fit to the times of all sizes.
        steps_to_target: steps to the target at `learning_rate`, estimated from all runs; a lower
            bound if no run at that rate reached the target.
        time_to_target_s: `steps_to_target` times `step_s`.
        samples_to_target: `steps_to_target` times the mean number of examples per step.
        cost: what the objective minimizes: `time_to_target_s`, `samples_to_target`, or for
            objective quality the distance of the final value from a perfect value.
        in_flat_set: whether, with a probability of 95 % each, the cost is at most 1 + `delta` times
            the least cost and the final value is no worse than the reference configuration's.
        peak_bytes: peak memory of a step, without that of an idle process; None if not reported.
        rule_learning_rates: (rule, learning rate) of every scaling rule that applies, computed from
            the best rate at the reference batch size.
        note: why the batch size cannot be trained; None if it can.
        epochs: the epochs of a training; None if as many as in a reference training.
    """

    batch_size: int
    micro_batch_size: int
    fits: bool
    learning_rate: float | None
    step_s: Estimate
    steps_to_target: Estimate
    time_to_target_s: Estimate
    samples_to_target: Estimate
    cost: Estimate
    in_flat_set: bool
    peak_bytes: int | None
    rule_learning_rates: tuple[tuple[str, float], ...] = ()
    note: Reason | None = None
    epochs: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EndQuality:
    """A comparison of the final values of the advised and the reference configuration."""

    # How much better the final value of the advised configuration is than the reference
    # configuration's, in the metric's unit; negative if worse. If the user did not choose the
    # reference, the best learning rate at its batch size is used instead.
    difference: Estimate
    margin: float  # A final value that is worse by up to this counts as no worse.
    # "no_worse" or "worse" if the verdict has a probability of 95 % or more, else "open".
    verdict: EndingVerdict
    named_epochs: float  # The epochs of a whole training of the advised configuration.
    own_epochs: float  # The epochs of a whole reference training.


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An action of the advice with its reason; `--explain` prints all steps."""

    spent_s: float  # The seconds that the study had spent before the action.
    did: Reason  # A description of the action.
    why: Reason  # The reason for the action.


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Advice(Reported):
    """The answer to "which batch size should I use?".

    Attributes:
        verdict: "recommend" if another configuration is likely no worse than the reference
            configuration and is the best choice by all runs together, else "cannot_tell".
        reason: the reason for the verdict.
        objective: what to optimize: "time", "samples" or "quality".
        metric: the validation metric that decides what counts as trained.
        better: whether "higher" or "lower" values of the metric are better.
        n_train: examples in the training set.
        n_validation: examples in the validation set; None if not known.
        target: the value that counts as trained; None for objective quality, or if none was set.
        target_origin: "given" (by the user), "pilot" (from the final value of a reference run) or
            "easier" (from the value of a reference run that was cut before its end).
        delta: batch sizes in `flat_set` cost at most 1 + `delta` times the least cost.
        recommendation: the configuration to set; None if the verdict is "cannot_tell".
        provisional: the configuration to keep if the verdict is "cannot_tell": the reference or, if
            `is_usual`, the reference batch size at its best learning rate; None if nothing ran.
        chance: the probability that five more trainings of the recommendation, on average, neither
            cost more nor end worse than five of `reference`; None without a recommendation.
        flat_set: the batch sizes whose `Candidate.in_flat_set` is true; empty if not known.
        gain: the mean cost of five more trainings of `reference`, divided by that of the
            recommendation: 2.0 is twice as good. If `is_usual`, the reference batch size at its
            best expected rate replaces `reference`.
        gain_from_batch_size: the same as `gain`, but always with the reference batch size at its
            best expected rate, trained or not; for objective quality, at its best trained rate.
        reference: the user's present configuration, or a default (see `is_usual`).
        is_usual: whether `reference` is a default (a built-in workload, or no batch size was set).
        reference_tuned: the reference batch size at its best trained rate; None if not trained.
        candidates: all batch sizes that the advice considered, ascending.
        believed: the estimates for `reference`, for the advised configuration, and for one
            configuration of each batch size that fits in memory, trained or not.
        laws: the fitted formula for the steps to the target by batch size; None if not fitted.
        end_quality: whether whole trainings of the advised configuration end no worse than those of
            `reference`; None if the user gave the target or no whole training ran.
        hardly_learns: why `reference` hardly improves on the untrained model; None if it learns.
        caveats: what limits the answer.
        steps: every action with its reason, in order.
        tried: every training run, in the order of the requests.
        n_trials: the number of training runs.
        spent_s: seconds that the study took.
        budget_s: seconds that the study was allowed to take.
        kept_in: the path of the store and the id of the study with its runs; None if not known.
    """

    verdict: Verdict
    reason: Reason
    objective: Objective
    metric: str
    better: Better
    n_train: int
    n_validation: int | None = None
    target: Target | None
    target_origin: TargetOrigin
    delta: float
    recommendation: Configuration | None
    provisional: Configuration | None = None
    chance: float | None = None
    flat_set: tuple[int, ...]
    gain: Estimate
    gain_from_batch_size: Estimate
    reference: Configuration
    reference_tuned: Configuration | None
    is_usual: bool = False
    candidates: tuple[Candidate, ...]
    believed: tuple[Believed, ...] = ()
    laws: StepsLaw | None
    end_quality: EndQuality | None = None
    hardly_learns: Reason | None = None
    caveats: tuple[Reason, ...] = ()
    steps: tuple[Step, ...] = ()
    tried: tuple[RateTried, ...]
    n_trials: int
    spent_s: float
    budget_s: float
    kept_in: tuple[str, str] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """Return a short text: the verdict and the advised configuration."""
        named = self.named
        if named is None:
            return f"Advice(verdict={self.verdict!r})"
        part = "recommendation" if self.recommendation else "provisional"
        return f"Advice(verdict={self.verdict!r}, {part}={named!r})"

    @property
    def named(self) -> Configuration | None:
        """The advised configuration: `recommendation` or else `provisional`, which may be None."""
        return self.recommendation or self.provisional

    def apply(self, optimizer: Any) -> None:
        """Set the recommended learning rate in all parameter groups of an optimizer.

        If the trainings changed settings of Adam or AdamW, also set betas, eps and, in groups with
        weight decay, the decoupled weight decay. This method does not change the batch size, which
        you set in your data loader.

        Raises:
            UsageError: the advice names no configuration (`named` is None).
        """
        if self.named is None:
            raise UsageError("this advice recommends no configuration; its `reason` says why")
        adam = self.named.adam
        for group in optimizer.param_groups:
            group["lr"] = self.named.learning_rate
            if adam is None:
                continue
            group.update(betas=adam.betas, eps=adam.eps)
            if adam.weight_decay is not None and group.get("weight_decay"):
                group["weight_decay"] = adam.weight_decay

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints, as plain dicts and lists; see docs/schema/advise.json.

        Fields that only the command line knows (command, study, store, report) are None.
        """
        return _document(self, Source())

    def variant(self, trial: Trial) -> Variant:
        """Return a trial's batch size and epochs; epochs are None if equal to `reference`'s."""
        epochs = None
        if trial.horizon_steps is not None:
            epochs = trial.plan.epoch_at(trial.horizon_steps)
        is_other = (trial.batch_size, epochs) in map(variant_of, self.tried)
        return trial.batch_size, epochs if is_other else None

    def is_of(self, trial: Trial, at: Configuration | Candidate) -> bool:
        """Return whether a trial has the batch size, epochs and learning rate of `at`."""
        rate, is_same = at.learning_rate, self.variant(trial) == variant_of(at)
        return is_same and rate is not None and is_same_rate(trial.learning_rate, rate)

    def candidate(self, batch_size: int) -> Candidate | None:
        """Return the candidate of `batch_size`, or None if the advice did not consider it."""
        return next(
            (candidate for candidate in self.candidates if candidate.batch_size == batch_size), None
        )


def variant_of(at: Configuration | Candidate | RateTried | Believed) -> Variant:
    """Return the batch size and epochs of a configuration (epochs may be None, see `Variant`)."""
    return at.batch_size, at.epochs


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The study and command behind a printed answer; unknown fields are null."""

    schema: int = SCHEMA
    command: str = "advise"
    batchlab: str = __version__
    command_line: str | None = None
    study: str | None = None
    workload: WorkloadSummary | None = None
    environment: dict[str, str] | None = None
    store: str | None = None
    report: str | None = None


# The fields of an advice that have another name in the JSON document.
SHOWN_AS = {"tried": "trials"}


def advice_document(advice: Advice, study: Study, *, store: Path, report: Path | None) -> str:
    """Return the advice as one JSON document, in seconds and bytes; unknown values are null."""
    source = Source(
        command_line=study.command,
        study=study.study_id,
        workload=study.workload,
        environment=dict(study.environment),
        store=str(store),
        report=None if report is None else str(report),
    )
    return document_text(_document(advice, source))


def _document(advice: Advice, source: Source) -> dict[str, Any]:
    shown = {}
    for name, value in plain(advice).items():
        shown[SHOWN_AS.get(name, name)] = value
    del shown["kept_in"]
    document: dict[str, Any] = plain(source)
    return document | shown
