"""The noise of a gradient: its words and its page."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from tests.reference.made_up_noise import N_TRAIN, made_up_noise, made_up_point

from batchlab.records.estimate import Estimate
from batchlab.records.run import OUT_OF_TIME
from batchlab.report.noise import noise_figure, noise_page, noise_sections


@pytest.mark.parametrize("size", [64, 1024])
def test_the_share_of_the_noise_is_that_of_the_variance(size: int) -> None:
    noise = made_up_noise(made_up_point(0, 200.0))
    workload = msgspec.structs.replace(noise.workload, batch_size=size)
    noise = replace(noise, workload=workload)
    variance = noise.noise_trace.estimate / size * (N_TRAIN - size) / (N_TRAIN - 1)
    share = variance / (variance + noise.along[-1].gradient_norm_squared.estimate)

    meaning = next(noise_sections(noise)).title

    assert f" {100 * share:.0f} % " in meaning


def test_the_page_shows_its_picture_and_fetches_nothing() -> None:
    page = noise_page(made_up_noise(), command="batchlab noise --report page.html")

    assert page.count("<svg") >= 1
    assert "Gradient noise of made-up" in page
    assert "batchlab noise --report page.html" in page
    assert "https://arxiv.org/abs/1812.06162" in page
    assert not re.findall(r"(?:src|href)=\"https?://(?!arxiv)", page)
    assert "batchlab-noise.csv" in page


def test_the_critical_batch_size_of_branches_stands_beside_the_noise() -> None:
    found = Estimate.of(390.0, interval=(230.0, 800.0), n=4)
    point = replace(made_up_point(100, 200.0), critical_batch_size=found)

    (with_branches,), (without,) = (
        tuple(noise_sections(made_up_noise(made_up_point(0, 90.0), last)))
        for last in (point, replace(point, critical_batch_size=None))
    )

    headers = [
        [column.header for column in each.table.columns] for each in (with_branches, without)
    ]
    assert ["critical batch size" in each for each in headers] == [True, False]
    shown = [row[headers[0].index("critical batch size")] for row in with_branches.table.texts()]
    assert shown == ["–", "390 (230 to 800)"]
    marks = [
        [row["mean"] for row in noise_figure(noise).panels[0].rows if row["kind"] == "expected"]
        for noise in (made_up_noise(point), made_up_noise(made_up_point(0, 90.0)))
    ]
    assert marks == [[390.0], []]
    assert with_branches.title.endswith("Critical batch size there: 390 (230 to 800).")
    assert "Critical" not in without.title
    assert not any("not a critical batch size" in note for note in with_branches.notes)
    assert any("not a critical batch size" in note for note in without.notes)


def test_why_branches_gave_no_critical_batch_size_is_said() -> None:
    lost = replace(made_up_point(100, 200.0), critical_batch_size=Estimate.cannot_tell(OUT_OF_TIME))

    (section,) = noise_sections(made_up_noise(made_up_point(0, 90.0), lost))

    said = "No critical batch size at step 100: the budget ended"
    assert any(note.startswith(said) for note in section.notes)
