"""Trial, TrialRecord, Status: one training run, as it was asked for and as it went."""

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
    """One metric of one split at one evaluation.

    Attributes:
        split: the part of the data.
        metric: its name.
        value: its value, or None if it was not a finite number.
    """

    split: Split
    metric: str
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The observations when training paused after `step` optimizer steps.

    Attributes:
        step: optimizer steps done; 0 is the untrained model.
        samples: examples processed by then.
        train_s: seconds of training by then (fetching, copying and steps; not evaluation).
        eval_s: seconds of evaluation by then.
        batch_loss: mean loss of the training batches since the previous evaluation, None at step 0.
        scores: the metrics; validation at every evaluation, train and test as asked for
            (`RunLength.all_splits`).
        measured: what was measured of the model there, as (name, value) by the measurement's
            name; a value that was not a finite number is None.
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
        """Whether train data, and test data where there are any, were evaluated too."""
        return any(score.split == "train" for score in self.scores)

    def score(self, split: Split, metric: str) -> float | None:
        """Return the value of `metric` on `split`, None if it was not evaluated or not finite."""
        for score in self.scores:
            if score.split == split and score.metric == metric:
                return score.value
        return None

    def measurement(self, name: str) -> float | None:
        """Return the model's measurement of this name, None if it was not taken or not finite."""
        return dict(self.measured).get(name)

    def is_not_finite(self, split: Split, metric: str) -> bool:
        """Return whether `metric` was evaluated on `split` and was not a finite number."""
        return any(
            score.split == split and score.metric == metric and score.value is None
            for score in self.scores
        )


