"""Evaluations: what a store keeps of every pause of a trial."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.evaluation import Evaluation, Score
from batchlab.store.column import JsonColumn, require_finite
from batchlab.store.connection import StoreConnection

_SCORES: Final = JsonColumn[tuple[Score, ...]](tuple[Score, ...])
_MEASURED: Final = JsonColumn[dict[str, float | None]](dict[str, float | None])


class Evaluations(StoreConnection):
    """The evaluations of a store's trials."""

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, all or none; one of the same step replaces the one before.

        Args:
            trial_id: a trial that has begun.
            evaluations: numbers that are not finite are None in them.
        """
        # Killed processes lose nothing this way; only a power cut can take the last evaluations,
        # and not those of a finished trial. Waiting for the disk each time would slow small trials.
        with self._writing(wait_for_disk=False) as connection:
            found = connection.execute("SELECT 1 FROM trials WHERE trial_id = ?", (trial_id,))
            self._require_trial(trial_id, found=found.fetchone() is not None)
            self._insert_evaluations(connection, trial_id, evaluations)

    def _insert_evaluations(
        self, connection: sqlite3.Connection, trial_id: str, evaluations: Sequence[Evaluation]
    ) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO evaluations (trial_id, step, samples, train_s, eval_s, "
            "batch_loss, measured, scores) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [_evaluation_row(trial_id, evaluation) for evaluation in evaluations],
        )

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        """Forget the evaluations past a checkpoint at `step`; they are made again on the way."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (trial_id, step)
            )

    def _evaluations(self, connection: sqlite3.Connection, trial_id: str) -> tuple[Evaluation, ...]:
        rows = connection.execute(
            "SELECT step, samples, train_s, eval_s, batch_loss, measured, scores "
            "FROM evaluations WHERE trial_id = ? ORDER BY step",
            (trial_id,),
        )
        what = f"an evaluation of trial {trial_id}"
        return tuple(
            Evaluation(
                step=step,
                samples=samples,
                train_s=train_s,
                eval_s=eval_s,
                batch_loss=batch_loss,
                scores=_SCORES.decoded(scores, what),
                measured=tuple(_MEASURED.decoded(measured, what).items()),
            )
            for step, samples, train_s, eval_s, batch_loss, measured, scores in rows
        )

    def _require_trial(self, trial_id: str, *, found: bool) -> None:
        if not found:
            raise StoreError(
                f"trial {trial_id} has not begun in {self.path}; store that first (begin_trial)"
            )


def _evaluation_row(trial_id: str, evaluation: Evaluation) -> tuple[object, ...]:
    what = f"evaluation at step {evaluation.step} of trial {trial_id}"
    numbers = {
        "train_s": evaluation.train_s,
        "eval_s": evaluation.eval_s,
        "batch_loss": evaluation.batch_loss,
    }
    for name, value in numbers.items():
        if value is not None:  # SQLite would turn NaN into NULL in silence
            require_finite(value, f"{what}: {name}")
    scores = _SCORES.encoded(evaluation.scores, f"scores of the {what}")
    measured = _MEASURED.encoded(dict(evaluation.measured), f"measured of the {what}")
    return (trial_id, evaluation.step, evaluation.samples, *numbers.values(), measured, scores)
