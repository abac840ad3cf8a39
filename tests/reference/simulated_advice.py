"""Whole studies on simulated engines; every one of them is held to what always has to be true."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import REFERENCE, knee, question

from batchlab.advice.advice import Advice, RateTried
from batchlab.advice.advisor import advise
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord

EPOCHS = 12.0  # of a whole training
END = 1 - 0.03 / 1.05  # the target of the truth has 5 % more errors
MARGIN = 0.05 * (1 - END)
SIZES = (64, 256, 1024)
OWN = (REFERENCE.batch_size, REFERENCE.learning_rate)
STEP_S = knee(1024)
# To the level the reference takes 4.4 epochs, a batch of 1024 at its best rate 10.7 of the 12.
ALIKE: Mapping[str, Any] = {
    "s_min": 150.0,
    "b_crit": 400.0,
    "end": lambda size, rate: END,
    "end_noise": 0.0002,
}


def worse_where(is_worse: Callable[[int, float], bool], *, margins: float) -> dict[str, Any]:
    """A truth in which some end worse by so many margins."""
    return {"end": lambda size, rate: END - (margins * MARGIN if is_worse(size, rate) else 0.0)}


TRUTHS: Mapping[str, Mapping[str, Any]] = {
    "alike": {},
    "large_ends_worse": worse_where(lambda size, rate: size > 64, margins=7),
    "largest_ends_a_little_worse": worse_where(lambda size, rate: size > 256, margins=2),
    "high_rates_end_worse": worse_where(lambda size, rate: rate > 0.05, margins=4),
    "large_out_of_memory": {"fails": lambda size, rate, seed: Status.OOM if size > 64 else None},
    "large_diverges_late": {"lasts": lambda size, rate: 1.3 if size > 64 else math.inf},
    "middle_breaks": {"fails": lambda size, rate, seed: Status.ERROR if size == 256 else None},
    "second_seed_diverges": {
        "fails": lambda size, rate, seed: Status.DIVERGED if (size, seed) == (1024, 1) else None
    },
    "cliff_beside_the_best_rate": {"cliff_octaves": 0.6},
    "noisy": {"noise": 0.25, "end_noise": 0.0015},
    "own_rate_far_too_low": {"best_rate": 0.64, "cliff_octaves": 1.2},
    "own_diverges": {"best_rate": 0.0006, "cliff_octaves": 1.5},
}


@dataclass
class WatchedEngine(SimulatedEngine):
    """It refuses what no advice may ask for: a run that is under way, or the same once more."""

    under_way: list[Trial] = field(default_factory=list)

    def submit(self, request: RunRequest) -> None:
        trial, until = request.trial, request.length.until
        assert trial not in self.under_way, f"{trial} is under way"
        assert len(self.under_way) < self.n_workers
        for asked in self.asked_of(trial):
            # To its end, or to another level, it goes further; at its end test data are evaluated.
            is_new = (until, request.length.all_splits) != (
                asked.length.until,
                asked.length.all_splits,
            )
            assert is_new or request.last_step > asked.last_step, f"{trial} was asked for so far"
        self.under_way.append(trial)
        super().submit(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        request, record = super().next_finished()
        self.under_way.remove(request.trial)
        return request, record

    def asked_of(self, trial: Trial) -> list[RunRequest]:
        return [asked for asked in self.asked if asked.trial == trial]

    @property
    def cells(self) -> set[tuple[int, float]]:
        return {(asked.trial.batch_size, asked.trial.learning_rate) for asked in self.asked}


@dataclass
class ScriptEngine(WatchedEngine):
    """Somebody's script: evaluated after every epoch, and begun anew if it is asked for again."""

    resumes = False

    def submit(self, request: RunRequest) -> None:
        """What was followed is followed no further; it may be trained to its end."""
        followed = [a for a in self.asked_of(request.trial) if a.length.until is not None]
        assert not (followed and request.length.until is not None)
        super().submit(request)

    def _marks(self, trial: Trial, limit: int, length: RunLength) -> Sequence[int]:
        epochs = range(1, math.floor(trial.plan.epoch_at(limit)) + 1)
        return [trial.plan.steps_in(epoch) for epoch in epochs]

    def answer(self, request: RunRequest) -> TrialRecord:
        self._done.clear()
        return super().answer(request)


def advised(
    *,
    trainings=5.0,
    n_workers=1,
    kind=WatchedEngine,
    salt=0,
    step_s=STEP_S,
    asked=None,
    in_turn=None,
    **truth: Any,
) -> tuple[Advice, WatchedEngine]:
    """The advice on a budget of so many whole trainings; `asked` are fields of the question."""
    budget_s = trainings * EPOCHS * math.ceil(N_TRAIN / OWN[0]) * step_s(OWN[0])
    known = Truth(**{**ALIKE, **truth})
    engine = kind(truth=known, step_s=step_s, n_workers=n_workers, salt=salt, budget_s=budget_s)
    usual = {"target": None, "planned_epochs": EPOCHS, "at_most_epochs": EPOCHS, "sizes": SIZES}
    asks = question(step_s, budget_s=budget_s, **{**usual, **(asked or {})})
    advice = advise(asks, engine, in_turn=in_turn)
    check(advice, engine)
    return advice, engine


@cache
def study(
    name: str, *, trainings=5.0, n_workers=1, kind=WatchedEngine
) -> tuple[Advice, WatchedEngine]:
    """The study of a truth by its name, made once."""
    return advised(trainings=trainings, n_workers=n_workers, kind=kind, **TRUTHS[name])


def check(advice: Advice, engine: WatchedEngine) -> None:
    """What is true of every advice.

    The budget is a ceiling; what is named did not fail, met the level in a run of its own, was
    trained to its end where ends are compared, and is likely to be no worse.
    """
    a_step_s = max(map(engine.step_s, SIZES))
    assert engine.spent_s() <= advice.budget_s + a_step_s
    assert not engine.under_way
    if advice.recommendation is None:
        assert advice.is_usual or advice.named in (None, advice.reference)
        return
    assert advice.chance >= 0.8
    runs = runs_of(advice, named_of(advice))
    assert {run.status for run in runs} <= {"ok", "target_reached", "timeout"}
    assert advice.target is None or any(run.steps_to_target is not None for run in runs)
    assert advice.target_origin == "given" or any(run.end is not None for run in runs)


def runs_of(advice: Advice, cell: tuple[int, float]) -> list[RateTried]:
    return [run for run in advice.tried if (run.batch_size, run.learning_rate) == cell]


def named_of(advice: Advice) -> tuple[int, float]:
    assert advice.named is not None
    return advice.named.batch_size, advice.named.learning_rate


def true_time_s(advice: Advice, engine: WatchedEngine, cell: tuple[int, float]) -> float:
    steps = engine.truth.steps(*cell)
    if engine.truth.end is not None:
        assert advice.target is not None
        steps = engine.truth.steps_to(advice.target.value, *cell)
    return steps * engine.step_s(cell[0])


def true_gain(advice: Advice, engine: WatchedEngine, other: tuple[int, float] = OWN) -> float:
    """The true time of another configuration to the level over that of what is named."""
    return true_time_s(advice, engine, other) / true_time_s(advice, engine, named_of(advice))


def true_worse(advice: Advice, engine: WatchedEngine) -> float:
    """By how many margins what is named truly ends worse than the reference."""
    assert engine.truth.end is not None
    return (engine.truth.end(*OWN) - engine.truth.end(*named_of(advice))) / MARGIN
