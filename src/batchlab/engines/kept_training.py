"""KeptTraining: one training of a command as the store keeps it, the second time as the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from batchlab.engines.script_course import ScriptCourse, Verdict
from batchlab.records.evaluation import Evaluation
from batchlab.records.run import RunRequest
from batchlab.records.trial import Status, TrialRecord
from batchlab.store.column import JsonColumn, UnreadableColumn
from batchlab.store.store import Store

_LATER: Final = JsonColumn[tuple[Evaluation, ...]](tuple[Evaluation, ...])


class KeptTraining:
    """The evaluations of a training, stored as they are told.

    Where it was trained before, what was stored then stays until this run has come as far. So a
    kill at any moment loses nothing, and a stored curve is always that of one training.
    """

    def __init__(
        self,
        store: Store,
        request: RunRequest,
        known: TrialRecord | None,
        *,
        folder: Path,
        engine: str,
    ) -> None:
        """Store that it begins, or goes on.

        Args:
            store: it knows the workload.
            request: what is trained.
            known: what is stored of it; None: nothing.
            folder: of the training; it need not be there.
            engine: who trains.
        """
        self._store = store
        self._trial_id = request.trial.trial_id
        self._before = () if known is None else known.evaluations
        self._resumed = () if known is None else known.resumed_from_steps
        self._later = folder / "later.json"
        self._is_ahead = not self._before
        store.begin_trial(
            TrialRecord(
                trial=request.trial,
                status=None,
                engine=engine,
                threads=1,
                versions=(),
                target=request.length.until,
                evaluations=(),
                peak_bytes=None,
                resumed_from_steps=self._resumed,
                # What a script does with the last batch of an epoch is not known.
                notes=tuple(
                    note for note in request.trial.notes if note.code != "last_batch_smaller"
                ),
            )
        )

    def earlier(self, told: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
        """What is known of the run before, with what it told and the store does not hold.

        Args:
            told: what its script wrote down by itself, by step.
        """
        try:
            later = _LATER.decoded(self._later.read_text(encoding="utf-8"), str(self._later))
        except (OSError, UnreadableColumn, UnicodeDecodeError):
            later = ()  # none was told, or its writer was killed: the curve has a wider gap there
        last = self._before[-1].step if self._before else 0
        more = {each.step: each for each in (*later, *told) if each.step > last}
        return (*self._before, *(more[step] for step in sorted(more)))

    def put(
        self,
        course: ScriptCourse,
        new: Sequence[Evaluation],
        counted: Callable[[], tuple[Evaluation, ...]],
    ) -> None:
        """Store what is new; until it is as far as the run before, that one stays.

        Args:
            course: of this run.
            new: the evaluations that were added or replaced since the last call.
            counted: gives all that count of it, by step.
        """
        if not new:
            return
        if self._is_ahead:  # all in one: a fast script tells a hundred a second
            self._store.put_evaluations(self._trial_id, new)
        elif max(each.step for each in new) >= self._before[-1].step:
            self._replace(course, counted())

    def end(self, course: ScriptCourse, counted: tuple[Evaluation, ...], verdict: Verdict) -> None:
        """Store what is left after the last `put`, before its status is stored.

        A run that was cut short before it was as far as the one before leaves that one's curve.

        Args:
            course: of this run.
            counted: all that count of it, by step.
            verdict: how it ended.
        """
        if not self._is_ahead and not (verdict.status.may_go_on or verdict.status is Status.OOM):
            self._replace(course, counted)
        last = counted[-1].step if counted else -1
        self._keep_later(tuple(each for each in course.evaluations if each.step > last))

    def _replace(self, course: ScriptCourse, evaluations: tuple[Evaluation, ...]) -> None:
        from_step, resumed = course.taken_up_at, self._resumed
        if from_step is None:
            resumed = ()
        elif not evaluations or from_step < evaluations[-1].step:  # else it ended before that
            resumed = (*resumed, from_step)
        self._store.replace_evaluations(self._trial_id, evaluations, resumed_from_steps=resumed)
        self._is_ahead = True

    def _keep_later(self, later: tuple[Evaluation, ...]) -> None:
        """Beside the store: a record ends where it was asked to, and a longer one needs these."""
        try:
            if later:
                text = _LATER.encoded(later, str(self._later))
                self._later.write_text(text, encoding="utf-8")
            else:
                self._later.unlink(missing_ok=True)
        except OSError:
            return  # a wider gap in the curve of a longer run is all that it costs
