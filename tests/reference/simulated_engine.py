"""An engine whose truth is known: S(B, learning rate) in closed form, seeds' noise, a cadence."""

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
from tests.reference.made_up import made_up_evaluation

from batchlab.plans.cadence import pauses
from batchlab.records.estimate import Reason
from batchlab.records.run import OUT_OF_TIME, RunLength, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import CostModel

N_TRAIN = 20_000
METRIC = "accuracy"
_UNTRAINED = 0.1


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is true of a simulated workload."""

    s_min: float = 500.0  # with b_crit the law of the steps to the target at the best rate
    b_crit: float = 200.0
    best_rate: float = 0.04  # at batch size 64; it goes with (B / 64) to the power below
    rate_exponent: float = 0.7
    target: float = 0.97
    noise: float = 0.06  # standard deviation of a seed's log steps
    left: float = 0.06  # how log steps rise with squared octaves below the best rate
    right: float = 0.12  # and above it
    cliff_octaves: float = 2.6  # so far above the best rate training diverges
    exponent: float = 1.0  # of the generalized law; 1 is the law
    override: Callable[[int], float] | None = None  # steps at the best rate, instead of the law
    end: Callable[[int, float], float] | None = None  # of a whole training; None: it goes on rising
    end_noise: float = 0.0005  # standard deviation of a seed's end
    # By batch size and rate, after how many times the way to the target it diverges.
    lasts: Callable[[int, float], float] = lambda batch_size, rate: math.inf
    # By batch size, rate and seed, how a run ends before its first step; None: it does not.
    fails: Callable[[int, float, int], Status | None] = lambda batch_size, rate, seed: None

    def best_steps(self, batch_size: int) -> float:
        if self.override is not None:
            return self.override(batch_size)
        return self.s_min * (1 + (self.b_crit / batch_size) ** self.exponent)

    def best_rate_at(self, batch_size: int) -> float:
        return self.best_rate * (batch_size / 64) ** self.rate_exponent

    def steps_to(self, level: float, batch_size: int, learning_rate: float) -> float:
        """Steps to a level of accuracy of a curve with an end, without noise; infinite above it."""
        end = self.end(batch_size, learning_rate)
        if end <= level:
            return math.inf
        way = math.log((end - _UNTRAINED) / (end - level)) / self._approach
        return way * self.steps(batch_size, learning_rate)

    @property
    def _approach(self) -> float:
        """The rate of an approach that meets the target after once the way to it."""
        usual = 1 - (1 - self.target) / 1.05
        return math.log((usual - _UNTRAINED) / (usual - self.target))

    def steps(self, batch_size: int, learning_rate: float) -> float:
        """Steps to target at this rate, without noise; infinite beyond the cliff."""
        octaves = math.log2(learning_rate / self.best_rate_at(batch_size))
        if octaves > self.cliff_octaves:
            return math.inf
        slope = self.left if octaves < 0 else self.right
        return self.best_steps(batch_size) * math.exp(slope * octaves**2)


@dataclass
class SimulatedEngine:
    """Answers trials from a `Truth`; its clock counts steps times the step time.

    With several workers runs end in the order of their lengths, not in that asked.

    The curve: accuracy 1 - (1 - target) (samples / samples to target)^-1/2, evaluated at the
    cadence of real runs; a seed's steps to target are log-normal around the truth. With an end it
    is an exponential approach to that, which meets the target after as many steps where the end is
    5 % of the errors above it.
    """

    truth: Truth
    step_s: Callable[[int], float]
    n_workers: int = 1
    n_seeds: int | None = None
    salt: int = 0
    elapsed_s: float = 0.0
    budget_s: float = math.inf  # where every run is cut
    asked: list[RunRequest] = field(default_factory=list)
    _done: dict[str, int] = field(default_factory=dict)
    _waiting: deque[RunRequest] = field(default_factory=deque)
    # When each run ends, in which order it began, what was asked, and the answer.
    _running: list[tuple[float, int, RunRequest, TrialRecord]] = field(default_factory=list)
    _n_begun: int = 0

    name: ClassVar[str] = "simulated"
    resumes: ClassVar[bool] = True
    schedule_epochs: ClassVar[float | None] = None  # each length of a schedule is another trial
    cost_model: ClassVar[CostModel] = CostModel()

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        return None

    def trial(self, *, batch_size: int, learning_rate: float, seed: int, horizon=1.0) -> Trial:
        of = {"workload_id": "simulated", "workload": "simulated", "n_train": N_TRAIN}
        trial = Trial(**of, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
        if self.schedule_epochs is None:
            return trial
        return replace(trial, horizon_steps=trial.plan.steps_in(horizon * self.schedule_epochs))

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        return length.steps * self.step_s(batch_size)

    def evaluation_steps(self, batch_size: int) -> float:
        return 0.0

    def spent_s(self) -> float:
        return self.elapsed_s

    def submit(self, request: RunRequest) -> None:
        self._waiting.append(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        while self._waiting and len(self._running) < self.n_workers:
            request, begun_s = self._waiting.popleft(), self.elapsed_s
            record = self.answer(request)
            heapq.heappush(self._running, (self.elapsed_s, self._n_begun, request, record))
            self.elapsed_s = begun_s
            self._n_begun += 1
        self.elapsed_s, _, request, record = heapq.heappop(self._running)
        return request, record

    def cancel(self) -> None:
        """What was done of the runs under way is done."""
        self._waiting.clear()
        for ends_s, _, _, record in self._running:
            left = int((ends_s - self.elapsed_s) / self.step_s(record.trial.batch_size))
            self._done[record.trial.trial_id] = max(0, record.steps - left)
        self._running.clear()

    def answer(self, request: RunRequest) -> TrialRecord:
        self.asked.append(request)
        trial = request.trial
        limit, status, reason = self._limit(request)
        if not limit:
            return request.never_begun("simulated")
        grew = Status.DIVERGED, Reason.as_written("the loss grew")
        curve, met_at = [(0, 0.1)], None
        mean = self.truth.steps(trial.batch_size, trial.learning_rate)
        failed = self.truth.fails(trial.batch_size, trial.learning_rate, trial.seed)
        if failed is not None:
            curve, (status, reason) = [], (failed, Reason.as_written(str(failed)))
        elif math.isinf(mean):
            curve, (status, reason) = [(0, 0.1), (5, 0.05)], grew
        else:
            steps = mean * math.exp(self.truth.noise * self._drawn(trial))
            lasts = steps * self.truth.lasts(trial.batch_size, trial.learning_rate)
            for step in self._marks(trial, limit, request.length):
                value = 0.05 if step > lasts else self._accuracy(trial, step / steps)
                curve.append((step, value))
                if step > lasts:
                    status, reason = grew
                    break
                if request.length.until is None or not request.length.until.met_by(value):
                    met_at = None
                elif met_at is None:
                    met_at = step
                elif step - met_at >= 0.1 * met_at:
                    status, reason = Status.TARGET_REACHED, None
                    break
        seen = (made_up_evaluation(*at, batch_size=trial.batch_size) for at in curve)
        record = TrialRecord(
            trial=trial,
            status=status,
            reason=reason,
            engine="simulated",
            threads=1,
            versions=(),
            peak_bytes=None,
            evaluations=tuple(seen),
        )
        # It was trained as far as asked, if it did not end before, wherever it was evaluated last.
        went = limit if record.status in (Status.OK, Status.TIMEOUT) else record.steps
        before = self._done.get(trial.trial_id, 0)
        self._done[trial.trial_id] = max(before, went)
        self.elapsed_s += max(0, went - before) * self.step_s(trial.batch_size)
        return record

    def _limit(self, request: RunRequest) -> tuple[int, Status, Reason | None]:
        """The last step of a run, and how it ends there: as asked for, or with the budget."""
        trial, asked = request.trial, request.last_step
        left = (self.budget_s - self.elapsed_s) / self.step_s(trial.batch_size)
        affordable = self._done.get(trial.trial_id, 0) + max(0.0, left)
        if asked <= affordable:
            return asked, Status.OK, None
        return math.ceil(affordable), Status.TIMEOUT, OUT_OF_TIME

    def _marks(self, trial: Trial, limit: int, length: RunLength) -> Iterator[int]:
        watched, interval = length.watched_from_samples, length.interval_samples
        seen = {"watched_from_samples": watched, "interval_samples": interval}
        return (pause.step for pause in pauses(trial.plan, last_step=limit, **seen))

    def _accuracy(self, trial: Trial, way: float) -> float:
        """After so much of the way to the target."""
        target = self.truth.target
        if self.truth.end is None:
            return 1 - (1 - target) * (1 / way) ** 0.5
        end = self.truth.end(trial.batch_size, trial.learning_rate)
        end += self.truth.end_noise * self._drawn(trial, "end")
        return end - (end - _UNTRAINED) * math.exp(-self.truth._approach * way)

    def _drawn(self, trial: Trial, what: str = "") -> float:
        """A standard normal number of this trial's own."""
        rate = f"{trial.learning_rate:.6g}"
        return _normal(f"{self.salt} {trial.batch_size} {rate} {trial.seed}{what}")


class ForgetfulEngine(SimulatedEngine):
    """It keeps nothing of a run: one that is asked for again begins again, in every session."""

    resumes = False

    def answer(self, request: RunRequest) -> TrialRecord:
        self._done.clear()
        length = replace(request.length, watched_from_samples=0)
        return super().answer(RunRequest(trial=request.trial, length=length))


@lru_cache
def _normal(text: str) -> float:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return float(np.random.default_rng(number).normal())
