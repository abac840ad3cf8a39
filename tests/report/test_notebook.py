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
from tests.reference.made_up_advice import KINDS, made_up_advice
from tests.reference.made_up_profile import made_up_point, made_up_profile
from tests.reference.page import Page

from batchlab.app.compare import compare
from batchlab.errors import BatchlabError
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.report.advice_rows import answer_table
from batchlab.report.notebook import notebook_view
from batchlab.report.sweep_answer import conclusion, trials_table

written = Reason.as_written
SCRIPT = "<script>alert('a')</script>"


def seen(shown: Any) -> Page:
    """Its view, whole."""
    page = Page(shown._repr_html_())
    assert (page.unmatched, page.open) == ([], [])
    return page


SHOWN = (
    *(pytest.param(KINDS[kind], id=kind) for kind in ("recommend", "cannot_tell", "quality")),
    pytest.param(lambda: made_up_study(batch_sizes=(64, 256), seeds=2), id="sweep"),
    pytest.param(made_up_profile, id="profile"),
    pytest.param(lambda: compare(made_up_profile(), made_up_study()), id="comparison"),
)


@pytest.mark.parametrize("make", SHOWN)
def test_a_view_has_words_and_a_table_and_fetches_and_runs_nothing(make: Any) -> None:
    html = re.sub(r' xmlns(:xlink)?="[^"]+"', "", make()._repr_html_())
    page = seen(make())

    assert page.having("p")
    assert page.having("table")
    assert not re.search(r"https?:|src=|href=|<script|<style|<link|onload|@import", html)


def test_a_view_begins_with_the_answer_and_yours_beside_it() -> None:
    study, advice = made_up_study(batch_sizes=(64, 256), seeds=2), made_up_advice()
    of_study, of_advice = study._repr_html_(), advice._repr_html_()
    order = ["Use batch size 1024", "10× as fast", "13.2 s", "1.28 s ± 5 %", "76 runs"]
    places = [of_advice.index(part) for part in order]

    assert places == sorted(places)
    found = conclusion(study)
    assert of_study.index(found.headline) < of_study.index(found.lead) < of_study.index("<svg")


def test_the_pictures_of_two_sweeps_do_not_share_names() -> None:
    one = made_up_study(batch_sizes=(64, 256))

    views = [replace(one, study_id=name)._repr_html_() for name in ("one", "two")]

    named = [set(re.findall(r' id="([^"]+)"', view)) for view in views]
    assert named[0]
    assert named[0].isdisjoint(named[1])


def test_whatever_is_in_a_name_is_escaped() -> None:
    advice = replace(
        made_up_advice(),
        reason=written(SCRIPT),
        caveats=(written(SCRIPT),),
        verdict="recommend",
    )
    broken = made_up_point(1, status=Status.ERROR, reason=SCRIPT)
    profile = made_up_profile(broken, made_up_point(2))
    profile = replace(profile, workload=msgspec.structs.replace(profile.workload, name=SCRIPT))
    made_up = made_up_study(batch_sizes=(64,))
    metric = replace(made_up.workload.metrics[0], name=SCRIPT)
    study = replace(made_up, workload=replace(made_up.workload, metrics=(metric,)))

    for shown in (advice, study, profile):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert seen(shown).having("script") == []


def test_what_has_no_view_is_refused() -> None:
    with pytest.raises(TypeError, match="a str has no view; an Advice, Study, Profile"):
        notebook_view("words")  # type: ignore[arg-type]


def test_a_frame_has_a_row_a_trial_or_a_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = SimpleNamespace(DataFrame=dict)  # which keeps what it is given
    monkeypatch.setitem(sys.modules, "pandas", pandas)  # type: ignore[arg-type]
    study, advice = made_up_study(batch_sizes=(64, 256), seeds=2), made_up_advice()

    for record, table in ((study, trials_table(study)), (advice, answer_table(advice))):
        assert record.to_pandas() == table.by_key()


def test_without_pandas_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(BatchlabError) as caught:
        made_up_study(batch_sizes=(64,)).to_pandas()

    assert "pip install pandas" in str(caught.value)
    assert isinstance(caught.value, ImportError)
