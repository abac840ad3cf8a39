from __future__ import annotations

import math
from pathlib import Path

from tests.reference.sampled_output import readings_of

from batchlab.progress_log import ProgressLog


def test_what_was_logged_is_read(tmp_path: Path) -> None:
    log = ProgressLog(str(tmp_path / "log"))
    log.write(step=100, samples=6400, values={"val_loss": 0.1 + 0.2, "b c": math.inf})
    log.write(epoch=0.5, values={"a": "bad"})

    first, second = readings_of((tmp_path / "log").read_bytes())

    assert (first.shape, first.step, first.samples) == ("batchlab", 100, 6400)
    assert first.values == (("val_loss", 0.1 + 0.2), ("b c", math.inf))
    assert first.at_s < second.at_s
    assert (second.epoch, second.not_understood) == (0.5, ("a='bad'",))


def epochs_told(tmp_path: Path, *counters: dict[str, float]) -> list[float | None]:
    log = ProgressLog(str(tmp_path / "log"))
    for each in counters:
        log.write(**each, values={"val_loss": 0.5})
    return [reading.epoch for reading in readings_of((tmp_path / "log").read_bytes())]


def test_an_epoch_that_was_logged_is_the_passes_done(tmp_path: Path) -> None:
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    halves.mkdir()
    whole.mkdir()

    assert epochs_told(halves, *({"epoch": i / 2} for i in range(5))) == [0, 0.5, 1, 1.5, 2]
    assert epochs_told(whole, *({"epoch": i} for i in range(3))) == [0, 1, 2]


def test_a_whole_epoch_beside_steps_counts_only_where_they_agree(tmp_path: Path) -> None:
    done, under_way = tmp_path / "done", tmp_path / "under_way"
    done.mkdir()
    under_way.mkdir()

    found = epochs_told(done, *({"step": 20 * i, "epoch": i} for i in range(4)))
    other = epochs_told(under_way, *({"step": 20 * i + 20, "epoch": i} for i in range(4)))

    assert found == [None, None, 2, 3]
    assert other == [None] * 4


def test_a_fraction_beside_samples_is_taken_as_it_is(tmp_path: Path) -> None:
    assert epochs_told(tmp_path, {"samples": 250, "epoch": 0.25}) == [0.25]
