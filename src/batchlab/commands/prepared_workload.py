"""PreparedWorkload: a workload on its way to child processes, checked before any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from batchlab import errors
from batchlab.commands.budget import Budget
from batchlab.commands.stored_summary import stored_summary
from batchlab.errors import WorkloadError
from batchlab.measurements.workload_check import WorkloadFacts, check_workload
from batchlab.processes.children import Ended, run_in_child
from batchlab.processes.loaded_again import LoadedAgain
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.processes.seen_model import with_seen_model
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status
from batchlab.training.evaluator import n_train_evaluated
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import size_of
from batchlab.workload.loading import LoadedWorkload

Kind = TypeVar("Kind")

_CHECK_TIMEOUT_S = 300.0
_LOADED_AGAIN = (
    "its data are more than 64 MiB of Python's objects, so each training loads them anew from its "
    "file; as arrays or a memory map they would be shared"
)


def known_by_its_model(
    loaded: LoadedWorkload, budget: Budget, store: str | Path | None
) -> LoadedWorkload:
    """The same workload, with an identity that its model is part of (`with_seen_model`).

    Args:
        loaded: as it was loaded, and a request about it was found to be possible.
        budget: the ceiling on the whole call.
        store: where all will be kept, if it is; one that cannot be used is refused first.

    Raises:
        StoreError: the store cannot be used.
        EditedError: files of its were edited meanwhile.
        BudgetError: the budget ended meanwhile.
    """
    if store is not None:
        stored_summary(Path(store), loaded.workload_id)
    seen = with_seen_model(loaded, timeout_s=budget.time_limit_s(_CHECK_TIMEOUT_S))
    budget.refuse_if_out_of_time("checking the workload")
    return seen


class PreparedWorkload:
    """A workload on its way to child processes, and what is known of it before any training.

    Attributes:
        loaded: the workload; after `let_go_of_data` without its data.
        device: the PyTorch device.
        budget: the ceiling on the whole call.
        listener: told how it gets on.
    """

    def __init__(
        self, loaded: LoadedWorkload, *, device: str, budget: Budget, listener: ProgressListener
    ) -> None:
        self.loaded = loaded
        self.device = device
        self.budget = budget
        self.listener = listener
        self._packed: PackedWorkload | None = None

    @property
    def packed(self) -> PackedWorkload:
        """The workload, packed when it is first needed."""
        if self._packed is None:
            again = LoadedAgain.of(self.loaded)
            self._packed = PackedWorkload(
                self.loaded.workload, again=again, files=self.loaded.files
            )
            if self._packed.is_loaded_again:
                self.loaded = replace(self.loaded, notes=(*self.loaded.notes, _LOADED_AGAIN))
        return self._packed

    def let_go_of_data(self) -> None:
        """From here on the data are needed in shared memory only, not once more in this process.

        They stay where the caller holds them too.
        """
        assert self.packed is not None
        without = replace(self.loaded.workload, train=(), validation=None, test=None)
        self.loaded = replace(self.loaded, workload=without)

    def summary(self, store: Path | None) -> WorkloadSummary:
        """What is known of the workload: from the store, or from a look at it in a child.

        What was found odd is said as a warning.

        Raises:
            WorkloadError: it cannot be trained.
            BudgetError: the budget ended meanwhile.
        """
        known = None if store is None else stored_summary(store, self.loaded.workload_id)
        summary = self._checked() if known is None else known
        for text in summary.warnings:
            self.listener.warning(f"workload {summary.name!r}: {text}")
        return summary

    def _checked(self) -> WorkloadSummary:
        self.listener.phase("checking the workload")
        ended = self._looked_at(with_steps=True)
        if ended.status is Status.OOM:  # where memory ends for a step is for the profile to find
            ended = self._looked_at(with_steps=False)
        self.budget.refuse_if_out_of_time("checking the workload")
        facts = value_of(ended, WorkloadFacts, f"workload {self.loaded.reference!r}")
        return _summary_of(self.loaded, facts)

    def _looked_at(self, *, with_steps: bool) -> Ended:
        return run_in_child(
            check_workload,
            self.packed,
            self.device,
            with_steps,
            timeout_s=self.budget.time_limit_s(_CHECK_TIMEOUT_S),
        )


def _summary_of(loaded: LoadedWorkload, facts: WorkloadFacts) -> WorkloadSummary:
    workload = loaded.workload
    n_train = size_of(workload.train)
    return WorkloadSummary(
        workload_id=loaded.workload_id,
        name=workload.name,
        reference=loaded.reference,
        settings=loaded.settings,
        n_train=n_train,
        n_validation=size_of(workload.validation),
        n_test=size_of(workload.test),
        n_train_evaluated=n_train_evaluated(n_train),
        n_parameters=facts.n_parameters,
        has_batch_norm=facts.has_batch_norm,
        loss_couples=facts.loss_couples,
        couples_in_training=facts.couples_in_training,
        sizes=facts.sizes,
        evaluated_sizes=facts.evaluated_sizes,
        last_batch_runs=facts.last_batch_runs,
        adam=facts.adam,
        metrics=tuple(
            MetricSummary(name=name, better=workload.better(name)) for name in workload.metric_names
        ),
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        warnings=(*loaded.notes, *facts.warnings),
    )


def value_of(ended: Ended, kind: type[Kind], what: str) -> Kind:
    """What the child returned, or its error raised here as the class it was.

    Raises:
        WorkloadError: what it was asked about cannot be trained.
    """
    if ended.status is None:
        assert isinstance(ended.value, kind)
        return ended.value
    known = getattr(errors, ended.error or "", None)
    if known is not None:
        raise known(reason_text(ended.reason))
    failed = WorkloadError(f"{what} cannot be trained: {reason_text(ended.reason)}")
    if ended.traceback:
        failed.add_note(ended.traceback)
    raise failed
