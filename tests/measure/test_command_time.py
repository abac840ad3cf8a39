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
for step in range(1, 10**9):
    began = time.perf_counter()
    while time.perf_counter() - began < 0.002: pass
    print("step", step, "loss 1.0")
    if step % 100 == 0: print("step", step, "val_loss 1.0")
"""


def timed(folder: Path, source: str, *, metric: str = "val_loss") -> ProfilePoint:
    command = training_script(folder, source=source, metric=metric)
    marker = f"timing-{uuid.uuid4().hex}/timing"
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    try:
        point, look = timed_command(
            command, trial, folder=folder / "run", marker=marker, limit_s=30.0
        )
    finally:
        assert living(marker) == ()
    assert not look.is_whole or (look.end.status is Status.OK and not look.end.was_asked)
    return point


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlab.measure.command_time._TIMED_S", 0.3)


# A loss of training batches is no evaluation, even if each line has it.
TIMED: dict[str, tuple[str, str, bool | None]] = {
    "evaluates seldom": (_STEPS, "val_loss", None),
    "prints only a training loss": (_STEPS.rpartition("    if")[0], "loss", False),
    "evaluates after each step": (
        _STEPS.replace('"loss 1.0"', '"val_loss 1.0"').rpartition("    if")[0], "val_loss", True
    ),
    "validation prints that loss too": (
        _STEPS.replace('print("step", step, "val_loss 1.0")', "print('val: loss 2.0')"),
        "loss",
        False,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", TIMED)
def test_a_script_is_timed_until_enough_was_seen_and_ended(name: str, tmp_path: Path) -> None:
    source, metric, has_evaluations = TIMED[name]

    point = timed(tmp_path, source, metric=metric)

    assert point.status is Status.OK
    assert 0.0019 < point.timing.step_s < 0.02
    assert point.timing.warmup_s
    assert has_evaluations in (None, point.with_evaluations)
    assert point.gpu_peak_bytes is None
    assert point.peak_bytes > 1e6


@pytest.mark.slow
@pytest.mark.usefixtures("short")
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

    point = timed(tmp_path, _STEPS)

    assert point.gpu_peak_bytes == 3 * GB
    assert point.peak_bytes < GB


ALL_AT_ONCE = f"""
import io, sys
sys.stdout = io.StringIO()
{_STEPS.replace("10**9", "20")}
sys.__stdout__.write(sys.stdout.getvalue())
"""
FOR_EPOCHS = "for n in (1, 2, 3): print('epoch', n, 'step', 9 * n, 'val_loss', 1 / n)"
UNTIMED: list[tuple[str, Status, str]] = [
    ("print('done')", Status.ERROR, "came all at once"),
    ("print('step 3 val_loss 1.0')", Status.OK, "came all at once"),
    (ALL_AT_ONCE, Status.OK, "came all at once"),
    (FOR_EPOCHS, Status.ERROR, "did not train with the batch size"),
    ("raise MemoryError('none left')", Status.OOM, "none left"),
    ("raise SystemExit('no such file')", Status.ERROR, "no such file"),
]


@pytest.mark.parametrize(("source", "status", "text"), UNTIMED)
def test_why_there_is_no_time_is_said(
    source: str, status: Status, text: str, tmp_path: Path
) -> None:
    point = timed(tmp_path, source)

    assert (point.status, point.timing) == (status, None)
    assert text in reason_text(point.reason)
    if status is Status.OK:  # it did run, too shortly to be timed
        assert point.is_untimed
        assert 0 < point.at_most_step_s < 30
