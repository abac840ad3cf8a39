from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_study

from batchlab.report import write_images
from batchlab.report.parts.figure_files import NothingToDrawError


@pytest.mark.slow
def test_every_figure_that_has_something_to_show_is_a_file(tmp_path):
    study = made_up_study(batch_sizes=(64, 256), epochs=2)

    written = write_images(study, tmp_path / "report.svg", "svg")

    assert [path.name for path in written] == [
        "report-a-epochs.svg",
        "report-b-steps.svg",
        "report-c-time.svg",
        "report-d-gap.svg",
        "report-e-cost.svg",
        "report-g-noise.svg",
    ]
    assert all(path.read_text().startswith("<svg") for path in written)


def test_nothing_to_draw_is_an_error_that_says_why(tmp_path):
    with pytest.raises(NothingToDrawError, match="No trial has been evaluated"):
        write_images(made_up_study(batch_sizes=()), tmp_path / "report", "png")
    assert list(tmp_path.iterdir()) == []
