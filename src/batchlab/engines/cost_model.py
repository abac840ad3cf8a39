"""CostModel: how long training runs take beyond their steps, learned from runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from batchlab.planning.cadence import n_pauses
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Trial, TrialRecord

# Before any run has ended: beside others and with one thread a step takes longer than alone, and
# every run starts a process. Evaluations are not known yet, so the steps stand for them too.
_FIRST_SLOWNESS = 2.0
_FIRST_START_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """How long training runs took, side by side, evaluations and starts apart from steps.

    Attributes:
        steps_s: by batch size, seconds of training, and seconds that its steps take alone.
        validations: evaluations on validation data only: how many, and their seconds.
        whole: evaluations on all data: how many, and their seconds.
        starts: runs begun or taken up again: how many, and the seconds that they took beyond
            training and evaluation.
    """

    steps_s: tuple[tuple[int, float, float], ...] = ()
    validations: tuple[int, float] = (0, 0.0)
    whole: tuple[int, float] = (0, 0.0)
    starts: tuple[int, float] = (0, 0.0)

    def expected_s(
        self,
        trial: Trial,
        length: RunLength,
        *,
        step_s: float,
    ) -> float:
        """Seconds that a run of so many new steps takes beside others.

        Args:
            trial: gives the batch size, and with it when there are evaluations.
            length: its new steps, as of a run from the beginning, where evaluations are the
                densest, and when it is evaluated; a target does not shorten it.
            step_s: seconds per step, measured alone.
        """
        steps = length.last_step(trial)
        n_validation, n_whole = n_pauses(
            trial.plan, steps, length.watched_from_samples, length.interval_samples
        )
        if length.all_splits != "each_epoch":
            n_ends = 1 if length.all_splits == "at_end" else 0
            n_validation, n_whole = max(0, n_validation + n_whole - n_ends), n_ends
        return (
            self._start_s
            + steps * step_s * self.slowness(trial.batch_size)
            + n_validation * _mean(self.validations)
            + n_whole * _mean(self.whole if self.whole[0] else self.validations)
        )

    def evaluation_steps(self, batch_size: int, *, step_s: float) -> float:
        """How many steps take as long as an evaluation on validation data; 0.0: not known yet.

        Args:
            batch_size: of the steps.
            step_s: seconds of one, measured alone.
        """
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

    @property
    def _start_s(self) -> float:
        return _mean(self.starts) if self.starts[0] else _FIRST_START_S

    def with_run(
        self, record: TrialRecord, *, from_step: int, wall_s: float | None, step_s: float
    ) -> CostModel:
        """The cost_model with one more run in it.

        Args:
            record: the trial, as it was when the run had ended.
            from_step: the step at which the run began.
            wall_s: seconds of its process; None: not known, so nothing is learned of starts.
            step_s: seconds per step of its batch size, measured alone, > 0.
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
