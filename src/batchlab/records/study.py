"""Study and WorkloadSummary: a set of trials with one question, as records without behavior."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from batchlab.records.quantities import Better
from batchlab.records.shown import Reported, document_of
from batchlab.records.trial import Setting, Split, Target, Trial, TrialRecord

Count = Annotated[int, Meta(ge=1)]


def place_of(environment: Iterable[tuple[str, str]], device: str) -> str | None:
    """Return the hardware of a device in this environment, or None if it is not recorded.

    Args:
        environment: names and values, of a study or of a profile.
        device: "cpu", "cuda" or "cuda:1".
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
    """The steps of one timed run, which had its device to itself.

    Attributes:
        workload_id: identity of the workload that was timed.
        batch_size: examples per step.
        micro_batch_size: examples per forward and backward pass.
        device: "cpu" or "cuda".
        threads: threads that PyTorch computed with.
        warmup_s: the first blocks, which do not count, kept: kernel selection shows up here.
        block_s: seconds of each timed block of steps, in the order they ran.
        block_steps: steps in each block.
        peak_bytes: peak memory of the run above an idle process, or None if not reported.
        place: the processor with its cores, or the GPU, that they ran on; None if not known.
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
        """The blocks' interquartile range over their median: large on a busy machine."""
        ordered, quarter = sorted(self.block_s), len(self.block_s) // 4
        return (ordered[-1 - quarter] - ordered[quarter]) / statistics.median(ordered)


# These sizes are always tried, so that an answer can compare them with the best one.
USUAL_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class BestSoFar:
    """The configuration that leads while a study is under way.

    Attributes:
        batch_size: examples per step.
        learning_rate: its rate.
    """

    batch_size: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamSettings:
    """The settings of Adam or AdamW apart from the learning rate; the defaults are PyTorch's.

    Attributes:
        betas: decay of the first and the second moment per step, each in [0, 1).
        eps: added to the root of the second moment, > 0.
        weight_decay: taken from the weights at each step, times the rate (decoupled, as in AdamW);
            None if there is no such decay.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSummary:
    """A metric's name and direction."""

    name: str
    better: Better


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadSummary:
    """What was trained, as it is known without loading it.

    `metrics` gives the direction of each, the first is the one that counts; `adam` the optimizer's
    betas and eps at `batch_size`, null where it does not have both.

    Attributes:
        workload_id: identity: a hash of source, settings and data.
        name: its name.
        reference: how it was named on the command line (`mnist-mlp`, `train.py:workload`).
        settings: all settings with the values used, sorted by name.
        n_train: examples in the training set.
        n_validation: examples in the validation set; 0 if there is none; None if there are some,
            but their number is not known (a script's own).
        n_test: examples in the test set; 0 if there is none.
        n_train_evaluated: training examples that the train metric is taken over (a fixed subset).
        n_parameters: trainable parameters of the model; None if not known.
        metrics: the metrics, the first is the one that counts; `loss` is always among them.
        batch_size: the reference batch size.
        learning_rate: the reference learning rate; 1 for a command that takes none.
        has_batch_norm: whether a layer of the model normalizes over the batch.
        loss_couples: whether its loss is no mean over single examples.
        last_batch_runs: whether a smaller last batch of an epoch ran after others.
        adam: the least betas of its optimizer's groups, the first one's eps and the largest
            decoupled weight decay, at the reference batch size; None if it is not of Adam's kind.
        has_weight_decay: whether a group of its optimizer has some; None if not known.
        warnings: what seemed odd when it was checked.
        draws_by_seed: whether each seed draws its own examples for validation.
        start_s: seconds from the start of a user's own command to its first progress; None for a
            workload, which starts in hundredths of a second.
        takes_rate: whether a learning rate reaches it; a command may have its own instead.
        unit: what its batch size counts, in words: examples or tokens.
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
        """Whether it is a user's own training command, run as it is."""
        return self.start_s is not None

    def n_evaluated(self, split: Split) -> int:
        """Return the number of examples for a metric of a split; 0 if none or unknown."""
        if split == "train":
            return self.n_train_evaluated
        return (self.n_validation or 0) if split == "validation" else self.n_test

    @property
    def has_validation(self) -> bool:
        """Whether there are validation data, however many."""
        return self.n_validation != 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyName:
    """The identity of a study in the store, and the values that are stored with it."""

    study_id: str
    command: str  # the command line that started the study
    workload_id: str
    environment: tuple[tuple[str, str], ...]  # names and values of the environment
    margin: float | None = None  # what still counts as ending as well, if it was given


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Study(Reported):
    """A set of trials with one question, and the place and time they were run.

    Attributes:
        study_id: its identity in the store.
        command: the exact command line that asked for it.
        created_at: ISO 8601, UTC.
        workload: what was trained.
        environment: names and values: versions, processor, cores, operating system.
        records: the trials, in the order they were asked for.
        timings: step times measured by themselves, one per batch size if there are any.
        spent_s: seconds spent on it, over all its sessions.
        target: the target asked for, by which `steps_to_target` counts; None if none was.
        margin: how much worse still counts as ending as well, if that was given, in the unit of the
            metric that counts.
        awaits_answer: whether it is of an advice without an answer that can be read.
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

    def __repr__(self) -> str:
        """Return the workload, the batch sizes, and how many trials there are and ended well."""
        well = sum(record.ended_well for record in self.records)
        return (
            f"Study(workload={self.workload.name!r}, batch_sizes={self.batch_sizes}, "
            f"trials={len(self.records)}, ended_well={well})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the output of `batchlab sweep --json`, described by docs/schema/sweep.json.

        Fields that only the command knows (the store, the page) are None.
        """
        return document_of(self)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes of the trials, ascending, or the timed ones if there is no trial."""
        of_trials = {size for record in self.records for size in record.trial.batch_sizes}
        return tuple(sorted(of_trials or {timing.batch_size for timing in self.timings}))

    def timing(self, batch_size: int) -> StepTiming | None:
        """Return the timing of `batch_size`, or None if there is none."""
        for timing in self.timings:
            if timing.batch_size == batch_size:
                return timing
        return None

    def train_s(self, trial: Trial, step: int) -> float | None:
        """Return the seconds of the first `step` steps by `timings`; None if one is missing."""
        step_s = {timing.batch_size: timing.step_s for timing in self.timings}
        if not step_s.keys() >= set(trial.batch_sizes):
            return None
        return trial.plan.train_s_at(step, step_s)

    def peak_bytes(self, batch_size: int) -> int | None:
        """Return the peak memory of the timed run, or else of the trials' processes, if known."""
        timing = self.timing(batch_size)
        if timing is not None and timing.peak_bytes is not None:
            return timing.peak_bytes
        peaks = [
            record.peak_bytes
            for record in self.records
            if record.trial.batch_sizes == (batch_size,) and record.peak_bytes is not None
        ]
        return max(peaks, default=None)
