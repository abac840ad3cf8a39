"""The noise of a gradient as text: what it means for the batch in use, then the table."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.reference.made_up_noise import made_up_noise, made_up_point

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.noise import LayerNoise
from batchlab.records.estimate import Reason
from batchlab.report.noise_text import noise_text


def words(text: str) -> str:
    return " ".join(text.split())


def test_it_says_what_share_of_the_gradient_is_noise_in_the_batch_in_use() -> None:
    noise = made_up_noise()
    scale = noise.gradient_noise_scale.estimate
    assert scale is not None

    said = words(noise_text(noise))

    share = scale / 64 / (1 + scale / 64)
    assert f"In a batch of 64, {100 * share:.0f} % of the gradient's squared length" in said
    assert "is not a critical batch size" in said


def test_it_says_how_it_grows() -> None:
    assert "It goes from" in words(noise_text(made_up_noise()))
    assert "It goes from" not in words(noise_text(made_up_noise(made_up_point(0, 20.0))))
    points = [made_up_point(0, 20.0), made_up_point(10, 40.0), made_up_point(20, math.inf)]
    said = words(noise_text(made_up_noise(*points)))
    assert "At step 20 the noise scale is above" in said
    assert "Before that it goes from" in said


def test_it_says_how_many_times_larger_or_smaller_it_became() -> None:
    ends = made_up_point(0, 60.0), made_up_point(10, 3.0)
    falling = made_up_noise(*ends)
    rising = made_up_noise(*(replace(end, step=10 - end.step) for end in reversed(ends)))
    first, last = (end.gradient_noise_scale for end in ends)
    assert first.estimate is not None
    assert last.estimate is not None
    times = first.estimate / last.estimate

    assert f": {times:.0f} times smaller." in words(noise_text(falling))
    assert f": {times:.0f} times as large." in words(noise_text(rising))


def test_a_batch_far_above_the_noise_scale_has_hardly_any_noise() -> None:
    said = words(noise_text(made_up_noise(made_up_point(0, 1.0))))

    assert "The gradient of a batch of 64 is nearly that of the whole training set" in said


def test_a_gradient_lost_in_noise_has_a_bound_and_says_what_would_tell() -> None:
    point = made_up_point(0, math.inf)

    said = words(noise_text(made_up_noise(point)))

    assert noise_scale(point.sample).scale.estimate is None
    assert "At step 0 the noise scale is above" in said
    assert "Where it can't be told, the gradient is lost in the noise of 1024 ex" in said
    assert "examples would tell." in said


def test_the_table_has_a_row_a_point_and_adam_a_column_where_it_is_known() -> None:
    points = (made_up_point(0, 20.0), made_up_point(7, 30.0, adam=True))

    with_adam = noise_text(made_up_noise(*points)).splitlines()
    without = noise_text(made_up_noise(points[0]))

    assert any(line.split()[:2] == ["7", "0.0448"] for line in with_adam)
    assert any("for Adam" in line for line in with_adam)
    assert "for Adam" not in without


def test_where_all_examples_were_seen_there_is_no_interval() -> None:
    point = made_up_point(0, 20.0)
    whole = replace(point, sample=replace(point.sample, n_train=1024))

    assert "all examples" in noise_text(made_up_noise(whole))
    assert "all examples" not in noise_text(made_up_noise(point))


def test_examples_without_gradients_of_their_own_are_named_with_the_micro_batch() -> None:
    point = made_up_point(0, 20.0)
    units = replace(point, way="micro-batches", sample=point.sample.by_blocks)

    assert "the noise is that of micro-batches of 64." in words(noise_text(made_up_noise(units)))


def test_what_was_not_measured_is_said_with_its_reason() -> None:
    noise = made_up_noise(stopped=Reason.of("noise_out_of_time", step=200))

    assert "Not measured to the end: the budget ended before step 200" in words(noise_text(noise))


def test_each_parameter_has_a_row_where_it_was_asked_for() -> None:
    point = made_up_point(7, 30.0)
    asked = replace(
        point,
        layers=tuple(LayerNoise(name=name, sample=point.sample) for name in ("0.weight", "0.bias")),
    )

    lines = noise_text(made_up_noise(asked)).splitlines()

    assert [line.split()[0] for line in lines[-3:]] == ["parameter", "0.weight", "0.bias"]
    assert "0.weight" not in noise_text(made_up_noise(point))
