"""Engine: the interface of everything that returns training runs; it does not import torch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from batchlab.plans.cadence import n_pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunLength, RunRequest, TrainerName
from batchlab.records.trial import Trial, TrialRecord

# Estimates until the first run ends: (step time while other runs train, including evaluations) /
# (step time measured with nothing else running), and the seconds in which a run's process starts.
_FIRST_SLOWNESS = 2.0
_FIRST_START_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """The times of steps, evaluations and starts, measured in runs that trained side by side.

    For evaluations, and for starts, the count and the total seconds are stored.
    """

    # seconds of all steps side by side, and seconds the same steps would take alone
    steps_s: tuple[float, float] = (0.0, 0.0)
    validations: tuple[int, float] = (0, 0.0)  # count and seconds of validation-only evaluations
    whole: tuple[int, float] = (0, 0.0)  # count and seconds of evaluations on all data
    starts: tuple[int, float] = (0, 0.0)  # count of runs, and seconds not in steps or evaluations

    def expected_s(self, trial: Trial, length: RunLength, *, step_s: float) -> float:
        """Return the expected seconds of a run from step 0 to the end of `length`.

        It is assumed that other runs train at the same time, and that no target ends the run early.
        A step takes `step_s` seconds with nothing else running.
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
            + steps * step_s * self.slowness
            + n_validation * validation_s
            + n_whole * _mean(self.whole, unknown=validation_s)
        )

    def evaluation_steps(self, *, step_s: float) -> float:
        """Return how many steps take as long as evaluating validation data once; 0.0 if unknown."""
        return _mean(self.validations) / (step_s * self.slowness)

    @property
    def slowness(self) -> float:
        """The step time with other runs, divided by the step time without other runs."""
        trained_s, alone_s = self.steps_s
        if not alone_s:
            return _FIRST_SLOWNESS
        return trained_s / alone_s

    def with_run(
        self, record: TrialRecord, *, from_step: int, wall_s: float | None, step_s: float
    ) -> CostModel:
        """Return the cost model updated with the times of a run that started at `from_step`.

        `wall_s` is the whole duration of the run; with None, the start times are not updated.
        `step_s` is the mean time of a step of the run with nothing else running.
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
        return replace(
            self,
            steps_s=(self.steps_s[0] + trained_s, self.steps_s[1] + alone_s),
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
class RunPlan:
    """The settings that all runs of one study share."""

    trial: Trial  # the template of all runs; each run has its own batch size, rate and seed
    device: str  # the PyTorch device, such as "cpu" or "cuda:1"
    listener: ProgressListener  # receives the progress and warnings of the runs
    started_s: float  # the time on the engine's clock at which the budget starts
    budget_s: float | None  # seconds after which all runs end, or None for no limit
    # By batch size, the micro-batch size, if whole batches do not fit into memory.
    micro_batch_sizes: Mapping[int, int] = field(default_factory=dict)
    # By batch size, the seconds per step, measured with nothing else running.
    step_s: Mapping[int, float] = field(default_factory=dict)
    # The epochs that the learning-rate schedule spans, or None if the rate is constant.
    horizon_epochs: int | None = None
    # The lengths of the learning-rate schedule to compare, divided by `horizon_epochs`.
    horizons: tuple[float, ...] = ()
    # The fraction of the learning-rate schedule, from step 0 on, over which the rate is constant.
    constant_until: float = 0.0
    # The name of the rule that scales settings other than the learning rate with the batch size.
    settings_rule: str = "none"
    threads: int = 1  # threads per run; several if only one run is trained at a time
    measures: tuple[str, ...] = ()  # names of optional measurements to make during the runs
    trainer: TrainerName = "fastest"  # "plain" trains all steps in PyTorch's own loop


class Engine(Protocol):
    """A source of training runs: a machine, or a recorded grid.

    Runs are submitted, and are returned one by one as they finish. A run that the engine ended
    because time ran out is returned with the status TIMEOUT and its evaluations until then.
    """

    cost_model: CostModel
    """The model that estimates run times; updated after each run, and restored by a replay."""

    @property
    def name(self) -> str:
        """The name of the engine in the registry, and in the records of its runs."""

    @property
    def resumes(self) -> bool:
        """Whether a longer run of a trial resumes the shorter run, and trains only new steps."""

    @property
    def n_workers(self) -> int:
        """The number of runs that the engine trains at a time."""

    @property
    def n_seeds(self) -> int | None:
        """The number of seeds that can be requested (0 to n_seeds - 1), or None for no limit."""

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """Return the learning rates that the engine accepts, ascending; None if it accepts any."""

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        """Return a trial with the given values, and with all other settings from the plan.

        `horizon` is the length of the learning-rate schedule divided by the planned length.
        """

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Estimate the seconds of a run, with evaluations, from step 0 to the end of `length`."""

    def evaluation_steps(self, batch_size: int) -> float:
        """Return how many steps take as long as evaluating validation data once; 0.0 if unknown."""

    def submit(self, request: RunRequest) -> None:
        """Queue a run, which starts when a worker is free; `next_finished` returns its record."""

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Wait until any submitted run ends, and return (its request, the record of its trial).

        The record has the trial's status for this request. Call only if a submitted run is left.
        """

    def cancel(self) -> None:
        """End all submitted runs that are not returned yet; later requests may resume the runs."""

    def spent_s(self) -> float:
        """Return the seconds of the budget that are spent."""


def run_all(engine: Engine, requests: Sequence[RunRequest]) -> list[TrialRecord]:
    """Run all requests on an idle engine, and return their records in the order of requests."""
    for request in requests:
        engine.submit(request)
    records = dict(engine.next_finished() for _ in requests)
    return [records[request] for request in requests]
