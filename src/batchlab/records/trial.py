"""Trial: a training run to perform. TrialRecord: what was observed in a trial."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

import rfc8785

from batchlab.records.batch_plan import BatchPlan, Stage
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The value of one metric on one part of the data, as computed in one evaluation.

    Attributes:
        split: the part of the data.
        metric: the metric's name.
        value: the metric's value, or None if the value was not a finite number.
    """

    split: Split
    metric: str
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The results of one evaluation, made after `step` optimizer steps.

    Attributes:
        step: optimizer steps done; 0 is the untrained model.
        samples: examples processed since the start of the training.
        train_s: seconds of training since its start (fetching, copying, steps; not evaluation).
        eval_s: seconds of this evaluation and all earlier evaluations.
        batch_loss: mean loss of the training batches since the previous evaluation, None at step 0.
        scores: the values of the metrics; always on validation data, and on train and test data if
            `RunLength.all_splits` requests it for this step.
        measured: other measurements of the model after this step, as (name, value); the value is
            None if it was not a finite number.
    """

    step: int
    samples: int
    train_s: float
    eval_s: float
    batch_loss: float | None
    scores: tuple[Score, ...]
    measured: tuple[tuple[str, float | None], ...] = ()

    @property
    def has_all_splits(self) -> bool:
        """Whether the evaluation covers all data: train, validation and, if there are any, test."""
        return any(score.split == "train" for score in self.scores)

    def score(self, split: Split, metric: str) -> float | None:
        """Return the value of `metric` on `split`; None if the value is missing or not finite."""
        for score in self.scores:
            if score.split == split and score.metric == metric:
                return score.value
        return None

    def measurement(self, name: str) -> float | None:
        """Return the measurement called `name`; None if the value is missing or not finite."""
        return dict(self.measured).get(name)

    def is_not_finite(self, split: Split, metric: str) -> bool:
        """Return whether `metric` was evaluated on `split` and was not a finite number."""
        for score in self.scores:
            if (score.split, score.metric) == (split, metric) and score.value is None:
                return True
        return False


_NO_EVALUATION: Final = Evaluation(
    step=0, samples=0, train_s=0.0, eval_s=0.0, batch_loss=None, scores=()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The value of a validation metric at which a model counts as trained.

    Attributes:
        metric: name of the metric.
        value: the value to reach.
        better: whether higher or lower values are better.
        held_for: the model must stay at the target or beyond while the processed examples grow by
            this fraction; with 0, a single evaluation at the target is enough.
    """

    metric: str
    value: float
    better: Better
    held_for: float = 0.1

    def met_by(self, value: float | None) -> bool:
        """Return whether `value` is at least as good as the target; false for None (unknown)."""
        if value is None:
            return False
        return value >= self.value if self.better == "higher" else value <= self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """The steps between which a run began to meet its target for good.

    For good means: every evaluation from `step` on met the target, until a tenth more examples
    (`Target.held_for`) were processed or the run ended. A single evaluation may meet the target by
    chance, because metrics fluctuate.

    Attributes:
        after_step: the step of the last evaluation that missed the target; 0 if there is none.
        step: the step of the first evaluation that met the target for good.
        samples: examples processed in the first `step` steps.
        held_until_step: the step of the evaluation by which a tenth more examples than `samples`
            were processed; None if the run ended before.
    """

    after_step: int
    step: int
    samples: int
    held_until_step: int | None

    @property
    def held(self) -> bool:
        """Whether the target was met from `step` on, until a tenth more examples were processed."""
        return self.held_until_step is not None

    def would_hold_at(self, samples: int, target: Target) -> bool:
        """Return whether a run has met `target` for long enough after `samples` examples.

        Long enough means: for the fraction `target.held_for` more examples than `self.samples`.
        """
        return samples - self.samples >= target.held_for * self.samples

    @property
    def least(self) -> float:
        """A lower bound of the steps to the target: `after_step`, but at least `step` / 20."""
        return max(self.after_step, min(self.step, max(1.0, self.step / 20)))

    @property
    def middle(self) -> float:
        """The estimated steps to the target: the midpoint of `after_step` and `step`."""
        return (self.after_step + self.step) / 2


