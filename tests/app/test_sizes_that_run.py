from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_study import made_up_summary
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told

from batchlab.advice.advice import Option
from batchlab.app.options import fitting_trials, noted
from batchlab.app.question import asked
from batchlab.app.subjects import subject_of
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Trial

FAILING = replace(made_up_summary(), last_batch_runs=False)


def fitted(
    summary: WorkloadSummary,
    *batch_sizes: int,
    n_train: int = 100,
    **given: Any,
) -> tuple[tuple[Trial, ...], list[str]]:
    """The trials that fit, of a workload that is known to be so, and what is told."""
    told = Told()
    x, y = tiny().train
    rows = [k % len(y) for k in range(n_train)]
    shape = {"schedule": given.pop("schedule")} if "schedule" in given else {}
    subject = subject_of(
        asked(
            "sweep",
            workload=tiny(train=(x[rows], y[rows]), **shape),
            budget=None,
            batch_sizes=batch_sizes,
            epochs=2,
            listener=told,
            **given,
        )
    )
    subject.summary = replace(summary, n_train=n_train)
    return fitting_trials(subject), told.warnings


def sizes_of(trials: tuple[Trial, ...]) -> list[tuple[int, bool]]:
    return [(trial.batch_size, trial.drop_last) for trial in trials]


def test_a_last_batch_that_does_not_run_is_left_out_at_every_batch_size() -> None:
    trials, warnings = fitted(FAILING, 10, 16)

    assert [trial.drop_last for trial in trials] == [True, True]
    (told,) = warnings
    assert "at batch size 16 it has 4 of the 100 examples, and such a step failed" in told


@pytest.mark.parametrize(("summary", "asked"), [(made_up_summary(), (32, 33)), (FAILING, (10, 20))])
def test_trials_that_run_with_their_last_batches_stay_as_they_were(
    summary: WorkloadSummary, asked: tuple[int, ...]
) -> None:
    trials, told = fitted(summary, *asked)

    assert (sizes_of(trials), told) == ([(size, False) for size in asked], [])


def test_a_shape_of_the_rate_spans_the_steps_that_are_left() -> None:
    (found,), _ = fitted(FAILING, 10, n_train=101, schedule=lambda done: 1 - done)

    assert found.horizon_steps == 20


STEP_S = Estimate.of(0.1, interval=(0.1, 0.1), n=5)


def options(*sizes: tuple[int, int]) -> list[Option]:
    return [
        Option(batch_size=size, micro_batch_size=micro, step_s=STEP_S, peak_bytes=None)
        for size, micro in sizes
    ]


def test_a_batch_in_pieces_trains_on_another_loss_where_its_loss_couples() -> None:
    refused = replace(options((512, 64))[0], note=Reason.of("does_not_fit"))
    asked_for = [*options((64, 64), (256, 64)), refused]

    couples, trial = replace(made_up_summary(), loss_couples=True), made_up_trial()
    whole, pieces, other = (noted(couples, option, trial) for option in asked_for)

    assert whole.runs
    assert pieces.note == Reason.of("pieces_train_on_another_loss", size=64)
    assert pieces.step_s.estimate is None
    assert other == refused
    assert [noted(made_up_summary(), option, trial) for option in asked_for] == asked_for
