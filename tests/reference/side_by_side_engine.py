"""A simulated engine with workers: runs end in the order of their lengths, not in that asked."""

import heapq
from collections import deque
from dataclasses import dataclass, field, replace

from tests.reference.simulated_engine import SimulatedEngine

from batchlab.records.run import RunRequest
from batchlab.records.trial import TrialRecord


@dataclass
class SideBySideEngine(SimulatedEngine):
    """`n_workers` runs at a time, on a clock that counts the steps of each worker."""

    n_workers: int = 2
    busy_s: float = 0.0
    _waiting: deque[RunRequest] = field(default_factory=deque)
    _running: list[tuple[float, int, float, tuple[RunRequest, TrialRecord]]] = field(
        default_factory=list
    )
    _n_begun: int = 0

    def submit(self, request: RunRequest) -> None:
        self._waiting.append(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        while self._waiting and len(self._running) < self.n_workers:
            self._begin(self._waiting.popleft())
        self.elapsed_s, _, begun_s, end = heapq.heappop(self._running)
        self.busy_s += self.elapsed_s - begun_s
        return end

    def cancel(self) -> None:
        """What was done of the runs under way is done."""
        self._waiting.clear()
        for ends_s, _, begun_s, end in self._running:
            _, record = end
            left = int((ends_s - self.elapsed_s) / self.step_s(record.trial.batch_size))
            self._done[record.trial.trial_id] = max(0, record.steps - left)
            self.busy_s += self.elapsed_s - begun_s
        self._running.clear()

    def _clock_s(self, run_s: float) -> float:
        """A run has one worker, however many there are."""
        return run_s

    def _begin(self, request: RunRequest) -> None:
        begun_s = self.elapsed_s
        end = request, self.answer(request)
        heapq.heappush(self._running, (self.elapsed_s, self._n_begun, begun_s, end))
        self.elapsed_s = begun_s
        self._n_begun += 1


class ForgetfulEngine(SideBySideEngine):
    """It keeps nothing of a run: one that is asked for again begins again, in every session."""

    resumes = False

    def _begin(self, request: RunRequest) -> None:
        self._done.clear()
        length = replace(request.length, watched_from_samples=0)
        super()._begin(RunRequest(trial=request.trial, length=length))
        # It comes back under what was asked.
        place = next(n for n, begun in enumerate(self._running) if begun[1] == self._n_begun - 1)
        *times, (_, record) = self._running[place]
        self._running[place] = (*times, (request, record))
