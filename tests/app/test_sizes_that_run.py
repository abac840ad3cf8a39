from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_study import made_up_summary
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told
from torch import Tensor, nn

import batchlab
from batchlab.advice.advice import Option
from batchlab.app.options import fitting_trials, noted
from batchlab.app.question import asked
from batchlab.app.subjects import subject_of
from batchlab.errors import BatchSizeError
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import ANY_SIZE, RunnableSizes, WorkloadSummary
from batchlab.records.trial import Status, Trial

EVEN = RunnableSizes(least=2, multiple_of=2)
ONLY_64 = RunnableSizes(least=64, multiple_of=64, most=64)


def taking(sizes: RunnableSizes, **fields: Any) -> WorkloadSummary:
    return replace(made_up_summary(), sizes=sizes, **fields)


def fitted(
    summary: WorkloadSummary,
    *batch_sizes: int,
    n_train: int = 100,
    named: bool = True,
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
            batch_sizes=batch_sizes if named else None,
            epochs=2,
            listener=told,
            **given,
        )
    )
    subject.summary = replace(summary, n_train=n_train)
    if not named:
        subject.usual_batch_sizes = lambda: batch_sizes  # type: ignore[method-assign]
    return fitting_trials(subject), told.warnings


def sizes_of(trials: tuple[Trial, ...]) -> list[tuple[int, bool]]:
    return [(trial.batch_size, trial.drop_last) for trial in trials]


@pytest.mark.parametrize(
    ("sizes", "batch_sizes", "given", "said"),
    [
        (EVEN, (32, 33), {}, "^batch size 33: the model of .* give one that fits, such as 32$"),
        (EVEN, (32,), {"micro_batch_size": 5}, "batch size 32 in micro-batches of 5"),
        (EVEN, (9,), {"micro_batch_size": 4}, "batch size 9 in micro-batches of 4"),
        (ONLY_64, (32,), {"named": False}, "64 examples at a time only"),
    ],
)
def test_a_batch_size_that_was_named_and_does_not_run_is_refused(
    sizes: RunnableSizes, batch_sizes: tuple[int, ...], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(BatchSizeError, match=said):
        fitted(taking(sizes), *batch_sizes, **given)


def test_a_batch_size_that_nobody_named_goes_with_a_word() -> None:
    trials, told = fitted(taking(EVEN), 64, 101, n_train=128, named=False)

    assert sizes_of(trials) == [(64, False)]
    assert len(told) == 1
    assert told[0].startswith("batch sizes left out: 101; the model of ")


@pytest.mark.parametrize(
    ("summary", "n_train", "batch_sizes", "told"),
    [
        (taking(EVEN), 101, (10, 14), "at batch size 10 it has 1 of the 101 examples"),
        (
            taking(ANY_SIZE, last_batch_runs=False),
            100,
            (10, 16),
            "at batch size 16 it has 4 of the 100 examples, and such a step failed",
        ),
    ],
)
def test_a_last_batch_that_does_not_run_is_left_out_at_every_batch_size(
    summary: WorkloadSummary, n_train: int, batch_sizes: tuple[int, int], told: str
) -> None:
    trials, warnings = fitted(summary, *batch_sizes, n_train=n_train)

    assert [trial.drop_last for trial in trials] == [True, True]
    assert len(warnings) == 1
    assert told in warnings[0]


@pytest.mark.parametrize(("sizes", "asked"), [(ANY_SIZE, (32, 33)), (EVEN, (10, 14, 16))])
def test_trials_that_run_with_their_last_batches_stay_as_they_were(
    sizes: RunnableSizes, asked: tuple[int, ...]
) -> None:
    trials, told = fitted(taking(sizes), *asked)

    assert (sizes_of(trials), told) == ([(size, False) for size in asked], [])


def test_a_shape_of_the_rate_spans_the_steps_that_are_left() -> None:
    (found,), _ = fitted(taking(EVEN), 10, n_train=101, schedule=lambda done: 1 - done)

    assert found.horizon_steps == 20


def test_that_batch_norm_needs_two_is_told_by_its_own_check() -> None:
    summary = taking(RunnableSizes(least=2), has_batch_norm=True)

    with pytest.raises(BatchSizeError, match="has BatchNorm, which cannot train on one example"):
        fitted(summary, 33)


STEP_S = Estimate.of(0.1, interval=(0.1, 0.1), n=5)


def options(*sizes: tuple[int, int]) -> list[Option]:
    return [
        Option(batch_size=size, micro_batch_size=micro, step_s=STEP_S, peak_bytes=None)
        for size, micro in sizes
    ]


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        (EVEN, Reason.of("takes_multiples_of", of=2)),
        (RunnableSizes(least=40), Reason.of("takes_at_least", least=40)),
        (ONLY_64, Reason.of("takes_only", most=64)),
    ],
)
def test_an_option_that_does_not_run_says_why(sizes: RunnableSizes, why: Reason) -> None:
    tried = options((33, 33), (64, 64))
    odd, even = (noted(taking(sizes), option, made_up_trial()) for option in tried)

    assert even.runs
    assert odd.note == why
    assert odd.step_s.estimate is None


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


def in_pairs(model: nn.Module, batch: Any) -> Tensor:
    x, y = batch
    return F.cross_entropy(model(x.view(-1, 2, 4).flatten(0, 1)), y)


@pytest.mark.slow
def test_a_model_of_pairs_trains_and_is_evaluated_on_odd_splits(tmp_path: Path) -> None:
    x, y = tiny().train
    workload = tiny(
        train=(x[:81].clone(), y[:81]), validation=(x[81:].clone(), y[81:]), loss=in_pairs
    )
    told = Told()

    study = batchlab.sweep(
        workload, batch_sizes=(16, 40), epochs=1, store=tmp_path / "lab.db", listener=told
    )

    assert {record.status for record in study.records} == {Status.OK}
    assert {record.steps for record in study.records} == {5, 2}
    assert sum("left out" in text for text in told.warnings) == 3
