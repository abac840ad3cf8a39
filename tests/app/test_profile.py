"""`batchlab.profile` with real processes: what is measured, and who survives a bad batch size."""

import os
import resource
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.app.conftest import about
from tests.reference import profiled_workloads
from tests.reference.profiled_workloads import (
    MEGABYTE,
    at,
    hungry,
    that_does,
    workload,
)
from tests.reference.random_streams import random_streams
from tests.reference.told import Told
from torch import nn

from batchlab.app.profile import profile
from batchlab.errors import BudgetError, WorkloadError
from batchlab.laws.lines import fit_memory
from batchlab.measure import profile_search, profiling
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch size is timed for 20 ms in few processes: what is measured is who survives."""
    monkeypatch.setattr(profiling, "TIMED_S", 0.02)
    monkeypatch.setattr("batchlab.measure.profile.MOST_PROCESSES", 2)


class Scores(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


def cannot_compile(graph: object, inputs: object) -> object:
    raise RuntimeError


@pytest.mark.slow
def test_the_steps_of_a_compiled_model_are_timed_compiled():
    told = Told()
    compiled = replace(workload(n=37), model=lambda: torch.compile(Scores(6, 3), backend="eager"))
    broken = replace(compiled, model=lambda: torch.compile(Scores(6, 3), backend=cannot_compile))

    made = profile(compiled, batch_sizes=[8], budget="10m")
    as_inside = profile(broken, batch_sizes=[8], budget="10m", listener=told)

    assert (made.compile_s or 0) > 0
    assert [len(point.timings) for point in made.points] == [2]
    assert all((point.peak_bytes or 0) > 0 for point in made.points)
    assert as_inside.compile_s is None
    assert all(point.ran for point in as_inside.points)
    assert "BackendCompilerFailed" in told.warnings[-1]


@pytest.mark.nightly
def test_the_law_through_small_sizes_comes_near_the_peak_of_a_larger_one():
    wide = partial(torch.nn.Linear, profiled_workloads.FEATURES, 2**18)  # a megabyte an example

    made = profile(
        workload(model=lambda: torch.nn.Sequential(wide(), torch.nn.Linear(2**18, 3)), n=256),
        batch_sizes=(8, 16, 32, 96),
    )

    peaks = {point.batch_size: point.peak_bytes for point in made.points if point.in_one_piece}
    law = fit_memory([(size, peaks[size] or 0) for size in (8, 16, 32)])
    assert law.predicted_bytes(96).estimate == pytest.approx(peaks[96], rel=0.25)


@pytest.mark.slow
def test_the_caller_is_left_as_it_was():
    def state() -> tuple[object, ...]:
        of_torch = (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
        return (*random_streams(), *of_torch, resource.getrlimit(resource.RLIMIT_DATA))

    model = profiled_workloads.linear()
    given = workload(model=lambda: deepcopy(model))
    data, weights = given.train[0].clone(), deepcopy(model.state_dict())
    before = state()

    profile(given, batch_sizes=(4,), memory_limit_bytes=2**30)

    assert state() == before
    assert torch.equal(given.train[0], data)
    assert all(torch.equal(weights[name], part) for name, part in model.state_dict().items())
    assert all(part.grad is None for part in model.parameters())


# Each between two that run: the search gives up where several fail in a row.
DEATHS = {
    13: (profiled_workloads.crash, Status.ERROR, "exit code 3"),
    15: (profiled_workloads.kill_itself, Status.KILLED, "SIGKILL"),
    17: (profiled_workloads.fail, Status.ERROR, "ValueError: this model does not like you"),
    19: (profiled_workloads.speak_of_memory, Status.ERROR, "says a message of the user's own"),
    21: (profiled_workloads.hang, Status.TIMEOUT, ""),
}


@pytest.mark.slow
def test_a_probe_that_dies_is_a_point_and_the_profile_goes_on(monkeypatch):
    monkeypatch.setattr(profile_search, "_HANGS_AFTER_S", 0.5)
    told = Told()
    dying = that_does({size: action for size, (action, _, _) in DEATHS.items()})

    made = profile(dying, batch_sizes=range(12, 23), listener=told, budget="5m")

    assert made.largest_batch_size == 22  # no message makes it a lack of memory
    for size, (_, status, reason) in DEATHS.items():
        assert at(made, size).status is status
        assert reason in reason_text(at(made, size).reason)
        assert at(made, size).step_s.estimate is None
        assert at(made, size + 1).ran
        assert any(f"batch size {size}" in text and reason in text for text in told.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "sizes", "largest"),
    [
        (8, (2, 8, 16), (6, 7)),
        (3, (2, 8), (2,)),  # in the check of a step already, which leaves it to the profile
    ],
)
def test_memory_that_a_process_may_not_have_is_out_of_memory_and_the_search_goes_below(
    ends, sizes, largest
):
    given = that_does(dict.fromkeys(range(ends, 40), profiled_workloads.meet_its_own_limit))

    made = profile(given, batch_sizes=sizes)

    assert at(made, 8).status is Status.OOM
    assert made.largest_batch_size in largest
    assert made.stopped == "memory"
    assert made.best_micro_batch(sizes[-1]) is not None


MEMORY_CGROUP = Path("/sys/fs/cgroup/memory")


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not (MEMORY_CGROUP / "memory.limit_in_bytes").exists(),
    reason="needs root and a memory control group (version 1) to have the kernel kill a process",
)
def test_a_probe_killed_by_the_kernel_for_memory_leaves_the_profile_alive():
    group = MEMORY_CGROUP / f"batchlab-profile-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(256 * MEGABYTE))
    except OSError as error:
        pytest.skip(f"this machine lets no memory control group be made: {error}")
    action = partial(profiled_workloads.be_killed_by_the_kernel, str(group))
    try:
        made = profile(that_does({8: action}), batch_sizes=(2, 8))
    finally:
        time.sleep(0.1)  # the kernel empties the group a moment after the process is gone
        group.rmdir()

    assert at(made, 8).status is Status.OOM
    assert "kernel" in reason_text(at(made, 8).reason)
    assert made.largest_batch_size in (6, 7)


@pytest.mark.slow
def test_what_does_not_fit_within_a_limit_is_accumulated_and_measured():
    """8 MB an example and 32 examples, within 140 MB."""
    limit = 140 * MEGABYTE
    hungry_one = hungry(megabytes_per_example=8, n=32)

    made = profile(hungry_one, memory_limit_bytes=limit, budget="2m")

    largest = made.largest_batch_size
    # The process itself takes some of it, and the limit is found to a quarter.
    assert 140 / 8 / 2 <= largest <= 140 / 8
    assert 0 < at(made, largest).peak_bytes <= limit
    whole = made.best_micro_batch(32)
    assert whole.accumulation_steps > 1
    assert 0 < whole.peak_bytes <= limit
    assert made.step_s(32).estimate is not None
    # Without a limit it grows by what an example takes.
    made = profile(hungry_one, batch_sizes=(1, 16, 32))
    few, more = (at(made, size).peak_bytes or 0 for size in (16, 32))
    assert (more - few) / 16 == pytest.approx(8 * MEGABYTE, rel=0.15)


@pytest.mark.parametrize(
    ("given", "named", "error", "told"),
    [
        (
            workload(),
            {"memory_limit_bytes": MEGABYTE},
            WorkloadError,
            r"limit 1\.05 MB: workload 'probed' needs .*--memory-limit",
        ),
        (
            that_does(dict.fromkeys(range(41), profiled_workloads.fail)),
            {"batch_sizes": (1, 2, 4)},
            WorkloadError,
            r"a training step .* raised ValueError: this model do",
        ),
        (workload(), {"budget": 0.5}, BudgetError, "give a larger --budget"),
    ],
    ids=["limit under the model's size", "cannot run", "budget below one profile"],
)
def test_what_cannot_be_profiled_is_one_clear_error(given, named, error, told):
    with pytest.raises(error, match=told) as caught:
        profile(given, **named)

    assert "\n" not in str(caught.value)
    # Without time it has no points, and says so.
    subject = about("profile", workload())
    late = subject.profile(subject.batch_sizes, deadline_s=time.monotonic() - 1, listener=Told())
    assert (late.points, late.stopped) == ((), "time")