def crossing_of(evaluations: Sequence[Evaluation], target: Target) -> Crossing | None:
    """Return where a run begins to meet `target` for good, or None if it does not.

    Args:
        evaluations: the evaluations of one run, in order of steps.
        target: the target on validation data.
    """
    before, here = 0, None
    for evaluation in evaluations:
        value = evaluation.score("validation", target.metric)
        if value is None:
            if evaluation.is_not_finite("validation", target.metric):
                before, here = evaluation.step, None  # NaN or infinity misses the target
            continue
        if here is not None and not target.held_for:
            return replace(here, held_until_step=evaluation.step)
        if not target.met_by(value):
            before, here = evaluation.step, None
        elif here is None:
            here = Crossing(
                after_step=before,
                step=evaluation.step,
                samples=evaluation.samples,
                held_until_step=None,
            )
        elif here.would_hold_at(evaluation.samples, target):
            return replace(here, held_until_step=evaluation.step)
    return here


Sampling = Literal["reshuffle", "replacement"]
BatchMode = Literal["full", "mini", "stochastic"]
Setting = str | int | float | bool | None


# Codes of notes on runs that ended by themselves: by the workload's early stopping, or because
# the script ended before the requested length or does not accept a length.
_ENDED_ITSELF = ("stopped_early", "script_trained_to_its_end", "script_ended_itself")

NOT_AS_GIVEN = ("other_batch_size", "metric_never_changed")
"""Codes of reasons why a script's run says nothing about the given batch size."""


class Status(StrEnum):
    """How a trial ended. A failed trial is stored with its reason, but left out of all averages."""

    OK = "ok"
    TARGET_REACHED = "target_reached"
    DIVERGED = "diverged"
    NAN = "nan"
    OOM = "oom"
    TIMEOUT = "timeout"
    KILLED = "killed"
    ERROR = "error"

    @property
    def ended_well(self) -> bool:
        """Whether the trial ended as planned or at its target, so that averages include it."""
        return self in (Status.OK, Status.TARGET_REACHED)

    @property
    def may_go_on(self) -> bool:
        """Whether a second request for the trial resumes it from its checkpoint."""
        return self in (Status.TIMEOUT, Status.KILLED, Status.ERROR)


