from __future__ import annotations

import pytest
from tests.reference.fake_nvml import GB, FakeNvml

from batchlab.script.memory import GpuMemory


def test_the_peak_on_each_gpu_is_of_the_commands_own_processes() -> None:
    nvml = FakeNvml(users=[{1: 2 * GB, 2: 3 * GB, 99: 40 * GB}, {99: GB}], used=[46 * GB, GB])
    memory = GpuMemory(nvml)  # type: ignore[arg-type]

    memory.look({1, 2})
    nvml.users[0] = {1: GB}
    memory.look({1, 2})

    assert memory.peaks == (("0: NVIDIA H100", 5 * GB),)
    assert not memory.is_full


def test_where_nvml_names_no_process_of_ours_what_was_added_counts() -> None:
    nvml = FakeNvml(users=[{}, {7: None}], used=[10 * GB, GB])
    memory = GpuMemory(nvml)  # type: ignore[arg-type]

    for used in (10, 14, 12):
        nvml.used = [used * GB, (used - 9) * GB]
        memory.look({1})

    assert memory.peaks == (("0: NVIDIA H100", 4 * GB), ("1: NVIDIA H100", 4 * GB))


def test_others_who_come_later_do_not_count_once_ours_are_named() -> None:
    nvml = FakeNvml(users=[{1: GB}, {}], used=[GB, 0])
    memory = GpuMemory(nvml)  # type: ignore[arg-type]
    memory.look({1})

    nvml.users, nvml.used = [{99: 60 * GB}, {}], [60 * GB, 0]
    memory.look({1})

    assert memory.peaks == (("0: NVIDIA H100", GB),)


@pytest.mark.parametrize(("used", "is_full"), [(75 * GB, False), (77 * GB, True)])
def test_a_gpu_of_which_nearly_all_is_taken_is_full(used: int, is_full: bool) -> None:
    memory = GpuMemory(FakeNvml(users=[{1: 70 * GB}, {}], used=[used, 0]))  # type: ignore[arg-type]

    memory.look({1})

    assert memory.is_full == is_full


def test_a_gpu_that_is_lost_is_not_asked_for_numbers_it_has_not() -> None:
    memory = GpuMemory(FakeNvml(users=[{1: GB}, {1: GB}], used=[-1, GB]))  # type: ignore[arg-type]

    memory.look({1})

    assert memory.peaks == (("1: NVIDIA H100", GB),)


def test_without_nvml_nothing_is_known() -> None:
    memory = GpuMemory()
    if memory._nvml is not None:
        pytest.skip("there is one")

    memory.look({1})

    assert (memory.peaks, memory.is_full) == ((), False)
