"""Trial, TrialRecord, Status: one training run, what was asked and what was seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, Literal

import rfc8785

from batchlab.records.batch_plan import BatchPlan, ConstantBatchSize
from batchlab.records.evaluation import Evaluation, Split
from batchlab.records.reason import Reason
from batchlab.records.target import Crossing, Target, crossing_of

Sampling = Literal["reshuffle", "replacement"]
BatchMode = Literal["full", "mini", "stochastic"]
Setting = str | int | float | bool | None


# By the patience of a workload; by a script that ended before the length it was given, that was
# not asked for any, or that cannot be told one.
_ENDED_ITSELF = (
    "stopped_early",
    "script_stopped_early",
    "script_trained_to_its_end",
    "script_ended_itself",
)


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
        """Whether its numbers may be averaged with those of other trials."""
        return self in (Status.OK, Status.TARGET_REACHED)

    @property
    def may_go_on(self) -> bool:
        """Whether asking for the same trial again makes it go on from its checkpoint."""
        return self in (Status.TIMEOUT, Status.KILLED, Status.ERROR)


IDENTITY_FORMAT: Final = 2  # the first, without a number, hashed every field

FROZEN_DEFAULTS: Final[Mapping[str, object]] = {
    "settings": (),
    "sampling": "reshuffle",
    "drop_last": False,
    "scaling_rule": "none",
    "horizon_steps": None,
    "device": "cpu",
}
"""The values that identities leave out, beside a micro-batch of the whole batch. A change here
would give stored trials other identities. A later field has its frozen default in the class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training run that can be asked for; its identity is a hash of what differs from defaults.

    Attributes:
        workload_id: identity of the workload: its source, settings and data.
        workload: its name, for people.
        settings: the workload's settings that differ from its defaults, sorted by name.
        n_train: examples in the training set.
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward and backward pass, at most `batch_size`.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: whether a smaller last batch of an epoch is left out.
        learning_rate: peak learning rate, after scaling.
        scaling_rule: how the rate was made from the reference rate ("none": given as it is).
        horizon_steps: the run that a learning-rate shape spans; None for a constant rate.
        cool_down: the last part of `horizon_steps`, over which a rate that is constant until then
            falls linearly to zero; 0.0: it does not, or the workload has a shape of its own.
        device: "cpu" or "cuda".
        seed: seeds initial weights and order of examples.
    """

    workload_id: str
    workload: str
    settings: tuple[tuple[str, Setting], ...]
    n_train: int
    batch_size: int
    micro_batch_size: int
    sampling: Sampling
    drop_last: bool
    learning_rate: float
    scaling_rule: str
    horizon_steps: int | None
    device: str
    seed: int
    cool_down: float = 0.0

    @classmethod
    def of_whole_batches(
        cls,
        *,
        workload_id: str,
        workload: str,
        n_train: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
    ) -> Trial:
        """One in whole batches at a constant rate on the CPU, everything else as by default."""
        return cls(
            workload_id=workload_id,
            workload=workload,
            settings=(),
            n_train=n_train,
            batch_size=batch_size,
            micro_batch_size=batch_size,
            sampling="reshuffle",
            drop_last=False,
            learning_rate=learning_rate,
            scaling_rule="none",
            horizon_steps=None,
            device="cpu",
            seed=seed,
        )

    @property
    def identity(self) -> dict[str, object]:
        """What tells it from other trials: each field that differs from its frozen default.

        So a field that is added later, with a default, changes the identity of no trial that has
        it there. `format` rises where what is already here gets another meaning.
        """
        differing = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != self._frozen_default(field)
        }
        if self.settings:
            differing["settings"] = dict(self.settings)
        return {"format": IDENTITY_FORMAT, **differing}

    def _frozen_default(self, field: Field[Any]) -> object:
        if field.name == "micro_batch_size":
            return self.batch_size
        return FROZEN_DEFAULTS.get(field.name, field.default)

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
    def plan(self) -> BatchPlan:
        """How many examples each step sees, and where the epochs end."""
        return ConstantBatchSize(
            n_train=self.n_train, batch_size=self.batch_size, drop_last=self.drop_last
        )

    @property
    def notes(self) -> tuple[Reason, ...]:
        """What a reader of its record must know about its batches."""
        return self.plan.notes(self.micro_batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial and everything observed while it ran.

    Attributes:
        trial: what was asked.
        status: how it ended, None while it has not.
        reason: why it ended badly, None where it ended well.
        traceback: the child's whole report of an error, None without one.
        engine: the engine that ran it.
        threads: threads it computed with.
        versions: names and versions of the libraries it ran with.
        target: the target asked for, if any.
        evaluations: all of them, by step.
        peak_bytes: peak memory of its process above the idle process, None: not reported.
        resumed_from_steps: the checkpoint steps from which it was taken up again.
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
    resumed_from_steps: tuple[int, ...] = field(default=())
    notes: tuple[Reason, ...] = field(default=())

    @property
    def has_failed(self) -> bool:
        """Whether it diverged or ended badly; one that was cut, or ran out of time, has not."""
        return self.status not in (None, Status.OK, Status.TARGET_REACHED, Status.TIMEOUT)

    @property
    def has_diverged(self) -> bool:
        """Whether its loss grew out of bounds, or was no number any more."""
        return self.status in (Status.DIVERGED, Status.NAN)

    @property
    def has_ended_itself(self) -> bool:
        """Whether it came to an end of its own: there is no more of it to be trained."""
        return any(note.code in _ENDED_ITSELF for note in self.notes)

    @property
    def ended_well(self) -> bool:
        """Whether it has ended, and its numbers may be averaged with those of other trials."""
        return self.status is not None and self.status.ended_well

    @property
    def steps(self) -> int:
        """Optimizer steps done at the last evaluation."""
        return self.evaluations[-1].step if self.evaluations else 0

    @property
    def samples(self) -> int:
        """Examples processed at the last evaluation."""
        return self.evaluations[-1].samples if self.evaluations else 0

    @property
    def epochs(self) -> float:
        """Passes over the training set at the last evaluation."""
        return self.epoch_of(self.evaluations[-1]) if self.evaluations else 0.0

    @property
    def train_s(self) -> float:
        """Seconds of training; the machine may have been shared, so never a step time."""
        return self.evaluations[-1].train_s if self.evaluations else 0.0

    @property
    def eval_s(self) -> float:
        """Seconds of evaluation."""
        return self.evaluations[-1].eval_s if self.evaluations else 0.0

    def epoch_of(self, evaluation: Evaluation) -> float:
        """The evaluation's place in passes over the training set."""
        return self.trial.plan.epoch_at(evaluation.step)

    def curve(self, split: Split, metric: str) -> Iterator[tuple[Evaluation, float]]:
        """The evaluations at which `metric` of `split` is known, each with its value."""
        for evaluation in self.evaluations:
            value = evaluation.score(split, metric)
            if value is not None:
                yield evaluation, value

    def at_epoch_ends(self, split: Split, metric: str) -> dict[int, float]:
        """The known values of `metric` on `split` by whole epochs done; 0: the untrained model.

        A training that was evaluated where its own script likes may have none there: then a value
        lies on the straight line between the evaluations on either side.
        """
        known = [(evaluation.step, value) for evaluation, value in self.curve(split, metric)]
        places = ((self.trial.plan.position(step), value) for step, value in known)
        found = {epoch: value for (epoch, steps_since), value in places if steps_since == 0}
        return found if found.keys() - {0} else found | self._between_epoch_ends(known)

    def _between_epoch_ends(self, known: list[tuple[int, float]]) -> dict[int, float]:
        plan = self.trial.plan
        found = {}
        for (before, earlier), (after, later) in pairwise(known):
            for epoch in range(plan.position(before)[0] + 1, plan.position(after)[0] + 1):
                share = (plan.steps_in(epoch) - before) / (after - before)
                found[epoch] = earlier + share * (later - earlier)
        return found

    def final(self, split: Split, metric: str) -> float | None:
        """The value of `metric` on `split` at the last evaluation, None if it is not known there.

        A trial that ended well was evaluated on all splits then. One that was stopped may not have
        been: an older value beside a newer one would compare two different models.
        """
        return self.evaluations[-1].score(split, metric) if self.evaluations else None

    def crossing(self, target: Target) -> Crossing | None:
        """Where it met `target` on validation data to stay, or to its end; None: nowhere.

        A run that ended badly before the target had held has not met it.
        """
        crossing = crossing_of(self.evaluations, target)
        if crossing is None or crossing.held or not self.has_failed:
            return crossing
        return None
