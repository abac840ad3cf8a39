"""A batch size that grows along the run, which src has no word for: it trains by `trial.plan`."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
import torch
from tests.reference.batch_plan import GrowingTrial, WalkedBatchPlan, growing
from tests.reference.engine_run import assert_a_stop_leaves_no_trace, run_engine
from tests.reference.small_workloads import (
    everything_workload,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import train_by_the_textbook

from batchlab.records.run import RunLength
from batchlab.records.trial import Sampling, Status
from batchlab.training import batching
from batchlab.training.batching import epoch_order
from batchlab.workload.definition import Workload

N = 44
# From 3, doubled every 5 steps, up to all of them: the size changes within epochs and at their
# ends, and no batch has a single example, over which nothing could be normalised.
DOUBLED_EVERY = 5


def growing_trial(
    workload: Workload,
    *,
    micro_batch_size: int = N,
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    doubled_every: int = DOUBLED_EVERY,
    horizon_steps: int | None = None,
) -> GrowingTrial:
    trial = small_trial(
        workload,
        batch_size=3,
        micro_batch_size=micro_batch_size,
        sampling=sampling,
        drop_last=drop_last,
        horizon_steps=horizon_steps,
        seed=2,
    )
    return growing(trial, doubled_every=doubled_every)


def examples_of_steps(trial: GrowingTrial, *, epochs: int) -> list[list[int]]:
    """What each step sees, by walking; an epoch in one step takes the examples as they lie."""
    assert isinstance(trial.plan, WalkedBatchPlan)
    steps = []
    for here in takewhile(lambda here: here.epoch < epochs, trial.plan.walk()):
        order = epoch_order(N, seed=trial.seed, epoch=here.epoch, sampling=trial.sampling).tolist()
        if here.batch_size == N and trial.sampling == "reshuffle":
            order = list(range(N))
        steps.append(order[here.example_of_epoch : here.example_of_epoch + here.batch_size])
    return steps


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("sampling", ["reshuffle", "replacement"])
def test_it_trains_as_the_textbook_does_bit_for_bit(
    sampling: Sampling, drop_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_GATHER_EXAMPLES", 16)  # gathers of one and of several sizes
    workload = small_workload(n=N, dropout=0.3)
    trial = growing_trial(workload, sampling=sampling, drop_last=drop_last)

    run = run_engine(workload, trial, RunLength(epochs=10), checkpoint=tmp_path / "c")

    steps = examples_of_steps(trial, epochs=10)
    textbook = train_by_the_textbook(
        workload, steps, learning_rate=trial.learning_rate, seed=trial.seed
    )
    assert run.outcome.status is Status.OK
    assert run.evaluations[-1].step == len(steps)
    assert run.evaluations[-1].samples == sum(len(step) for step in steps)
    assert len(steps[-1]) == N
    for name, parameter in textbook.model.named_parameters():
        assert torch.equal(run.parameters()[name], parameter)


@pytest.mark.parametrize(
    ("micro_batch_size", "sampling", "drop_last"),
    [
        pytest.param(N, "reshuffle", False, marks=pytest.mark.nightly),
        (9, "reshuffle", True),
        pytest.param(N, "replacement", False, marks=pytest.mark.nightly),
    ],
)
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(
    micro_batch_size: int,
    sampling: Sampling,
    drop_last: bool,
    tmp_path: Path,
) -> None:
    workload = everything_workload(n=N)
    trial = growing_trial(
        workload,
        micro_batch_size=micro_batch_size,
        sampling=sampling,
        drop_last=drop_last,
        horizon_steps=24,
    )

    whole = assert_a_stop_leaves_no_trace(
        workload, trial, RunLength(epochs=9), tmp_path, stops=range(trial.plan.steps_in(9))
    )

    assert whole.evaluations[-1].step > 20
