"""Step times: what is timed, how often, and with which threads."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.made_up import made_up_trial
from tests.reference.small_workloads import Unpacked
from torch import nn

from batchlab.machine import thread_choices
from batchlab.measure import step_time
from batchlab.measure.step_time import measure_compiled, measure_in_turn, measure_step_time
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import StepTiming
from batchlab.workload.definition import Workload

STEP_S = 0.004


def slow_workload() -> Workload:
    """A step of it takes 4 ms at any batch size: the loss sleeps."""

    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        time.sleep(STEP_S)
        return model(batch[0]).mean()

    x = torch.zeros(100, 2)
    return Workload(name="slow", model=lambda: nn.Linear(2, 1), train=(x,), loss=loss)


class Clock:
    """A clock that steps set forward: how many of them make a block is then no matter of luck."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def timing() -> StepTiming:
    threads = torch.get_num_threads()
    try:
        return measure_step_time(
            None, PackedWorkload(slow_workload()), made_up_trial(batch_size=10, n_train=100), "cpu"
        )
    finally:
        torch.set_num_threads(threads)


def test_the_time_of_a_step_is_what_the_step_takes(timing: StepTiming) -> None:
    # Never less; how much more depends on the machine's other work.
    assert STEP_S <= timing.step_s < 5 * STEP_S
    assert len(timing.block_s) >= 3
    assert timing.block_steps * len(timing.block_s) >= 10
    assert len(timing.warmup_s) >= 2
    assert not set(timing.warmup_s) & set(timing.block_s)
    assert timing.threads in thread_choices("cpu")


def test_the_first_rounds_are_warm_up_too_and_fifteen_are_left() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        clock.now_s += 0.001
        return model(batch[0]).mean()

    clock = Clock()
    measured = timed(workload_with(loss), timed_s=0.17, threads_to_try=(1,), clock=clock)

    assert measured.block_steps == 10
    assert measured.block_s == pytest.approx([0.01] * 15)
    assert measured.warmup_s == pytest.approx([0.001, 0.001, 0.01, 0.01])


def test_more_threads_are_chosen_only_where_they_pay() -> None:
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.6}) == 2
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.95}) == 1
    assert step_time._fewest_threads_as_good({1: 1.0, 2: 0.8, 4: 0.78}) == 2


def test_a_load_that_comes_and_goes_falls_on_both_that_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps take 10 and 30 ms, and twice as long in every other half second."""

    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        is_loaded = int(2 * clock.now_s) % 2
        clock.now_s += 0.001 * len(batch[0]) * (1 + is_loaded)
        return model(batch[0]).mean()

    clock = Clock()
    monkeypatch.setattr(step_time.time, "perf_counter", clock)
    shapes = [(size, size, torch.get_num_threads()) for size in (10, 30)]
    trial = made_up_trial(batch_size=10, n_train=90)

    times = measure_in_turn(None, Unpacked(workload_with(loss)), trial, shapes, "cpu")

    assert statistics.median(times) == pytest.approx(3.0)


def test_a_compiled_model_is_compiled_once_for_all_batch_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The shapes of inputs known at each compilation.
    compiled: list[list[str]] = []

    def compiler(graph: Any, inputs: list[Any]) -> Any:
        compiled.append([str(each.shape[0]) for each in inputs if hasattr(each, "shape")])
        time.sleep(0.2)
        return graph

    monkeypatch.setattr(step_time, "_TIMED_S", 0.01)
    monkeypatch.setattr(step_time, "limit_memory", lambda *given: None)
    packed = Unpacked(
        replace(slow_workload(), model=lambda: torch.compile(nn.Linear(2, 1), backend=compiler))
    )
    trial = made_up_trial(batch_size=10, n_train=100)

    timings = measure_compiled(None, packed, trial, [(10, 10, 1), (20, 20, 1), (40, 20, 1)], "cpu")

    assert [timing.batch_size for timing in timings] == [10, 20, 40]
    assert len(compiled) == 1
    assert timings[0].warmup_s[0] > 0.2
    assert all(STEP_S < min(timing.block_s) < 0.2 for timing in timings)


def test_blocks_that_lie_apart_tell_of_a_busy_machine(timing: StepTiming) -> None:
    quiet = replace(timing, block_s=(1.0, 1.01, 1.02, 1.0, 0.99, 1.0, 1.01, 1.0))
    busy = replace(timing, block_s=(1.0, 1.9, 1.02, 3.0, 0.99, 1.0, 2.5, 1.0))

    assert quiet.unsteadiness_fraction == pytest.approx(0.01, abs=0.005)
    assert busy.unsteadiness_fraction > 0.5


@pytest.mark.slow
def test_steps_that_take_longer_than_the_timing_are_taken_a_few_times_only() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        steps.append(1)
        time.sleep(0.2)
        return model(batch[0]).mean()

    steps: list[int] = []
    measured = timed(workload_with(loss), timed_s=0.02)

    # A warm-up for each number of threads, and a block for each until four times the timing is up.
    n_choices = len(thread_choices("cpu"))
    assert len(steps) == 2 * n_choices
    assert measured.block_steps == 1


def test_a_number_of_threads_that_is_much_slower_is_given_up_after_a_few_steps() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
        steps.append(torch.get_num_threads())
        clock.now_s += 0.05 if torch.get_num_threads() == 2 else 0.002
        return model(batch[0]).mean()

    steps: list[int] = []
    clock = Clock()
    measured = timed(workload_with(loss), timed_s=0.4, threads_to_try=(1, 2), clock=clock)

    assert measured.threads == 1
    assert measured.block_steps > 3
    assert steps.count(2) == 3  # two warm-ups and one look, not a whole block


def test_the_whole_training_set_is_in_memory_before_the_first_step() -> None:
    x = torch.ones(2_000_000, 4)
    workload = Workload(name="large", model=lambda: nn.Linear(4, 1), train=(x,), loss=mean_loss)

    measured = timed(workload, timed_s=0.01)

    # A few batches of ten examples are used of it; all of its 32 MB count.
    assert measured.peak_bytes > 30_000_000


def mean_loss(model: nn.Module, batch: tuple[torch.Tensor]) -> torch.Tensor:
    return model(batch[0]).mean()


def workload_with(loss: Callable[..., torch.Tensor]) -> Workload:
    return replace(slow_workload(), loss=loss)


def timed(workload: Workload, *, timed_s: float, **given: Any) -> StepTiming:
    threads = torch.get_num_threads()
    n_train = len(workload.train[0])
    packed = PackedWorkload(workload) if n_train > 100 else Unpacked(workload)
    try:
        return measure_step_time(
            None, packed, made_up_trial(batch_size=10, n_train=n_train), "cpu", timed_s, **given
        )
    finally:
        torch.set_num_threads(threads)
