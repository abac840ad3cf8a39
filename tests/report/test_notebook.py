"""A record in a notebook's cell, and as dicts and a data frame."""

import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS
from tests.reference.made_up_profile import made_up_point as point
from tests.reference.made_up_profile import made_up_profile
from tests.reference.page import Page

from batchlab.app.compare import compare
from batchlab.measure.profile import Profile
from batchlab.report.advice_rows import answer_table
from batchlab.report.short_reports import profile_section
from batchlab.report.sweep_answer import conclusion, trials_table
from batchlab.report.table import sections_text

ADVICE, SWEEP = KINDS["recommend"](), made_up_study(batch_sizes=(64, 256), seeds=2)
SHOWN: dict[str, Any] = {
    **{kind: KINDS[kind] for kind in ("recommend", "cannot_tell", "quality")},
    "sweep": lambda: SWEEP,
    "profile": made_up_profile,
    "comparison": lambda: compare(made_up_profile(), made_up_study()),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_a_view_has_words_and_a_table_and_fetches_and_runs_nothing(kind: str) -> None:
    html = re.sub(r' xmlns(:xlink)?="[^"]+"', "", SHOWN[kind]()._repr_html_())
    page = Page(html)

    assert (page.unmatched, page.open) == ([], [])
    assert page.having("p")
    assert page.having("table")
    assert not re.search(r"https?:|src=|href=|<script|<style|<link|onload|@import", html)


@pytest.mark.slow
def test_a_view_begins_with_the_answer_and_pictures_of_two_sweeps_share_no_names() -> None:
    answer = ["Use batch size 1024", "10× as fast", "13.2 s", "1.28 s ± 5 %", "76 runs"]

    for record, parts in ((ADVICE, answer), (SWEEP, [*conclusion(SWEEP), "<svg"])):
        places = [record._repr_html_().index(part) for part in parts]
        assert places == sorted(places)
    views = [replace(SWEEP, study_id=name)._repr_html_() for name in ("one", "two")]
    one, two = (set(re.findall(r' id="([^"]+)"', view)) for view in views)
    assert one
    assert one.isdisjoint(two)


def test_a_frame_has_a_row_a_trial_or_a_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = SimpleNamespace(DataFrame=dict)  # which keeps what it is given
    monkeypatch.setitem(sys.modules, "pandas", pandas)

    assert SWEEP.to_pandas() == trials_table(SWEEP).by_key()
    assert ADVICE.to_pandas() == answer_table(ADVICE).by_key()


# ---- the tables of a profile


PAIR = made_up_profile(point(32), point(64), memory_limit_bytes=10**9)


def words(profile: Profile) -> str:
    """The text on one line."""
    return " ".join(sections_text([profile_section(profile)]).split())


def test_a_profile_is_limited_by_the_memory_of_the_gpu_and_of_an_evaluation() -> None:
    small, large = PAIR.points
    on_gpu = (replace(small, gpu_peak_bytes=9 * 10**8), replace(large, gpu_peak_bytes=2 * 10**9))
    within, beyond = (replace(PAIR, evaluation_bytes=n) for n in (8 * 10**8, 2 * 10**9))

    assert PAIR.largest_batch_size == within.largest_batch_size == 64
    assert replace(PAIR, points=on_gpu).largest_batch_size == 32
    assert beyond.largest_batch_size is None
    assert within.training_bytes(10**6) == 8 * 10**8
    assert "An evaluation takes 800 MB at any batch size." in words(within)
    assert "evaluation" not in words(replace(PAIR, evaluation_bytes=1000))


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
