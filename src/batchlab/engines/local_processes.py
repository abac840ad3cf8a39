"""LiveEngine: answers the advice with training runs on this machine, side by side, into a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from batchlab.engines.contract import Ask
from batchlab.engines.cost_model import CostModel
from batchlab.engines.journal import Journal, JournalEntry, RunEnd
from batchlab.engines.process_pool import run_side_by_side
from batchlab.engines.trial_recorder import TrialRecorder, is_trained, refuse_to_train_over
from batchlab.machine import environment, library_versions, thread_choices
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import RunLength, Status, Target, Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.training.plain import ENGINE

_OUT_OF_TIME = "the budget ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveWork:
    """What a live engine trains.

    Attributes:
        packed: the workload, packed for child processes.
        trial: what all trials share; its batch size, rate and seed are replaced.
        micro_batch_sizes: how each batch size in question fits into memory.
        step_s: seconds per step of each batch size in question, measured alone.
        horizon_epochs: the passes that the workload's learning-rate shape spans; None: the rate
            is constant.
        device: the PyTorch device, such as "cpu" or "cuda:1".
    """

    packed: PackedWorkload
    trial: Trial
    micro_batch_sizes: Mapping[int, int]
    step_s: Mapping[int, float]
    horizon_epochs: int | None
    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyName:
    """Under what the store keeps a study: its identity and the command that asked for it."""

    study_id: str
    command: str


class LiveEngine:
    """Trains what the advice asks for in child processes; the store holds all of it (an `Engine`).

    What the study's journal holds is answered as it was: the same records at the same length, the
    same readings of the clock. After that the machine and the clock answer.
    """

    def __init__(
        self,
        store: Store,
        work: LiveWork,
        journal: Journal,
        study: StudyName,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `store` and with `work`.

        Args:
            store: where all is written down; it knows the workload and the study.
            work: what is trained.
            journal: what the study decided before, and from here on.
            study: its name.
            listener: told how it gets on.
            started_s: the reading of `clock` at which this session began.
            budget_s: seconds of the whole study, those of earlier sessions among them, after which
                no run goes on.
            clock: seconds from some moment on.
        """
        self._store = store
        self._work = work
        self._journal = journal
        self._study = study
        self._listener = listener
        self._clock = clock
        self._started_s = started_s - journal.spent_before_s
        self._budget_s = budget_s
        self._trial_ids: dict[str, None] = {}
        self._cost_model = CostModel()

    @property
    def n_workers(self) -> int:
        """One run for each core; one on a GPU."""
        return max(thread_choices("cpu")) if self._work.trial.device == "cpu" else 1

    @property
    def n_seeds(self) -> int | None:
        """Any number."""
        return None

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """The trials asked for, in that order."""
        return tuple(self._trial_ids)

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """Any rate."""
        return None

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        trial = replace(
            self._work.trial,
            batch_size=batch_size,
            micro_batch_size=self._work.micro_batch_sizes[batch_size],
            learning_rate=learning_rate,
            seed=seed,
        )
        if self._work.horizon_epochs is None:
            return trial
        return replace(trial, horizon_steps=trial.plan.steps_in(self._work.horizon_epochs))

    def expected_s(self, batch_size: int, steps: int, *, watched_from_samples: int = 0) -> float:
        """Seconds that so many new steps of a run take beside others, start and evaluations too.

        From the step time that was measured alone, and from what earlier runs of the study took.
        """
        trial = replace(self._work.trial, batch_size=batch_size)
        return self._cost_model.expected_s(
            trial,
            steps,
            step_s=self._work.step_s[batch_size],
            watched_from_samples=watched_from_samples,
        )

    def spent_s(self) -> float:
        """Seconds of the budget spent so far, over all sessions of the study."""
        replayed_s = self._journal.replayed_reading_s()
        if replayed_s is not None:
            return replayed_s
        spent_s = self.elapsed_s()
        self._journal.put_reading(spent_s)
        return spent_s

    def elapsed_s(self) -> float:
        """The same by the clock alone, neither replayed nor written down."""
        return self._clock() - self._started_s

    def run(self, asks: Sequence[Ask]) -> Sequence[TrialRecord]:
        """Train what the store does not hold yet, side by side, until the budget ends.

        Raises:
            StoreError: the store cannot be used, or a finished trial cannot go on.
            KeyboardInterrupt: after everything has been stored.
        """
        self._trial_ids.update((ask.trial.trial_id, None) for ask in asks)
        before = self._journal.replayed_runs([(ask.trial.trial_id, ask.length) for ask in asks])
        if before is not None:
            return self._as_they_were(asks, before)
        self._journal.put_readings(spent_s=self.elapsed_s())
        self.put_study(asks[0].length.until if asks else None)
        try:
            self._train(asks)
        except KeyboardInterrupt:
            self._journal.put_readings(spent_s=self.elapsed_s())
            raise
        records = [self._answer(ask) for ask in asks]
        self._journal.put_runs(
            [
                RunEnd(
                    trial_id=ask.trial.trial_id,
                    length=ask.length,
                    steps=record.steps if record.evaluations else None,
                    status=_status(record),
                    reason=record.reason,
                )
                for ask, record in zip(asks, records, strict=True)
            ],
            self._cost_model,
            spent_s=self.elapsed_s(),
        )
        return records

    def put_study(self, target: Target | None) -> None:
        """Store which trials the study has by now, and the target they are asked for."""
        self._store.put_study(
            study_id=self._study.study_id,
            command=self._study.command,
            workload_id=self._work.trial.workload_id,
            environment=environment(),
            trial_ids=self.trial_ids,
            target=target,
        )

    # ---- answers

    def _as_they_were(self, asks: Sequence[Ask], before: JournalEntry) -> list[TrialRecord]:
        """The stored records, each cut to what it had when it was answered the first time."""
        self._cost_model = before.cost_model
        records = []
        for ask, run in zip(asks, before.runs, strict=True):
            record = self._stored(ask)
            seen = tuple(
                evaluation
                for evaluation in record.evaluations
                if run.steps is not None and evaluation.step <= run.steps
            )
            records.append(
                replace(
                    record,
                    status=run.status,
                    reason=run.reason,
                    target=ask.length.until,
                    evaluations=seen,
                )
            )
        return records

    def _answer(self, ask: Ask) -> TrialRecord:
        """The stored record with the status that it has for what was asked."""
        record = replace(self._stored(ask), target=ask.length.until)
        if not is_trained(record, ask.length):
            if record.status in (Status.ERROR, Status.KILLED):
                return record
            return replace(record, status=Status.TIMEOUT, reason=_OUT_OF_TIME)
        if not record.ended_well:
            return record
        # Trained for another target or further than asked, its own status answers another question.
        until = ask.length.until
        crossing = None if until is None else record.crossing(until)
        met = crossing is not None and crossing.held_at_next is not None
        return replace(record, status=Status.TARGET_REACHED if met else Status.OK)

    def _stored(self, ask: Ask) -> TrialRecord:
        record = self._store.record(ask.trial.trial_id)
        if record is not None:
            return record
        return TrialRecord(  # the budget ended before its turn came
            trial=ask.trial,
            status=None,
            engine=ENGINE,
            threads=1,
            versions=library_versions(),
            target=ask.length.until,
            evaluations=(),
            peak_bytes=None,
        )

    # ---- training

    def _train(self, asks: Sequence[Ask]) -> None:
        lengths: dict[str, RunLength] = {}
        left: dict[str, Trial] = {}
        for ask in asks:
            trial_id = ask.trial.trial_id
            if not is_trained(self._store.record(trial_id), ask.length):
                left[trial_id] = ask.trial
                lengths[trial_id] = _longer(lengths.get(trial_id), ask.length, ask.trial)
        if not left:
            return
        refuse_to_train_over(self._store, list(left.values()))
        expected_s = {
            trial_id: self._expected_left_s(trial, lengths[trial_id])
            for trial_id, trial in left.items()
        }
        recorder = TrialRecorder(
            self._store,
            lengths,
            self._listener,
            device=self._work.device,
            threads=1,  # so many runs are side by side
            expected_s=expected_s,
            clock=self._clock,
        )
        left_s = self._budget_s - self.elapsed_s()
        with recorder:
            run_side_by_side(
                self._work.packed,
                sorted(left.values(), key=lambda trial: expected_s[trial.trial_id], reverse=True),
                recorder,
                n_workers=self.n_workers,
                deadline_s=time.monotonic() + left_s,
            )
        self._learn_costs(recorder)

    def _expected_left_s(self, trial: Trial, length: RunLength) -> float:
        record = self._store.record(trial.trial_id)
        done = 0 if record is None else record.steps
        return self.expected_s(
            trial.batch_size,
            max(0, length.last_step(trial) - done),
            watched_from_samples=length.watched_from_samples,
        )

    def _learn_costs(self, recorder: TrialRecorder) -> None:
        for trial_id, (from_step, wall_s) in sorted(recorder.rounds.items()):
            record = self._store.record(trial_id)
            if record is not None:
                self._cost_model = self._cost_model.with_run(
                    record,
                    from_step=from_step,
                    wall_s=wall_s,
                    step_s=self._work.step_s[record.trial.batch_size],
                )


def _longer(known: RunLength | None, asked: RunLength, trial: Trial) -> RunLength:
    """The longer of two lengths of the same trial."""
    if known is None or known.last_step(trial) <= asked.last_step(trial):
        return asked
    return known


def _status(record: TrialRecord) -> Status:
    assert record.status is not None
    return record.status
