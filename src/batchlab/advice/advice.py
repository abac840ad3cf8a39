"""Question and Advice: what is asked, and the answer with its evidence, as `--json` prints it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec

from batchlab.errors import UsageError
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.records.shown import Reported
from batchlab.records.study import AdamSettings, Study, WorkloadSummary
from batchlab.records.trial import Target, Trial, TrialRecord
from batchlab.version import __version__
from batchlab.words.document import SCHEMA, document_text, plain, schema_text

Objective = Literal["time", "samples", "quality"]
Verdict = Literal["recommend", "cannot_tell"]
TargetOrigin = Literal["given", "pilot", "easier"]
EndedBy = Literal["plateau", "overfitting", "planned_end"]
EndingVerdict = Literal["no_worse", "worse", "open"]
Purpose = Literal["pilot", "search", "whole"]

# A chance is called sure from 0.95 and likely from 0.8. A recommendation is at least likely.
SURE, LIKELY = 0.95, 0.8


Variant = tuple[int, float | None]
"""Batch size, and other epochs of the schedule."""


def is_same_rate(one: float, other: float) -> bool:
    """Return whether two learning rates are equal up to the rounding errors of octaves."""
    return math.isclose(one, other, rel_tol=1e-9)


def tenths_of(chance: float) -> int:
    """Return a chance in rounded tenths: at most 9, and at most 7 if it is below `LIKELY`."""
    return min(9 if chance >= LIKELY else math.ceil(10 * LIKELY) - 1, round(10 * chance))


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The settings for a training script.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass.
        accumulation_steps: forward and backward passes per optimizer step.
        learning_rate: the rate.
        epochs: the passes that its learning-rate schedule spans, if not those of the reference's.
        adam: the betas, eps and weight decay of Adam at this batch size, if the reference has
            others.
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
        """Return whether both train alike, no matter how the batch is split into micro-batches."""
        return (variant_of(self), self.learning_rate) == (variant_of(other), other.learning_rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A batch size in question, as the profile measured it."""

    batch_size: int  # examples per optimizer step
    micro_batch_size: int  # examples per pass; fewer than `batch_size` if memory is short
    # Seconds per step of the user's own training on an idle machine, estimated from the times of
    # all batch sizes; a mean over an epoch that includes its last, smaller batch.
    step_s: Estimate
    peak_bytes: int | None  # peak memory above an idle process; None if not reported
    note: Reason | None = None  # why it did not run (out of memory, an error); None if it ran
    adam: AdamSettings | None = None  # Adam's settings at this batch size, if not the reference's

    @property
    def runs(self) -> bool:
        """Whether the batch size ran in the profile; only then may it be recommended."""
        return self.note is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The question that an advice answers."""

    objective: Objective  # "time", "samples" or "quality"
    metric: str  # the validation metric that decides what counts as trained
    better: Better  # its direction
    # The level that counts as trained; None if a pilot run of the reference sets it.
    target: Target | None
    target_origin: TargetOrigin  # "given" if the user gave it
    reference: Configuration  # the workload's own configuration
    # True if nobody chose the reference: others are compared with its batch size at the best rate.
    is_usual: bool = False
    # Every batch size in question, ascending; the reference's is among them.
    options: tuple[Option, ...]
    n_train: int  # examples in the training set
    n_validation: int | None = None  # examples that the metric is a mean over; None if not known
    # The difference that still counts as no worse; None for the rule in `batchlab.belief.margin`.
    margin: float | None = None
    delta: float = 0.1  # tolerance of the flat set
    budget_s: float  # seconds that the runs may take, by the engine's clock, from its start
    # The epochs of a training as the user plans it; None if only the budget limits it. For
    # objective quality, the fixed number of epochs that all batch sizes get.
    planned_epochs: float | None = None
    # The most epochs of any training; None if only the seconds of a training are limited.
    at_most_epochs: float | None = None
    # True if a schedule of the rate can span another number of epochs than the planned one.
    may_stretch: bool = True
    # The schedule keeps the rate for this first fraction of a training. Until then trainings of
    # different lengths are identical, so a longer one can resume from a shorter one.
    constant_until: float = 0.0
    # True if the workload's patience may end a training.
    stops_early: bool = False
    # By batch size, the rate that each scaling rule sets, as a multiple of a rate tuned at the
    # reference batch size; rules that do not apply are left out.
    rules: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = ()
    # The reason why the metric cannot compare batch sizes, so that nothing is trained; else None.
    not_comparable: Reason | None = None

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1: multiplied by it, higher is always better."""
        return 1 if self.better == "higher" else -1

    def option(self, batch_size: int) -> Option:
        """Return the option of a batch size in question."""
        return {option.batch_size: option for option in self.options}[batch_size]

    def values(self, record: TrialRecord) -> list[float]:
        """Return all validation values of a run, in order."""
        return [value for _, value in record.curve("validation", self.metric)]

    def best_value(self, record: TrialRecord) -> float | None:
        """Return the best validation value after the first step, or None if there is none."""
        values = [
            value
            for evaluation, value in record.curve("validation", self.metric)
            if evaluation.step > 0
        ]
        return max(values, key=lambda value: self.sign * value, default=None)

    def distance(self, record: TrialRecord) -> float:
        """Return a sort key of runs by best value, best first; infinite if never evaluated."""
        value = self.best_value(record)
        if value is None:
            return math.inf
        return -self.sign * value


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTried:
    """One training run.

    Attributes:
        batch_size: examples per step.
        learning_rate: the rate tried.
        seed: its seed.
        purpose: "pilot" (sets the level), "search" (followed as long as it may be faster than the
            leader), "whole" (trained to its end, or to the level that was given).
        status: how the run ended.
        steps: optimizer steps it ran.
        steps_to_target: middle of the interval in which it met the target; None if it did not.
        best_value: the best validation value of the metric; None if it was never evaluated.
        end: its final value on validation data (belief/final_value); None if it failed, is not a
            whole training, or the length of a whole training is not known.
        end_test: the metric on test data after its last step, which decides nothing; None as for
            `end`, or if not known.
        epochs: as in `Configuration`.
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
    """The figures that the joint model of all runs expects of one configuration, trained or not.

    Attributes:
        batch_size: examples per step.
        learning_rate: the rate.
        end: the final value of a whole training; `n` counts those that were seen.
        ends_better_by: by how much it ends better than what is named, in the metric's unit.
        cost: the objective's own figure of a training that meets the target.
        epochs: as in `Configuration`.
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
        micro_batch_size: how it is split to fit memory; equal to `batch_size` if it fits whole.
        fits: whether it ran within the memory limit.
        learning_rate: the rate that its figures are for: the recommended one if a recommended
            change has this batch size, or else the best one by all runs, among those that met the
            target if any did. None if it was not trained, or failed at every rate.
        step_s: seconds per step with nothing else running, from the times of all batch sizes.
        steps_to_target: at that rate, by all runs together; a lower bound if no run at that rate
            met the target.
        time_to_target_s: steps times step time.
        samples_to_target: steps times batch size.
        cost: the objective's own figure: `time_to_target_s`, `samples_to_target`, or for quality
            the metric's distance from perfect.
        in_flat_set: whether it is within the tolerance of the best candidate and ends no worse,
            each with a probability of 95 % or more.
        peak_bytes: peak memory of a step above an idle process; None if not reported.
        rule_learning_rates: the rate that each scaling rule would have set from the reference
            configuration's tuned rate, by its name; rules that do not apply are left out.
        note: why it was not trained, or what is odd about it; None if nothing is.
        epochs: as in `Configuration`, for the rate that its figures are for.
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
class Laws:
    """The fitted law of the steps, as far as the runs determine it; it belongs to the target.

    Attributes:
        s_min: steps to target in the limit of large batches.
        e_min: examples to target in the limit of small ones.
        b_crit: critical batch size, at which the steps are twice s_min.
        law_holds: whether the steps follow the law S = s_min (1 + b_crit / B); if they don't,
            s_min, e_min and b_crit are not known.
    """

    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    law_holds: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EndLevel:
    """The final value of a run, which defines a whole training."""

    value: float  # final value of the validation metric (belief/final_value)
    ended_by: EndedBy  # the reason why the run counts as ended
    margin: float  # the difference that still counts as no worse, > 0, in the metric's unit
    epochs: float  # passes over the training set in the run; others may have more
    learning_rate: float  # the run's rate


