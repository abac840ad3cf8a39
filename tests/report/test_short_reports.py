"""The pages and tables of a profile and of the noise of a gradient."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest
from tests.reference.made_up_noise import N_TRAIN, made_up_noise, made_up_point
from tests.reference.made_up_profile import limited_profile, made_up_profile
from tests.reference.made_up_profile import made_up_point as point
from tests.reference.reprs import reprs_in

from batchlab.measure.profile import Profile
from batchlab.report.noise import noise_page, noise_sections
from batchlab.report.short_reports import profile_section
from batchlab.report.table import sections_text

TWO = made_up_profile(point(32), point(64), memory_limit_bytes=10**9)


def words(profile: Profile) -> str:
    """The text on one line."""
    return " ".join(sections_text([profile_section(profile)]).split())


def test_every_point_has_a_row_with_time_throughput_memory_and_how_it_ended() -> None:
    on_gpu = replace(TWO, points=tuple(replace(p, gpu_peak_bytes=3 * 10**9) for p in TWO.points))

    assert " 64 1.64 ms ± 3 % 39.0 k/s 56.4 MB" in words(TWO)
    assert " 64 1.64 ms ± 3 % 39.0 k/s 56.4 MB 3.00 GB" in words(on_gpu)
    said = words(limited_profile())
    assert re.search(r" 1 – – – error 64 .* MB ok .* 256 = 2 × 128 .* MB ok ", said)
    assert "- Batch size 1 did not run: Expected more than 1 value per channel" in said


def test_a_profile_is_limited_by_the_memory_of_the_gpu_and_of_an_evaluation() -> None:
    small, large = TWO.points
    on_gpu = (replace(small, gpu_peak_bytes=9 * 10**8), replace(large, gpu_peak_bytes=2 * 10**9))
    within, beyond = (replace(TWO, evaluation_bytes=n) for n in (8 * 10**8, 2 * 10**9))

    assert TWO.largest_batch_size == within.largest_batch_size == 64
    assert replace(TWO, points=on_gpu).largest_batch_size == 32
    assert beyond.largest_batch_size is None
    assert within.training_bytes(10**6) == 8 * 10**8
    assert "An evaluation takes 800 MB, at any batch size." in words(within)
    assert "evaluation" not in words(replace(TWO, evaluation_bytes=1000))


def test_a_profile_under_load_gives_no_absurd_interval() -> None:
    quiet, loaded = point(8, median_s=1e-3), point(8, median_s=0.4)
    both = replace(quiet, again=(loaded.timing,))
    profile = made_up_profile(both)

    told = words(profile)

    assert profile.timed_s(both).is_too_wide  # by the two of them anything is possible
    assert "± ?" in told
    assert not re.search(r"(ns|µs) to [0-9.,]+ (s|min|h|days)", told)
    (shown,) = profile.to_dict()["points"]
    assert (shown["step_s"]["low"], shown["step_s"]["high"]) == (None, None)
    assert shown["step_s"]["estimate"] > 1e-3
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize("size", [64, 1024])
def test_the_share_of_the_noise_is_that_of_the_variance(size: int) -> None:
    noise = made_up_noise(made_up_point(0, 200.0))
    workload = msgspec.structs.replace(noise.workload, batch_size=size)
    variance = noise.noise_trace.estimate / size * (N_TRAIN - size) / (N_TRAIN - 1)
    share = variance / (variance + noise.along[-1].gradient_norm_squared.estimate)

    meaning = next(noise_sections(replace(noise, workload=workload))).title

    assert f" {100 * share:.0f} % " in meaning


def test_the_page_of_noise_shows_its_picture_and_fetches_nothing() -> None:
    noise, command = made_up_noise(), "batchlab noise --report page.html"
    page = noise_page(noise, command=command)

    for shown in ("<svg", "Gradient noise of made-up", command, "batchlab-noise.csv"):
        assert shown in page
    assert {*re.findall(r"(?:src|href)=\"(https?://[^\"]*)", page)} == {
        "https://arxiv.org/abs/1812.06162"
    }
    assert reprs_in(re.sub("<script.*?</script>", "", page, flags=re.DOTALL)) == []
    assert reprs_in(noise.to_json()) == []
