"""How well-known tools print their progress, and what is read of it; one entry each in a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of

from batchlab.errors import ProgressError
from batchlab.script.metric import ProgressPoints

ENTRIES = (Path(__file__).parent / "log_formats.txt").read_text("utf-8").split("\n## ")[1:]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.partition(" |")[0])
def test_what_a_tool_prints_is_read_or_refused_with_what_to_do(entry: str) -> None:
    head, _, output = entry.partition("\n")
    _, metric, expected = head.split(" | ", 2)
    points = ProgressPoints(metric, made_up_trial(batch_size=50, n_train=1000))
    said = None
    try:
        for reading in readings_of(output.encode(), metric=metric):
            points.add(reading)
        said = points.complaint()
    except ProgressError as error:
        said = str(error)

    found = ", ".join(f"{point.step} {point.value:.10g}" for point in points.points)

    if expected.startswith("refused: "):
        assert said is not None
        assert re.search(expected.removeprefix("refused: "), said), said
    else:
        assert (found, said) == (expected, None)