_NO_EVALUATION: Final = Evaluation(
    step=0, samples=0, train_s=0.0, eval_s=0.0, batch_loss=None, scores=()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The level of a validation metric that counts as trained.

    Attributes:
        metric: name of the metric.
        value: the level to reach.
        better: whether the metric goes up or down.
        held_for: it is met where it holds until this fraction more examples have been processed; 0
            for the first touch, of curves that were recorded no further.
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
    """Where a validation metric met its target to stay: after `after_step`, at or before `step`.

    To stay: every evaluation met it until a tenth more examples had been processed. A curve
    wobbles, and the first touch of a level near its end is luck.

    Attributes:
        after_step: the last evaluation before it, where the target was not met (0: none before).
        step: the first evaluation of those that met the target.
        samples: examples processed by then.
        held_until_step: the evaluation at which it had held for a tenth more examples; None if
            the run ended before, at the target.
    """

    after_step: int
    step: int
    samples: int
    held_until_step: int | None

    @property
    def held(self) -> bool:
        """Whether the target stayed met for a tenth more examples."""
        return self.held_until_step is not None

    def would_hold_at(self, samples: int, target: Target) -> bool:
        """Return whether meeting the target at `samples` too would show that it held."""
        return samples - self.samples >= target.held_for * self.samples

    @property
    def least(self) -> float:
        """The least steps to the target; if met at once, right in 95 of 100 cases."""
        return max(self.after_step, min(self.step, max(1.0, self.step / 20)))

    @property
    def middle(self) -> float:
        """The steps to the target: the midpoint of the two evaluations around the crossing."""
        return (self.after_step + self.step) / 2


def crossing_of(evaluations: Sequence[Evaluation], target: Target) -> Crossing | None:
    """Return where validation data met `target` to stay, or until the last evaluation, if so.

    Args:
        evaluations: of one run, by step.
        target: the level to look for.
    """
    before, here = 0, None
    for evaluation in evaluations:
        value = evaluation.score("validation", target.metric)
        if value is None:
            if evaluation.is_not_finite("validation", target.metric):
                before, here = evaluation.step, None  # a value that is not finite meets no level
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


# The workload's patience ended the run, or a script ended before the requested length, had no
# requested length, or can't be given any.
_ENDED_ITSELF = ("stopped_early", "script_trained_to_its_end", "script_ended_itself")

NOT_AS_GIVEN = ("other_batch_size", "metric_never_changed")
"""Reasons why a script's training did not use the batch size that was given."""


class Status(StrEnum):
    """How a trial ended. A bad end is a result: kept with its reason, never averaged in."""

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
        """Whether the trial's numbers may be averaged with those of other trials."""
        return self in (Status.OK, Status.TARGET_REACHED)

    @property
    def may_go_on(self) -> bool:
        """Whether the same trial goes on from its checkpoint when it is asked for again."""
        return self in (Status.TIMEOUT, Status.KILLED, Status.ERROR)


IDENTITY_FORMAT: Final = 2  # the first format, which had no number, hashed every field


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training run to ask for; its identity is a hash of the fields that differ from defaults.

    The defaults are therefore frozen: another one would give stored trials other identities.

    Attributes:
        workload_id: identity of the workload: its source, settings and data.
        workload: its name, for people.
        settings: the workload's settings that differ from its defaults, sorted by name.
        n_train: examples in the training set.
        batch_size: examples per optimizer step; if there are `stages`, that of the first step.
        micro_batch_size: examples per forward and backward pass, at most a whole batch, which is
            the default.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: whether a smaller last batch of an epoch is left out.
        learning_rate: peak learning rate, after scaling.
        scaling_rule: how the rate was made from the reference rate ("none": given as it is).
        horizon_steps: the steps that a learning-rate shape spans; None for a constant rate.
        stages: other batch sizes and rates, by where in the run they begin; empty if it has one.
        device: "cpu" or "cuda".
        seed: the seed of the initial weights and of the order of examples.
        world_size: devices that each take a part of every batch, and of every micro-batch.
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
        """Leave every batch whole if no micro-batch size is given."""
        if not self.micro_batch_size:
            object.__setattr__(self, "micro_batch_size", self.largest_batch_size)

    @property
    def identity(self) -> dict[str, object]:
        """The fields that identify the trial: each field that differs from its frozen default.

        A new field with a default therefore does not change the identity of existing trials.
        `format` rises when an existing field gets another meaning.
        """
        differing = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
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
        """Full (B = N), stochastic (B = 1) or mini (between them)."""
        if self.batch_size == self.n_train:
            return "full"
        return "stochastic" if self.batch_size == 1 else "mini"

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch size of each part of the run, in order."""
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
        """Return the trial with one of its batch sizes at every step, and with its initial rate."""
        micro = min(batch_size, self.micro_batch_size)
        return replace(self, batch_size=batch_size, micro_batch_size=micro, stages=())

    @property
    def accumulates(self) -> bool:
        """Whether a step may be cut into micro-batches."""
        return self.micro_batch_size < self.largest_batch_size

    @property
    def process_batch_size(self) -> int:
        """The examples of a pass in each of its `world_size` processes."""
        return -(-self.micro_batch_size // self.world_size)

    @property
    def plan(self) -> BatchPlan:
        """The plan of how many examples each step sees, and where the epochs end."""
        return _plan(self.n_train, self.batch_size, self.drop_last, self.stages)

    @property
    def notes(self) -> tuple[Reason, ...]:
        """The notes about the trial's batches that a reader of its record needs."""
        notes = self.plan.notes(self.micro_batch_size)
        if self.world_size == 1:
            return notes
        size = self.process_batch_size
        return (*notes, Reason.of("batches_are_split", n=self.world_size, size=size))


@lru_cache(maxsize=64)
def _plan(n_train: int, batch_size: int, drop_last: bool, stages: tuple[Stage, ...]) -> BatchPlan:
    """Return a plan, cached so that the epochs with stages are counted only once."""
    return BatchPlan(n_train=n_train, batch_size=batch_size, drop_last=drop_last, stages=stages)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial and everything observed while it ran.

    Attributes:
        trial: what was asked.
        status: how it ended, None if it has not ended.
        reason: why it ended badly, None if it ended well.
        traceback: the child's whole report of an error, None without one.
        engine: the engine that ran it.
        threads: threads it computed with.
        versions: names and versions of the libraries it ran with.
        target: the target asked for, if any.
        evaluations: all of them, by step.
        peak_bytes: peak memory of its process above the idle process, None if not reported.
        place: the processor with its cores, or the GPU, that it ended on; None if not reported.
        resumed_from_steps: the checkpoint steps from which it was resumed.
        notes: what a reader must know (accumulation and BatchNorm, dropped examples, ...).
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
        """Whether the trial diverged or ended badly; cut or out of time is not failed."""
        return self.status not in (None, Status.OK, Status.TARGET_REACHED, Status.TIMEOUT)

    @property
    def has_diverged(self) -> bool:
        """Whether the trial's loss grew beyond bounds, or was not finite."""
        return self.status in (Status.DIVERGED, Status.NAN)

    @property
    def is_of_no_size(self) -> bool:
        """Whether the script used another batch size than the given one, or did not train."""
        return self.reason is not None and self.reason.code in NOT_AS_GIVEN

    @property
    def has_ended_itself(self) -> bool:
        """Whether the trial ended by itself, so that it can't be trained further."""
        return any(note.code in _ENDED_ITSELF for note in self.notes)

    @property
    def ended_by_patience(self) -> bool:
        """Whether the workload's patience ended the trial, so that its best model is kept."""
        return any(note.code == "stopped_early" for note in self.notes)

    @property
    def ended_well(self) -> bool:
        """Whether the trial has ended, and its numbers may be averaged with other trials'."""
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
        """Seconds of training, no measure of a step: the machine may have been shared."""
        return self._last.train_s

    @property
    def eval_s(self) -> float:
        """Seconds of evaluation."""
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
        """Return the known values of `metric` on `split` by epochs done; 0 is the untrained model.

        A training whose script chooses when to evaluate may have no value at an epoch's end. Its
        values are then interpolated linearly between the evaluations on either side.
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

        A trial that ended well was evaluated on all splits at its end. A stopped one may not have
        been, and older values next to newer ones would compare two different models.
        """
        return self._last.score(split, metric)

    def crossing(self, target: Target) -> Crossing | None:
        """Return where the trial met `target` on validation data to stay, or to its end, if it did.

        A run that ended badly before the target had held did not meet it.
        """
        crossing = crossing_of(self.evaluations, target)
        if crossing is None or crossing.held or not self.has_failed:
            return crossing
        return None
