"""The page of an advice in a real browser: every chart drawn, no word on the console, any width."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.made_up_advice import KINDS, advice_study

from batchlab.report.advice_figures import objective_figure
from batchlab.report.advice_page import render_advice_html
from batchlab.report.advice_words import objective_words
from batchlab.report.figure import rows_csv
from batchlab.report.text import label_text, quantity_text

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("advice")

    def page(kind: str) -> Path:
        path = folder / f"{kind}.html"
        if not path.exists():
            advice = KINDS[kind]()
            path.write_text(render_advice_html(advice, advice_study(advice), None))
        return path

    return page


@pytest.fixture
def open_page(pages, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    opened: list[Browser] = []

    def start(kind: str = "recommend", *, width=1200, dark=False, scripts=True) -> Browser:
        profile = tmp_path / f"profile-{len(opened)}"
        opened.append(Browser(pages(kind), profile, width=width, dark=dark, scripts=scripts))
        return opened[-1]

    yield start
    for browser in opened:
        browser.driver.quit()


BOTTOM = "document.getElementById('{}').getBoundingClientRect().bottom"


def test_a_phone_shows_headline_numbers_and_picture_on_two_screens(open_page):
    browser = open_page(width=380)

    assert browser.ask(BOTTOM.format("a-objective")) <= 2 * 800


@pytest.mark.parametrize("kind", ["recommend", "quality", "reference_missed"])
def test_the_pointer_beside_any_point_of_the_first_picture_says_its_value(open_page, kind):
    browser = open_page(kind, width=1280)
    if not browser.ask("Boolean(document.getElementById('a-objective'))"):
        return  # no batch size has a figure
    browser.live("a-objective")
    points = browser.points("a-objective")
    quantity = objective_words(KINDS[kind]()).quantity

    said = [browser.said_at(point) for point in points]

    assert said
    for point, shown in zip(points, said, strict=True):
        near = [p["datum"] for p in points if math.dist(place(p), place(point)) < 5]
        values = [quantity_text(quantity, row["mean"]) for row in near]
        value = shown[label_text(quantity)]
        assert value in values + [f"more than {value}" for value in values]
        assert shown["batch size"] in [row["batch"] for row in near]
    browser.assert_quiet()


def test_the_rows_of_a_figure_are_saved_as_a_file_of_their_own(open_page):
    browser = open_page()
    browser.ask("URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:0'; }")
    browser.ask("HTMLAnchorElement.prototype.click = function () { window.named = this.download; }")
    browser.ask("document.querySelector('button[data-rows=objective]').click()")
    browser.ask("window.saved.text().then(text => { window.text = text; })")
    browser.wait_for("Boolean(window.text)")

    advice = KINDS["recommend"]()
    rows = objective_figure(advice).rows

    assert browser.ask("window.named") == "batchlab-objective.csv"
    saved = list(csv.DictReader(browser.ask("window.text").splitlines()))
    expected = list(csv.DictReader(rows_csv(rows).splitlines()))
    assert [numbers(row) for row in saved] == [numbers(row) for row in expected]


def numbers(row: dict[str, str]) -> dict[str, float | str]:
    """Python and a browser write the same number differently: 64.0 and 64."""
    return {
        key: float(value) if value.replace(".", "").isdigit() else value
        for key, value in row.items()
    }


def place(point: dict[str, float]) -> tuple[float, float]:
    return point["x"], point["y"]
