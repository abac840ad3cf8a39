"""A record in a notebook's cell, and as dicts and a data frame."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS, made_up_advice
from tests.reference.made_up_profile import made_up_point, made_up_profile

from batchlab.errors import BatchlabError
from batchlab.fitting.fit import PointsFit, fit
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.report.advice_tables import candidates_table
from batchlab.report.notebook import notebook_view
from batchlab.report.sweep_claims import conclusion
from batchlab.report.sweep_tables import trials_table

written = Reason.as_written


SCRIPT = "<script>alert('a')</script>"


def points_fit(group: str = "small") -> PointsFit:
    return fit(
        [
            {"batch_size": size, "steps_to_target": 300 * (1 + 500 / size), "model": group}
            for size in (16, 64, 256, 1024)
        ],
        group_by=["model"],
    )


class Shape(HTMLParser):
    """The tags that are open, and the words that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "


def shape(html: str) -> Shape:
    parsed = Shape()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_advice_has_a_view(kind: str) -> None:
    advice = KINDS[kind]()

    seen = shape(advice._repr_html_())

    assert {"p", "table"} <= seen.seen
    for candidate in advice.candidates:
        assert re.search(rf"\b{candidate.batch_size}\b", seen.words)


def test_an_advice_begins_with_why_yours_beside_it_and_bars() -> None:
    words = shape(made_up_advice()._repr_html_()).words

    order = [
        "A batch 16 times as large",
        "13.2 s",
        "1.28 s (1.21 s to 1.34 s)",
        "██",
        "64 training runs",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


def test_a_sweep_is_shown_with_who_won_a_row_a_batch_size_and_its_curves() -> None:
    study = made_up_study(batch_sizes=(64, 256), seeds=2)

    seen = shape(study._repr_html_())

    found = conclusion(study)
    assert seen.words.strip().startswith(found.headline)
    assert found.lead in " ".join(seen.words.split())
    assert re.search(r"equal time .* equal steps", seen.words, re.S)
    for record in study.records:
        assert re.search(rf"\b{record.trial.batch_size}\b", seen.words)
    assert {"table", "svg", "path"} <= seen.seen


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
        missing=written(SCRIPT + "2"),
        verdict="recommend",
    )
    broken = made_up_point(1, status=Status.ERROR, reason=SCRIPT)
    profile = made_up_profile(broken, made_up_point(2))
    named = msgspec.structs.replace(profile.workload, name=SCRIPT)
    profile = replace(profile, workload=named)
    made_up = made_up_study(batch_sizes=(64,))
    metric = replace(made_up.workload.metrics[0], name=SCRIPT)
    study = replace(made_up, workload=replace(made_up.workload, metrics=(metric,)))

    for shown in (advice, study, profile, points_fit(SCRIPT)):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert "script" not in shape(html).seen


def test_a_view_fetches_and_runs_nothing() -> None:
    for shown in (made_up_advice(), made_up_study(), made_up_profile(), points_fit()):
        html = re.sub(r' xmlns(:xlink)?="[^"]+"', "", shown._repr_html_())
        assert not re.search(r"https?:|src=|href=|<script|<style|<link|onload|@import", html)


def test_what_has_no_view_is_refused() -> None:
    with pytest.raises(TypeError, match="a str has no view; an Advice, Study, Profile"):
        notebook_view("words")  # type: ignore[arg-type]


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pandas that keeps what it is given."""

    def frame(rows: list[Any], *, columns: list[str]) -> SimpleNamespace:
        return SimpleNamespace(rows=rows, columns=columns)

    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=frame))  # type: ignore[arg-type]


@pytest.mark.usefixtures("frames")
def test_a_sweep_is_a_frame_with_a_row_a_trial() -> None:
    study = made_up_study(batch_sizes=(64, 256), seeds=2)

    frame = study.to_pandas()

    assert frame.columns[:2] == ["trial_id", "status"]
    assert frame.columns == [column.key for column in trials_table(study).columns]
    place = frame.columns.index("batch_size")
    assert [row[place] for row in frame.rows] == [r.trial.batch_size for r in study.records]


@pytest.mark.usefixtures("frames")
def test_an_advice_is_a_frame_with_a_row_a_batch_size() -> None:
    advice = made_up_advice()

    frame = advice.to_pandas()

    assert frame.columns == [column.key for column in candidates_table(advice).columns]
    assert [row[0] for row in frame.rows] == [c.batch_size for c in advice.candidates]


def test_without_pandas_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(BatchlabError) as caught:
        made_up_study(batch_sizes=(64,)).to_pandas()

    told = "to_pandas needs pandas, which is not installed: pip install pandas"
    assert str(caught.value) == told
    assert isinstance(caught.value, ImportError)


def test_a_sweep_as_a_dict_is_what_json_prints_without_store_and_page() -> None:
    study = made_up_study(batch_sizes=(64,))

    found = study.to_dict()

    assert (found["command"], found["store"], found["report"]) == ("sweep", None, None)
    assert [trial["trial_id"] for trial in found["trials"]] == [study.records[0].trial.trial_id]
    json.dumps(found, allow_nan=False)


def test_a_study_is_one_short_line() -> None:
    told = repr(made_up_study(batch_sizes=(64, 256)))

    assert told == "Study(workload='made-up', batch_sizes=(64, 256), trials=2, ended_well=2)"
