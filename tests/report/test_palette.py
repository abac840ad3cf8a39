from __future__ import annotations

import itertools
import math

import pytest

from batchlab.report.figure import looks, part_looks

GROUND = {"light": "#ffffff", "dark": "#15181d"}
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def linear(color: str) -> list[float]:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def contrast(one: str, other: str) -> float:
    lights = [
        0.2126 * red + 0.7152 * green + 0.0722 * blue
        for red, green, blue in (linear(one), linear(other))
    ]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def lab(color: str, sight: str) -> tuple[float, float, float]:
    seen = [sum(m * c for m, c in zip(row, linear(color), strict=True)) for row in SIGHT[sight]]
    red, green, blue = (min(1.0, max(0.0, part)) for part in seen)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (
        part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


EIGHT = looks((8, 16, 32, 64, 128, 256, 1024, 50_000), n_train=50_000)
PARTS = part_looks((8, 32, 64, 1024), {1024: "named", 64: "yours", 32: "usual"}, n_train=50_000)


@pytest.mark.parametrize("drawn", [EIGHT, PARTS], ids=["batch sizes", "parts"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_can_be_told_apart_by_any_sight_and_stand_out_from_their_ground(scheme, drawn):
    colors = [getattr(look, scheme) for look in drawn]

    for sight in SIGHT:
        pairs = itertools.combinations([lab(color, sight) for color in colors], 2)
        assert min(math.dist(one, other) for one, other in pairs) >= 15
    assert min(contrast(color, GROUND[scheme]) for color in colors) >= 3


def test_batch_sizes_differ_by_dash_and_shape_too_and_keep_theirs_whatever_else_was_run():
    many, few = looks(range(2, 22), n_train=50_000), looks([64, 1024], n_train=50_000)
    others = part_looks((1, 2, 3, 4), {1: "named", 4: "yours", 2: "usual"}, n_train=50_000)

    assert len({look.dash for look in EIGHT}) == len({look.shape for look in EIGHT}) == 8
    assert len({(look.light, look.dash, look.shape) for look in many}) == 20
    assert list(few) == [look for look in EIGHT if look.kind in (64, 1024)]
    assert looks([4096], n_train=4096)[0].label == "4096 (full)"
    # Each part in an answer has its color whatever the batch size.
    assert [look.part for look in PARTS] == ["other", "usual", "yours", "named"]
    assert {look.part: look.light for look in PARTS} == {look.part: look.light for look in others}
