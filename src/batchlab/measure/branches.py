"""Branches of a training: the extra examples that larger batch sizes need from a step on."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from batchlab.laws.branches import critical_batch_size, examples_to
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import untouched_randomness
from batchlab.records.batch_plan import Stage
from batchlab.records.estimate import Estimate
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.trial import Trial
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.evaluator import Evaluator, evaluation_batch
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

TIMES: Final = (2, 4, 8, 16)
"""The batch sizes of branches, as multiples of the batch size in use."""

# The examples of a branch, as a fraction of those that the training has processed before it.
_WINDOW = 0.4
# The lengths of the branches with the batch size in use, as multiples of the others' length.
_OWN_WINDOWS = (0.25, 0.5, 1.0, 1.5)
_FEWEST_STEPS = 8  # the fewest steps of a branch
_DIVERGED = 1e300  # replaces a loss that is not finite
# The learning rate falls to zero over the second half of a branch in this number of equal stairs.
# Otherwise the noise of the last steps, smaller at larger batch sizes, would decide the loss.
_STAIRS = 10


def branch_of(trial: Trial, *, at: int, window: float, batch_size: int, factor: float) -> Trial:
    """Return the given training up to some examples, followed by a branch that cools down.

    Args:
        trial: the training before the branch, without stages.
        at: the number of examples before the branch.
        window: the number of examples in the branch.
        batch_size: the batch size of the branch.
        factor: the factor on the learning rate in the branch.
    """
    stages = [Stage(from_samples=at, batch_size=batch_size, rate_factor=float(factor))]
    for stair in range(_STAIRS):
        from_samples = round(at + (0.5 + 0.5 * stair / _STAIRS) * window)
        rate_factor = factor * (1 - (stair + 0.5) / _STAIRS)
        stages.append(
            Stage(from_samples=from_samples, batch_size=batch_size, rate_factor=rate_factor)
        )
    micro = min(batch_size, trial.micro_batch_size) if trial.accumulates else batch_size
    return replace(trial, stages=tuple(stages), micro_batch_size=micro)


@dataclass(frozen=True, kw_only=True)
class Branches:
    """The branches that start at the current step of a training."""

    workload: Workload
    trial: Trial
    stepper: Stepper  # at `step` of the trial; branches do not change it
    step: int
    evaluator: Evaluator

    @classmethod
    def of(cls, workload: Workload, stepper: Stepper, trial: Trial, step: int) -> Branches:
        """Return the branches at a step of a training of a workload with validation data."""
        device = next(stepper.model.parameters()).device
        at_once = evaluation_batch(trial, reference_batch_size=workload.batch_size)
        evaluator = Evaluator(workload, device, batch_size=at_once)
        return cls(workload=workload, trial=trial, stepper=stepper, step=step, evaluator=evaluator)

    @property
    def window(self) -> float:
        """The number of examples in a branch."""
        return _WINDOW * self.trial.plan.samples_at(self.step)

    @property
    def _factor(self) -> float:
        """The schedule's current factor on the peak learning rate; branches keep this factor."""
        schedule, spans = self.workload.schedule, self.trial.horizon_steps
        if schedule is None or spans is None:
            return 1.0
        return float(schedule(self.step / spans))

    def critical_batch_size(self, *, until_s: float = math.inf) -> Estimate:
        """Return the critical batch size at this step, in examples."""
        estimate = critical_batch_size(self.trial.batch_size, self.wasted(until_s=until_s))
        if estimate.estimate is None and time.monotonic() > until_s:
            return replace(estimate, reason=OUT_OF_TIME)
        return estimate

    def wasted(self, *, until_s: float = math.inf) -> list[tuple[float, float, float]]:
        """Return the extra examples of each larger batch size, in the form of `laws.branches`.

        Branches are compared by their validation loss. Each larger batch size trains with the
        learning rates of the square-root rule and of the linear rule, and the lower loss is used.
        No branch begins after `time.monotonic()` reaches `until_s`, or after a batch size has
        wasted more examples than the shortest branch can show.
        """
        own_size, window = self.trial.batch_size, self.window
        wasted: list[tuple[float, float, float]] = []
        if window < _FEWEST_STEPS * TIMES[0] * own_size or not self._factor:
            return []
        with untouched_randomness(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "here"
            self._save(path)
            end_loss = partial(self._end_loss, path, until_s)
            lengths = [share * window for share in _OWN_WINDOWS]
            own_losses = [end_loss(own_size, length, 1.0) for length in lengths]
            if not all(longer < shorter for shorter, longer in pairwise(own_losses)):
                return []  # the loss does not fall, so it can't be converted to examples
            own = list(zip(lengths, own_losses, strict=True))
            for times in TIMES:
                size = times * own_size
                if size > self.trial.n_train or window < _FEWEST_STEPS * size:
                    break
                losses = [end_loss(size, window, factor) for factor in (math.sqrt(times), times)]
                if math.isnan(sum(losses)):
                    break  # a branch was not run, because time or memory was missing
                low, high = examples_to(min(losses), own)
                if not low:
                    wasted.append((times, window / high, math.inf))
                    break
                wasted.append((times, window / high, window / low))
        return wasted

    def _save(self, path: Path) -> None:
        progress = Progress(step=self.step, versions=(), engine="plain", threads=1)
        stepper = self.stepper
        save_checkpoint(path, model=stepper.model, kept=stepper.kept, progress=progress)

    def _end_loss(
        self, path: Path, until_s: float, batch_size: int, window: float, factor: float
    ) -> float:
        """Return the validation loss at the end of a branch; NaN if it did not fit into memory."""
        if time.monotonic() > until_s:
            return math.nan
        at = self.trial.plan.samples_at(self.step)
        trial = branch_of(
            replace(self.trial, horizon_steps=None),
            at=at,
            window=window,
            batch_size=batch_size,
            factor=factor * self._factor,
        )
        try:
            workload = replace(self.workload, schedule=None)
            stepper = Stepper(workload, trial, next(self.stepper.model.parameters()).device)
            load_checkpoint(path, model=stepper.model, kept=stepper.kept)
            steps = max(1, trial.plan.step_at(at + window) - self.step)
            stepper.steps(stepper.stream(self.step), steps, first_step=self.step)
            scores = self.evaluator.scores(stepper.evaluated, ("validation",))
        except Exception as error:
            if is_out_of_memory(error):
                return math.nan
            raise
        loss = next(score.value for score in scores if score.metric == "loss")
        return _DIVERGED if loss is None else loss
