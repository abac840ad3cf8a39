"""The plain trainer: an ordinary PyTorch loop, which defines the result of a trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from batchlab.errors import TrialError
from batchlab.plans.cadence import Pause, pauses, with_every_epoch_end
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Reason
from batchlab.records.measurement import AtStep, Moment
from batchlab.records.run import Outcome, RunLength
from batchlab.records.trial import Evaluation, Score, Split, Status, Trial, crossing_of
from batchlab.training.checkpoint import (
    Progress,
    load_checkpoint,
    peek_checkpoint,
    save_checkpoint,
)
from batchlab.training.evaluator import Evaluator, evaluation_batch
from batchlab.training.native.program import NativeBuild
from batchlab.training.native.trainer import stepper_of
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import SPLITS, Batch, Workload, size_of


def stopped_early(
    evaluations: Sequence[Evaluation], plan: BatchPlan, workload: Workload
) -> Reason | None:
    """Return why to stop if the metric did not improve for `patience_epochs` epochs, else None."""
    epoch, steps_since = plan.position(evaluations[-1].step)
    if workload.patience_epochs is None or steps_since:
        return None
    metric = workload.metric_names[0]
    sign = {"higher": 1, "lower": -1}[workload.better(metric)]
    best_value, best_epoch = -math.inf, 0
    for evaluation in evaluations:
        epochs, steps_since = plan.position(evaluation.step)
        value = evaluation.score("validation", metric)
        if epochs > 0 and steps_since == 0 and value is not None and sign * value > best_value:
            best_value, best_epoch = sign * value, epochs
    if best_epoch == 0 or epoch - best_epoch < workload.patience_epochs:
        return None
    return Reason.of("stopped_early", epochs=epoch, best=best_epoch, metric=metric)


# A trial has diverged if its loss is above FACTOR times the untrained model's loss at EVALUATIONS
# evaluations in a row. After a single high value, a loss may recover.
FACTOR = 10.0
EVALUATIONS = 3


def divergence(
    evaluations: Sequence[Evaluation], loss_of: Callable[[Evaluation], float | None]
) -> Reason | None:
    """Return why the trial has diverged, or None if it has not.

    A trial has diverged if its loss was above `FACTOR` times the untrained model's loss, or not
    finite, at the last `EVALUATIONS` evaluations.
    """
    if len(evaluations) <= EVALUATIONS:
        return None
    first = loss_of(evaluations[0])
    if first is None or first <= 0:
        return None
    for loss in map(loss_of, evaluations[-EVALUATIONS:]):
        if loss is not None and loss <= FACTOR * first:
            return None
    return Reason.of("losses_far_above_untrained", n=EVALUATIONS, factor=FACTOR, first=first)


def training_loss(evaluation: Evaluation) -> float | None:
    """Return the validation loss; without validation data, the training loss; None if unknown."""
    if any(score.split == "validation" for score in evaluation.scores):
        return evaluation.score("validation", "loss")
    if evaluation.step == 0:
        return evaluation.score("train", "loss")
    return evaluation.batch_loss


def _not_a_number(evaluations: Sequence[Evaluation], workload: Workload) -> Reason | None:
    first, last = evaluations[0], evaluations[-1]
    # Without a loss, check the first metric, because other metrics may not have a value yet.
    watched = workload.metric_names[0] if workload.loss is None else "loss"
    # Ignore test data, which must not affect training.
    others = [split for split in SPLITS if split != "test"]
    splits = [split for split in others if last.is_not_finite(split, watched)]
    if not splits:
        return None
    code = "metric_not_finite"
    if all(first.is_not_finite(split, watched) for split in splits):
        code = "not_finite_at_any_rate"
    return Reason.of(code, metric=watched, step=last.step)


# Losses and `stop` are checked after each block of consecutive steps.
_BLOCK_S = 0.05  # A block of steps is intended to take this many seconds.
_BLOCK_STEPS = 256  # A block has at most this many steps.

_CHECKPOINT_EVERY_S = 0.25  # Two checkpoints are at least this many seconds apart.
_CHECKPOINT_FRACTION = 0.02  # Checkpoints take at most this fraction of a run's time.


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A trial to run, with the length of the run, the device and the files.

    Attributes:
        trial: the trial to run.
        length: the limits at which the run ends, and when to evaluate.
        device: the PyTorch device, such as "cpu" or "cuda:1".
        threads: the number of threads to compute with.
        checkpoint: the file for the checkpoint, or None to write no checkpoint.
        resume: whether to continue from the file `checkpoint`.
        versions: library versions, stored with the trial.
        build: the native build that trains the trial in C, or None to train it in PyTorch.
        beginnings: pairs (step, file): after this step, write a checkpoint to this file, so that
            trainings of other lengths can start from the checkpoint.
    """

    trial: Trial
    length: RunLength
    device: str
    threads: int
    checkpoint: Path | None
    resume: bool
    versions: tuple[tuple[str, str], ...]
    build: NativeBuild | None = None
    beginnings: tuple[tuple[int, Path], ...] = ()

    @property
    def last_step(self) -> int:
        """The number of steps of a run that does not end early."""
        return self.length.last_step(self.trial)


