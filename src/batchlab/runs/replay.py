"""ReplayingEngine: wraps an engine, and answers from a study's journal before asking it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from batchlab.records.estimate import Reason
from batchlab.records.run import RunEnd, RunLength, RunRequest
from batchlab.records.study import StudyName
from batchlab.records.trial import Evaluation, Status, Target, TrialRecord
from batchlab.runs.contract import CostModel, Engine
from batchlab.store.file import explained
from batchlab.store.schema import JsonColumn, printable_reason
from batchlab.store.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEnd:
    """The steps of a training run, and how it had ended, when the engine returned its record."""

    trial_id: str
    length: RunLength  # the length that the run was asked for
    steps: int | None  # at its last evaluation by then; None if it had not begun
    status: Status
    reason: Reason | None  # why it ended badly

    @classmethod
    def of(cls, end: RunEnd) -> StoredEnd:
        """Return what a replay needs, in addition to the stored trial, to repeat this end."""
        record = end.record
        assert record.status is not None
        return cls(
            trial_id=record.trial.trial_id,
            length=end.request.length,
            steps=record.steps if record.evaluations else None,
            status=record.status,
            reason=printable_reason(record.reason),
        )

    def as_it_was(self, record: TrialRecord, target: Target | None) -> TrialRecord:
        """Return the stored record, cut to the evaluations it had when this end was returned."""
        notes = record.notes
        evaluations: tuple[Evaluation, ...] = ()
        if self.steps is not None:
            n = bisect_right(record.evaluations, self.steps, key=lambda e: e.step)
            evaluations = record.evaluations[:n]
        if len(evaluations) < len(record.evaluations):  # the run stopped early only after this end
            notes = tuple(note for note in notes if note.code != "stopped_early")
        return replace(
            record,
            status=self.status,
            reason=self.reason,
            target=target,
            evaluations=evaluations,
            notes=notes,
        )


InTurn = tuple[tuple[float, ...], ...]  # ratios of two step times, by process and round


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """One entry of a journal, with what was learned since the entry before.

    The budget is in the first entry only. If the profile there is only that of the reference, a
    later entry has that of all batch sizes.
    """

    profile: str | None = None  # the profile of this machine
    elsewhere: str | None = None  # the profile of another machine that the answer rests on
    budget_s: float | None = None  # what the runs may take by the engine's clock
    readings_s: tuple[float, ...] = ()  # what the clock said, in the order asked
    in_turn: InTurn | None = None  # ratios from timing two batch sizes in alternation
    runs: tuple[StoredEnd, ...] = ()  # in the order in which they ended
    cost_model: CostModel = field(default_factory=CostModel)  # the engine's model then
    n_workers: int | None = None  # how many runs the engine trained at a time by then
    spent_s: float = 0.0  # the budget spent until then


_DECISIONS: Final = JsonColumn[tuple[JournalEntry, ...]](tuple[JournalEntry, ...])


class Journal:
    """The journal of one study: it replays its stored entries, then appends new ones."""

    def __init__(self, store: Store, study: StudyName) -> None:
        """Read the stored entries of the study.

        Raises:
            StoreError: the decisions were changed by another program.
        """
        self._store = store
        self._study = study
        self._written: list[JournalEntry] = list(stored_journal(store, study.study_id))
        self.spent_before_s = 0.0  # by earlier sessions, up to their last entries
        self._readings: list[float] = []
        self._readings_to_come: deque[float] = deque()
        self._ends_to_come: deque[tuple[JournalEntry, StoredEnd]] = deque()
        self._in_turn_to_come: deque[InTurn] = deque()
        self._trial_ids: dict[str, None] = {}
        self._target: Target | None = None
        self._trials_put: tuple[str, ...] = ()
        for entry in self._written:
            self.spent_before_s = max(self.spent_before_s, entry.spent_s)
            self._readings_to_come.extend(entry.readings_s)
            self._ends_to_come.extend((entry, end) for end in entry.runs)
            if entry.in_turn is not None:
                self._in_turn_to_come.append(entry.in_turn)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The JSON of the profiles: none, one, or that of the reference and the whole."""
        return tuple(entry.profile for entry in self._written if entry.profile is not None)

    @property
    def n_workers(self) -> int | None:
        """The number of runs the engine did at a time when it began, None before that."""
        return self._written[0].n_workers if self._written else None

    @property
    def budget_s(self) -> float | None:
        """The seconds that runs may take by the engine's clock, None before they are known."""
        return self._written[0].budget_s if self._written else None

    def begin(self, entry: JournalEntry) -> None:
        """Begin the journal with its first entry, and delete all entries written before.

        An empty entry also drops all that was learned, because the budget gave no answer: the
        next session has the whole budget, and its runs go on from what the store has of them.
        """
        self._written.clear()
        self.write(entry)

    # ---- replay

    def replayed_reading_s(self) -> float | None:
        """Return the clock's next stored reading, or None if there are no more."""
        return self._readings_to_come.popleft() if self._readings_to_come else None

    def replayed_in_turn(self) -> InTurn | None:
        """Return the next stored result of timing in turn, or None if there are no more."""
        return self._in_turn_to_come.popleft() if self._in_turn_to_come else None

    def replayed_end(
        self, under_way: Sequence[RunRequest], *, engine: str
    ) -> tuple[RunEnd, JournalEntry] | None:
        """Return the next stored end of a run and its entry, or None if there are no more.

        If no run under way ended like that (the program is another one), the rest of the journal
        no longer holds and is forgotten.
        """
        if not self._ends_to_come:
            return None
        entry, stored = self._ends_to_come.popleft()
        for request in under_way:
            if (stored.trial_id, stored.length) == (request.trial.trial_id, request.length):
                record = self._store.record(stored.trial_id) or request.never_begun(engine)
                as_it_was = stored.as_it_was(record, request.length.until)
                return RunEnd(request=request, record=as_it_was), entry
        self._forget_from(entry, stored)
        return None

    # ---- what is new

    def note_reading(self, spent_s: float) -> None:
        """Note a reading of the clock; it is stored before any decision that depends on it."""
        self._readings.append(spent_s)

    def note_request(self, request: RunRequest) -> None:
        """Add the trial of a requested run to the trials of the study."""
        self._trial_ids[request.trial.trial_id] = None
        self._target = request.length.until

    def put_readings(self, *, spent_s: float, in_turn: InTurn | None = None) -> None:
        """Store the clock's readings and the study's trials, before the study goes on."""
        readings_s = tuple(self._readings)
        self.write(JournalEntry(readings_s=readings_s, in_turn=in_turn, spent_s=spent_s))
        self._readings.clear()
        if self._trials_put != tuple(self._trial_ids):
            self.put_study(self._target)

    def put_end(
        self, end: RunEnd, cost_model: CostModel, *, n_workers: int, spent_s: float
    ) -> None:
        """Store how a run ended, and also its record if the inner engine has not stored it."""
        keep_record(self._store, end.record)
        self.write(
            JournalEntry(
                runs=(StoredEnd.of(end),),
                cost_model=cost_model,
                n_workers=n_workers,
                spent_s=spent_s,
            )
        )

    def put_study(self, target: Target | None) -> None:
        """Store the study's trials so far, and their target."""
        self._trials_put = tuple(self._trial_ids)
        self._store.put_study(self._study, trial_ids=self._trials_put, target=target)

    def _forget_from(self, entry: JournalEntry, end: StoredEnd) -> None:
        del self._written[self._written.index(entry) :]
        ends_before = entry.runs[: entry.runs.index(end)]
        if ends_before:
            self._written.append(replace(entry, runs=ends_before))
        self._ends_to_come.clear()
        self._readings_to_come.clear()
        self._in_turn_to_come.clear()

    def write(self, entry: JournalEntry) -> None:
        """Store an entry."""
        self._written.append(entry)
        what = f"decisions of study {self._study.study_id}"
        text = _DECISIONS.encoded(tuple(self._written), what)
        self._store.put_decisions(self._study.study_id, text)


