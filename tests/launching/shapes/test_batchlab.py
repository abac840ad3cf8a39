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
