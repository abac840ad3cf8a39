"""Step times: what is timed, how often, with which threads, and of a script by its own progress."""

import statistics
import time
import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.command_engine import command_summary, command_trial
from tests.reference.fake_nvml import GB, FakeNvml
from tests.reference.living import living
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_profile import made_up_point
from tests.reference.small_workloads import Unpacked
from tests.reference.training_script import training_script
from torch import Tensor, nn

from batchlab.measure import step_time
from batchlab.measure.command_time import timed_command
from batchlab.measure.profile import ProfilePoint
from batchlab.measure.step_time import measure_compiled, measure_in_turn, measure_step_time
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import StepTiming
from batchlab.records.trial import Status
from batchlab.script.memory import GpuMemory
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload


def workload_with(before: Callable[[int], object], *, n: int = 100, **fields: Any) -> Workload:
    """A workload whose loss calls a function with the size of its batch before anything else."""

    def loss(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        before(len(batch[0]))
        return model(batch[0]).mean()

    usual = {"model": lambda: nn.Linear(2, 1), "train": (torch.zeros(n, 2),), "loss": loss}
    return Workload(name="slow", **(usual | fields))


def timed(workload: Workload, *limits: float, threads=(), clock=None) -> StepTiming:
    n_train = len(workload.train[0])
    packed = PackedWorkload(workload) if n_train > 100 else Unpacked(workload)
    trial = made_up_trial(batch_size=10, n_train=n_train)
    with pytest.MonkeyPatch.context() as patch:
        if clock is not None:
            patch.setattr(step_time.time, "perf_counter", clock)
            patch.setattr(step_time, "thread_choices", lambda device: threads)
        return measure_step_time(None, packed, trial, "cpu", *limits)


@pytest.fixture(autouse=True, scope="module")
def threads_left_as_they_were():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Clock:
    """A clock that steps set forward, so that no number of steps is a matter of luck."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds


def test_blocks_that_lie_apart_tell_of_a_busy_machine():
    quiet, busy = (
        replace(made_up_point(64).timing, block_s=block_s).unsteadiness_fraction
        for block_s in (
            (1.0, 1.01, 1.02, 1.0, 0.99, 1.0, 1.01, 1.0),
            (1.0, 1.9, 1.02, 3.0, 0.99, 1.0, 2.5, 1.0),
        )
    )

    assert quiet == pytest.approx(0.01, abs=0.005)
    assert busy > 0.5


def test_steps_are_warmed_up_and_taken_as_often_as_their_time_allows():
    clock, slow = Clock(), Clock()
    usual = timed(workload_with(lambda size: clock.pass_by(0.001)), 0.17, threads=(1,), clock=clock)
    dear = timed(workload_with(lambda size: slow.pass_by(0.2)), 0.02, threads=(1, 2), clock=slow)

    assert usual.block_steps == 10
    assert usual.block_s == pytest.approx([0.01] * 15)
    assert usual.warmup_s == pytest.approx([0.001, 0.01, 0.01])  # first rounds are, too
    # A warm-up for each number of threads, and a block for each until four times the timing is up.
    assert slow.now_s == pytest.approx(4 * 0.2)
    assert (dear.block_steps, len(dear.block_s)) == (1, 1)


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
def test_more_threads_are_chosen_only_where_they_pay(seconds, best):
    clock, steps = Clock(), []

    def step(size: int) -> None:
        steps.append(torch.get_num_threads())
        clock.pass_by(0.05 * seconds[steps[-1]])

    measured = timed(workload_with(step), 0.4, threads=tuple(seconds), clock=clock)

    assert measured.threads == best
    if seconds[2] > seconds[1]:  # given up after a warm-up and one look, not a whole block
        assert measured.block_steps > 3
        assert steps.count(2) == 2


def test_a_load_that_comes_and_goes_falls_on_both_that_take_turns(monkeypatch):
    """Steps take 10 and 30 ms, and twice as long in every other half second."""
    clock = Clock()
    workload = workload_with(lambda size: clock.pass_by(0.001 * size * (1 + int(2 * clock()) % 2)))
    monkeypatch.setattr(step_time.time, "perf_counter", clock)
    shapes = [(size, size, torch.get_num_threads()) for size in (10, 30)]
    trial = made_up_trial(batch_size=10, n_train=90)

    ratios = measure_in_turn(None, Unpacked(workload), trial, shapes, "cpu")

    assert statistics.median(ratios) == pytest.approx(3.0)


@pytest.mark.slow
def test_a_compiled_model_is_compiled_once_for_all_batch_sizes(monkeypatch):
    compiled: list[object] = []

    def compiler(graph: Any, inputs: list[Any]) -> Any:
        compiled.append(time.sleep(0.2))
        return graph

    monkeypatch.setattr(step_time, "TIMED_S", 0.01)
    monkeypatch.setattr(step_time, "limit_memory", lambda *given: None)
    model = lambda: torch.compile(nn.Linear(2, 1), backend=compiler)  # noqa: E731
    workload = workload_with(lambda size: time.sleep(0.004), model=model)
    trial, shapes = (
        made_up_trial(batch_size=10, n_train=100),
        [(10, 10, 1), (20, 20, 1), (40, 20, 1)],
    )

    timings = measure_compiled(None, Unpacked(workload), trial, shapes, "cpu")

    assert [timing.batch_size for timing in timings] == [10, 20, 40]
    assert len(compiled) == 1
    assert timings[0].warmup_s[0] > 0.2
    assert all(0.004 < min(timing.block_s) < 0.2 for timing in timings)


def test_the_whole_training_set_is_in_memory_before_the_first_step():
    measured = timed(workload_with(lambda size: None, n=4_000_000), 0.01)

    # A few batches of ten examples are used of it; all of its 32 MB count.
    assert measured.peak_bytes > 30_000_000


# Of a script


# Steps of at least two milliseconds: it waits for the clock, so that a busy machine makes them
# longer and never shorter.
_STEPS = """
import time
for step in range(1, 10**9):
    began = time.perf_counter()
    while time.perf_counter() - began < 0.002: pass
    print("step", step, "loss 1.0")
    if step % 100 == 0: print("step", step, "val_loss 1.0")
"""


def timed_script(folder: Path, source: str, *, metric: str = "val_loss") -> ProfilePoint:
    command = training_script(folder, source=source, metric=metric)
    marker = f"timing-{uuid.uuid4().hex}/timing"
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    try:
        return timed_command(command, trial, folder=folder / "run", marker=marker, limit_s=30.0)
    finally:
        assert living(marker) == ()


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr("batchlab.measure.command_time._TIMED_S", 0.3)


EVALUATES = _STEPS.rpartition("    if")[0].replace('"loss 1.0"', '"val_loss 1.0"')
# A loss of training batches is no evaluation, even if each line has it.
VALIDATES = _STEPS.replace('print("step", step, "val_loss 1.0")', "print('val: loss 2.0')")


def fill_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that names no process, as in a container; after the first look 3 GB more are taken."""
    nvml = FakeNvml(users=[{}, {}], used=[10 * GB, GB])

    class Filling(GpuMemory):
        def look(self, pids: AbstractSet[int]) -> None:
            super().look(pids)
            nvml.used = [13 * GB, GB]

    monkeypatch.setattr("batchlab.script.memory._library", lambda: nvml)
    monkeypatch.setattr("batchlab.script.memory.GpuMemory", Filling)
    monkeypatch.setattr("batchlab.script.memory.COST_FRACTION", 100.0)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("source", "metric", "has_evaluations", "gpu_peak_bytes"),
    [(EVALUATES, "val_loss", True, None), (VALIDATES, "loss", False, 3 * GB)],
    ids=["evaluates at each step", "validates its training loss too, on a GPU"],
)
def test_a_script_is_timed_until_enough_was_seen_and_ended(
    source, metric, has_evaluations, gpu_peak_bytes, tmp_path, monkeypatch
):
    if gpu_peak_bytes:
        fill_gpu(monkeypatch)

    point = timed_script(tmp_path, source, metric=metric)

    assert point.status is Status.OK
    assert 0.0019 < point.timing.step_s < 0.02
    assert point.timing.warmup_s
    assert point.with_evaluations == has_evaluations
    assert point.gpu_peak_bytes == gpu_peak_bytes
    assert 1e6 < point.peak_bytes < GB


ALL_AT_ONCE = f"""
import io, sys
sys.stdout = io.StringIO()
{_STEPS.replace("10**9", "20")}
sys.__stdout__.write(sys.stdout.getvalue())
"""
FOR_EPOCHS = "for n in (1, 2, 3): print('epoch', n, 'step', 9 * n, 'val_loss', 1 / n)"


@pytest.mark.parametrize(
    ("source", "status", "text"),
    [
        ("print('done')", Status.ERROR, "reported all its progress at once"),
        ("print('step 3 val_loss 1.0')", Status.OK, "reported all its progress at once"),
        (ALL_AT_ONCE, Status.OK, "reported all its progress at once"),
        (FOR_EPOCHS, Status.ERROR, "did not train with the batch size"),
        ("raise MemoryError('none left')", Status.OOM, "none left"),
        ("raise SystemExit('no such file')", Status.ERROR, "no such file"),
    ],
)
def test_why_there_is_no_time_is_said(source, status, text, tmp_path):
    point = timed_script(tmp_path, source)

    assert (point.status, point.timing) == (status, None)
    assert text in reason_text(point.reason)
    if status is Status.OK:  # it did run, too shortly to be timed
        assert point.is_untimed
        assert 0 < point.at_most_step_s < 30
