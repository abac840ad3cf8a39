"""ReplayingEngine: returns the runs in a study's journal first, then uses another engine."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from batchlab.records.run import RunLength, RunRequest
from batchlab.records.study import StudyName
from batchlab.records.trial import Target, TrialRecord
from batchlab.runs.contract import CostModel, Engine
from batchlab.store.file import explained
from batchlab.store.schema import JsonColumn, printable_record
from batchlab.store.store import Store

InTurn = tuple[tuple[float, ...], ...]  # Ratios of two step times, a tuple for each process.


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """One entry of a journal: what a study measured, or the end of one of its runs.

    Attributes:
        profile: the profile of this machine. If the profile in the first entry has only the
            reference batch size, a later entry has the profile of all batch sizes.
        elsewhere: the profile of another machine, if the user asks about that machine.
        budget_s: the seconds that all runs may take by the engine's clock; only in the first entry.
        readings_s: the results of all calls of `Engine.spent_s` since the previous entry.
        in_turn: ratios of the step times of two batch sizes that were timed in alternation.
        length: the requested length of the run that ended.
        record: the record of the run that ended, without evaluations.
        steps: the steps at the last evaluation of that run; None if it never started.
        cost_model: the cost model of the engine at this entry.
        n_workers: how many runs the engine trained at a time at this entry.
        spent_s: seconds of the budget spent until this entry.
    """

    profile: str | None = None
    elsewhere: str | None = None
    budget_s: float | None = None
    readings_s: tuple[float, ...] = ()
    in_turn: InTurn | None = None
    length: RunLength | None = None
    record: TrialRecord | None = None
    steps: int | None = None
    cost_model: CostModel = field(default_factory=CostModel)
    n_workers: int | None = None
    spent_s: float = 0.0


_DECISIONS: Final = JsonColumn[tuple[JournalEntry, ...]](tuple[JournalEntry, ...])


class Journal:
    """The stored journal of one study, from which an interrupted study is replayed."""

    def __init__(self, store: Store, study: StudyName) -> None:
        """Read the stored entries of the study.

        Raises:
            StoreError: another program has changed the stored entries.
        """
        self._store = store
        self._study = study
        entries = stored_journal(store, study.study_id)
        self._written = [*entries]
        # Seconds of the budget spent by earlier sessions.
        self.spent_before_s = max((entry.spent_s for entry in entries), default=0.0)
        self._readings: list[float] = []
        self._readings_to_come = deque(chain.from_iterable(entry.readings_s for entry in entries))
        self._ends_to_come = deque(entry for entry in entries if entry.record is not None)
        self._in_turn_to_come = deque(
            entry.in_turn for entry in entries if entry.in_turn is not None
        )
        self._trial_ids: dict[str, None] = {}
        self._target: Target | None = None
        self._trials_put: tuple[str, ...] = ()

    @property
    def profiles(self) -> tuple[str, ...]:
        """The stored profiles as JSON: of the reference batch size, then of all batch sizes."""
        return tuple(entry.profile for entry in self._written if entry.profile is not None)

    @property
    def first(self) -> JournalEntry:
        """The first entry, which has the budget of the runs; an empty entry if there is none."""
        return self._written[0] if self._written else JournalEntry()

    def begin(self, entry: JournalEntry) -> None:
        """Start the journal with a new first entry, and delete all earlier entries.

        After a session whose budget was too small for an answer, `entry` is empty. So the next
        session has its whole budget again. It resumes the stored runs.
        """
        self._written.clear()
        self.write(entry)

    # ---- replay

    def reading_s(self, spent_s: Callable[[], float]) -> float:
        """Return the next stored result of `spent_s`; if none is left, call `spent_s`.

        `put_readings` later stores the new results.
        """
        if self._readings_to_come:
            return self._readings_to_come.popleft()
        self._readings.append(spent_s())
        return self._readings[-1]

    def replayed_in_turn(self) -> InTurn | None:
        """Return the next stored ratios of step times, or None if no more are stored."""
        return self._in_turn_to_come.popleft() if self._in_turn_to_come else None

    def replayed_end(
        self, under_way: Sequence[RunRequest]
    ) -> tuple[RunRequest, TrialRecord, JournalEntry] | None:
        """Return the request, record and entry of the next stored run, or None if none is left.

        If none of the requests `under_way` asks for this run, the program has changed. Then this
        entry and all later entries are deleted, and None is returned.
        """
        if not self._ends_to_come:
            return None
        entry = self._ends_to_come.popleft()
        assert entry.record is not None
        assert entry.length is not None
        request = RunRequest(trial=entry.record.trial, length=entry.length)
        if request in under_way:
            return request, self._record_of(entry.record, entry.steps), entry
        del self._written[self._written.index(entry) :]
        for to_come in (self._ends_to_come, self._readings_to_come, self._in_turn_to_come):
            to_come.clear()
        return None

    def _record_of(self, record: TrialRecord, steps: int | None) -> TrialRecord:
        """Return `record` with the stored evaluations up to step `steps`."""
        stored = self._store.record(record.trial.trial_id)
        if stored is None or steps is None:
            return record
        n = bisect_right(stored.evaluations, steps, key=lambda evaluation: evaluation.step)
        return replace(record, evaluations=stored.evaluations[:n])

    # ---- what is new

    def note_request(self, request: RunRequest) -> None:
        """Add the trial of a requested run to the study, and remember the requested target."""
        self._trial_ids[request.trial.trial_id] = None
        self._target = request.length.until

    def put_readings(self, *, spent_s: float, in_turn: InTurn | None = None) -> None:
        """Store the new results of `reading_s` since the last call, and any added trials.

        `spent_s` is the seconds of the budget spent. `in_turn` has ratios of the step times of two
        batch sizes, if such ratios were just measured.
        """
        readings_s = tuple(self._readings)
        self.write(JournalEntry(readings_s=readings_s, in_turn=in_turn, spent_s=spent_s))
        self._readings.clear()
        if self._trials_put != tuple(self._trial_ids):
            self.put_study(self._target)

    def put_end(
        self,
        request: RunRequest,
        record: TrialRecord,
        cost_model: CostModel,
        *,
        n_workers: int,
        spent_s: float,
    ) -> None:
        """Store in the journal how a run ended; also store the run's record if it is missing."""
        keep_record(self._store, record)
        self.write(
            JournalEntry(
                length=request.length,
                record=printable_record(record),
                steps=record.steps if record.evaluations else None,
                cost_model=cost_model,
                n_workers=n_workers,
                spent_s=spent_s,
            )
        )

    def put_study(self, target: Target | None) -> None:
        """Store the study with all requested trials and the target of the runs."""
        self._trials_put = tuple(self._trial_ids)
        study = replace(self._study, trial_ids=self._trials_put, target=target)
        self._store.put_study(study)

    def write(self, entry: JournalEntry) -> None:
        """Append an entry to the journal, and store the journal."""
        self._written.append(entry)
        what = f"decisions of study {self._study.study_id}"
        text = _DECISIONS.encoded(tuple(self._written), what)
        self._store.put_document(self._study.study_id, "decisions", text)


