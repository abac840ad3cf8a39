"""A record in a notebook's cell, and as dicts and a data frame."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS
from tests.reference.made_up_profile import made_up_point, made_up_profile
from tests.reference.page import HOSTILE, Page

from batchlab.app.compare import compare
from batchlab.errors import BatchlabError
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.report.advice_rows import answer_table
from batchlab.report.notebook import notebook_view
from batchlab.report.sweep_answer import conclusion, trials_table

ADVICE, SWEEP = KINDS["recommend"](), made_up_study(batch_sizes=(64, 256), seeds=2)
SHOWN: dict[str, Any] = {
    **{kind: KINDS[kind] for kind in ("recommend", "cannot_tell", "quality")},
    "sweep": lambda: SWEEP,
    "profile": made_up_profile,
    "comparison": lambda: compare(made_up_profile(), SWEEP),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_a_view_has_words_and_a_table_and_fetches_and_runs_nothing(kind: str) -> None:
    html = re.sub(r' xmlns(:xlink)?="[^"]+"', "", SHOWN[kind]()._repr_html_())
    page = Page(html)

    assert (page.unmatched, page.open) == ([], [])
    assert page.having("p")
    assert page.having("table")
    assert not re.search(r"https?:|src=|href=|<script|<style|<link|onload|@import", html)


def test_a_view_begins_with_the_answer_and_yours_beside_it() -> None:
    found = conclusion(SWEEP)
    answer = ["Use batch size 1024", "10× as fast", "13.2 s", "1.28 s ± 5 %", "76 runs"]

    for record, parts in ((ADVICE, answer), (SWEEP, [found.headline, found.lead, "<svg"])):
        places = [record._repr_html_().index(part) for part in parts]
        assert places == sorted(places)


def test_the_pictures_of_two_sweeps_do_not_share_names() -> None:
    views = [replace(SWEEP, study_id=name)._repr_html_() for name in ("one", "two")]

    one, two = (set(re.findall(r' id="([^"]+)"', view)) for view in views)
    assert one
    assert one.isdisjoint(two)


def test_whatever_is_in_a_name_is_escaped() -> None:
    written = Reason.as_written(HOSTILE)
    advice = replace(ADVICE, reason=written, caveats=(written,), verdict="recommend")
    broken = made_up_point(1, status=Status.ERROR, reason=HOSTILE)
    profile = made_up_profile(broken, made_up_point(2))
    profile = replace(profile, workload=msgspec.structs.replace(profile.workload, name=HOSTILE))
    metric = replace(SWEEP.workload.metrics[0], name=HOSTILE)
    study = replace(SWEEP, workload=replace(SWEEP.workload, metrics=(metric,)))

    for shown in (advice, study, profile):
        html = shown._repr_html_()
        page = Page(html)
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert (page.unmatched, page.open, page.having("script")) == ([], [], [])


def test_a_frame_has_a_row_a_trial_or_a_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = SimpleNamespace(DataFrame=dict)  # which keeps what it is given
    monkeypatch.setitem(sys.modules, "pandas", pandas)

    assert SWEEP.to_pandas() == trials_table(SWEEP).by_key()
    assert ADVICE.to_pandas() == answer_table(ADVICE).by_key()


def test_what_has_no_view_and_a_frame_without_pandas_are_refused(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(TypeError, match="a str has no view; an Advice, Study, Profile"):
        notebook_view("words")  # type: ignore[arg-type]
    with pytest.raises(BatchlabError, match="pip install pandas") as caught:
        SWEEP.to_pandas()
    assert isinstance(caught.value, ImportError)
