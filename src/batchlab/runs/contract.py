"""Engine: who answers with training runs; the contract knows nothing of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from batchlab.plans.cadence import n_pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunEnd, RunLength, RunRequest, TrainerName
from batchlab.records.trial import Trial, TrialRecord

# Before any run has ended: beside others and with one thread a step takes longer than alone, and
# every run starts a process. Evaluations are not known yet, so the steps stand for them too.
_FIRST_SLOWNESS = 2.0
_FIRST_START_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """How long training runs took, side by side, evaluations and starts apart from steps.

    Of evaluations and starts it knows how many there were, and their seconds in all.
    """

    # By batch size, seconds of training, and seconds that its steps take alone.
    steps_s: tuple[tuple[int, float, float], ...] = ()
    validations: tuple[int, float] = (0, 0.0)  # on validation data only
    whole: tuple[int, float] = (0, 0.0)  # on all data
    starts: tuple[int, float] = (0, 0.0)  # beyond training and evaluation, when taken up again too

    def expected_s(self, trial: Trial, length: RunLength, *, step_s: float) -> float:
        """Seconds that a run of so many new steps takes beside others.

        Its steps are those of a run from the beginning, where evaluations are the densest; a target
        does not shorten it. A step takes `step_s` seconds alone.
        """
        steps = length.last_step(trial)
        n_validation, n_whole = n_pauses(
            trial.plan, steps, length.watched_from_samples, length.interval_samples
        )
        if length.all_splits != "on_the_way":
            n_ends = 1 if length.all_splits == "at_end" else 0
            n_validation, n_whole = max(0, n_validation + n_whole - n_ends), n_ends
        start_s = _mean(self.starts) if self.starts[0] else _FIRST_START_S
        return (
            start_s
            + steps * step_s * self.slowness(trial.batch_size)
            + n_validation * _mean(self.validations)
            + n_whole * _mean(self.whole if self.whole[0] else self.validations)
        )

    def evaluation_steps(self, batch_size: int, *, step_s: float) -> float:
        """How many steps take as long as an evaluation on validation data; 0.0: not known yet."""
        if not self.validations[0]:
            return 0.0
        return _mean(self.validations) / (step_s * self.slowness(batch_size))

    def slowness(self, batch_size: int) -> float:
        """Seconds of a step beside others over those of one alone, at the nearest batch size."""
        if not self.steps_s:
            return _FIRST_SLOWNESS
        _, trained_s, alone_s = min(
            self.steps_s, key=lambda known: (abs(math.log(known[0] / batch_size)), known[0])
        )
        return trained_s / alone_s

    def with_run(
        self, record: TrialRecord, *, from_step: int, wall_s: float | None, step_s: float
    ) -> CostModel:
        """With one more run in it, which began at a step and whose trial is as the record says.

        `wall_s` is seconds of its process; None: not known, so nothing is learned of starts. A step
        of its batch size takes `step_s` seconds alone.
        """
        seen = [e for e in record.evaluations if e.step <= from_step][-1:]
        seen += [e for e in record.evaluations if e.step > from_step]
        if len(seen) < 2:
            return self
        trained_s = seen[-1].train_s - seen[0].train_s
        alone_s = (seen[-1].step - seen[0].step) * step_s
        validations, whole = self.validations, self.whole
        for before, after in pairwise(seen):
            eval_s = after.eval_s - before.eval_s
            if after.has_all_splits:
                whole = _added(whole, eval_s)
            else:
                validations = _added(validations, eval_s)
        starts = self.starts
        if wall_s is not None:
            rest_s = wall_s - trained_s - (seen[-1].eval_s - seen[0].eval_s)
            starts = _added(starts, rest_s)
        size = record.trial.batch_size
        known = {b: (trained, alone) for b, trained, alone in self.steps_s}
        before_s = known.get(size, (0.0, 0.0))
        known[size] = (before_s[0] + trained_s, before_s[1] + alone_s)
        return replace(
            self,
            steps_s=tuple((b, *both) for b, both in sorted(known.items())),
            validations=validations,
            whole=whole,
            starts=starts,
        )


def _added(sums: tuple[int, float], seconds: float) -> tuple[int, float]:
    return sums[0] + 1, sums[1] + seconds


def _mean(sums: tuple[int, float]) -> float:
    return sums[1] / sums[0] if sums[0] else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What an engine can do."""

    resumes: bool  # a longer run of a trial goes on from where it ended: only what is new costs
    side_by_side: bool  # it does several runs at a time where the machine lets it
    keeps_cadence: bool  # runs are evaluated at the marks of `batchlab.plans.cadence`


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What all runs of one question share."""

    trial: Trial  # its batch size, rate and seed are replaced
    device: str  # the PyTorch device, such as "cpu" or "cuda:1"
    listener: ProgressListener  # told how the runs get on
    started_s: float  # the reading of the engine's clock from which the budget counts
    budget_s: float | None  # seconds after which no run goes on; None: there is no end
    # How each batch size in question fits into memory, if not whole.
    micro_batch_sizes: Mapping[int, int] = field(default_factory=dict)
    # Seconds per step of each batch size in question, measured alone.
    step_s: Mapping[int, float] = field(default_factory=dict)
    # The passes that the workload's learning-rate shape spans; None: the rate is constant.
    horizon_epochs: int | None = None
    threads: int = 1  # for each run; more than one where a run has the machine to itself
    measures: tuple[str, ...] = ()  # of each run beside what is always measured, by name
    trainer: TrainerName = "fastest"  # "plain": PyTorch's own loop takes all steps


class Engine(Protocol):
    """Who answers with training runs: a machine, or a recorded grid.

    Runs are submitted, and come back one by one as they finish. A run that the engine ended before
    its length, for want of time, comes back with the status TIMEOUT and what was seen until then.
    """

    cost_model: CostModel
    """What it has learned of how long runs take; given back to it when a study is replayed."""

    @property
    def name(self) -> str:
        """Its name in the registry, and in the records of its runs."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def n_workers(self) -> int:
        """How many runs it does at a time: asking for fewer wastes it."""
        ...

    @property
    def n_seeds(self) -> int | None:
        """How many seeds it has (0 to n_seeds - 1); None: as many as are asked for."""
        ...

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """The rates it has at `batch_size`, ascending; None: any."""
        ...

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        ...

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """About how many seconds of the budget so many new steps cost, with their evaluations."""
        ...

    def evaluation_steps(self, batch_size: int) -> float:
        """How many steps take as long as an evaluation on validation data; 0.0: none or unknown."""
        ...

    def submit(self, request: RunRequest) -> None:
        """Ask for a run; it begins when a place is free, and comes back by `next_finished`."""
        ...

    def next_finished(self) -> RunEnd:
        """Wait for the next of the submitted runs to end; at least one is submitted."""
        ...

    def cancel(self) -> None:
        """End everything submitted that has not come back; what can go on later can do so."""
        ...

    def spent_s(self) -> float:
        """Seconds of the budget spent so far."""
        ...


def run_all(engine: Engine, requests: Sequence[RunRequest]) -> list[TrialRecord]:
    """Run all of them, with nothing else under way, and wait for the last."""
    for request in requests:
        engine.submit(request)
    ends = [engine.next_finished() for _ in requests]
    records = {end.request: end.record for end in ends}
    return [records[request] for request in requests]