@dataclass(frozen=True, kw_only=True, slots=True)
class EndQuality:
    """Whether whole trainings of the named configuration end no worse than the reference's."""

    # The amount by which what is named ends better than the reference (tuned if nobody chose its
    # rate), in the metric's unit, negative if it ends worse; by the belief over all runs.
    difference: Estimate
    margin: float  # the difference that still counts as no worse, by a rule fixed beforehand
    # "no_worse" or "worse" with a probability of 95 %, else "open".
    verdict: EndingVerdict
    named_epochs: float  # passes over the training set of a whole training of what is named
    own_epochs: float  # those of a whole training of the reference as it is


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing the advice did, and why; `--explain` prints them."""

    spent_s: float
    did: Reason
    why: Reason


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Advice(Reported):
    """The answer to "which batch size should I use?".

    Attributes:
        verdict: "recommend" (another configuration is likely to do as well as the reference, and
            is the best choice by all runs together) or "cannot_tell".
        reason: why.
        objective: what should be best.
        metric: the validation metric that decides what counts as trained.
        better: its direction.
        n_train: examples in the training set.
        n_validation: examples in the validation set; None if not known.
        target: the level that counts as trained; None for objective quality, or if none was set.
        target_origin: "given", "pilot" (what the reference ends with), "easier" (on the way there).
        delta: the tolerance of the flat set, a fraction.
        recommendation: what to set; None if the verdict is "cannot_tell".
        provisional: the reference, which stays, if the verdict is "cannot_tell"; None if nothing
            ran.
        chance: the probability that the named configuration is neither slower than the reference
            nor ends worse, over five more trainings of both. None if it is the reference, or its
            batch size at the best rate if nobody chose the rate.
        flat_set: the batch sizes within `delta`, ascending; empty if they are not known.
        gain: the reference configuration's figure divided by the recommendation's, as five more
            trainings of both would show it: 2.0 is twice as good. If nobody chose the reference,
            the figure is that of its batch size at the best rate expected.
        gain_from_batch_size: the same for the reference batch size at the best rate expected,
            trained or not; for objective quality at its tuned rate.
        reference: the workload's own configuration.
        is_usual: whether nobody chose `reference`: a built-in workload's, or with the default size.
        reference_tuned: the reference batch size at its tuned rate; None if it was not tuned.
        candidates: all batch sizes in question, ascending.
        believed: what all runs together say of the configurations that are shown: one per batch
            size that fits, trained or not, the reference, and what is named.
        laws: the fitted law of the steps; None if nothing could be fitted.
        end_quality: whether whole trainings of what is named end no worse than the reference's;
            None if the level was given or no end was seen.
        hardly_learns: that the reference stays near the untrained model; None if it learns.
        caveats: what limits the answer.
        steps: what was done and why, in order.
        tried: every training run, in the order of the requests.
        n_trials: training runs.
        spent_s: seconds spent.
        budget_s: seconds allowed.
        trainings: the budget in trainings of the reference, if it was given in them; else None.
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
    laws: Laws | None
    end_quality: EndQuality | None = None
    hardly_learns: Reason | None = None
    caveats: tuple[Reason, ...] = ()
    steps: tuple[Step, ...] = ()
    tried: tuple[RateTried, ...]
    n_trials: int
    spent_s: float
    budget_s: float
    trainings: float | None = None
    kept_in: tuple[str, str] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """Show the verdict and the named configuration; the fields and `to_dict` have the rest."""
        named = self.named
        if named is None:
            return f"Advice(verdict={self.verdict!r})"
        part = "recommendation" if self.recommendation else "provisional"
        return f"Advice(verdict={self.verdict!r}, {part}={named!r})"

    @property
    def named(self) -> Configuration | None:
        """The recommendation, or else the configuration that stays; None if nothing ran."""
        return self.recommendation or self.provisional

    def apply(self, optimizer: Any) -> None:
        """Set the named learning rate, and settings that change with it, in an optimizer's groups.

        With Adam or AdamW, beta 2 and a decoupled weight decay are set too if the trainings changed
        them; a group without weight decay keeps none. The batch size has to be set in your data
        loader.

        Raises:
            UsageError: nothing is named.
        """
        if self.named is None:
            raise UsageError(
                "this advice names no configuration: it can't be told; its `reason` says why"
            )
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

        A field that only the command knows (command line, study, store, page) is None.
        """
        return _document(self, Source())

    def other_epochs(self, trial: Trial) -> float | None:
        """Return the epochs of a trial's schedule, or None if it is as long as the reference's."""
        if trial.horizon_steps is None:
            return None
        spans = trial.plan.epoch_at(trial.horizon_steps)
        place = trial.batch_size, spans
        return spans if any((run.batch_size, run.epochs) == place for run in self.tried) else None

    def variant(self, trial: Trial) -> Variant:
        """Return all that distinguishes a trial's configuration except its rate."""
        return trial.batch_size, self.other_epochs(trial)

    def is_of(self, trial: Trial, at: Configuration | Candidate) -> bool:
        """Return whether a trial has the settings of a configuration."""
        rate, is_same = at.learning_rate, self.variant(trial) == variant_of(at)
        return is_same and rate is not None and is_same_rate(trial.learning_rate, rate)

    def candidate(self, batch_size: int) -> Candidate | None:
        """Return the candidate of `batch_size`, or None if it was not in question."""
        return next(
            (candidate for candidate in self.candidates if candidate.batch_size == batch_size), None
        )


