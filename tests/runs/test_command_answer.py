"""Whether a stored training answers what is asked, and who trains what is not stored."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.command_engine import command_engine
from tests.reference.local_engine import engine_on
from tests.reference.made_up import made_up_record, made_up_trial
from tests.reference.made_up_study import store_with_study
from tests.reference.training_script import training_script

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.contract import Engine
from batchlab.runs.engine import as_asked, is_answered
from batchlab.store.store import Store

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
    ],
)
def test_it_answers_if_it_is_long_enough_or_cannot_be_longer(
    stored: TrialRecord | None, steps: int, answers: bool
) -> None:
    assert is_answered(stored, RunLength(steps=steps), keeps_cadence=False) == answers


def test_only_a_training_that_ended_by_itself_answers_how_far_a_script_goes_by_itself() -> None:
    to_its_end = RunLength(to_own_end=True)

    assert not is_answered(record(Status.OK), to_its_end, keeps_cadence=False)
    ended = record(Status.OK, notes=(TRAINED_TO_ITS_END,))
    assert is_answered(ended, to_its_end, keeps_cadence=False)


def test_it_answers_a_longer_question_whose_target_it_has_met() -> None:
    target = Target(metric="m", value=1 / 30, better="lower")

    assert is_answered(record(Status.OK), RunLength(steps=500, until=target), keeps_cadence=False)
    assert as_asked(record(Status.OK), RunLength(steps=500, until=target)).status is (
        Status.TARGET_REACHED
    )


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


@pytest.fixture(params=["plain", "command"])
def engine(request: pytest.FixtureRequest, packed: PackedWorkload, tmp_path: Path) -> Engine:
    if request.param == "command":
        return command_engine(training_script(tmp_path), tmp_path)
    return engine_on(store_with_study(tmp_path / "lab.db"), packed)


@pytest.mark.slow
def test_a_trial_that_another_process_trains_is_waited_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = engine.trial(batch_size=10, learning_rate=0.1, seed=0)
    slept_s = []
    with Store(tmp_path / "lab.db") as other, ExitStack() as held:
        assert held.enter_context(other.claim(trial.trial_id))
        monkeypatch.setattr("time.sleep", lambda s: (slept_s.append(s), held.close()))
        engine.submit(RunRequest(trial=trial, length=RunLength(steps=4)))
        end = engine.next_finished()

    assert engine.capabilities.side_by_side or engine.n_workers == 1
    assert len(slept_s) > 0
    assert (end.record.status, end.record.steps) == (Status.OK, 4)
