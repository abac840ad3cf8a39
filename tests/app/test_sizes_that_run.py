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
from batchlab.advice.question import Option
from batchlab.app.subject import fitting_trials, with_sizes_that_run
from batchlab.errors import BatchSizeError
from batchlab.plans.sweep_request import SweepRequest, checked_request
from batchlab.records.estimate import Estimate
from batchlab.records.study import ANY_SIZE, RunnableSizes, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.words.reasons import reason_text

EVEN = RunnableSizes(least=2, multiple_of=2)


def taking(sizes: RunnableSizes, **fields: Any) -> WorkloadSummary:
    return replace(made_up_summary(), sizes=sizes, **fields)


def trials_of(*batch_sizes: int, n_train: int = 100, **fields: Any) -> tuple[Trial, ...]:
    return tuple(
        replace(
            made_up_trial(
                batch_size=size, micro_batch_size=size, learning_rate=0.1, n_train=n_train, seed=0
            ),
            **fields,
        )
        for size in batch_sizes
    )


def request(*, named: bool = True, epochs: int = 2) -> SweepRequest:
    return checked_request(
        batch_sizes=(2,) if named else None,
        learning_rates=None,
        seeds=1,
        epochs=epochs,
        steps=None,
        scaling_rule="none",
        sampling="reshuffle",
        drop_last=False,
        micro_batch_size=None,
        device="cpu",
    )


def fitted(
    sizes: RunnableSizes, trials: tuple[Trial, ...], *, named: bool = True
) -> tuple[tuple[Trial, ...], list[str]]:
    told = Told()
    found = fitting_trials(taking(sizes), trials, request(named=named), told)
    return found, told.warnings


def test_what_takes_any_number_is_left_as_it_was() -> None:
    asked = trials_of(32, 33)

    assert fitted(ANY_SIZE, asked) == (asked, [])


def test_a_batch_size_that_was_named_and_does_not_run_is_refused() -> None:
    with pytest.raises(BatchSizeError) as caught:
        fitted(EVEN, trials_of(32, 33))

    told = str(caught.value)
    assert told.startswith("batch size 33: the model of ")
    assert told.endswith(
        "takes an even number of examples in a pass; give one that fits, such as 32"
    )


def test_a_micro_batch_that_does_not_run_is_refused() -> None:
    with pytest.raises(BatchSizeError, match="batch size 32 in micro-batches of 5"):
        fitted(EVEN, trials_of(32, micro_batch_size=5))
    with pytest.raises(BatchSizeError, match="batch size 9 in micro-batches of 4"):
        fitted(EVEN, trials_of(9, micro_batch_size=4))


def test_a_batch_size_that_nobody_named_goes_with_a_word() -> None:
    found, told = fitted(EVEN, trials_of(64, 101, n_train=128), named=False)

    assert [trial.batch_size for trial in found] == [64]
    assert len(told) == 1
    assert told[0].startswith("batch sizes left out: 101; the model of ")


def test_where_no_batch_size_runs_that_is_told_even_if_none_was_named() -> None:
    with pytest.raises(BatchSizeError, match="64 examples at a time only"):
        fitted(RunnableSizes(least=64, multiple_of=64, most=64), trials_of(32), named=False)


def test_a_last_batch_that_does_not_run_is_left_out_at_every_batch_size() -> None:
    found, told = fitted(EVEN, trials_of(10, 14, n_train=101))

    assert [trial.drop_last for trial in found] == [True, True]
    assert len(told) == 1
    assert "at batch size 10 it has 1 of the 101 examples" in told[0]
    assert "as with --drop-last" in told[0]


def test_a_last_batch_that_failed_in_the_check_is_left_out_at_every_batch_size() -> None:
    told = Told()
    summary = taking(ANY_SIZE, last_batch_runs=False)

    found = fitting_trials(summary, trials_of(10, 16), request(), told)

    assert [trial.drop_last for trial in found] == [True, True]
    assert (
        "at batch size 16 it has 4 of the 100 examples, and such a step failed" in told.warnings[0]
    )


def test_last_batches_that_run_stay() -> None:
    assert fitted(EVEN, trials_of(10, 14, 16)) == (trials_of(10, 14, 16), [])


def test_a_shape_of_the_rate_spans_the_steps_that_are_left() -> None:
    (found,), _ = fitted(EVEN, trials_of(10, n_train=101, horizon_steps=22))

    assert found.horizon_steps == 20


def test_that_batch_norm_needs_two_is_told_by_its_own_check() -> None:
    summary = taking(RunnableSizes(least=2), has_batch_norm=True)

    with pytest.raises(BatchSizeError, match="has BatchNorm, which cannot train on one example"):
        fitting_trials(summary, trials_of(33), request(), Told())


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        (EVEN, "the model takes multiples of 2 examples only"),
        (RunnableSizes(least=40), "the model takes no fewer than 40 examples"),
        (
            RunnableSizes(least=64, multiple_of=64, most=64),
            "the model takes 64 examples at a time only",
        ),
    ],
)
def test_an_option_that_does_not_run_says_why(sizes: RunnableSizes, told: str) -> None:
    step_s = Estimate.of(0.1, interval=(0.1, 0.1), n=5)
    options = [
        Option(batch_size=size, micro_batch_size=size, step_s=step_s, peak_bytes=None)
        for size in (33, 64)
    ]

    odd, even = with_sizes_that_run(taking(sizes), options)

    assert even.runs
    assert reason_text(odd.note) == told
    assert odd.step_s.estimate is None


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
