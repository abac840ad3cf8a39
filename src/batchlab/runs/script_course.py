"""ScriptCourse: the evaluations of one training, as the progress of its script tells them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.run import RunRequest
from batchlab.records.trial import Crossing, Evaluation, Score, Status, Target
from batchlab.script.metric import BATCH_LOSSES, plain_name
from batchlab.training.plain import EVALUATIONS, divergence


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossingSoFar:
    """What the evaluations until now say of a target.

    Attributes:
        target: the level to look for.
        crossing: what `crossing_of` says of the same evaluations.
    """

    target: Target
    crossing: Crossing | None = None
    _missed_at: int = 0
    _touched_at: int | None = None

    def after(self, evaluation: Evaluation) -> CrossingSoFar:
        """What they say with one more, at a later step."""
        here = self.crossing
        if here is not None and here.held:
            return self
        value = evaluation.score("validation", self.target.metric)
        if value is None:
            if evaluation.is_not_finite("validation", self.target.metric):
                return replace(self, crossing=None, _missed_at=evaluation.step)
            return self
        if here is not None and not self.target.held_for:
            return replace(self, crossing=replace(here, held_until_step=evaluation.step))
        if not self.target.met_by(value):
            return replace(self, crossing=None, _missed_at=evaluation.step)
        if here is None:
            return self._first_met(evaluation)
        if here.would_hold_at(evaluation.samples, self.target):
            return replace(self, crossing=replace(here, held_until_step=evaluation.step))
        return self

    def _first_met(self, evaluation: Evaluation) -> CrossingSoFar:
        touched_at = evaluation.step if self._touched_at is None else self._touched_at
        crossing = Crossing(
            after_step=self._missed_at,
            step=evaluation.step,
            samples=evaluation.samples,
            held_until_step=None,
            touched_step=touched_at,
        )
        return replace(self, crossing=crossing, _touched_at=touched_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """That a training is to end here.

    Attributes:
        status: how it ends.
        reason: why it ends badly; None: it does not.
    """

    status: Status
    reason: Reason | None = None


class ScriptCourse:
    """One training under way: what it was evaluated to so far, and whether it is to end.

    Attributes:
        metric: the validation metric that counts.
        step: updates done, as far as it was told.
    """

    def __init__(
        self,
        request: RunRequest,
        metric: str,
        better: Better,
        *,
        earlier: Sequence[Evaluation] = (),
    ) -> None:
        """Nothing was seen yet.

        Args:
            request: the run.
            metric: the validation metric that counts, as the script names it.
            better: its direction.
            earlier: of the run before, which this one goes on from; those from the first step
                on that this one tells of do not count.
        """
        self._request = request
        self._plan = request.trial.plan
        self.metric = metric
        self._better = better
        self._evaluations: list[Evaluation] = []  # by step
        until = request.length.until
        self._crossing = None if until is None else CrossingSoFar(target=until)
        self._crossing_before_last = self._crossing
        self._began_s: float | None = None
        self._losses: list[float] = []
        self._lost_at: int | None = None
        self._earlier = tuple(earlier)
        self.step = 0
        self.n_made = 0
        self.taken_up_at: int | None = None

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All so far, by step."""
        return tuple(self._evaluations)

    def add(
        self, values: Mapping[str, float], *, step: int, samples: int, at_s: float
    ) -> Evaluation | None:
        """One piece of progress.

        The same step told again replaces what it was evaluated to before.

        Args:
            values: what was measured there, by the script's own names.
            step: updates done, at least as many as before.
            samples: examples seen.
            at_s: by a monotonic clock, in seconds.

        Returns:
            A new evaluation, where the metric is among the values.
        """
        for _ in self.begun(step, at_s):
            pass
        assert self._began_s is not None
        self.step = max(self.step, step)
        self._note_batch_loss(values, step)
        if self.metric not in values:
            return None
        value = values[self.metric]
        known = math.isfinite(value)
        losses = [loss for loss in self._losses if math.isfinite(loss)]
        made = Evaluation(
            step=step,
            samples=samples,
            train_s=at_s - self._began_s,
            eval_s=0.0,  # a script does not tell it apart
            batch_loss=math.fsum(losses) / len(losses) if losses and step else None,
            scores=(Score(split="validation", metric=self.metric, value=value if known else None),),
        )
        self._losses.clear()
        self._put(made)
        self.n_made += 1
        return made

    def verdict(self) -> Verdict | None:
        """Whether the training is to end, by the last that it told; None: it goes on."""
        if self._lost_at is not None:
            reason = Reason.of("loss_not_a_number", step=self._lost_at)
            return Verdict(status=Status.NAN, reason=reason)
        if not self._evaluations:
            return None
        last = self._evaluations[-1]
        if last.step > 0 and last.is_not_finite("validation", self.metric):
            reason = Reason.of("metric_not_finite", metric=self.metric, step=last.step)
            return Verdict(status=Status.NAN, reason=reason)
        if self._better == "lower":
            diverged = divergence(tuple(map(_as_loss, self._first_and_last)))
            if diverged is not None:
                return Verdict(status=Status.DIVERGED, reason=diverged)
        crossing = None if self._crossing is None else self._crossing.crossing
        if crossing is not None and crossing.held:
            return Verdict(status=Status.TARGET_REACHED)
        if last.step >= self._request.last_step:
            return Verdict(status=Status.OK)
        return None

    def begun(self, step: int, at_s: float) -> Iterator[Evaluation]:
        """Take in what the run before was evaluated to; its clock goes on from there.

        One by one, for any of them may end the training: that run may have gone on beyond what is
        asked, while nobody was there to end it.

        Args:
            step: of the first progress of this run.
            at_s: when that came.

        Returns:
            Each evaluation as it is taken in; nothing, once the run has begun.
        """
        if self._began_s is not None:
            return
        self._began_s = at_s
        for each in self._earlier:
            if each.step < step:
                self._put(each)
                self.taken_up_at = each.step
                self._began_s = at_s - each.train_s
                yield each

    @property
    def _first_and_last(self) -> Sequence[Evaluation]:
        """All that `divergence` looks at."""
        if len(self._evaluations) <= EVALUATIONS:
            return self._evaluations
        return (self._evaluations[0], *self._evaluations[-EVALUATIONS:])

    def _put(self, made: Evaluation) -> None:
        """Keep an evaluation in its place: the last one, but for a script that counts anew."""
        known = self._evaluations
        if known and made.step < known[-1].step:
            place = bisect_left(known, made.step, key=_step_of)
            known[place : place + (known[place].step == made.step)] = [made]
            self._cross_again()
            return
        if known and made.step == known[-1].step:
            known.pop()
            self._crossing = self._crossing_before_last
        known.append(made)
        self._cross(made)

    def _cross(self, made: Evaluation) -> None:
        self._crossing_before_last = self._crossing
        if self._crossing is not None:
            self._crossing = self._crossing.after(made)

    def _cross_again(self) -> None:
        if self._crossing is not None:
            self._crossing = CrossingSoFar(target=self._crossing.target)
            for each in self._evaluations:
                self._cross(each)

    def _note_batch_loss(self, values: Mapping[str, float], step: int) -> None:
        metric = plain_name(self.metric)
        plain = {plain_name(name): value for name, value in values.items()}
        name = next((each for each in BATCH_LOSSES if each in plain and each != metric), None)
        if name is None:
            return
        self._losses.append(plain[name])
        # An infinite one may be a step that a gradient scaler leaves out.
        if math.isnan(plain[name]) and self._lost_at is None:
            self._lost_at = step


def _step_of(evaluation: Evaluation) -> int:
    return evaluation.step


def _as_loss(evaluation: Evaluation) -> Evaluation:
    """As `divergence` reads it, where the metric goes down as a loss does."""
    score = evaluation.scores[0]
    return replace(evaluation, scores=(replace(score, metric="loss"),))
