"""The noise of a gradient: its tables, its two pictures and its page."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from tests.reference.made_up_noise import N_TRAIN, made_up_noise, made_up_point, made_up_sample
from tests.reference.shown import rows_of, table_rows

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.noise import LayerNoise, Noise
from batchlab.report.figure import Figure
from batchlab.report.noise import noise_figures, noise_page, noise_sections


def figure(key: str, noise: Noise) -> Figure:
    return next(figure for figure in noise_figures(noise) if figure.key == key)


def columns_of(noise: Noise, table: int = 0) -> dict[str, tuple[object, ...]]:
    """The columns of one of its tables."""
    shown = list(noise_sections(noise))[table].table
    assert shown is not None
    rows = table_rows(shown)
    return {name: tuple(row[name] for row in rows) for name in rows[0]}


def test_the_tables_have_a_row_a_step_and_a_parameter_and_columns_for_what_is_known() -> None:
    point, adam = made_up_point(0, 20.0), made_up_point(7, 30.0, adam=True)
    layers = tuple(LayerNoise(name=name, sample=point.sample) for name in ("weight", "bias"))
    whole = replace(point, sample=replace(point.sample, n_train=1024), layers=layers)

    assert columns_of(made_up_noise(point, adam))["step"] == (0, 7)
    assert "preconditioned" in columns_of(made_up_noise(point, adam))
    assert "preconditioned" not in columns_of(made_up_noise(point))
    assert columns_of(made_up_noise(whole))["interval"] == ("all examples",)  # there is no interval
    assert columns_of(made_up_noise(whole), 1)["parameter"] == ("weight", "bias")


def test_the_noise_scale_stands_at_its_steps_with_its_intervals() -> None:
    noise = made_up_noise(made_up_point(0, 20.0), made_up_point(100, 200.0))

    points = rows_of(figure("a", noise), kind="point")
    (level,) = rows_of(figure("a", noise), kind="level")

    assert (level["mean"], level["text"]) == (64, "batch size in use: 64")
    assert [row["step"] for row in points] == [0, 100]
    for row, point in zip(points, noise.along, strict=True):
        assert row["mean"] == pytest.approx(point.gradient_noise_scale.estimate, rel=1e-6)
        assert row["low"] < row["mean"] < row["high"]


def test_where_only_a_bound_is_known_an_arrow_stands() -> None:
    shown = figure("a", made_up_noise(made_up_point(0, 20.0), made_up_point(100, math.inf)))

    (arrow,) = rows_of(shown, kind="bound")
    assert arrow["step"] == 100
    assert any("arrow" in note for note in shown.notes)
    assert len(rows_of(shown, kind="line")) == 1


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
