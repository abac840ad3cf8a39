"""RecordedEngine: answers with trainings that were recorded before, at a step time of one's choice.

It trains nothing and loads no torch: what an adviser is worth can be told in seconds, on any
machine, against step times of a machine that is not there.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.recorded.grid import RecordedGrid, RecordedRun

from batchlab.plans.cadence import n_pauses, pauses
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Evaluation, Status, Target, Trial, TrialRecord, crossing_of
from batchlab.runs.contract import CostModel

ENGINE = "recorded"


class RecordedEngine:
    """One study's view of a grid: some of its seeds, and a clock of its own.

    The seeds asked for are 0, 1, 2, ... in the order of `seeds`. A run ends where the plain engine
    would have ended it: where the target has held, at the length asked for (then at the last
    evaluation before it), where it diverged or its patience ended it. Asked for more than was
    recorded, it says so.
    """

    name = ENGINE
    resumes = True
    cost_model = CostModel()

    def __init__(
        self,
        grid: RecordedGrid,
        *,
        seeds: Sequence[int],
        step_s: Mapping[int, float],
        eval_s: float = 0.0,
        n_workers: int = 1,
        longer: Mapping[float, RecordedGrid] | None = None,
    ) -> None:
        """See `grid` through some of its seeds.

        Args:
            grid: the trainings.
            seeds: those of the grid's seeds that this study may see, in the order in which it
                meets them: put first those that every cell has.
            step_s: seconds a step, for each batch size of the grid.
            eval_s: seconds of an evaluation. As many are charged for as the run would have had;
                those before it is watched are in the answer all the same.
            n_workers: how many runs go side by side, each as fast as alone.
            longer: grids of the same workload with its schedule over longer trainings, by their
                length over that of `grid`.
        """
        self._submitted: deque[RunRequest] = deque()
        self._grid = grid
        self._grids = {1.0: grid, **(longer or {})}
        self._seeds = tuple(seeds)
        self._step_s = step_s
        self._eval_s = eval_s
        self.n_workers = n_workers
        self._now_s = self._charged_s = 0.0
        # Runs under way: when each ends, in which order it began, what was asked and the answer.
        self._running: list[tuple[float, int, RunRequest, TrialRecord]] = []
        self._n_begun = 0
        self._paid: dict[Trial, tuple[int, int]] = {}  # steps and evaluations
        self._trials: dict[int, Trial] = {}  # one of each batch size
        # By batch size, interval and last step.
        self._pauses: dict[tuple[int, int, int], frozenset[int]] = {}

    @property
    def n_seeds(self) -> int | None:
        """How many seeds it has (0 to n_seeds - 1)."""
        return len(self._seeds)

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """The rates that were recorded at `batch_size`, ascending."""
        grid = self._grids.get(horizon)
        if grid is None or batch_size not in grid.batch_sizes:
            return ()
        return grid.learning_rates(batch_size)

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        """The trial of these three.

        Raises:
            TrialError: the grid does not hold them; the message says what it does hold.
        """
        grid = self._grids[horizon]
        batch_size, learning_rate = grid.cell(batch_size, learning_rate)
        trial = Trial(
            workload_id=f"recorded-{self._grid.header.workload}",
            workload=self._grid.header.workload,
            n_train=self._grid.header.n_train,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        )
        header = grid.header
        if header.has_schedule:
            return replace(trial, horizon_steps=trial.plan.steps_in(header.epochs))
        return trial

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Seconds that a run of so many steps costs, from its beginning.

        Only validation data were recorded: what is evaluated on them alone costs as much as what is
        evaluated on all.
        """
        steps = length.last_step(self._any_trial(batch_size))
        n_evaluations = self._n_evaluations(batch_size, steps, length)
        return steps * self._step_s[batch_size] + n_evaluations * self._eval_s

    def evaluation_steps(self, batch_size: int) -> float:
        """How many steps of a batch size cost as much as an evaluation."""
        return self._eval_s / self._step_s[batch_size]

    def spent_s(self) -> float:
        """Seconds until the run that ended last; what is asked for twice costs once."""
        return self._now_s

    def submit(self, request: RunRequest) -> None:
        """Put it last."""
        self._submitted.append(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Let runs begin where there is a place, and wait for the first of them to end."""
        while self._submitted and len(self._running) < self.n_workers:
            request, before_s = self._submitted.popleft(), self._charged_s
            record = self.answer(request)
            end_s = self._now_s + self._charged_s - before_s
            heapq.heappush(self._running, (end_s, self._n_begun, request, record))
            self._n_begun += 1
        self._now_s, _, request, record = heapq.heappop(self._running)
        return request, record

    def cancel(self) -> None:
        """Forget those that wait, and those under way."""
        self._submitted.clear()
        self._running.clear()

    def answer(self, request: RunRequest) -> TrialRecord:
        """The record of one run.

        Args:
            request: the run asked for.

        Raises:
            TrialError: a trial that the grid does not hold.
        """
        trial, length = request.trial, request.length
        # Through `trial`, so that one made elsewhere is refused where the grid does not hold it.
        horizon = self._horizon_of(trial)
        trial = self.trial(
            batch_size=trial.batch_size,
            learning_rate=trial.learning_rate,
            seed=trial.seed,
            horizon=horizon,
        )
        grid = self._grids[horizon]
        key = trial.batch_size, trial.learning_rate, self._seeds[trial.seed]
        run = grid.runs.get(key)
        if run is None:
            # Only the untrained model is known: it is the same for all runs with the seed.
            same = next(run for run in self._grid.runs.values() if run.seed == key[2])
            untrained = self._grid.evaluations(same, self._step_s[same.batch_size])[:1]
            return self._record(
                trial, length.until, untrained, Status.TIMEOUT, _no_such_seed(trial)
            )
        asked_steps = length.last_step(trial)
        evaluations = grid.evaluations(run, self._step_s[run.batch_size])
        if length.interval_samples:
            evaluations = self._at_pauses(evaluations, trial, length)
        end, met = _end(evaluations, length.until, asked_steps)
        status, reason, steps = Status.OK, None, asked_steps
        if met:
            status, steps = Status.TARGET_REACHED, evaluations[end - 1].step
        elif run.steps < asked_steps:
            steps = run.steps
            status, reason = _status_at_the_end(run)
        self._pay(trial, steps, length)
        note = self._early_stop(run) if steps >= run.steps else None
        if note is not None:
            status, reason = run.status, None
        record = self._record(trial, length.until, evaluations[:end], status, reason)
        return record if note is None else replace(record, notes=(note,))

    def _early_stop(self, run: RecordedRun) -> Reason | None:
        """The note of a run that ended by the workload's patience, before its planned epochs."""
        header = self._grid.header
        if header.patience_epochs is None:
            return None
        epochs = self._any_trial(run.batch_size).plan.epoch_at(run.steps)
        if run.status is not Status.OK or epochs >= header.epochs:
            return None
        best = round(epochs) - header.patience_epochs
        return Reason.of("stopped_early", epochs=round(epochs), best=best, metric=header.metric)

    def _at_pauses(
        self, evaluations: tuple[Evaluation, ...], trial: Trial, length: RunLength
    ) -> tuple[Evaluation, ...]:
        """Those at the pauses that the interval leaves, and the last at the length asked for."""
        key = trial.batch_size, length.interval_samples, evaluations[-1].step
        if key not in self._pauses:
            found = pauses(
                trial.plan,
                last_step=evaluations[-1].step,
                interval_samples=length.interval_samples,
            )
            self._pauses[key] = frozenset(pause.step for pause in found)
        asked_steps = length.last_step(trial)
        kept = {
            *self._pauses[key],
            max((each.step for each in evaluations if each.step <= asked_steps), default=0),
        }
        return tuple(each for each in evaluations if each.step == 0 or each.step in kept)

    def _horizon_of(self, trial: Trial) -> float:
        for horizon, grid in self._grids.items():
            header = grid.header
            if header.has_schedule:
                if trial.horizon_steps == trial.plan.steps_in(header.epochs):
                    return horizon
        return 1.0

    def _pay(self, trial: Trial, steps: int, length: RunLength) -> None:
        paid_steps, paid_evaluations = self._paid.get(trial, (0, 0))
        n_evaluations = self._n_evaluations(trial.batch_size, steps, length)
        self._charged_s += max(0, steps - paid_steps) * self._step_s[trial.batch_size]
        self._charged_s += max(0, n_evaluations - paid_evaluations) * self._eval_s
        self._paid[trial] = max(steps, paid_steps), max(n_evaluations, paid_evaluations)

    def _n_evaluations(self, batch_size: int, steps: int, length: RunLength) -> int:
        """How many are charged for; none where they cost nothing, for counting takes its time."""
        if not self._eval_s:
            return 0
        plan = self._any_trial(batch_size).plan
        return sum(n_pauses(plan, steps, length.watched_from_samples, length.interval_samples))

    def _any_trial(self, batch_size: int) -> Trial:
        if batch_size not in self._trials:
            rate = self._grid.learning_rates(batch_size)[0]
            self._trials[batch_size] = self.trial(batch_size=batch_size, learning_rate=rate, seed=0)
        return self._trials[batch_size]

    def _record(
        self,
        trial: Trial,
        target: Target | None,
        evaluations: tuple[Evaluation, ...],
        status: Status,
        reason: Reason | None,
    ) -> TrialRecord:
        return TrialRecord(
            trial=trial,
            status=status,
            reason=reason,
            engine=ENGINE,
            threads=1,
            versions=(),
            target=target,
            evaluations=evaluations,
            peak_bytes=None,
        )


def _end(
    evaluations: Sequence[Evaluation], target: Target | None, asked_steps: int
) -> tuple[int, bool]:
    """How many of the run's evaluations are its answer, and whether the target ended it.

    As in the plain engine, it ends where the target has held.
    """
    crossing = None if target is None else crossing_of(evaluations, target)
    last = None if crossing is None else crossing.held_until_step
    end = asked_steps if last is None else min(last, asked_steps)
    return sum(evaluation.step <= end for evaluation in evaluations), last == end


def _status_at_the_end(run: RecordedRun) -> tuple[Status, Reason | None]:
    """How a run ended that was asked to go on beyond its recording."""
    if run.status.ended_well:
        return Status.TIMEOUT, Reason.as_written(f"recorded until step {run.steps}")
    return run.status, Reason.as_written(
        f"{run.status.value} at step {run.steps} when it was recorded"
    )


def _no_such_seed(trial: Trial) -> Reason:
    return Reason.as_written(
        f"batch size {trial.batch_size} at learning rate {trial.learning_rate:g} was recorded with "
        "fewer seeds, because it is far from the best rate"
    )