def variant_of(at: Configuration | Candidate | RateTried | Believed) -> Variant:
    """Return all that distinguishes a configuration except its rate."""
    return at.batch_size, at.epochs


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of an advice's document; null for what `Advice.to_dict()` does not know."""

    schema: int = SCHEMA
    command: str = "advise"
    batchlab: str = __version__
    command_line: str | None = None
    study: str | None = None
    workload: WorkloadSummary | None = None
    environment: dict[str, str] | None = None
    store: str | None = None
    report: str | None = None


# The fields of an advice that the document has under another name.
_NAMES = {"tried": "trials"}


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


def advice_schema() -> str:
    """Return the JSON Schema of that document: the fields of `Source`, then those of `Advice`."""
    shown = get_type_hints(Advice)
    del shown["kept_in"]
    fields = [(_NAMES.get(name, name), kind) for name, kind in shown.items()]
    document = msgspec.defstruct(
        "Advice", [*get_type_hints(Source).items(), *fields], namespace={"__doc__": _MEANING}
    )
    return schema_text(document)


_MEANING = "An advice; what its fields mean is said at `batchlab.Advice`. `trials` are its `tried`."


def _document(advice: Advice, source: Source) -> dict[str, Any]:
    shown = {_NAMES.get(name, name): value for name, value in plain(advice).items()}
    del shown["kept_in"]
    document: dict[str, Any] = plain(source)
    return document | shown
