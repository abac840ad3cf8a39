"""WorkloadSubject: a workload that trains in child processes of this one."""

from __future__ import annotations

from pathlib import Path

from batchlab.commands.prepared_workload import PreparedWorkload
from batchlab.engines.contract import RunPlan
from batchlab.engines.local_processes import LocalProcesses
from batchlab.engines.trial_recorder import is_trained, refuse_to_train_over
from batchlab.measurements.step_time import measure_step_time
from batchlab.processes.children import Ended, run_in_child
from batchlab.profiling.measuring import ProfileRequest, measure_profile
from batchlab.profiling.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run_length import RunLength
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Trial, TrialRecord
from batchlab.store.store import Store


class WorkloadSubject:
    """A workload that trains in child processes of this one (a `Subject`)."""

    def __init__(self, prepared: PreparedWorkload) -> None:
        """Ask about `prepared`; from its first measurement on it lets go of the data here."""
        self._prepared = prepared

    def summary(self, store: Path | None) -> WorkloadSummary:
        """From the store, or from a look at it in a child."""
        return self._prepared.summary(store)

    def profile(self, request: ProfileRequest, *, deadline_s: float) -> Profile:
        """Measured here, each batch size in a child of its own."""
        self._prepared.let_go_of_data()
        return measure_profile(
            self._prepared.packed,
            request,
            deadline_s=deadline_s,
            listener=self._prepared.listener,
        )

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """Measured in a child."""
        self._prepared.let_go_of_data()
        return run_in_child(
            measure_step_time,
            self._prepared.packed,
            trial,
            self._prepared.device,
            timeout_s=timeout_s,
        )

    def is_done(self, record: TrialRecord | None, length: RunLength) -> bool:
        """Trained as far as asked, and evaluated as often."""
        return is_trained(record, length)

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Refuse a finished trial whose checkpoint cannot be used."""
        refuse_to_train_over(store, trial)

    def engine(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
    ) -> LocalProcesses:
        """Processes of this machine."""
        self._prepared.let_go_of_data()
        return LocalProcesses(
            store,
            self._prepared.packed,
            plan,
            listener,
            started_s=started_s,
            budget_s=budget_s,
        )
