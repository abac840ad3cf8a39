"""Whether a stored training answers what is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up import made_up_record, made_up_trial

from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.engine import as_asked, is_answered

TRIAL = made_up_trial(batch_size=10, n_train=1000)
TOLD_BEFORE_END = Reason.of("metric_reported_before_end", step=50, asked=60)
ENDED_ITSELF = Reason.of("script_ended_itself", step=50, asked=99)
TRAINED_TO_ITS_END = Reason.of("script_trained_to_its_end", step=50)
STOPPED_EARLY = Reason.of("script_stopped_early", step=50, asked=99)


def record(status: Status | None, *, steps: int = 50, **fields: Any) -> TrialRecord:
    """Evaluated every ten steps, where the metric is 1 / step."""
    curves = {("validation", "m"): lambda epoch: 1 / max(1, round(100 * epoch))}
    made = made_up_record(
        trial=TRIAL, curves=curves, epochs=1, evaluations_per_epoch=10, status=status
    )
    return replace(made, evaluations=made.evaluations[1 : steps // 10 + 1], **fields)


@pytest.mark.parametrize(
    ("stored", "steps", "answers"),
    [
        (None, 50, False),
        (record(None), 50, False),
        (record(Status.OK), 50, True),
        (record(Status.OK), 51, False),
        (record(Status.NAN), 500, True),
        (record(Status.OOM), 500, True),
        (record(Status.KILLED), 50, False),
        (record(Status.ERROR), 50, False),
        (record(Status.TIMEOUT, reason=Reason.of("out_of_time")), 50, False),
        (record(Status.OK, notes=(ENDED_ITSELF,)), 500, True),
        (record(Status.OK, notes=(TRAINED_TO_ITS_END,)), 500, True),
        (record(Status.OK, notes=(TOLD_BEFORE_END,)), 60, True),
        (record(Status.OK, notes=(TOLD_BEFORE_END,)), 61, False),
        (record(Status.OK, notes=(STOPPED_EARLY,)), 99, True),
        (record(Status.OK), None, False),
        (record(Status.OK, notes=(TRAINED_TO_ITS_END,)), None, True),
    ],
)
def test_it_answers_if_it_is_long_enough_or_cannot_be_longer(
    stored: TrialRecord | None, steps: int | None, answers: bool
) -> None:
    length = RunLength(steps=steps, to_own_end=steps is None)

    assert is_answered(stored, length, keeps_cadence=False) == answers


@pytest.mark.parametrize(
    ("level", "steps", "status"),
    [(30, 500, Status.TARGET_REACHED), (30, 40, Status.TARGET_REACHED), (51, 40, Status.OK)],
)
def test_it_has_the_status_of_what_is_asked_now(level: int, steps: int, status: Status) -> None:
    target = Target(metric="m", value=1 / level, better="lower")
    length = RunLength(steps=steps, until=target)

    assert is_answered(record(Status.OK), length, keeps_cadence=False)
    asked = as_asked(record(Status.OK), length)
    assert (asked.status, asked.target) == (status, target)


@pytest.mark.parametrize(
    ("watched", "answers"),
    [
        ({}, False),
        ({"watched_from_samples": 900}, True),
        # Another session times evaluations anew: its interval is a little shorter.
        ({"interval_samples": 25}, True),
        ({"interval_samples": 24}, False),
    ],
)
def test_one_that_was_not_watched_as_asked_where_it_met_the_target_is_done_again(
    watched: dict[str, int], answers: bool
) -> None:
    # Evaluated every 100 samples, where an epoch of 1000 has 64 marks.
    target = Target(metric="m", value=1 / 80, better="lower")
    length = RunLength(steps=100, until=target, all_splits="never", **watched)
    stored = record(Status.OK, steps=100)

    assert is_answered(stored, length, keeps_cadence=True) == answers
    assert is_answered(stored, length, keeps_cadence=False)
