"""What a notebook shows of a record: its answer and numbers, with everything in it escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS, made_up_advice
from tests.reference.made_up_noise import made_up_noise
from tests.reference.made_up_profile import made_up_point, made_up_profile

from batchlab.fitting.fit import PointsFit, fit
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.report.notebook import notebook_view
from batchlab.report.sweep_claims import conclusion
from batchlab.words.reasons import reason_text

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


def test_an_advice_is_shown_with_its_verdict_and_what_to_set() -> None:
    advice = made_up_advice()
    found = advice.recommendation
    assert found is not None

    words = shape(advice._repr_html_()).words

    assert f"Recommended: batch size {found.batch_size}, learning rate" in words
    assert f"learning rate {found.learning_rate:g}" in words
    assert "within 10 % of the best: 512 and 1024" in words
    assert "Gain over yours, on fresh seeds (as a ratio): 10.4 (95 %:" in words
    assert "time to target" in words
    assert all(reason_text(caveat).rstrip(".")[1:] in words for caveat in advice.caveats)


def test_an_advice_begins_with_why_yours_beside_it_and_bars() -> None:
    words = shape(made_up_advice()._repr_html_()).words

    order = [
        "A batch 16 times as large",
        "13.2 s",
        "1.28 s (1.21 s to 1.34 s)",
        "██",
        "Target: validation accuracy",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


def test_an_open_advice_begins_with_the_best_so_far() -> None:
    found = made_up_advice().recommendation
    advice = replace(KINDS["cannot_tell"](), provisional=found)

    words = shape(advice._repr_html_()).words

    assert words.split(":")[0].strip() == "Not settled; best so far"


def test_an_advice_that_cannot_tell_says_so_and_what_is_missing() -> None:
    advice = KINDS["cannot_tell"]()

    words = shape(advice._repr_html_()).words

    assert "Not settled" in words
    assert "Recommended" not in words
    assert reason_text(advice.missing) in words


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


def test_a_sweep_that_showed_nothing_is_shown_without_a_picture() -> None:
    study = replace(made_up_study(batch_sizes=(64,)), records=())

    seen = shape(study._repr_html_())

    assert "No trial has been run" in seen.words
    assert "svg" not in seen.seen


def test_a_profile_is_shown_with_every_batch_size_and_its_laws() -> None:
    words = shape(made_up_profile()._repr_html_()).words

    assert "made up on a processor" in words
    assert "All 2000 training examples fit in one batch" in words
    assert "Step time: about 1 ms" in words
    assert "1.64 ms" in words


def test_a_fit_is_shown_with_each_group_and_its_critical_batch_size() -> None:
    words = shape(points_fit()._repr_html_()).words

    assert "model small" in words
    assert "critical batch size B_crit: 500" in words


def test_whatever_is_in_a_name_is_escaped() -> None:
    advice = replace(
        made_up_advice(),
        reason=written(SCRIPT),
        caveats=(written(SCRIPT),),
        missing=written(SCRIPT + "2"),
        verdict="recommend",
    )
    broken = made_up_point(1, status=Status.ERROR, reason=SCRIPT)
    profile = replace(made_up_profile(broken, made_up_point(2)), workload=SCRIPT)
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


def test_noise_is_shown_with_what_it_means_and_every_step() -> None:
    words = shape(made_up_noise()._repr_html_()).words

    assert "Gradient noise of made up" in words
    assert "of the gradient's squared length is noise" in words
    assert "all examples" not in words
