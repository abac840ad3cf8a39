"""The noise of a gradient: its words and its page."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from tests.reference.made_up_noise import N_TRAIN, made_up_noise, made_up_point

from batchlab.report.noise import noise_page, noise_sections


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
