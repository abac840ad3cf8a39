"""Engine: the interface of all classes that train runs. This module does not import torch."""

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

# Assumed until the first run ends: the step time while other runs train, divided by the step time
# when nothing else runs; and the seconds that the process of a run takes to start.
_FIRST_SLOWNESS = 2.0
_FIRST_START_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """The measured times of steps, evaluations and starts, from which run times are estimated.

    Attributes:
        steps_s: the total seconds of all steps, and their total seconds if nothing else had run.
        validations: the number and total seconds of evaluations on validation data only.
        whole: the number and total seconds of evaluations on train, validation and test data.
        starts: the number of runs, and their total seconds outside steps and evaluations.
    """

    steps_s: tuple[float, float] = (0.0, 0.0)
    validations: tuple[int, float] = (0, 0.0)
    whole: tuple[int, float] = (0, 0.0)
    starts: tuple[int, float] = (0, 0.0)

    def expected_s(self, trial: Trial, length: RunLength, *, step_s: float) -> float:
        """Return the expected seconds of a run from step 0 to the end of `length`.

        It is assumed that other runs train at the same time, and that the run does not reach a
        target early. `step_s` is the seconds of a step when nothing else runs.
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
        validation_s = _mean(self.validations)
        if not validation_s:
            return 0.0
        return validation_s / (step_s * self.slowness)

    @property
    def slowness(self) -> float:
        """The step time while other runs train, divided by the step time when nothing else runs."""
        trained_s, alone_s = self.steps_s
        if not alone_s:
            return _FIRST_SLOWNESS
        return trained_s / alone_s

    def with_run(
        self, record: TrialRecord, *, from_step: int, wall_s: float | None, step_s: float
    ) -> CostModel:
        """Return the cost model updated with the times of a run that started at `from_step`.

        `wall_s` is the seconds of the run from start to end; if it is None, `starts` stays as is.
        `step_s` is the mean seconds of a step of the run when nothing else runs.
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
    """The settings that all runs of one study share.

    Attributes:
        trial: the template of all trials; each trial changes batch size, learning rate and seed.
        device: the PyTorch device, such as "cpu" or "cuda:1".
        listener: receives the progress and warnings of the runs.
        started_s: the time on the engine's clock at which the budget starts.
        budget_s: seconds after which all runs end; infinity for no limit.
        micro_batch_sizes: the micro-batch size at each batch size that does not fit into memory.
        step_s: the seconds per step at each batch size, measured when nothing else runs.
        horizon_epochs: the epochs that the learning-rate schedule spans; None for a constant rate.
        horizons: the schedule lengths to compare, as multiples of `horizon_epochs`.
        constant_until: the fraction of the schedule, from step 0 on, in which the rate is constant.
        settings_rule: the name of the rule that adapts Adam's betas and eps to the batch size.
        threads: CPU threads per run; several only if runs are trained one at a time.
        measures: the names of optional measurements to make during the runs.
        trainer: "plain" to train all steps with PyTorch, "fastest" to use the fastest trainer.
    """

    trial: Trial
    device: str
    listener: ProgressListener
    started_s: float
    budget_s: float
    micro_batch_sizes: Mapping[int, int] = field(default_factory=dict)
    step_s: Mapping[int, float] = field(default_factory=dict)
    horizon_epochs: int | None = None
    horizons: tuple[float, ...] = ()
    constant_until: float = 0.0
    settings_rule: str = "none"
    threads: int = 1
    measures: tuple[str, ...] = ()
    trainer: TrainerName = "fastest"


class Engine(Protocol):
    """An object that trains runs, or returns runs that were trained and stored before.

    Callers submit runs, and the engine returns them one by one as they finish. A run that the
    engine ended because time ran out is returned with the status TIMEOUT and the evaluations made.
    """

    cost_model: CostModel
    """The measured times from which run times are estimated; updated after each run."""

    @property
    def name(self) -> str:
        """The name of the engine, as stored in the records of its runs."""

    @property
    def resumes(self) -> bool:
        """Whether a longer run of a trial resumes an earlier run instead of starting at step 0."""

    @property
    def n_workers(self) -> int:
        """The number of runs that the engine trains at a time."""

    @property
    def n_seeds(self) -> int | None:
        """The number of seeds that can be requested (0 to n_seeds - 1), or None for no limit."""

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """Return the learning rates, ascending, that the engine accepts; None if it accepts all."""

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        """Return a trial with the given values; all other settings are those of the study.

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

        The record's status is for this request. Do not call this if no submitted run is left.
        """

    def cancel(self) -> None:
        """End all submitted runs that were not returned; a later request can resume such a run."""

    def spent_s(self) -> float:
        """Return the seconds of the budget that are spent."""


def run_all(engine: Engine, requests: Sequence[RunRequest]) -> list[TrialRecord]:
    """Run all requests on an idle engine; return the records in the order of the requests."""
    for request in requests:
        engine.submit(request)
    records = dict(engine.next_finished() for _ in requests)
    return [records[request] for request in requests]
