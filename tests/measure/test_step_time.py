"""Step times: what is timed, how often, and with which threads."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.made_up import made_up_trial
from tests.reference.small_workloads import Unpacked
from torch import Tensor, nn

from batchlab.machine import thread_choices
from batchlab.measure import step_time
from batchlab.measure.step_time import measure_compiled, measure_in_turn, measure_step_time
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import StepTiming
from batchlab.workload.definition import Workload

STEP_S = 0.004


def workload_with(before: Callable[[int], object], *, n: int = 100, **fields: Any) -> Workload:
    """A workload whose loss calls a function with the size of its batch before anything else."""

    def loss(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        before(len(batch[0]))
        return model(batch[0]).mean()

    usual = {"model": lambda: nn.Linear(2, 1), "train": (torch.zeros(n, 2),), "loss": loss}
    return Workload(name="slow", **(usual | fields))


SLOW = workload_with(lambda size: time.sleep(STEP_S))  # the same time at any batch size


def timed(workload: Workload, *limits: float, **given: Any) -> StepTiming:
    n_train = len(workload.train[0])
    packed = PackedWorkload(workload) if n_train > 100 else Unpacked(workload)
    trial = made_up_trial(batch_size=10, n_train=n_train)
    return measure_step_time(None, packed, trial, "cpu", *limits, **given)


@pytest.fixture(autouse=True, scope="module")
def threads_left_as_they_were() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def timing() -> StepTiming:
    return timed(SLOW)


class Clock:
    """A clock that steps set forward, so that no number of steps is a matter of luck."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds


def test_the_time_of_a_step_is_what_the_step_takes(timing: StepTiming) -> None:
    # Never less; how much more depends on the machine's other work.
    assert STEP_S <= timing.step_s < 5 * STEP_S
    assert len(timing.block_s) >= 3
    assert timing.block_steps * len(timing.block_s) >= 10
    assert len(timing.warmup_s) >= 2
    assert not set(timing.warmup_s) & set(timing.block_s)
    assert timing.threads in thread_choices("cpu")


def test_blocks_that_lie_apart_tell_of_a_busy_machine(timing: StepTiming) -> None:
    quiet = replace(timing, block_s=(1.0, 1.01, 1.02, 1.0, 0.99, 1.0, 1.01, 1.0))
    busy = replace(timing, block_s=(1.0, 1.9, 1.02, 3.0, 0.99, 1.0, 2.5, 1.0))

    assert quiet.unsteadiness_fraction == pytest.approx(0.01, abs=0.005)
    assert busy.unsteadiness_fraction > 0.5


def test_the_first_rounds_are_warm_up_too_and_fifteen_are_left() -> None:
    clock = Clock()
    workload = workload_with(lambda size: clock.pass_by(0.001))

    measured = timed(workload, 0.17, threads_to_try=(1,), clock=clock)

    assert measured.block_steps == 10
    assert measured.block_s == pytest.approx([0.01] * 15)
    assert measured.warmup_s == pytest.approx([0.001, 0.001, 0.01, 0.01])


def test_steps_that_take_longer_than_the_timing_are_taken_a_few_times_only() -> None:
    clock = Clock()
    workload = workload_with(lambda size: clock.pass_by(0.2))

    measured = timed(workload, 0.02, threads_to_try=(1, 2), clock=clock)

    # A warm-up for each number of threads, and a block for each until four times the timing is up.
    assert clock.now_s == pytest.approx(4 * 0.2)
    assert (measured.block_steps, len(measured.block_s)) == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.6}, 2),
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 1.0, 2: 0.8, 4: 0.78}, 2),
        ({1: 0.04, 2: 1.0}, 1),
    ],
    ids=["they pay", "they hardly pay", "more hardly pay", "they wait for one another"],
)
def test_more_threads_are_chosen_only_where_they_pay(seconds: dict[int, float], best: int) -> None:
    clock, steps = Clock(), []

    def step(size: int) -> None:
        steps.append(torch.get_num_threads())
        clock.pass_by(0.05 * seconds[steps[-1]])

    measured = timed(workload_with(step), 0.4, threads_to_try=tuple(seconds), clock=clock)

    assert measured.threads == best
    if seconds[2] > seconds[1]:  # given up after two warm-ups and one look, not a whole block
        assert measured.block_steps > 3
        assert steps.count(2) == 3


def test_a_load_that_comes_and_goes_falls_on_both_that_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps take 10 and 30 ms, and twice as long in every other half second."""
    clock = Clock()
    workload = workload_with(lambda size: clock.pass_by(0.001 * size * (1 + int(2 * clock()) % 2)))
    monkeypatch.setattr(step_time.time, "perf_counter", clock)
    shapes = [(size, size, torch.get_num_threads()) for size in (10, 30)]
    trial = made_up_trial(batch_size=10, n_train=90)

    ratios = measure_in_turn(None, Unpacked(workload), trial, shapes, "cpu")

    assert statistics.median(ratios) == pytest.approx(3.0)


def test_a_compiled_model_is_compiled_once_for_all_batch_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_compiled = 0

    def compiler(graph: Any, inputs: list[Any]) -> Any:
        nonlocal n_compiled
        n_compiled += 1
        time.sleep(0.2)
        return graph

    monkeypatch.setattr(step_time, "_TIMED_S", 0.01)
    monkeypatch.setattr(step_time, "limit_memory", lambda *given: None)
    compiled = replace(SLOW, model=lambda: torch.compile(nn.Linear(2, 1), backend=compiler))
    trial, shapes = (
        made_up_trial(batch_size=10, n_train=100),
        [(10, 10, 1), (20, 20, 1), (40, 20, 1)],
    )

    timings = measure_compiled(None, Unpacked(compiled), trial, shapes, "cpu")

    assert [timing.batch_size for timing in timings] == [10, 20, 40]
    assert n_compiled == 1
    assert timings[0].warmup_s[0] > 0.2
    assert all(STEP_S < min(timing.block_s) < 0.2 for timing in timings)


def test_the_whole_training_set_is_in_memory_before_the_first_step() -> None:
    measured = timed(workload_with(lambda size: None, n=4_000_000), 0.01)

    # A few batches of ten examples are used of it; all of its 32 MB count.
    assert measured.peak_bytes > 30_000_000