def stored_journal(store: Store, study_id: str) -> tuple[JournalEntry, ...]:
    """Return the journal of a study: () if the study has no journal or does not exist.

    Raises:
        StoreError: another program has changed the stored entries.
    """
    text = store.document(study_id, "decisions")
    if text is None:
        return ()
    with explained(store.path):
        return _DECISIONS.decoded(text)


def keep_record(store: Store, record: TrialRecord) -> None:
    """Store a run's record, unless the run is stored or another process trains the trial."""
    with store.claim(record.trial.trial_id) as is_ours:
        if not is_ours or (not record.evaluations and not record.has_failed):
            return  # Another process stores the run, or the run has not started.
        stored = store.record(record.trial.trial_id)
        if stored is not None and stored.status is not None and stored.steps >= record.steps:
            return
        assert record.status is not None
        # `put_record` deletes no stored evaluations here, because the replay of an earlier, shorter
        # run of the trial needs them.
        store.put_record(record)


class ReplayingEngine:
    """An `Engine` that replays the runs in a study's journal, then uses the engine `inner`.

    `inner.spent_s` includes the seconds that earlier sessions spent.

    The journal stores all that the caller learns from the inner engine: each result of `spent_s`,
    and the ended runs in order. They are stored before the next run starts. So if a study is
    interrupted at any moment and starts again, it makes the same decisions as before.
    """

    def __init__(self, inner: Engine, journal: Journal) -> None:
        self.name, self.resumes, self.n_seeds = inner.name, inner.resumes, inner.n_seeds
        # The number of workers of a cluster may change, so a replay uses the stored number.
        self.n_workers = journal.first.n_workers or inner.n_workers
        self.trial, self.learning_rates = inner.trial, inner.learning_rates
        self.cost_model = inner.cost_model
        # These methods use the inner engine's cost model, which a replay sets.
        self.expected_s, self.evaluation_steps = inner.expected_s, inner.evaluation_steps
        self._inner = inner
        self._journal = journal
        self._under_way: list[RunRequest] = []
        self._n_handed_over = 0

    def spent_s(self) -> float:
        """Return the seconds of the budget spent in all sessions.

        During a replay, return the seconds that the original call returned.
        """
        return self._journal.reading_s(self._inner.spent_s)

    def submit(self, request: RunRequest) -> None:
        """Queue a run; the inner engine receives the run once all journal entries are replayed."""
        self._under_way.append(request)
        self._journal.note_request(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Return the next ended run: first runs in the journal, then runs of the engine `inner`.

        Raises:
            StoreError: the store cannot be used.
            KeyboardInterrupt: after everything has been stored.
        """
        replayed = self._journal.replayed_end(self._under_way)
        if replayed is not None:
            request, record, entry = replayed
            self.cost_model = self._inner.cost_model = entry.cost_model
            self.n_workers = entry.n_workers or self.n_workers
        else:
            self._hand_over()
            try:
                request, record = self._inner.next_finished()
            except KeyboardInterrupt:
                self._journal.put_readings(spent_s=self._inner.spent_s())
                raise
            self.cost_model, self.n_workers = self._inner.cost_model, self._inner.n_workers
            self._journal.put_end(
                *(request, record, self.cost_model),
                n_workers=self.n_workers,
                spent_s=self._inner.spent_s(),
            )
            self._n_handed_over -= 1
        self._under_way.remove(request)
        return request, record

    def cancel(self) -> None:
        """End all submitted runs; such a run resumes if it is requested again."""
        self._under_way.clear()
        self._n_handed_over = 0
        self._inner.cancel()

    def _hand_over(self) -> None:
        """Store the values that `spent_s` has returned, then submit waiting requests to `inner`."""
        waiting = self._under_way[self._n_handed_over :]
        if waiting:
            self._journal.put_readings(spent_s=self._inner.spent_s())
        for request in waiting:
            self._inner.submit(request)
            self._n_handed_over += 1
