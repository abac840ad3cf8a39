"""A profile as text: the table, and sentences that follow the numbers."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.reference.made_up_profile import limited_profile, made_up_point, made_up_profile

from batchlab.measure.profile import Profile
from batchlab.records.trial import Status
from batchlab.report.short_reports import profile_section
from batchlab.report.table import sections_text


def words(profile: Profile) -> str:
    """The text on one line."""
    return " ".join(sections_text([profile_section(profile)]).split())


def cells(profile: Profile, size: str) -> list[str]:
    """The words in the row of a batch size."""
    lines = sections_text([profile_section(profile)]).splitlines()
    (line,) = [line for line in lines if line.startswith(f"{size} ")]
    return line.split()


def test_every_point_has_a_row_with_time_throughput_and_memory() -> None:
    made = made_up_profile(*(made_up_point(size) for size in (32, 64)))
    on_gpu = replace(made, points=tuple(replace(p, gpu_peak_bytes=3 * 10**9) for p in made.points))

    assert cells(made, "64") == "64 1.64 ms ± 3 % 39.0 k/s 56.4 MB".split()
    assert cells(on_gpu, "64")[-4:] == ["56.4", "MB", "3.00", "GB"]


def test_where_some_did_not_run_every_row_says_how_it_ended() -> None:
    made = made_up_profile(made_up_point(64), made_up_point(128, status=Status.OOM, reason="no"))

    assert cells(made, "64")[-1] == "ok"
    assert cells(limited_profile(), "1")[-1] == "error"
    assert cells(limited_profile(), "256 = 2 × 128")[-1] == "ok"
    said = words(limited_profile())
    assert "- Batch size 1 did not run: Expected more than 1 value per channel" in said


def test_a_profile_is_limited_by_the_memory_of_the_gpu_that_a_script_used() -> None:
    made = made_up_profile(*(made_up_point(size) for size in (32, 64)), memory_limit_bytes=10**9)
    small, large = made.points
    on_gpu = (replace(small, gpu_peak_bytes=9 * 10**8), replace(large, gpu_peak_bytes=2 * 10**9))

    assert made.largest_batch_size == 64
    assert replace(made, points=on_gpu).largest_batch_size == 32


def test_an_evaluation_that_needs_more_than_a_step_is_told_and_judged_by_the_limit() -> None:
    made = made_up_profile(*(made_up_point(size) for size in (32, 64)), memory_limit_bytes=10**9)
    within, beyond = (replace(made, evaluation_bytes=n) for n in (8 * 10**8, 2 * 10**9))

    assert within.training_bytes(10**6) == 8 * 10**8
    assert (within.largest_batch_size, beyond.largest_batch_size) == (64, None)
    assert "An evaluation takes 800 MB, at any batch size." in words(within)
    assert "evaluation" not in words(replace(made, evaluation_bytes=1000))


def test_a_profile_under_load_gives_no_absurd_interval() -> None:
    quiet, loaded = made_up_point(8, median_s=1e-3), made_up_point(8, median_s=0.4)
    point = replace(quiet, again=(loaded.timing,))
    profile = made_up_profile(point)

    told = words(profile)

    assert profile.timed_s(point).is_too_wide  # by the two of them anything is possible
    assert "± ?" in told
    assert not re.search(r"(ns|µs) to [0-9.,]+ (s|min|h|days)", told)
    (shown,) = profile.to_dict()["points"]
    assert (shown["step_s"]["low"], shown["step_s"]["high"]) == (None, None)
    assert shown["step_s"]["estimate"] > 1e-3
    assert Profile.from_json(profile.to_json()) == profile
