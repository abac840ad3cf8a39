"""Study and WorkloadSummary: a set of trials with one question, as records without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchlab.records.adam_settings import AdamSettings
from batchlab.records.best_so_far import BestSoFar
from batchlab.records.quantities import Better
from batchlab.records.runnable_sizes import ANY_SIZE, RunnableSizes
from batchlab.records.shown import Reported, document_of
from batchlab.records.step_timing import StepTiming
from batchlab.records.target import Target
from batchlab.records.trial import Setting, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSummary:
    """A metric's name and direction."""

    name: str
    better: Better


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadSummary:
    """What is known of a workload without loading it.

    Attributes:
        workload_id: identity: a hash of source, settings and data.
        name: its name.
        reference: how it was named on the command line (`mnist-mlp`, `train.py:workload`).
        settings: all settings with the values used, sorted by name.
        n_train: examples in the training set.
        n_validation: examples in the validation set; 0: there is none; None: there are some, and
            nobody told how many (a script's own).
        n_test: examples in the test set; 0: there is none.
        n_train_evaluated: training examples that the train metric is taken over (a fixed subset).
        n_parameters: trainable parameters of the model; None: not known.
        metrics: the metrics, the first is the one that counts; `loss` is always among them.
        batch_size: the reference batch size.
        learning_rate: the reference learning rate.
        has_batch_norm: whether a layer of the model normalises over the batch.
        loss_couples: whether its loss is no mean over single examples.
        couples_in_training: whether a layer other than BatchNorm makes it so in train mode.
        sizes: which batch sizes a training step takes.
        evaluated_sizes: how many examples the model takes in an evaluation.
        last_batch_runs: whether a smaller last batch of an epoch ran after others.
        adam: the least betas of its optimizer's groups and the first one's eps, at the reference
            batch size; None: not of Adam's kind.
        warnings: what was found odd when it was checked.
        start_s: of somebody's own command, seconds from its start to its first progress; None: a
            workload, which starts in hundredths of a second.
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
    couples_in_training: bool = False
    sizes: RunnableSizes = ANY_SIZE
    evaluated_sizes: RunnableSizes = ANY_SIZE
    last_batch_runs: bool = True
    adam: AdamSettings | None = None
    warnings: tuple[str, ...] = ()
    start_s: float | None = None

    @property
    def is_own_command(self) -> bool:
        """Whether it is somebody's own training command, run as it is."""
        return self.start_s is not None

    @property
    def has_validation(self) -> bool:
        """Whether there are validation data, however many."""
        return self.n_validation != 0


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
        timings: step times measured alone, one per batch size where there are any.
        spent_s: seconds spent on it so far, over all its sessions.
        target: the target asked for, by which `steps_to_target` counts; None: none.
        best_so_far: what leads in an advice that has no answer yet; None: it has one, nothing
            leads, or no advice was asked for.
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
    best_so_far: BestSoFar | None = None

    def __repr__(self) -> str:
        """What was trained, how often and where it is kept; the fields have the rest."""
        well = sum(record.ended_well for record in self.records)
        return (
            f"Study(workload={self.workload.name!r}, batch_sizes={self.batch_sizes}, "
            f"trials={len(self.records)}, ended_well={well})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What `batchlab sweep --json` prints, described by docs/schema/sweep.json.

        What only the command knows (the store, the page) is None.
        """
        return document_of(self)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Those of the trials, ascending; where there is no trial, those that were timed."""
        of_trials = {record.trial.batch_size for record in self.records}
        return tuple(sorted(of_trials or {timing.batch_size for timing in self.timings}))

    def timing(self, batch_size: int) -> StepTiming | None:
        """The step time of `batch_size` measured alone, None if there is none."""
        for timing in self.timings:
            if timing.batch_size == batch_size:
                return timing
        return None

    def peak_bytes(self, batch_size: int) -> int | None:
        """Peak memory of the timed run; of the trials' own processes where that is not known."""
        timing = self.timing(batch_size)
        if timing is not None and timing.peak_bytes is not None:
            return timing.peak_bytes
        peaks = [
            record.peak_bytes
            for record in self.records
            if record.trial.batch_size == batch_size and record.peak_bytes is not None
        ]
        return max(peaks, default=None)
