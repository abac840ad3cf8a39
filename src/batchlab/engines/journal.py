"""Journal: what a study was told, in order, so that taken up again it decides the same.

The advice is deterministic but for what it is told: the profile, the clock's readings and how its
training runs ended. All three are kept here, each before anything is done that follows from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batchlab.advice.advice import Advice
from batchlab.engines.cost_model import CostModel
from batchlab.records.trial import RunLength, Status
from batchlab.store.column import JsonColumn
from batchlab.store.file import explained

if TYPE_CHECKING:
    from batchlab.store.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnd:
    """How far a training run had come when it was answered, and how it had ended.

    Attributes:
        trial_id: which trial.
        length: how far it was asked to go.
        steps: optimizer steps at its last evaluation then; None: it had not begun.
        status: its status then.
        reason: why it ended badly; None where it ended well.
    """

    trial_id: str
    length: RunLength
    steps: int | None
    status: Status
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalEntry:
    """One entry of a journal: what was learned since the entry before.

    Attributes:
        profile: the JSON of this machine's profile; in the first entry only.
        elsewhere: the JSON of the other machine's profile that the answer rests on, in the first
            entry only; None: it rests on `profile`.
        budget_s: seconds that the runs may take by the engine's clock; in the first entry only.
        readings_s: what the clock said, in the order asked.
        runs: the training runs asked for next and how they ended, in the order asked.
        cost_model: how long runs take, as known after these.
        spent_s: seconds of the budget that were spent when this was written.
        advice: the answer; in the last entry only.
    """

    profile: str | None = None
    elsewhere: str | None = None
    budget_s: float | None = None
    readings_s: tuple[float, ...] = ()
    runs: tuple[RunEnd, ...] = ()
    cost_model: CostModel = field(default_factory=CostModel)
    spent_s: float = 0.0
    advice: Advice | None = None


_DECISIONS: Final = JsonColumn[tuple[JournalEntry, ...]](tuple[JournalEntry, ...])


class Journal:
    """The journal of one study: first it replays what is stored, then it writes on.

    Attributes:
        spent_before_s: seconds of the budget that earlier sessions spent, as far as it was
            written down.
    """

    def __init__(self, store: Store, study_id: str) -> None:
        """Read what the study has decided so far.

        Args:
            store: where the study is.
            study_id: its identity; it is in the store.

        Raises:
            StoreError: the decisions were changed by another program.
        """
        self._store = store
        self._study_id = study_id
        self._written: list[JournalEntry] = list(stored_journal(store, study_id))
        self.spent_before_s = max((decision.spent_s for decision in self._written), default=0.0)
        self._readings: list[float] = []
        self._readings_to_come = deque(
            reading_s for decision in self._written for reading_s in decision.readings_s
        )
        self._runs_to_come = deque(decision for decision in self._written if decision.runs)

    @property
    def profile(self) -> str | None:
        """The profile's JSON, None before there is one."""
        return self._written[0].profile if self._written else None

    @property
    def advice(self) -> Advice | None:
        """The answer of a finished study, None before."""
        return self._written[-1].advice if self._written else None

    @property
    def budget_s(self) -> float | None:
        """What the runs may take by the engine's clock, None before it is known."""
        return self._written[0].budget_s if self._written else None

    def begin(
        self, *, profile: str, elsewhere: str | None = None, budget_s: float, spent_s: float
    ) -> None:
        """Begin the journal with what the question rests on.

        Args:
            profile: the JSON of this machine's profile.
            elsewhere: that of another machine, where the answer is for that one.
            budget_s: seconds that the runs may take by the engine's clock.
            spent_s: seconds of them that are spent by now.
        """
        self._write(
            JournalEntry(profile=profile, elsewhere=elsewhere, budget_s=budget_s, spent_s=spent_s)
        )

    def replayed_reading_s(self) -> float | None:
        """The clock's next reading as it was; None: from here on the clock itself says."""
        return self._readings_to_come.popleft() if self._readings_to_come else None

    def put_reading(self, spent_s: float) -> None:
        """Note a reading; it is stored with the next runs, before which nothing follows from it."""
        self._readings.append(spent_s)

    def replayed_runs(self, asked: Sequence[tuple[str, RunLength]]) -> JournalEntry | None:
        """How the runs asked for ended before; None: they have to be run.

        Where other runs are asked for than before (the program is another one), what is left of
        the journal holds no longer and is forgotten.
        """
        if not self._runs_to_come:
            return None
        decision = self._runs_to_come.popleft()
        if [(run.trial_id, run.length) for run in decision.runs] == list(asked):
            return decision
        self._forget_from(decision)
        return None

    def put_readings(self, *, spent_s: float) -> None:
        """Store the readings so far: what follows from them is about to be done, or was undone."""
        self._write(JournalEntry(readings_s=tuple(self._readings), spent_s=spent_s))
        self._readings.clear()

    def put_runs(self, runs: Sequence[RunEnd], cost_model: CostModel, *, spent_s: float) -> None:
        """Store how runs ended."""
        self._write(JournalEntry(runs=tuple(runs), cost_model=cost_model, spent_s=spent_s))

    def put_advice(self, advice: Advice) -> None:
        """Store the answer: the study is finished."""
        self._write(JournalEntry(readings_s=tuple(self._readings), advice=advice))
        self._readings.clear()

    def _forget_from(self, decision: JournalEntry) -> None:
        self._written = self._written[: self._written.index(decision)]
        self._runs_to_come.clear()
        self._readings_to_come.clear()

    def _write(self, decision: JournalEntry) -> None:
        self._written.append(decision)
        text = _DECISIONS.encoded(tuple(self._written), f"decisions of study {self._study_id}")
        self._store.put_decisions(self._study_id, text)


def stored_journal(store: Store, study_id: str) -> tuple[JournalEntry, ...]:
    """What a study decided so far; none for a study that decides nothing, or that is not there.

    Raises:
        StoreError: the decisions were changed by another program.
    """
    text = store.decisions(study_id)
    if text is None:
        return ()
    with explained(store.path):
        return _DECISIONS.decoded(text, f"what study {study_id} decided")
