"""The noise of a gradient as text: tables with a row a step and a parameter."""

from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_noise import made_up_noise, made_up_point

from batchlab.measure.noise import LayerNoise
from batchlab.report.noise import noise_sections
from batchlab.report.sections import sections_text


def words(text: str) -> str:
    return " ".join(text.split())


def test_it_says_what_share_of_the_gradient_is_noise_in_the_batch_in_use() -> None:
    noise = made_up_noise()
    scale = noise.gradient_noise_scale.estimate
    assert scale is not None

    said = words(sections_text(noise_sections(noise)))

    share = scale / 64 / (1 + scale / 64)
    assert f"In a batch of 64, {100 * share:.0f} % of the gradient's squared length" in said
    assert "is not a critical batch size" in said


def test_the_table_has_a_row_a_point_and_adam_a_column_where_it_is_known() -> None:
    points = (made_up_point(0, 20.0), made_up_point(7, 30.0, adam=True))

    with_adam = sections_text(noise_sections(made_up_noise(*points))).splitlines()
    without = sections_text(noise_sections(made_up_noise(points[0])))

    assert any(line.split()[:2] == ["7", "0.0448"] for line in with_adam)
    assert any("for Adam" in line for line in with_adam)
    assert "for Adam" not in without


def test_where_all_examples_were_seen_there_is_no_interval() -> None:
    point = made_up_point(0, 20.0)
    whole = replace(point, sample=replace(point.sample, n_train=1024))

    assert "all examples" in sections_text(noise_sections(made_up_noise(whole)))
    assert "all examples" not in sections_text(noise_sections(made_up_noise(point)))


def test_each_parameter_has_a_row_where_it_was_asked_for() -> None:
    point = made_up_point(7, 30.0)
    names = ("0.weight", "0.bias")
    layers = tuple(LayerNoise(name=name, sample=point.sample) for name in names)
    asked = replace(point, layers=layers)

    lines = sections_text(noise_sections(made_up_noise(asked))).splitlines()

    assert [line.split()[0] for line in lines[-3:]] == ["parameter", "0.weight", "0.bias"]
    assert "0.weight" not in sections_text(noise_sections(made_up_noise(point)))
