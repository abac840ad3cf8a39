"""RunLog: every training run the advice asked for, what came back, and what the budget allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchlab.advice.advice import RateTried, Step
from batchlab.advice.objective import best_value
from batchlab.advice.question import Question
from batchlab.engines.contract import Ask, Engine
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.trial import RunLength, Status, Target, TrialRecord

_MOST_STEPS = 10**9
# Of the fewest samples that a batch size can need to the target: a run is watched from there on.
# Well below the 0.6 at which an easier target is read, and below what luck can save.
_WATCHED_FROM = 0.4
Purpose = Literal["pilot", "tune", "value", "verify"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A run to ask for: at most `steps` steps, or until the target where there is one."""

    batch_size: int
    learning_rate: float
    seed: int
    steps: int

    @property
    def cell(self) -> tuple[int, float]:
        """Batch size and learning rate."""
        return self.batch_size, self.learning_rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a run says of one target: between which steps it was first met.

    Attributes:
        after_steps: not met at this many steps.
        steps: met by then; None: not while it ran.
        failed: it diverged or ended badly, so its length is no bound for a longer run.
    """

    after_steps: int
    steps: int | None
    failed: bool

    @property
    def middle(self) -> float | None:
        """The middle of the interval, None where the target was not met."""
        return None if self.steps is None else (self.after_steps + self.steps) / 2


def read(record: TrialRecord, target: Target) -> Reading:
    """The crossing of `target` in a record."""
    crossing = record.crossing(target)
    if crossing is not None:
        return Reading(after_steps=crossing.after_step, steps=crossing.step, failed=False)
    return Reading(after_steps=record.steps, steps=None, failed=has_failed(record))


def has_failed(record: TrialRecord) -> bool:
    """Whether a run diverged or ended badly; one that was cut, or ran out of time, has not."""
    return record.status not in (None, Status.OK, Status.TARGET_REACHED, Status.TIMEOUT)


@dataclass
class RunLog:
    """Asks the engine, keeps what came back, and knows what may still be spent.

    Attributes:
        question: what was asked.
        engine: who trains.
        until: the target of every run; None: there is none yet, or the objective has none.
        records: what came back, by batch size, rate and seed.
        purposes: what each was first run for.
        steps: what was done, and why.
        tuned_steps: steps to the target by batch size, at the rate found for it.
        reserved_s: of the budget, for what comes last.
    """

    question: Question
    engine: Engine
    until: Target | None
    records: dict[tuple[int, float, int], TrialRecord] = field(default_factory=dict)
    purposes: dict[tuple[int, float, int], Purpose] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    tuned_steps: dict[int, float] = field(default_factory=dict)
    reserved_s: float = 0.0

    def note(self, did: str, why: str) -> None:
        """Write down what is done next, and why."""
        self.steps.append(Step(spent_s=self.engine.spent_s(), did=did, why=why))

    def left_s(self) -> float:
        """What the budget leaves after what is reserved."""
        return self.question.budget_s - self.engine.spent_s() - self.reserved_s

    def expected_s(self, wishes: Sequence[Wish]) -> float:
        """About what the runs cost of the budget, side by side where the engine can."""
        costs = [self.run_s(wish.batch_size, self._new_steps(wish)) for wish in wishes]
        return max(max(costs, default=0.0), sum(costs) / self.engine.n_workers)

    def run_s(self, batch_size: int, steps: int) -> float:
        """About what one run of so many new steps costs of the budget."""
        return self.engine.expected_s(
            batch_size, steps, watched_from_samples=self.watched_from_samples(batch_size)
        )

    def watched_from_samples(self, batch_size: int) -> int:
        """So many samples pass before a run may meet the target: from there on it is watched.

        A larger batch size needs no fewer examples than a smaller one and no more steps: each
        tuned batch size bounds all others so. A run that is faster all the same has been looked
        at less often, and its crossing is the wider.
        """
        bounds = [steps * min(size, batch_size) for size, steps in self.tuned_steps.items()]
        return math.floor(_WATCHED_FROM * max(bounds, default=0.0))

    def _new_steps(self, wish: Wish) -> int:
        """Steps that are not in the records yet; none where the run has met its target."""
        steps = self._allowed_steps(wish)
        known = self.records.get((*wish.cell, wish.seed))
        if known is None:
            return steps
        if self.until is not None and known.crossing(self.until) is not None:
            return 0
        return max(0, steps - known.steps)

    def _allowed_steps(self, wish: Wish) -> int:
        return min(wish.steps, self.longest_steps(wish.batch_size))

    def plan(self, batch_size: int) -> BatchPlan:
        """The examples of every step, as the engine's trials have it."""
        rate = self.question.reference.learning_rate
        trial = self.engine.trial(batch_size=batch_size, learning_rate=rate, seed=0)
        return trial.plan

    def longest_steps(self, batch_size: int) -> int:
        """The steps of the longest run that the question allows."""
        if self.question.longest_epochs is None:
            return _MOST_STEPS
        return max(1, self.plan(batch_size).steps_in(self.question.longest_epochs))

    def affordable_steps(self, batch_size: int, seconds: float) -> int:
        """How many steps of one run so many seconds pay for, to a hundredth, at least 1."""
        # Not in proportion: evaluations lie dense at first. Doubling and halving find it.
        low, high = 1, 2
        while high < _MOST_STEPS and self.run_s(batch_size, high) <= seconds:
            low, high = high, 2 * high
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            if self.run_s(batch_size, middle) <= seconds:
                low = middle
            else:
                high = middle
        return low

    def run(
        self, wishes: Iterable[Wish], purpose: Purpose, *, until: Target | None = None
    ) -> list[TrialRecord]:
        """Run them, `until` the study's target unless another is given.

        A record is kept under its cell and seed; the purpose is the one it was first run for.
        """
        wishes = list(wishes)
        asks = [
            Ask(
                trial=self.engine.trial(
                    batch_size=wish.batch_size, learning_rate=wish.learning_rate, seed=wish.seed
                ),
                length=RunLength(
                    steps=max(1, self._allowed_steps(wish)),
                    until=until or self.until,
                    watched_from_samples=self.watched_from_samples(wish.batch_size),
                ),
            )
            for wish in wishes
        ]
        records = list(self.engine.run(asks))
        for wish, record in zip(wishes, records, strict=True):
            if not record.evaluations and not has_failed(record):
                continue  # its turn never came: nothing is known of it
            key = (*wish.cell, wish.seed)
            self.records[key] = record
            self.purposes.setdefault(key, purpose)
        return records

    def of_cell(self, cell: tuple[int, float], *purposes: Purpose) -> dict[int, TrialRecord]:
        """The records of a batch size and rate with one of the purposes, by seed."""
        return {
            key[2]: record
            for key, record in self.records.items()
            if key[:2] == cell and self.purposes[key] in purposes
        }

    def tried(self, target: Target | None) -> tuple[RateTried, ...]:
        """Every run in the order asked, read against `target`."""
        return tuple(
            RateTried(
                batch_size=key[0],
                learning_rate=key[1],
                seed=key[2],
                purpose=self.purposes[key],
                status=str(record.status),
                steps=record.steps,
                steps_to_target=None if target is None else read(record, target).middle,
                best_value=best_value(record, self.question.metric, self.question.better),
            )
            for key, record in self.records.items()
        )
