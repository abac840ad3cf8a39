"""ReplayingEngine: an engine around an engine that answers first as it answered before."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.engines.contract import Capabilities, Engine
from batchlab.engines.cost_model import CostModel
from batchlab.engines.journal import Journal
from batchlab.records.run import RunEnd, RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Trial


class ReplayingEngine:
    """Answers from a study's journal as far as it goes, then from the engine inside (an `Engine`).

    What the inner engine says is written down before anything can follow from it: the readings of
    its clock before the next run is asked for, and the ends of runs in the order in which they
    finished. So whoever decides by these alone decides the same after an interruption at any
    moment, whatever the inner engine is.
    """

    def __init__(self, inner: Engine, journal: Journal) -> None:
        """Answer from `journal`, then from `inner`.

        Args:
            inner: asked for what the journal does not hold.
            journal: what was answered before, and from here on.
        """
        self._inner = inner
        self._journal = journal
        self._under_way: list[RunRequest] = []
        self._n_handed_over = 0

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """The inner engine's."""
        return self._inner.capabilities

    @property
    def n_workers(self) -> int:
        """The inner engine's."""
        return self._inner.n_workers

    @property
    def n_seeds(self) -> int | None:
        """The inner engine's."""
        return self._inner.n_seeds

    @property
    def cost_model(self) -> CostModel:
        """The inner engine's, which is set back while runs are replayed."""
        return self._inner.cost_model

    @cost_model.setter
    def cost_model(self, value: CostModel) -> None:
        self._inner.cost_model = value

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """The inner engine's."""
        return self._inner.learning_rates(batch_size)

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The inner engine's."""
        return self._inner.trial(batch_size=batch_size, learning_rate=learning_rate, seed=seed)

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """The inner engine's, by what it had learned at this place."""
        return self._inner.expected_s(batch_size, length)

    def evaluation_steps(self, batch_size: int) -> float:
        """The inner engine's, by what it had learned at this place."""
        return self._inner.evaluation_steps(batch_size)

    def spent_s(self) -> float:
        """Seconds of the budget spent so far, over all sessions of the study."""
        replayed_s = self._journal.replayed_reading_s()
        if replayed_s is not None:
            return replayed_s
        spent_s = self._spent_s()
        self._journal.note_reading(spent_s)
        return spent_s

    def submit(self, request: RunRequest) -> None:
        """Ask for a run; the inner engine hears of it once the journal holds no more ends."""
        self._under_way.append(request)
        self._journal.note_request(request)

    def next_finished(self) -> RunEnd:
        """The end that came next before; where the journal ends, the next that comes.

        Raises:
            StoreError: the store cannot be used.
            KeyboardInterrupt: after everything has been stored.
        """
        replayed = self._journal.replayed_end(self._under_way, engine=self.name)
        if replayed is not None:
            end, self._inner.cost_model = replayed
        else:
            self._hand_over()
            try:
                end = self._inner.next_finished()
            except KeyboardInterrupt:
                self._journal.put_readings(spent_s=self._spent_s())
                raise
            self._journal.put_end(end, self._inner.cost_model, spent_s=self._spent_s())
            self._n_handed_over -= 1
        self._under_way.remove(end.request)
        return end

    def cancel(self) -> None:
        """End everything under way; asked for again, it goes on."""
        self._under_way.clear()
        self._n_handed_over = 0
        self._inner.cancel()

    def _hand_over(self) -> None:
        """Let the inner engine hear of what it has not; what was read before is stored first."""
        waiting = self._under_way[self._n_handed_over :]
        if waiting:
            self._journal.put_readings(spent_s=self._spent_s())
        for request in waiting:
            self._inner.submit(request)
            self._n_handed_over += 1

    def _spent_s(self) -> float:
        return self._journal.spent_before_s + self._inner.spent_s()
