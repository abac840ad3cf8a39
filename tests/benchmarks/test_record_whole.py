"""The recorder of whole trainings: it goes on where it was stopped, and packs what it said."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.script import script

EPOCHS, N_TRAIN = 8, 2048


class Stopped(Exception):
    """As if the machine had been turned off."""


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """record_whole.py with a made-up workload and made-up curves; how many it trained."""
    workload = SimpleNamespace(
        name="made-up",
        epochs=EPOCHS,
        metric_names=("accuracy", "loss"),
        learning_rate=0.1,
        batch_size=64,
        schedule=None,
        patience_epochs=None,
        train=(range(N_TRAIN),),
        better=lambda metric: "higher",
    )
    state = SimpleNamespace(trained=[], stop_after=math.inf, folder=tmp_path)

    def trained(workload: Any, length: Any, **cell: Any) -> Any:
        if len(state.trained) >= state.stop_after:
            raise Stopped
        key = cell["batch_size"], cell["octave"], cell["seed"]
        state.trained.append(key)
        status, curve = made_up_curve(*key)
        return sys.modules["row_file"].Row(
            batch_size=key[0], octave=key[1], seed=key[2], status=status, curve=curve
        )

    with script("regret/record_whole.py") as state.module:
        monkeypatch.setattr(state.module, "FOLDER", tmp_path)
        monkeypatch.setattr(state.module, "WORKLOADS", {"made-up": lambda: workload})
        monkeypatch.setattr(state.module, "NARROWER", {"made-up": (16, 256)})
        monkeypatch.setattr(state.module, "trained", trained)
        monkeypatch.setattr(state.module, "step_s_of", lambda workload, size: 100.0 + size)
        monkeypatch.setattr(state.module, "eval_s_of", lambda workload: 0.25)
        yield state


def made_up_curve(size: int, octave: int, seed: int) -> tuple[str, tuple[tuple[int, float], ...]]:
    """The best octave is 1 at 16, and one more for each doubling; three above it diverges."""
    best = int(math.log2(size / 16)) + 1
    if octave >= best + 3:
        return "diverged", ((0, 0.1), (1, 0.1))
    half = 0.15 * 2.0 ** abs(octave - best) * (1 + 0.02 * seed)
    n = 32
    steps = [round(step * EPOCHS * N_TRAIN / size / n) for step in range(n + 1)]
    curve = [
        (step, 0.9 - 0.8 * 0.5 ** (step * size / N_TRAIN / half)) for step in dict.fromkeys(steps)
    ]
    return "ok", tuple((step, float(f"{value:.4g}")) for step, value in curve)


def packed(recording: SimpleNamespace) -> RecordedGrid:
    recorder = recording.module.WholeRecorder("made-up")
    recorder.pack(recorder.record())
    return RecordedGrid.read(recording.folder / "made-up.csv.gz")


def test_every_rate_from_the_reference_to_above_the_best_is_there(
    recording: SimpleNamespace,
) -> None:
    grid = packed(recording)

    octaves = {
        size: [round(math.log2(rate / 0.1)) for rate in grid.learning_rates(size)]
        for size in grid.batch_sizes
    }
    assert {size: (min(found), max(found)) for size, found in octaves.items()} == {
        16: (-1, 3),
        32: (0, 4),
        64: (0, 5),  # joined with the reference rate
        128: (0, 6),
        256: (3, 7),
    }
    assert all(len(found) == found[-1] - found[0] + 1 for found in octaves.values())
    # The reference and the best have all seeds, the far ones a few.
    for cell in ((64, 0.1), (64, 0.8), (16, 0.2), (256, 3.2)):
        assert len(grid.cells[cell]) == 14
    assert len(grid.cells[16, 0.8]) == 4
    # Near, but trainings at this batch size take too long for more than one rate.
    assert len(grid.cells[16, 0.1]) == 4


@pytest.mark.slow
def test_stopped_at_any_moment_it_goes_on_and_packs_the_same_bytes(
    recording: SimpleNamespace,
) -> None:
    packed(recording)
    n_trained = len(recording.trained)
    files = {path.name: path.read_bytes() for path in recording.folder.iterdir()}
    for path in recording.folder.iterdir():
        path.unlink()
    recording.trained.clear()

    for stop_after in (3, n_trained // 3, n_trained - 1):
        recording.stop_after = stop_after
        with pytest.raises(Stopped):
            recording.module.WholeRecorder("made-up").record()
    recording.stop_after = math.inf
    packed(recording)

    assert len(recording.trained) == n_trained
    assert {path.name: path.read_bytes() for path in recording.folder.iterdir()} == files
