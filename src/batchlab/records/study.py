"""Study: a set of trials that answer one question. WorkloadSummary: their workload."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any

from msgspec import Meta

from batchlab.records.quantities import Better
from batchlab.records.shown import Reported
from batchlab.records.trial import Setting, Split, Target, Trial, TrialRecord

Count = Annotated[int, Meta(ge=1)]


def place_of(environment: Iterable[tuple[str, str]], device: str) -> str | None:
    """Return the recorded name of the hardware of `device`, or None if it was not recorded.

    Args:
        environment: (name, value) pairs of a study's or profile's environment.
        device: "cpu", "cuda" or a GPU such as "cuda:1".
    """
    values = dict(environment)
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return values.get(f"cuda:{index or 0}")
    processor, cores = values.get("processor"), values.get("cores")
    if not (processor and cores):
        return None
    noun = "core" if cores == "1" else "cores"
    return f"{processor}, {cores} {noun}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTiming:
    """The step times of one timed run, during which nothing else used the device.

    Attributes:
        workload_id: identity of the workload that was timed.
        batch_size: examples per step.
        micro_batch_size: examples per forward and backward pass.
        device: "cpu" or "cuda".
        threads: threads that PyTorch computed with.
        warmup_s: seconds of each block of warm-up steps, which are slow; not part of `block_s`.
        block_s: seconds of each timed block of steps, in the order of the blocks.
        block_steps: steps in each block.
        peak_bytes: peak memory of the run above an idle process, or None if not reported.
        place: the processor with its cores, or the GPU, that the run used; None if not known.
    """

    workload_id: str
    batch_size: int
    micro_batch_size: int
    device: str
    threads: Count
    warmup_s: tuple[Annotated[float, Meta(gt=0)], ...]
    block_s: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1)]
    block_steps: Count
    peak_bytes: int | None
    place: str | None = None

    @property
    def step_s(self) -> float:
        """Median seconds per step over the blocks."""
        return statistics.median(self.block_s) / self.block_steps

    @property
    def unsteadiness_fraction(self) -> float:
        """Interquartile range of `block_s` / median of `block_s`; large on a busy machine."""
        ordered, quarter = sorted(self.block_s), len(self.block_s) // 4
        return (ordered[-1 - quarter] - ordered[quarter]) / statistics.median(ordered)


# Batch sizes that are always tried, so that an answer can compare the best batch size with them.
USUAL_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamSettings:
    """The settings of Adam or AdamW apart from the learning rate; the defaults are PyTorch's.

    Attributes:
        betas: decay of the first and the second moment per step, each in [0, 1).
        eps: added to the root of the second moment, > 0.
        weight_decay: the decoupled weight decay, as in AdamW: each step subtracts learning rate *
            weight_decay * weights from the weights; None without decoupled decay.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSummary:
    """A metric's name, and whether higher or lower values are better."""

    name: str
    better: Better


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadSummary:
    """The description of a workload, which can be read without loading the workload.

    `metrics` has the direction of each metric; batch sizes are compared by the first metric. `adam`
    has the optimizer's betas and eps at `batch_size`; null if the optimizer lacks betas or eps.

    Attributes:
        workload_id: identity: a hash of source, settings and data.
        name: the workload's name.
        reference: the workload as given on the command line (`mnist-mlp`, `train.py:workload`).
        settings: all settings with the values used, sorted by name.
        n_train: examples in the training set.
        n_validation: examples in the validation set; 0 without validation set; None if a script has
            a validation set of unknown size.
        n_test: examples in the test set; 0 without test set.
        n_train_evaluated: training examples that train metrics are computed on (a fixed subset).
        n_parameters: trainable parameters of the model; None if not known.
        metrics: the metrics, including `loss`; batch sizes are compared by the first metric.
        batch_size: the reference batch size.
        learning_rate: the reference learning rate; 1 for a command without a rate to set.
        has_batch_norm: whether a layer of the model normalizes over the batch.
        loss_couples: whether a batch's loss differs from the mean of its examples' losses.
        last_batch_runs: whether a test step on a smaller last batch of an epoch succeeded.
        adam: the optimizer's settings at `batch_size`: the least betas and the largest decoupled
            weight decay of all parameter groups, and the first group's eps; None if a group does
            not have two betas and an eps.
        has_weight_decay: whether a parameter group has weight decay; None if not known.
        warnings: what seemed odd when the workload was checked.
        draws_by_seed: whether each seed draws different examples for validation.
        start_s: seconds from the start of a user's own command to its first progress; None for a
            workload, which starts in hundredths of a second.
        takes_rate: whether the learning rate can be set; a command may have a fixed rate.
        unit: what a batch size counts, in words: examples or tokens.
    """

    workload_id: str
    name: str
    reference: str
    settings: tuple[tuple[str, Setting], ...]
    n_train: int
    n_validation: int | None
    n_test: int
    n_train_evaluated: int
    n_parameters: int | None
    metrics: tuple[MetricSummary, ...]
    batch_size: int
    learning_rate: float
    has_batch_norm: bool = False
    loss_couples: bool = False
    last_batch_runs: bool = True
    adam: AdamSettings | None = None
    has_weight_decay: bool | None = None
    warnings: tuple[str, ...] = ()
    draws_by_seed: bool = False
    start_s: float | None = None
    takes_rate: bool = True
    unit: str = "examples"

    document = (
        *("workload_id", "name", "reference", "settings", "n_train", "n_validation", "n_test"),
        *("n_train_evaluated", "n_parameters", "metrics", "batch_size", "learning_rate", "adam"),
        "warnings",
    )
    by_name = ("settings", "metrics")

    @property
    def is_own_command(self) -> bool:
        """Whether the workload is a user's own training command, run without changes."""
        return self.start_s is not None

    def n_evaluated(self, split: Split) -> int:
        """Return how many examples a split's metrics are computed on; 0 if this is unknown."""
        if split == "train":
            return self.n_train_evaluated
        return (self.n_validation or 0) if split == "validation" else self.n_test

    @property
    def has_validation(self) -> bool:
        """Whether there are validation data, even if their number is unknown."""
        return self.n_validation != 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyName:
    """A study as it is stored: its identity, the ids of its trials, and its settings.

    Attributes:
        study_id: the identity of the study in the store.
        command: the command line that started the study.
        environment: versions, processor, cores and operating system, as (name, value).
        trial_ids: the ids of the trials, in the order in which the trials were requested.
        target: the target of the trials, if any.
        margin: a final value that is worse by at most this counts as no worse; None if not given.
    """

    study_id: str
    command: str
    workload_id: str
    environment: tuple[tuple[str, str], ...]
    trial_ids: tuple[str, ...] = ()
    target: Target | None = None
    margin: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Study(Reported):
    """A set of trials that answer one question, and the environment in which they ran.

    Attributes:
        study_id: the study's identity in the store.
        command: the exact command line that started the study.
        created_at: the time of the study's creation, ISO 8601 in UTC.
        workload: what was trained.
        environment: versions, processor, cores and operating system, as (name, value).
        records: the records of the trials, in the order in which the trials were requested.
        timings: step times measured with nothing else running, at most one per batch size.
        spent_s: seconds spent on the study, over all its sessions.
        target: the target of the trials, whose steps to it are counted; None if none was given.
        margin: a final value that is worse than another by at most this difference counts as no
            worse; in the unit of the first metric; None if no margin was given.
        awaits_answer: whether the study belongs to an advice whose answer is missing or unreadable.
    """

    study_id: str
    command: str
    created_at: str
    workload: WorkloadSummary
    environment: tuple[tuple[str, str], ...]
    records: tuple[TrialRecord, ...]
    timings: tuple[StepTiming, ...]
    spent_s: float
    target: Target | None = None
    margin: float | None = None
    awaits_answer: bool = False

    def __hash__(self) -> int:
        """Hash only the identity: caches of large studies would otherwise hash every evaluation."""
        return hash(self.study_id)

    def __repr__(self) -> str:
        """Return the workload, the batch sizes, and how many trials ran and ended well, as text."""
        well = sum(record.ended_well for record in self.records)
        return (
            f"Study(workload={self.workload.name!r}, batch_sizes={self.batch_sizes}, "
            f"trials={len(self.records)}, ended_well={well})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the output of `batchlab sweep --json`, described by docs/schema/sweep.json.

        The fields `store` and `report` are None, because a study does not contain these paths.
        """
        text = resolve_name("batchlab.report.sweep_page:sweep_document")(self)
        document: dict[str, Any] = json.loads(text)
        return document

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes of the trials, ascending, or the timed sizes if there is no trial."""
        of_trials: set[int] = set()
        for record in self.records:
            of_trials.update(record.trial.batch_sizes)
        return tuple(sorted(of_trials or {timing.batch_size for timing in self.timings}))

    def timing(self, batch_size: int) -> StepTiming | None:
        """Return the timing of `batch_size`, or None if this batch size was not timed."""
        for timing in self.timings:
            if timing.batch_size == batch_size:
                return timing
        return None

    def train_s(self, trial: Trial, step: int) -> float | None:
        """Return the seconds of a trial's first `step` steps; None if no step time is known."""
        step_s = {timing.batch_size: timing.step_s for timing in self.timings}
        if not step_s.keys() >= set(trial.batch_sizes):
            return None
        return trial.plan.train_s_at(step, step_s)

    def peak_bytes(self, batch_size: int) -> int | None:
        """Return the peak memory of the timed run, or else of the trials, at a batch size."""
        timing = self.timing(batch_size)
        if timing is not None and timing.peak_bytes is not None:
            return timing.peak_bytes
        peaks = []
        for record in self.records:
            if record.trial.batch_sizes == (batch_size,) and record.peak_bytes is not None:
                peaks.append(record.peak_bytes)
        return max(peaks, default=None)