def train(
    workload: Workload,
    task: Task,
    *,
    measures: Mapping[str, AtStep],
    emit: Callable[[Sequence[Evaluation]], None],
    stop: Callable[[], bool],
) -> Outcome:
    """Run one trial in this process, from its checkpoint or from the beginning.

    Args:
        workload: the workload to train.
        task: the trial and the length of its run.
        measures: functions that measure the model at an evaluation, by name; each may return None.
        emit: called first with a resumed checkpoint's evaluations, then with each new evaluation.
        stop: called every few hundredths of a second; when it returns True, the run writes its
            checkpoint and ends with the status None.

    Returns:
        The outcome of the run. Exceptions of the user's own code are raised unchanged.

    Raises:
        StoreError: the checkpoint could not be written or read.
        TrialError: the trial was made for a training set of another size.
    """
    if size_of(workload.train) != task.trial.n_train:
        raise TrialError(
            f"workload {workload.name!r} has {size_of(workload.train)} training examples, but the "
            f"trial was made for {task.trial.n_train}; make the trial for the present workload"
        )
    return _TrainingRun(workload, task, measures, emit).until_done(stop)


class _TrainingRun:
    """The run of one trial, from the first step or from a checkpoint to the run's end."""

    def __init__(
        self,
        workload: Workload,
        task: Task,
        measures: Mapping[str, AtStep],
        emit: Callable[[Sequence[Evaluation]], None],
    ) -> None:
        self._workload = workload
        self._task = task
        self._trial = task.trial
        self._measures = measures
        self._emit = emit
        self._device = torch.device(task.device)
        batch_size = evaluation_batch(task.trial, reference_batch_size=workload.batch_size)
        self._evaluator = Evaluator(workload, self._device, batch_size=batch_size)
        self._stepper, self._note = stepper_of(workload, task.trial, self._device, task.build)
        self._evaluator.fast = self._stepper.fast
        # Copy the untrained weights now: no checkpoint is loaded yet.
        self._initial = [weight.detach().clone() for weight in self._stepper.model.parameters()]
        self._checkpoint_due_s = _CHECKPOINT_EVERY_S
        self._checkpoint_at_s = time.perf_counter()
        self._block_steps = 1
        if task.resume and task.checkpoint is not None:
            progress = load_checkpoint(task.checkpoint, kept=self._stepper.kept)
            resumed_from = (*progress.resumed_from_steps, progress.step)
            self._progress = replace(progress, resumed_from_steps=resumed_from)
            self._emit(progress.evaluations)
        else:
            self._progress = Progress(
                versions=task.versions, engine=self._stepper.name, threads=task.threads
            )
            self._evaluate(Pause(step=0, all_splits=True))

    def until_done(self, stop: Callable[[], bool]) -> Outcome:
        """Train until the run ends, fails or is stopped; write a checkpoint except on failure."""
        outcome = self._ended()
        if outcome is None:
            if self._progress.step >= self._task.last_step:
                self._complete()
            outcome = self._through_pauses(stop) or Outcome(status=Status.OK)
        if outcome.status is None or outcome.status.ended_well:
            self._keep()
        notes = outcome.notes
        if self._note is not None:
            notes = (*notes, self._note)
        return replace(outcome, engine=self._stepper.name, notes=notes)

    def _through_pauses(self, stop: Callable[[], bool]) -> Outcome | None:
        """Train and evaluate to the last step; return an outcome only if the run ends earlier."""
        stream = self._stepper.stream(self._progress.step)
        for pause in self._pauses():
            while self._progress.step < pause.step:
                if stop():
                    return Outcome(status=None)
                # Write no checkpoint after a failure, because a resumed run would report another
                # step. Write no checkpoint before a planned evaluation at the same step, because a
                # resumed run would skip the evaluation.
                outcome = self._train_block(stream, until=pause.step)
                if outcome is not None:
                    return outcome
                is_evaluated = self._progress.step == pause.step
                if is_evaluated:
                    self._evaluate(pause)
                    self._tell_schedule()
                self._keep_beginning()
                if is_evaluated:
                    outcome = self._ended()
                if outcome is not None:
                    return outcome
                if time.perf_counter() - self._checkpoint_at_s >= self._checkpoint_due_s:
                    self._keep()
        return None

    def _ended(self) -> Outcome | None:
        """Return the outcome if the run must end, else None.

        If the run ends well, first evaluate the splits that the last evaluation left out.
        """
        outcome = self._verdict()
        if outcome is not None and outcome.status is not None and outcome.status.ended_well:
            self._complete()
        return outcome

    def _verdict(self) -> Outcome | None:
        evaluations, workload = self._progress.evaluations, self._workload
        is_evaluated = evaluations[-1].step == self._progress.step
        if is_evaluated and self._progress.step > 0:
            reason = _not_a_number(evaluations, workload)
            if reason is not None:
                return Outcome(status=Status.NAN, reason=reason)
        reason = divergence(evaluations, training_loss)
        if reason is not None:
            return Outcome(status=Status.DIVERGED, reason=reason)
        if self._task.length.until is not None:
            crossing = crossing_of(evaluations, self._task.length.until)
            if crossing is not None and crossing.held:
                return Outcome(status=Status.TARGET_REACHED)
        if not is_evaluated:
            return None
        note = stopped_early(evaluations, self._trial.plan, workload)
        return None if note is None else Outcome(status=Status.OK, notes=(note,))

    def _pauses(self) -> Iterator[Pause]:
        """Return the planned evaluations after the current step.

        With early stopping or ReduceLROnPlateau, there is an evaluation at the end of every epoch.
        The steps depend only on the trial and the run's length, never on a clock, because a run
        that was killed and resumed must be evaluated at the same steps as an uninterrupted run.
        """
        planned = pauses(
            self._trial.plan,
            last_step=self._task.last_step,
            after_step=self._progress.step,
            watched_from_samples=self._task.length.watched_from_samples,
            interval_samples=self._task.length.interval_samples,
        )
        if self._workload.patience_epochs is None and not self._stepper.rates.follows_metric:
            return planned
        return with_every_epoch_end(planned, self._trial.plan, after_step=self._progress.step)

    def _tell_schedule(self) -> None:
        if self._stepper.rates.follows_metric and self._is_epoch_end():
            metric = self._workload.metric_names[0]
            value = self._progress.evaluations[-1].score("validation", metric)
            if value is not None:
                self._stepper.rates.saw(value)

    def _train_block(self, stream: Iterator[Sequence[Batch]], *, until: int) -> Outcome | None:
        """Take steps, at most to step `until`; return an outcome only if a loss is not finite.

        The steps also end at each step in `Task.beginnings`.
        """
        before, plan = self._progress, self._trial.plan
        steps = min(self._block_steps, until - before.step)
        for step, _ in self._task.beginnings:
            if step > before.step:
                steps = min(steps, step - before.step)
        started_s = time.perf_counter()
        losses = self._stepper.steps(stream, steps, first_step=before.step)
        train_s = time.perf_counter() - started_s
        if train_s < _BLOCK_S:
            self._block_steps = min(_BLOCK_STEPS, 2 * self._block_steps)
        elif self._block_steps > 1:
            self._block_steps //= 2
        loss_sum = before.loss_sum
        outcome = None
        # Add losses one by one, so that the sum does not depend on where a run was interrupted.
        for step, loss in enumerate(losses, start=before.step):
            loss_sum += loss * plan.batch_size_at(step)
            if not math.isfinite(loss_sum):
                outcome = self._lost(loss, step)
                break
        step = before.step + steps
        samples = plan.samples_at(step)
        self._progress = replace(
            before,
            step=step,
            samples=samples,
            train_s=before.train_s + train_s,
            loss_sum=loss_sum,
        )
        return outcome

    def _lost(self, loss: float, step: int) -> Outcome:
        status = Status.NAN if math.isnan(loss) else Status.DIVERGED
        reason = Reason.of("metric_not_finite", metric="loss", step=step + 1)
        # If an untrained model's loss is not finite either, the learning rate is not why the loss
        # is not finite, and another reason is stored.
        with suppress(torch.OutOfMemoryError):  # A second model may not fit into memory.
            fresh = Stepper(self._workload, self._trial, self._device)
            untrained = fresh.step(next(fresh.stream(step))).item()
            if not math.isfinite(untrained):
                reason = Reason.of("not_finite_at_any_rate", metric="loss", step=step + 1)
        return Outcome(status=status, reason=reason)

    def _evaluate(self, pause: Pause) -> None:
        before = self._progress
        on_all_splits = self._on_all_splits(pause)
        splits = SPLITS if on_all_splits else ("validation",)
        scores, eval_s = self._scores(splits)
        n_trained = 0  # the number of examples since the last evaluation
        if before.evaluations:
            n_trained = before.samples - before.evaluations[-1].samples
        batch_loss = before.loss_sum / n_trained if n_trained > 0 else None
        evaluation = Evaluation(
            step=before.step,
            samples=before.samples,
            train_s=before.train_s,
            eval_s=eval_s,
            batch_loss=batch_loss,
            scores=scores,
            measured=self._measured(
                is_end=on_all_splits or self._is_epoch_end(),
                is_last=pause.step in (0, self._task.last_step),
            ),
        )
        self._emit((evaluation,))
        evaluations = (*before.evaluations, evaluation)
        self._progress = replace(before, eval_s=eval_s, loss_sum=0.0, evaluations=evaluations)

    def _complete(self) -> None:
        """Evaluate the model on the required splits that the current step's evaluation lacks.

        A run that ended before its planned last step lacks train and test data. A run resumed from
        a checkpoint between two evaluations lacks validation data, too.
        """
        if self._progress.evaluations[-1].step < self._progress.step:
            self._evaluate(Pause(step=self._progress.step, all_splits=True))
        *before, last = self._progress.evaluations
        if self._task.length.all_splits == "never" or last.has_all_splits:
            return
        scores, eval_s = self._scores(SPLITS)
        last = replace(last, scores=scores, eval_s=eval_s)
        self._emit((last,))
        self._progress = replace(self._progress, eval_s=eval_s, evaluations=(*before, last))

    def _on_all_splits(self, pause: Pause) -> bool:
        when = self._task.length.all_splits
        if when == "never":
            return False
        is_planned = pause.step == self._task.last_step
        if when == "on_the_way":
            is_planned = pause.all_splits
        # This evaluation may reach the target and so be the run's last, which needs all splits.
        return is_planned or self._may_end()

    def _is_epoch_end(self) -> bool:
        return self._trial.plan.position(self._progress.step)[1] == 0

    def _may_end(self) -> bool:
        """Return whether the run would end if the model reached the target at the current step."""
        target = self._task.length.until
        if target is None:
            return False
        crossing = crossing_of(self._progress.evaluations, target)
        return crossing is not None and crossing.would_hold_at(self._progress.samples, target)

    def _measured(self, *, is_end: bool, is_last: bool) -> tuple[tuple[str, float | None], ...]:
        """Return each measure's name and value; None replaces a value of NaN or infinity."""
        step = self._progress.step
        moment = Moment(
            model=self._stepper.model,
            initial=self._initial,
            workload=self._workload,
            device=self._device,
            trial=self._trial,
            step=step,
            is_end=is_end,
            is_last=is_last,
        )
        measured: list[tuple[str, float | None]] = []
        for name, measure in self._measures.items():
            value = measure(moment)
            if value is not None and not math.isfinite(value):
                value = None
            # Leave out measures that have no value for the initial weights.
            if step > 0 or value is not None:
                measured.append((name, value))
        return tuple(measured)

    def _scores(self, splits: tuple[Split, ...]) -> tuple[tuple[Score, ...], float]:
        """Return the scores on `splits` and the total seconds of all evaluations up to this one."""
        started_s = time.perf_counter()
        scores = self._evaluator.scores(self._stepper.evaluated, splits)
        return scores, self._progress.eval_s + time.perf_counter() - started_s

    def _keep_beginning(self) -> None:
        for step, path in self._task.beginnings:
            if step != self._progress.step:
                continue
            kept = peek_checkpoint(path)
            if kept is None or kept.versions != self._task.versions:
                # Use a unique name, because another training may write this file at the same time.
                unshared = path.with_name(f"{self._trial.trial_id}.{step}")
                self._save(unshared)
                unshared.replace(path)

    def _keep(self) -> None:
        if self._task.checkpoint is None:
            return
        started_s = time.perf_counter()
        self._save(self._task.checkpoint)
        self._checkpoint_at_s = time.perf_counter()
        cost_s = self._checkpoint_at_s - started_s
        self._checkpoint_due_s = max(_CHECKPOINT_EVERY_S, cost_s / _CHECKPOINT_FRACTION)

    def _save(self, path: Path) -> None:
        save_checkpoint(path, kept=self._stepper.kept, progress=self._progress)
