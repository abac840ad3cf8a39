"""Subject: what `advise` and `sweep` are asked about, whoever trains it and wherever."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from batchlab.engines.contract import Engine, RunPlan
from batchlab.processes.children import Ended
from batchlab.profiling.measuring import ProfileRequest
from batchlab.profiling.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run_length import RunLength
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Trial, TrialRecord
from batchlab.store.store import Store


class Subject(Protocol):
    """What is asked about: its summary, how it is profiled and timed, which engine trains it.

    A workload's batch sizes run in child processes of this one. Another subject may be a command,
    or trainings that were recorded: nothing of it has to be in this process.
    """

    def summary(self, store: Path | None) -> WorkloadSummary:
        """What is known of it: from the store, or from a look at it.

        Args:
            store: the file where it may be known; None: it is looked at.
        """
        ...

    def profile(self, request: ProfileRequest, *, deadline_s: float) -> Profile:
        """Step time and memory by batch size.

        Args:
            request: which batch sizes, and on which device.
            deadline_s: the `time.monotonic()` at which it ends with what it has.
        """
        ...

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """The step time of one batch size, alone; a `StepTiming`, or why there is none.

        Args:
            trial: of that batch size.
            timeout_s: seconds that it may take.
        """
        ...

    def is_done(self, record: TrialRecord | None, length: RunLength) -> bool:
        """Whether what is stored of a trial answers, so that nothing of it is to be trained.

        Args:
            record: as it is stored; None: it is not.
            length: how far is asked.
        """
        ...

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Refuse a trial that could only be trained further by losing what is stored of it.

        Args:
            store: which keeps it.
            trial: that is not done.

        Raises:
            StoreError: naming the trial and the ways out.
        """
        ...

    def engine(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
    ) -> Engine:
        """Who trains it.

        Args:
            store: where an engine that keeps records keeps them.
            plan: what all its runs share.
            listener: told how the runs get on.
            started_s: the `time.monotonic()` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
        """
        ...