IDENTITY_FORMAT: Final = 2  # In format 1, the hash also included fields with default values.


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training run to perform, identified by a hash of its fields.

    Fields that have their default value are left out of the hash. So never change a default: that
    would change the identities of stored trials.

    Attributes:
        workload_id: identity of the workload: its source, settings and data.
        workload: the workload's name, for people.
        settings: the workload's settings that differ from its defaults, sorted by name.
        n_train: examples in the training set.
        batch_size: examples per optimizer step; with `stages`, examples of the first step.
        micro_batch_size: examples per forward and backward pass; the default is the largest batch
            size.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: whether a smaller last batch of an epoch is left out.
        learning_rate: the peak learning rate, after any scaling to the batch size.
        scaling_rule: the rule that adapts the workload's settings, such as Adam's betas, to the
            batch size; "none" if they are not adapted.
        horizon_steps: the steps that a learning-rate schedule spans; None for a constant rate.
        stages: batch sizes and rate factors of later parts of the run; empty if there are none.
        device: "cpu" or "cuda".
        seed: the seed of the initial weights and of the order of examples.
        world_size: the number of devices that share every batch and every micro-batch.
    """

    workload_id: str
    workload: str
    settings: tuple[tuple[str, Setting], ...] = ()
    n_train: int
    batch_size: int
    micro_batch_size: int = 0
    sampling: Sampling = "reshuffle"
    drop_last: bool = False
    learning_rate: float
    scaling_rule: str = "none"
    horizon_steps: int | None = None
    device: str = "cpu"
    seed: int
    stages: tuple[Stage, ...] = ()
    world_size: int = 1

    def __post_init__(self) -> None:
        """Set the micro-batch size to the largest batch size if no micro-batch size is given."""
        if not self.micro_batch_size:
            object.__setattr__(self, "micro_batch_size", self.largest_batch_size)

    @property
    def identity(self) -> dict[str, object]:
        """The names and values of the fields whose values differ from their defaults.

        A new field with a default therefore does not change the identity of existing trials.
        `format` is increased when an existing field gets another meaning.
        """
        differing: dict[str, object] = {}
        for row in fields(self):
            value = getattr(self, row.name)
            if value != row.default:
                differing[row.name] = value
        if self.settings:
            differing["settings"] = dict(self.settings)
        if self.stages:
            differing["stages"] = list(map(asdict, self.stages))
        if self.micro_batch_size == self.largest_batch_size:
            differing.pop("micro_batch_size", None)
        return {"format": IDENTITY_FORMAT, **differing}

    @property
    def trial_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the identity's canonical JSON.

        Source: RFC 8785 (JSON Canonicalization Scheme).
        """
        return hashlib.sha256(rfc8785.dumps(self.identity)).hexdigest()[:16]  # type: ignore[arg-type]

    @property
    def batch_mode(self) -> BatchMode:
        """The kind of batch: "full" (all examples), "stochastic" (one example), else "mini"."""
        if self.batch_size == self.n_train:
            return "full"
        return "stochastic" if self.batch_size == 1 else "mini"

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch size of each stage of the run, in order."""
        return (self.batch_size, *(stage.batch_size for stage in self.stages))

    @property
    def largest_batch_size(self) -> int:
        """The largest number of examples in a step."""
        return max(self.batch_sizes)

    @property
    def micro_batch_sizes(self) -> dict[int, int]:
        """The micro-batch size at each of the trial's batch sizes."""
        return {size: min(size, self.micro_batch_size) for size in self.batch_sizes}

    def throughout(self, batch_size: int) -> Trial:
        """Return the trial without stages, with `batch_size` and the initial rate at every step."""
        micro = min(batch_size, self.micro_batch_size)
        return replace(self, batch_size=batch_size, micro_batch_size=micro, stages=())

    @property
    def accumulates(self) -> bool:
        """Whether some batches are split into micro-batches."""
        return self.micro_batch_size < self.largest_batch_size

    @property
    def process_batch_size(self) -> int:
        """The examples per forward pass in each of the `world_size` processes, rounded up."""
        return -(-self.micro_batch_size // self.world_size)

    @property
    def plan(self) -> BatchPlan:
        """The batch size of each step, and the steps at which the epochs end."""
        return _plan(self.n_train, self.batch_size, self.drop_last, self.stages)

    @property
    def notes(self) -> tuple[Reason, ...]:
        """Notes for readers of the record: on last batches, accumulation and several devices."""
        notes = self.plan.notes(self.micro_batch_size)
        if self.world_size == 1:
            return notes
        size = self.process_batch_size
        return (*notes, Reason.of("batches_are_split", n=self.world_size, size=size))


@lru_cache(maxsize=64)
def _plan(n_train: int, batch_size: int, drop_last: bool, stages: tuple[Stage, ...]) -> BatchPlan:
    # The result is cached, because a plan with stages takes long to compute.
    return BatchPlan(n_train=n_train, batch_size=batch_size, drop_last=drop_last, stages=stages)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial and everything observed while it ran.

    Attributes:
        trial: the training run that was requested.
        status: how the trial ended, None if it has not ended.
        reason: why the trial ended badly, None if it ended well.
        traceback: the whole traceback of the child process's error, None without an error.
        engine: the engine that ran the trial.
        threads: the number of threads that computed the trial.
        versions: names and versions of the libraries that were used.
        target: the requested target, if any.
        evaluations: all evaluations, in order of steps.
        peak_bytes: peak memory of the process above an idle process, None if not reported.
        place: the processor with its cores, or the GPU, at the trial's end; None if not reported.
        resumed_from_steps: the checkpoint steps from which the trial was resumed.
        notes: what a reader of the record must know (accumulation, dropped examples, ...).
    """

    trial: Trial
    status: Status | None
    reason: Reason | None = None
    traceback: str | None = None
    engine: str
    threads: int
    versions: tuple[tuple[str, str], ...]
    target: Target | None = None
    evaluations: tuple[Evaluation, ...]
    peak_bytes: int | None
    place: str | None = None
    resumed_from_steps: tuple[int, ...] = field(default=())
    notes: tuple[Reason, ...] = field(default=())

    @property
    def has_failed(self) -> bool:
        """Whether the trial diverged or ended badly; a trial that ran out of time did not fail."""
        return self.status not in (None, Status.OK, Status.TARGET_REACHED, Status.TIMEOUT)

    @property
    def has_diverged(self) -> bool:
        """Whether the trial's loss grew beyond a limit, or was not finite."""
        return self.status in (Status.DIVERGED, Status.NAN)

    @property
    def is_of_no_size(self) -> bool:
        """Whether the script ignored the given batch size, or did not train."""
        return self.reason is not None and self.reason.code in NOT_AS_GIVEN

    @property
    def has_ended_itself(self) -> bool:
        """Whether the trial ended by itself, so that it can't be trained further."""
        return any(note.code in _ENDED_ITSELF for note in self.notes)

    @property
    def ended_by_patience(self) -> bool:
        """Whether the workload's early stopping ended the trial and kept the best model."""
        return any(note.code == "stopped_early" for note in self.notes)

    @property
    def ended_well(self) -> bool:
        """Whether the trial ended as planned or at its target, so that averages include it."""
        return self.status is not None and self.status.ended_well

    @property
    def _last(self) -> Evaluation:
        return self.evaluations[-1] if self.evaluations else _NO_EVALUATION

    @property
    def steps(self) -> int:
        """Optimizer steps done at the last evaluation."""
        return self._last.step

    @property
    def samples(self) -> int:
        """Examples processed at the last evaluation."""
        return self._last.samples

    @property
    def epochs(self) -> float:
        """Passes over the training set at the last evaluation."""
        return self.epoch_of(self._last)

    @property
    def train_s(self) -> float:
        """Seconds of training; other runs at the same time may have made the steps slower."""
        return self._last.train_s

    @property
    def eval_s(self) -> float:
        """Seconds of all evaluations."""
        return self._last.eval_s

    def epoch_of(self, evaluation: Evaluation) -> float:
        """Return the number of epochs done at an evaluation."""
        return self.trial.plan.epoch_at(evaluation.step)

    def curve(self, split: Split, metric: str) -> Iterator[tuple[Evaluation, float]]:
        """Yield the evaluations at which `metric` of `split` is known, each with its value."""
        for evaluation in self.evaluations:
            value = evaluation.score(split, metric)
            if value is not None:
                yield evaluation, value

    def at_epoch_ends(self, split: Split, metric: str) -> dict[int, float]:
        """Return the known values of `metric` on `split` at epoch ends, by number of epochs done.

        The value at 0 epochs is of the untrained model. If a script made no evaluation at an epoch
        end, all values at epoch ends are interpolated linearly between two evaluations.
        """
        plan = self.trial.plan
        values = {}
        for evaluation, value in self.curve(split, metric):
            epoch, steps_since = plan.position(evaluation.step)
            if steps_since == 0:
                values[epoch] = value
        if values.keys() - {0}:
            return values
        for (before, earlier), (after, later) in pairwise(self.curve(split, metric)):
            steps = after.step - before.step
            for epoch in range(plan.position(before.step)[0] + 1, plan.position(after.step)[0] + 1):
                share = (plan.steps_in(epoch) - before.step) / steps
                values[epoch] = earlier + share * (later - earlier)
        return values

    def last(self, split: Split, metric: str) -> float | None:
        """Return the last evaluation's value of `metric` on `split`, None if it is not known.

        A trial that ended well was evaluated on all splits at its end; a stopped trial may lack
        splits. Values from earlier evaluations are not returned: the model has changed since then.
        """
        return self._last.score(split, metric)

    def crossing(self, target: Target | None) -> Crossing | None:
        """Return where the trial begins to meet `target` for good, as described in `Crossing`.

        The result is None if there is no target, if the trial did not meet it for good, or if the
        trial failed before it had met the target for a tenth more examples.
        """
        crossing = None if target is None else crossing_of(self.evaluations, target)
        if crossing is None or crossing.held or not self.has_failed:
            return crossing
        return None
