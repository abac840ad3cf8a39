"""Step times: what is timed, how often, and with which threads."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from batchlab.measurements import step_time
from batchlab.measurements.step_time import measure_step_time, thread_choices
from batchlab.timing import StepTiming
from batchlab.training.parcel import Parcel
from batchlab.trial import Trial
from batchlab.workload import Workload

STEP_S = 0.004


def slow_workload() -> Workload:
    """A step of it takes 4 ms at any batch size: the loss sleeps."""

    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        time.sleep(STEP_S)
        return model(batch[0]).mean()

    x = torch.zeros(100, 2)
    return Workload(name="slow", model=lambda: nn.Linear(2, 1), train=(x,), loss=loss)


def trial(batch_size: int) -> Trial:
    return Trial(
        workload_id="slow",
        workload="slow",
        settings=(),
        n_train=100,
        batch_size=batch_size,
        micro_batch_size=batch_size,
        sampling="reshuffle",
        drop_last=False,
        learning_rate=0.1,
        scaling_rule="none",
        horizon_steps=None,
        device="cpu",
        seed=0,
    )


@pytest.fixture(scope="module")
def timing() -> StepTiming:
    threads = torch.get_num_threads()
    try:
        return measure_step_time(None, Parcel(slow_workload()), trial(10), "cpu")  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)


def test_the_time_of_a_step_is_what_the_step_takes(timing: StepTiming) -> None:
    # Never less; how much more depends on the machine's other work.
    assert STEP_S <= timing.step_s < 5 * STEP_S


def test_enough_blocks_are_timed_to_tell_how_quiet_the_machine_was(timing: StepTiming) -> None:
    assert len(timing.block_s) >= 3
    assert timing.block_steps * len(timing.block_s) >= 10


def test_warm_up_is_kept_apart(timing: StepTiming) -> None:
    assert len(timing.warmup_s) >= 2
    assert not set(timing.warmup_s) & set(timing.block_s)


def test_the_number_of_threads_is_one_that_was_tried(timing: StepTiming) -> None:
    assert timing.threads in thread_choices("cpu")


def test_one_thread_serves_where_more_gain_little(timing: StepTiming) -> None:
    assert timing.threads == 1


def test_more_threads_are_chosen_where_they_pay() -> None:
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.6}) == 2
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.95}) == 1
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.8, 4: 0.78}) == 2


def test_on_a_gpu_one_thread_feeds_it() -> None:
    assert thread_choices("cuda:0") == (1,)


def test_blocks_that_lie_apart_tell_of_a_busy_machine(timing: StepTiming) -> None:
    quiet = replace(timing, block_s=(1.0, 1.01, 1.02, 1.0, 0.99, 1.0, 1.01, 1.0))
    busy = replace(timing, block_s=(1.0, 1.9, 1.02, 3.0, 0.99, 1.0, 2.5, 1.0))

    assert quiet.unsteadiness_fraction == pytest.approx(0.01, abs=0.005)
    assert busy.unsteadiness_fraction > 0.5
