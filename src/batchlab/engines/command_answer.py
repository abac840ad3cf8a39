"""CommandAnswer: whether a stored training of a command answers, and as what."""

from __future__ import annotations

from dataclasses import replace

from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, TrialRecord

LAST_TOLD = "metric_told_before_end"
"""The note of a whole training that told its metric for the last time before its end."""


def is_answered(record: TrialRecord | None, length: RunLength) -> bool:
    """Whether a stored training is as long as asked, has met the target, or cannot be longer.

    Args:
        record: as it is stored; None: it is not.
        length: how far is asked.
    """
    if record is None or record.status is None:
        return False
    if record.status.may_go_on:
        return False
    if record.has_ended_itself:
        return True
    last_step = length.last_step(record.trial)
    if not record.ended_well or _trained_steps(record) >= last_step:
        return True
    crossing = None if length.until is None else record.crossing(length.until)
    return crossing is not None and crossing.held


def _trained_steps(record: TrialRecord) -> int:
    """Steps of a training that ended well, which may have told its metric before its end."""
    asked = [dict(note.values)["asked"] for note in record.notes if note.code == LAST_TOLD]
    return max([record.steps, *(steps for steps in asked if isinstance(steps, int))])


def answer(record: TrialRecord, length: RunLength) -> TrialRecord:
    """A stored training as the answer to what was asked.

    Args:
        record: it answers (`is_answered`), or ended badly.
        length: how far was asked.
    """
    record = replace(record, target=length.until)
    if not record.ended_well:
        return record
    crossing = None if length.until is None else record.crossing(length.until)
    met = crossing is not None and crossing.held
    return replace(record, status=Status.TARGET_REACHED if met else Status.OK)
