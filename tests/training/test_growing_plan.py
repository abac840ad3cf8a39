"""A batch size that grows along the run, which src has no word for: it trains by `trial.plan`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice, takewhile
from pathlib import Path

import pytest
import torch
from tests.reference.batch_plan import GrowingTrial, WalkedBatchPlan, growing
from tests.reference.engine_run import STEP_BY_STEP, EngineRun, run_engine
from tests.reference.small_workloads import (
    cropped_workload,
    everything_workload,
    small_trial,
    small_workload,
)
from tests.reference.textbook_loop import train_by_the_textbook

from batchlab.records.run import RunLength
from batchlab.records.trial import Sampling, Status
from batchlab.training import batching
from batchlab.training.batching import epoch_order, training_batches
from batchlab.training.checkpoint import peek_checkpoint
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


def assert_same_end(one: EngineRun, other: EngineRun) -> None:
    """The same model, optimizer and random streams, bit for bit, and the same evaluations."""
    assert one.outcome == other.outcome
    assert one.tensors
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name
    assert one.evaluations == other.evaluations


def test_the_plan_of_these_tests_changes_within_epochs_and_reaches_the_full_batch() -> None:
    trial = growing_trial(small_workload(n=N))

    sizes = [[here.epoch, here.batch_size] for here in islice(trial.plan.walk(), 23)]

    assert sizes == [
        *([0, 3] for _ in range(5)), *([0, 6] for _ in range(4)), [0, 5],
        *([1, 12] for _ in range(3)), [1, 8], [2, 12],
        [2, 24], [2, 8], [3, 24], [3, 20], [4, 24],
        [4, 20], [5, 44], [6, 44],
    ]  # fmt: skip


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
        pytest.param(N, "replacement", False, marks=pytest.mark.slow),
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
    length = RunLength(epochs=9)
    whole = run_engine(workload, trial, length, rhythm=STEP_BY_STEP, checkpoint=tmp_path / "whole")
    last_step = whole.evaluations[-1].step

    for stop_after in range(last_step):
        path = tmp_path / f"stopped at {stop_after}"
        first = run_engine(
            workload, trial, length, rhythm=STEP_BY_STEP, checkpoint=path, stop_after=stop_after
        )
        progress = peek_checkpoint(path)
        assert first.outcome.status is None
        assert progress is not None
        assert (progress.step, progress.samples) == (stop_after, trial.plan.samples_at(stop_after))

        assert_same_end(
            run_engine(workload, trial, length, rhythm=STEP_BY_STEP, checkpoint=path), whole
        )
    assert last_step > 20


def test_asked_for_more_epochs_it_ends_as_a_longer_run(tmp_path: Path) -> None:
    workload = everything_workload(n=N)
    trial = growing_trial(workload, horizon_steps=30)
    whole = run_engine(workload, trial, RunLength(epochs=7), checkpoint=tmp_path / "whole")

    run_engine(workload, trial, RunLength(epochs=2), checkpoint=tmp_path / "c")
    longer = run_engine(workload, trial, RunLength(epochs=7), checkpoint=tmp_path / "c")

    assert_same_end(longer, whole)


def test_a_dataset_with_random_crops_does_so_too(tmp_path: Path) -> None:
    workload = cropped_workload(n=N)
    trial = growing_trial(workload, micro_batch_size=5)
    length = RunLength(epochs=4)
    whole = run_engine(workload, trial, length, checkpoint=tmp_path / "whole")

    for stop_after in (2, 8):
        path = tmp_path / f"stopped at {stop_after}"
        run_engine(workload, trial, length, checkpoint=path, stop_after=stop_after)

        assert_same_end(run_engine(workload, trial, length, checkpoint=path), whole)


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_dataset_gives_the_same_batches_as_the_same_tensors(drop_last: bool) -> None:
    tensors = small_workload(n=N)
    x, labels = tensors.train
    dataset = Workload(
        name="the same",
        model=tensors.model,
        train=torch.utils.data.TensorDataset(x, labels),
        loss=tensors.loss,
    )
    trial = growing_trial(
        tensors, micro_batch_size=7, sampling="replacement", drop_last=drop_last, doubled_every=2
    )

    for epoch in range(4):
        one, other = (
            list(training_batches(workload, trial, torch.device("cpu")).epoch(epoch, first_step=0))
            for workload in (tensors, dataset)
        )
        begin = trial.plan.steps_in(epoch)
        assert len(one) == len(other) == trial.plan.steps_in(epoch + 1) - begin
        for step, (cut, fetched) in enumerate(zip(one, other, strict=True), start=begin):
            assert sum(len(part) for part, _ in cut) == trial.plan.batch_size_at(step)
            # Grown beyond a micro-batch, a step accumulates.
            assert len(cut) == len(fetched) == -(-trial.plan.batch_size_at(step) // 7)
            for (part, of), (fetched_part, fetched_of) in zip(cut, fetched, strict=True):
                assert torch.equal(part, fetched_part)
                assert torch.equal(of, fetched_of)


class UnevenTrial(GrowingTrial):
    """Its batches shrink and grow."""

    def _wanted(self, step: int) -> int:
        return (8, 3, 5)[step % 3]


def test_every_batch_begins_where_a_tensor_of_its_own_would() -> None:
    """Else products differ in their last bits from those of a run taken up elsewhere."""
    workload = small_workload(n=N)
    grown = growing_trial(workload)
    trial = UnevenTrial(**{name: getattr(grown, name) for name in asdict(grown)})

    steps = list(training_batches(workload, trial, torch.device("cpu")).epoch(0, first_step=0))

    assert [len(x) for ((x, _),) in steps] == [8, 3, 5, 8, 3, 5, 8, 3, 1]
    assert all(x.data_ptr() % 64 == 0 for ((x, _),) in steps)
