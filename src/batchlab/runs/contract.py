"""Engine: the interface of everything that returns training runs; it does not import torch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from batchlab.plans.cadence import n_pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunEnd, RunLength, RunRequest, TrainerName
from batchlab.records.trial import Trial, TrialRecord

# Estimates until the first run ends: side by side and with one thread, steps take longer, and each
# run starts a process. As evaluations were not timed yet, this slowness covers them too.
_FIRST_SLOWNESS = 2.0
_FIRST_START_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """The time that training runs took side by side: steps, evaluations and starts.

    Evaluations and starts are kept as their number and their seconds in all.
    """

    # Each has a batch size, its seconds of training, and those of its steps when undisturbed.
    steps_s: tuple[tuple[int, float, float], ...] = ()
    validations: tuple[int, float] = (0, 0.0)  # on validation data only
    whole: tuple[int, float] = (0, 0.0)  # on all data
    starts: tuple[int, float] = (0, 0.0)  # beyond training and evaluation, also if resumed

    def expected_s(self, trial: Trial, length: RunLength, *, step_s: float) -> float:
        """Return the seconds that a run of `length` in new steps takes next to others.

        Its steps are those of a run from the beginning, where evaluations are the densest; a target
        does not shorten it. A step takes `step_s` seconds with nothing else running.
        """
        steps = length.last_step(trial)
        n_validation, n_whole = n_pauses(
            trial.plan, steps, length.watched_from_samples, length.interval_samples
        )
        if length.all_splits != "on_the_way":
            n_ends = int(length.all_splits == "at_end")
            n_validation, n_whole = max(0, n_validation + n_whole - n_ends), n_ends
        validation_s = _mean(self.validations)
        return (
            _mean(self.starts, unknown=_FIRST_START_S)
            + steps * step_s * self.slowness(trial.batch_size)
            + n_validation * validation_s
            + n_whole * _mean(self.whole, unknown=validation_s)
        )

    def evaluation_steps(self, batch_size: int, *, step_s: float) -> float:
        """Return how many steps take as long as evaluating validation data, 0.0 if unknown."""
        return _mean(self.validations) / (step_s * self.slowness(batch_size))

    def slowness(self, batch_size: int) -> float:
        """Return step seconds next to others over undisturbed ones, at the nearest batch size."""
        if not self.steps_s:
            return _FIRST_SLOWNESS
        _, trained_s, alone_s = min(
            self.steps_s, key=lambda sums: (abs(math.log(sums[0] / batch_size)), sums[0])
        )
        return trained_s / alone_s

    def with_run(
        self, record: TrialRecord, *, from_step: int, wall_s: float | None, step_s: float
    ) -> CostModel:
        """Return the model with one more run, which began at a step and left this record.

        `wall_s` is the seconds of its process, or None if not known, so that nothing is learned
        about starts. A step of its size takes `step_s` seconds with nothing else running.
        """
        first_new = bisect_right(record.evaluations, from_step, key=lambda e: e.step)
        evaluations = record.evaluations[max(0, first_new - 1) :]
        if len(evaluations) < 2:
            return self
        first, last = evaluations[0], evaluations[-1]
        trained_s = last.train_s - first.train_s
        alone_s = (last.step - first.step) * step_s
        validations, whole = self.validations, self.whole
        for before, after in pairwise(evaluations):
            eval_s = after.eval_s - before.eval_s
            if after.has_all_splits:
                whole = _added(whole, eval_s)
            else:
                validations = _added(validations, eval_s)
        starts = self.starts
        if wall_s is not None:
            rest_s = wall_s - trained_s - (last.eval_s - first.eval_s)
            starts = _added(starts, rest_s)
        steps_s = {sums[0]: sums for sums in self.steps_s}
        size = record.trial.batch_size
        _, trained_before_s, alone_before_s = steps_s.get(size, (size, 0.0, 0.0))
        steps_s[size] = (size, trained_before_s + trained_s, alone_before_s + alone_s)
        return replace(
            self,
            steps_s=tuple(sorted(steps_s.values())),
            validations=validations,
            whole=whole,
            starts=starts,
        )


def _added(sums: tuple[int, float], seconds: float) -> tuple[int, float]:
    return sums[0] + 1, sums[1] + seconds


def _mean(sums: tuple[int, float], *, unknown: float = 0.0) -> float:
    n, seconds = sums
    if not n:
        return unknown
    return seconds / n


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """The abilities that not every engine has."""

    resumes: bool  # a longer run of a trial resumes, so that only its new steps cost
    side_by_side: bool  # it trains several runs at a time if the machine can
    keeps_cadence: bool  # runs are evaluated at the marks of `batchlab.plans.cadence`


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """The settings that all runs of one question share."""

    trial: Trial  # each run replaces its batch size, rate and seed
    device: str  # the PyTorch device, such as "cpu" or "cuda:1"
    listener: ProgressListener  # gets news of the runs
    started_s: float  # the reading of the engine's clock from which the budget counts
    budget_s: float | None  # seconds after which no run goes on, or None for no end
    # The micro-batch size of each batch size in question that does not fit into memory whole.
    micro_batch_sizes: Mapping[int, int] = field(default_factory=dict)
    # Seconds per step of each batch size in question, measured with nothing else running.
    step_s: Mapping[int, float] = field(default_factory=dict)
    # The passes that the workload's learning-rate shape spans, or None if the rate is constant.
    horizon_epochs: int | None = None
    # The lengths of that shape in question, over `horizon_epochs`.
    horizons: tuple[float, ...] = ()
    # The fraction of its length over which that shape is constant, from the first step on.
    constant_until: float = 0.0
    # The scaling rule that sets all but the rate at other batch sizes than the trial's.
    settings_rule: str = "none"
    threads: int = 1  # threads per run; several if it has the machine to itself
    measures: tuple[str, ...] = ()  # names of measurements in addition to the usual ones
    trainer: TrainerName = "fastest"  # "plain": PyTorch's own loop takes all steps


class Engine(Protocol):
    """A source of training runs: a machine, or a recorded grid.

    Runs are submitted, and come back one by one as they finish. A run that the engine ended early
    because time ran out comes back with the status TIMEOUT and its evaluations until then.
    """

    cost_model: CostModel
    """What an engine has learned about how long runs take; it gets it back in a replay."""

    @property
    def name(self) -> str:
        """The name of the engine in the registry, and in the records of its runs."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the engine."""

    @property
    def n_workers(self) -> int:
        """The number of runs that the engine trains at a time."""

    @property
    def n_seeds(self) -> int | None:
        """The number of seeds (0 to n_seeds - 1) that the engine has, or None for any seed."""

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """Return the engine's rates for a batch size and horizon, ascending, or None for any."""

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        """Return the trial with these values, and all other settings from the plan.

        With a learning-rate schedule, `horizon` is its length divided by the planned length.
        """

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Estimate the budget seconds of a run of `length` new steps, with its evaluations."""

    def evaluation_steps(self, batch_size: int) -> float:
        """Return how many steps take as long as a validation, 0.0 if there is none or unknown."""

    def submit(self, request: RunRequest) -> None:
        """Queue a run; it begins when a worker is free, and `next_finished` returns its end."""

    def next_finished(self) -> RunEnd:
        """Wait for the next of the submitted runs to end; at least one is submitted."""

    def cancel(self) -> None:
        """End every submitted run that has not been returned; resumable ones can go on later."""

    def spent_s(self) -> float:
        """Return the seconds of the budget that are spent."""


def run_all(engine: Engine, requests: Sequence[RunRequest]) -> list[TrialRecord]:
    """Run all requests, with nothing else under way, and return their records in order."""
    for request in requests:
        engine.submit(request)
    records = {}
    for _ in requests:
        end = engine.next_finished()
        records[end.request] = end.record
    return [records[request] for request in requests]
