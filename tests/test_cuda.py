"""On a CUDA device: what the CPU's tests say of runs, profiles and advice holds there, too."""

import gc
from functools import partial

import pytest
import torch
from tests.reference.engine_run import STEP_BY_STEP, run_engine
from tests.reference.profiled_workloads import MEGABYTE, at, hungry
from tests.reference.small_workloads import everything_workload, small_trial, small_workload

import batchlab
from batchlab.app.profile import profile
from batchlab.measure import profiling
from batchlab.records.run import RunLength
from batchlab.records.trial import Status
from batchlab.store.store import Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def quick(monkeypatch):
    """Each batch size is timed for 20 ms: what is measured here is who survives."""
    monkeypatch.setattr(profiling, "TIMED_S", 0.02)


run_on_cuda = partial(run_engine, device="cuda", rhythm=STEP_BY_STEP)


@pytest.mark.parametrize("micro_batch_size", [6, 4])
def test_a_run_stopped_anywhere_ends_as_if_it_had_not_been(micro_batch_size, tmp_path):
    workload = everything_workload()
    trial = small_trial(
        workload,
        batch_size=6,
        micro_batch_size=micro_batch_size,
        learning_rate=0.02,
        horizon_steps=28,
        seed=4,
    )
    length = RunLength(epochs=4)
    whole = run_on_cuda(workload, trial, length, checkpoint=tmp_path / "whole")

    for stop_after in range(0, 28, 3):
        path = tmp_path / f"stopped at {stop_after}"
        run_on_cuda(workload, trial, length, checkpoint=path, stop_after=stop_after)
        again = run_on_cuda(workload, trial, length, checkpoint=path)

        assert again.outcome == whole.outcome
        assert again.evaluations == whole.evaluations
        assert again.tensors.keys() == whole.tensors.keys()
        for name, tensor in whole.tensors.items():
            assert torch.equal(again.tensors[name], tensor), name


def test_in_double_precision_a_run_scores_what_it_does_on_the_cpu():
    workload = small_workload(dtype=torch.float64)
    trial = small_trial(workload, batch_size=7)

    here = run_engine(workload, trial, RunLength(epochs=3), device="cuda")
    there = run_engine(workload, trial, RunLength(epochs=3), device="cpu")

    assert [each.step for each in here.evaluations] == [each.step for each in there.evaluations]
    for one, other in zip(here.evaluations, there.evaluations, strict=True):
        assert one.score("validation", "loss") == pytest.approx(
            other.score("validation", "loss"), rel=1e-10
        )


@pytest.mark.usefixtures("quick")
def test_the_peak_grows_by_what_an_example_takes_and_counts_the_driver():
    made = profile(
        hungry(megabytes_per_example=64), batch_sizes=(1, 16, 32), device="cuda", budget="2m"
    )

    peaks = [at(made, size).peak_bytes for size in (1, 16, 32)]
    assert (peaks[2] - peaks[1]) / 16 == pytest.approx(64 * MEGABYTE, rel=0.15)
    assert peaks[0] > (64 + 100) * MEGABYTE
    assert made.device_name == torch.cuda.get_device_name()


@pytest.mark.usefixtures("quick")
def test_where_the_devices_memory_ends_the_search_goes_below_and_a_batch_is_accumulated():
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    twenty_fourth = total_bytes // MEGABYTE // 24

    made = profile(
        hungry(megabytes_per_example=twenty_fourth),
        batch_sizes=(16, 32),
        device="cuda",
        budget="5m",
    )

    assert at(made, 32).status is Status.OOM
    assert 16 <= made.largest_batch_size < 24
    accumulated = made.best_micro_batch(32)
    assert accumulated.micro_batch_size <= made.largest_batch_size
    left_bytes, _ = torch.cuda.mem_get_info()
    assert left_bytes > free_bytes - 256 * MEGABYTE  # no probe has kept its share


@pytest.mark.usefixtures("quick")
def test_a_smaller_device_can_be_simulated():
    """What else is on the device counts as well: this test's own process, for one."""
    alone = profile(hungry(megabytes_per_example=64), batch_sizes=(1,), device="cuda")
    peak_bytes = at(alone, 1).peak_bytes
    limit_bytes = peak_bytes + 20 * 64 * MEGABYTE

    made = profile(
        hungry(megabytes_per_example=64), device="cuda", memory_limit_bytes=limit_bytes, budget="2m"
    )

    assert made.stopped == "memory"
    assert 16 <= made.largest_batch_size <= 21
    assert at(made, made.largest_batch_size).peak_bytes <= limit_bytes


def test_an_advice_leaves_the_callers_cuda_as_it_was(tmp_path):
    gc.collect()  # what other tests left is not the caller's
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state()
    held_bytes = torch.cuda.memory_allocated()

    advice = batchlab.advise(
        small_workload(n=2048),
        target=("accuracy", 0.8),
        batch_sizes=(16, 64, 256),
        device="cuda",
        budget="1m",
        store=tmp_path / "lab.db",
    )

    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.cuda.memory_allocated() == held_bytes
    with Store.existing(tmp_path / "lab.db") as store:
        study = store.study()
    assert {record.trial.device for record in study.records} == {"cuda"}
    assert advice.spent_s <= 60.0
