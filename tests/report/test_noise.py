"""The noise of a gradient: its tables, its two pictures and its page."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from tests.reference.made_up_noise import N_TRAIN, made_up_noise, made_up_point, made_up_sample
from tests.reference.shown import rows_of

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.noise import Noise
from batchlab.report.figure import Figure
from batchlab.report.noise import noise_figures, noise_page, noise_sections


def figure(key: str, noise: Noise) -> Figure:
    return next(figure for figure in noise_figures(noise) if figure.key == key)


def test_the_variance_falls_as_sampling_without_replacement_says() -> None:
    noise = made_up_noise()
    trace = noise.noise_trace.estimate
    assert trace is not None

    line = {row["batch_size"]: row["mean"] for row in rows_of(figure("b", noise), kind="band")}

    assert min(line) == 1
    assert N_TRAIN / 4 < max(line) <= N_TRAIN / 2
    for size, value in line.items():
        expected = trace / size * (N_TRAIN - size) / (N_TRAIN - 1)
        assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [64, 1024])
def test_the_share_of_the_noise_is_that_of_the_drawn_variance(size: int) -> None:
    noise = made_up_noise(made_up_point(0, 200.0))
    workload = msgspec.structs.replace(noise.workload, batch_size=size)
    noise = replace(noise, workload=workload)
    variance = noise.noise_trace.estimate / size * (N_TRAIN - size) / (N_TRAIN - 1)
    share = variance / (variance + noise.along[-1].gradient_norm_squared.estimate)

    meaning = next(noise_sections(noise)).title

    assert f" {100 * share:.0f} % " in meaning


@pytest.mark.parametrize("scale", [200.0, 3000.0])
def test_the_variance_crosses_the_gradients_own_length_before_the_noise_scale(scale: float) -> None:
    point = replace(made_up_point(0, scale), sample=made_up_sample(scale, block=512))
    noise = made_up_noise(point)
    found = noise_scale(point.sample).scale.estimate
    assert found is not None

    shown = figure("b", noise)

    (level,) = rows_of(shown, kind="level")
    line = {row["batch_size"]: row["mean"] for row in rows_of(shown, kind="band")}
    noisier = [size for size, value in line.items() if value > level["mean"]]
    clearer = [size for size, value in line.items() if value < level["mean"]]
    # tr Sigma / B (N - B) / (N - 1) = |G|^2, solved for B.
    crossing = found * N_TRAIN / (N_TRAIN - 1 + found)
    assert max(noisier) < crossing < min(clearer)


def test_the_page_shows_both_pictures_and_fetches_nothing() -> None:
    page = noise_page(made_up_noise(), command="batchlab noise --report page.html")

    assert page.count("<svg") >= 2
    assert "Gradient noise of made up" in page
    assert "batchlab noise --report page.html" in page
    assert "https://arxiv.org/abs/1812.06162" in page
    assert not re.findall(r"(?:src|href)=\"https?://(?!arxiv)", page)
    assert "batchlab-noise.csv" in page
