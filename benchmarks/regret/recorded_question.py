"""What the advice is asked about a recorded grid."""

from __future__ import annotations

from collections.abc import Mapping

from batchlab.advice.parts import Configuration
from batchlab.advice.question import Option, Question
from batchlab.engines.grid_header import GridHeader, WholeGridHeader
from batchlab.records.estimate import Estimate
from batchlab.records.target import Target


def question_of(
    header: GridHeader | WholeGridHeader,
    step_s: Mapping[int, Estimate],
    budget_s: float,
    *,
    target: Target | None = None,
    longest_epochs: float | None = None,
) -> Question:
    """Which batch size trains fastest, to the target or as well as the reference?

    Args:
        header: of the grid.
        step_s: what is known of the seconds per step, by batch size.
        budget_s: of the study.
        target: None: the reference's end sets it.
        longest_epochs: of a whole training; None: any length.
    """
    own = header.reference_batch_size
    return Question(
        objective="time",
        metric=header.metric,
        better=header.better,
        target=target,
        target_origin="pilot" if target is None else "given",
        reference=Configuration(
            batch_size=own, micro_batch_size=own, learning_rate=header.reference_learning_rate
        ),
        options=tuple(
            Option(
                batch_size=size,
                micro_batch_size=size,
                step_s=known,
                peak_bytes=None,
            )
            for size, known in step_s.items()
        ),
        n_train=header.n_train,
        budget_s=budget_s,
        longest_epochs=longest_epochs,
    )


def exactly(step_s: Mapping[int, float]) -> dict[int, Estimate]:
    """Step times as if they were known."""
    return {
        size: Estimate.of(true_s, interval=(true_s, true_s), n=8) for size, true_s in step_s.items()
    }
