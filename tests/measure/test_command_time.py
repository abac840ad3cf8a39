"""The step time of a real script, from its own progress, and why there may be none."""

import uuid
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from tests.reference.command_engine import command_summary, command_trial
from tests.reference.fake_nvml import GB, FakeNvml
from tests.reference.living import living
from tests.reference.training_script import training_script

from batchlab.measure.command_time import timed_command
from batchlab.measure.profile import ProfilePoint
from batchlab.records.trial import Status
from batchlab.script.memory import GpuMemory
from batchlab.words.reasons import reason_text

# Steps of at least two milliseconds: it waits for the clock, so that a busy machine makes them
# longer and never shorter.
_STEPS = """
import time
for step in range(1, {n}):
    began = time.perf_counter()
    while time.perf_counter() - began < 0.002: pass
    print("step", step, "loss 1.0")
    if step % 100 == 0: print("step", step, "val_loss 1.0")
"""


def timed(
    folder: Path, source: str, *, limit_s: float = 30.0, metric: str = "val_loss"
) -> ProfilePoint:
    command = training_script(folder, source=source, metric=metric)
    marker = f"timing-{uuid.uuid4().hex}/timing"
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    try:
        point, look = timed_command(
            command, trial, folder=folder / "run", marker=marker, limit_s=limit_s
        )
    finally:
        assert living(marker) == ()
    assert not look.is_whole or (look.end.status is Status.OK and not look.end.was_asked)
    return point


@pytest.mark.slow
def test_a_script_is_timed_until_enough_was_seen_and_ended(tmp_path: Path) -> None:
    point = timed(tmp_path, _STEPS.format(n=10**9))

    assert point.status is Status.OK
    assert 0.0019 < point.timing.step_s < 0.02
    assert point.timing.warmup_s
    assert point.gpu_peak_bytes is None
    assert point.peak_bytes > 1e6


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "holds"), [("loss", False), ("val_loss", True)])
def test_a_loss_of_training_batches_is_no_evaluation_though_each_line_has_it(
    metric: str, holds: bool, tmp_path: Path
) -> None:
    source = _STEPS.format(n=10**9).replace('"loss 1.0"', f'"{metric} 1.0"').rpartition("    if")[0]

    point = timed(tmp_path, source, metric=metric)

    assert point.timing is not None
    assert point.with_evaluations == holds


@pytest.mark.slow
def test_a_loss_that_validation_prints_too_is_no_matter_for_the_time(tmp_path: Path) -> None:
    source = _STEPS.format(n=10**9).replace(
        'print("step", step, "val_loss 1.0")', "print('val: loss 2.0')"
    )

    assert timed(tmp_path, source, metric="loss").timing is not None


@pytest.mark.slow
def test_the_peak_on_a_gpu_is_told_beside_that_of_main_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml(users=[{}, {}], used=[10 * GB, GB])

    class Filling(GpuMemory):
        """Names no process, as in a container; from the second look on 3 GB more are taken."""

        def look(self, pids: AbstractSet[int]) -> None:
            super().look(pids)
            nvml.used = [13 * GB, GB]

    monkeypatch.setattr("batchlab.script.memory.GpuMemory", lambda: Filling(nvml))
    monkeypatch.setattr("batchlab.script.memory.COST_FRACTION", 100.0)

    point = timed(tmp_path, _STEPS.format(n=10**9))

    assert point.gpu_peak_bytes == 3 * GB
    assert point.peak_bytes < GB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("print('done')", Status.ERROR, "came all at once"),
        (
            "for n in (1, 2, 3): print('epoch', n, 'step', 9 * n, 'val_loss', 1 / n)",
            Status.ERROR,
            "did not train with the batch size",
        ),
        ("raise MemoryError('none left')", Status.OOM, "none left"),
        ("raise SystemExit('no such file')", Status.ERROR, "no such file"),
    ],
)
def test_why_there_is_no_time_is_said(
    source: str, status: Status, said: str, tmp_path: Path
) -> None:
    point = timed(tmp_path, source)

    assert (point.status, point.timing) == (status, None)
    assert said in reason_text(point.reason)


@pytest.mark.parametrize(
    "source",
    [
        "print('step 3 val_loss 1.0')",
        f"import io, sys\nsys.stdout = io.StringIO()\n{_STEPS.format(n=400)}\n"
        "sys.__stdout__.write(sys.stdout.getvalue())",
    ],
)
def test_a_script_that_trained_too_shortly_to_be_timed_did_run(source: str, tmp_path: Path) -> None:
    point = timed(tmp_path, source)

    assert point.is_untimed
    assert "came all at once" in reason_text(point.reason)
    assert 0 < point.at_most_step_s < 30