def stored_journal(store: Store, study_id: str) -> tuple[JournalEntry, ...]:
    """Return the journal of a study: () if it has no journal or does not exist.

    Raises:
        StoreError: the decisions were changed by another program.
    """
    text = store.decisions(study_id)
    if text is None:
        return ()
    with explained(store.path):
        return _DECISIONS.decoded(text)


def keep_record(store: Store, record: TrialRecord) -> None:
    """Store a run that has ended, unless it is stored or another process trains it."""
    with store.claim(record.trial.trial_id) as is_ours:
        if not is_ours or (not record.evaluations and not record.has_failed):
            return  # another process trains and stores it, or it never began
        stored = store.record(record.trial.trial_id)
        if stored is not None and stored.status is not None and stored.steps >= record.steps:
            return
        assert record.status is not None
        # Evaluations of an earlier, shorter run stay, because that run is replayed from them.
        store.put_record(record)


class ReplayingEngine:
    """An `Engine` that answers from a study's journal until its end, then from another engine.

    What the inner engine says is written down before anything can follow from it: the readings of
    its clock before the next run is asked for, and the ends of runs in the order in which they
    finished. A caller that decides only by readings and ends therefore decides the same after an
    interruption at any moment, whatever the inner engine is.
    """

    def __init__(self, inner: Engine, journal: Journal) -> None:
        """Answer from `journal`, then from `inner`."""
        self.name, self.capabilities = inner.name, inner.capabilities
        self.n_seeds = inner.n_seeds
        # A cluster's number of runs changes in a study: a replay uses the number of each entry.
        self.n_workers = journal.n_workers or inner.n_workers
        self.trial, self.learning_rates = inner.trial, inner.learning_rates
        # These use the inner engine's cost model as it was at this entry.
        self.expected_s, self.evaluation_steps = inner.expected_s, inner.evaluation_steps
        self._inner = inner
        self._journal = journal
        self._under_way: list[RunRequest] = []
        self._n_handed_over = 0

    @property
    def cost_model(self) -> CostModel:
        """The inner engine's model, which is set back while runs are replayed."""
        return self._inner.cost_model

    @cost_model.setter
    def cost_model(self, value: CostModel) -> None:
        self._inner.cost_model = value

    def spent_s(self) -> float:
        """Return the seconds of the budget spent over all sessions of the study."""
        replayed_s = self._journal.replayed_reading_s()
        if replayed_s is not None:
            return replayed_s
        spent_s = self._spent_s()
        self._journal.note_reading(spent_s)
        return spent_s

    def submit(self, request: RunRequest) -> None:
        """Queue a run; the inner engine gets it after the last end in the journal."""
        self._under_way.append(request)
        self._journal.note_request(request)

    def next_finished(self) -> RunEnd:
        """Return the next end in the journal, or after it the inner engine's next.

        Raises:
            StoreError: the store cannot be used.
            KeyboardInterrupt: after everything has been stored.
        """
        replayed = self._journal.replayed_end(self._under_way, engine=self.name)
        if replayed is not None:
            end, entry = replayed
            self._inner.cost_model = entry.cost_model
            self.n_workers = entry.n_workers or self.n_workers
        else:
            self._hand_over()
            try:
                end = self._inner.next_finished()
            except KeyboardInterrupt:
                self._journal.put_readings(spent_s=self._spent_s())
                raise
            self.n_workers = self._inner.n_workers
            self._journal.put_end(
                end,
                self._inner.cost_model,
                n_workers=self.n_workers,
                spent_s=self._spent_s(),
            )
            self._n_handed_over -= 1
        self._under_way.remove(end.request)
        return end

    def cancel(self) -> None:
        """End all runs under way; each goes on when it is requested again."""
        self._under_way.clear()
        self._n_handed_over = 0
        self._inner.cancel()

    def _hand_over(self) -> None:
        """Submit waiting requests to the inner engine, after storing the readings before them."""
        waiting = self._under_way[self._n_handed_over :]
        if waiting:
            self._journal.put_readings(spent_s=self._spent_s())
        for request in waiting:
            self._inner.submit(request)
            self._n_handed_over += 1

    def _spent_s(self) -> float:
        return self._journal.spent_before_s + self._inner.spent_s()
