"""The report in a real browser: what a reader sees, and that nothing is fetched or goes wrong."""

from __future__ import annotations

import base64
import csv
import gzip
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.records.trial import Status
from batchlab.report.advice_figures import answer_figure
from batchlab.report.advice_page import render_advice_html
from batchlab.report.cells import observations_table
from batchlab.report.figure import rows_csv
from batchlab.report.sweep_page import html_page
from batchlab.report.text import quantity_text

pytestmark = NEEDS_BROWSER

STUDY = replace(
    made_up_study(
        batch_sizes=(64, 256, 1024, 4096),
        learning_rates=(0.01, 0.1),
        seeds=3,
        epochs=8,
        evaluations_per_epoch=2,
        endings={(64, 0.1, 1): (Status.DIVERGED, "the loss grew a thousandfold", 3)},
    ),
    command="batchlab sweep made-up --batch-sizes 64,256,1024,full " + "--set a=b " * 12,
)

ADVICE = made_up_advice()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    texts = {
        "sweep": html_page(STUDY),
        "advice": render_advice_html(ADVICE, advice_study(ADVICE), None),
    }
    for name, page in texts.items():
        (folder / f"{name}.html").write_text(page)
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def open_page(pages, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    opened: list[Browser] = []

    def start(name: str = "sweep", *, width: int = 1280, scripts: bool = True) -> Browser:
        profile = tmp_path / f"profile-{len(opened)}"
        opened.append(Browser(pages[name], profile, width=width, dark=False, scripts=scripts))
        return opened[-1]

    yield start
    for browser in opened:
        browser.driver.quit()


def mean_final(batch_size: int, learning_rate: float, split: str) -> float:
    finals = [
        record.last(split, "accuracy")
        for record in STUDY.records
        if (record.trial.batch_size, record.trial.learning_rate) == (batch_size, learning_rate)
        and record.status is Status.OK
    ]
    return sum(finals) / len(finals)


def test_figures_hold_the_numbers_of_the_study_in_all_three_views(open_page):
    browser = open_page()

    for view, key, field in (
        ("epochs", "b", "epoch"),
        ("steps", "b", "step"),
        ("time", "b", "equal_time_s"),
    ):
        browser.choose(view)
        panel = f"{key}-{view}-train-1"
        browser.live(panel)
        rows = browser.rows(panel, "rows")
        for batch_size in (64, 1024, 4096):
            line = [
                row
                for row in rows
                if (row["batch_size"], row["split"], row["metric"])
                == (batch_size, "train", "accuracy")
                and row["kind"] == "curve"
            ]
            steps = 8 * -(-4096 // batch_size)
            expected = {
                "epoch": 8,
                "step": steps,
                "equal_time_s": steps * STUDY.timing(batch_size).step_s,
            }
            assert line[-1][field] == pytest.approx(expected[field])
            assert line[-1]["mean"] == pytest.approx(
                mean_final(batch_size, 0.01, "train"), rel=1e-6
            )
    browser.assert_quiet()


def test_the_switch_shows_one_view_at_a_time_by_pointer_and_by_keyboard(open_page):
    from selenium.webdriver.common.keys import Keys

    browser = open_page()
    shown = (
        "[...document.querySelectorAll('.view')].filter(v => v.offsetHeight > 0)"
        ".map(v => v.dataset.view).join()"
    )

    assert browser.ask(shown) == "epochs"
    browser.choose("time")
    assert browser.ask(shown) == "time"
    browser.driver.find_element("id", "view-time").send_keys(Keys.ARROW_LEFT)
    assert browser.ask(shown) == "steps"
    browser.live("b-steps-train-1")
    browser.assert_quiet()


def test_the_pointer_over_a_point_shows_its_numbers(open_page):
    browser = open_page()
    browser.live("b-epochs-train-1")

    shown = browser.pointed_at(
        "b-epochs-train-1", lambda row: (row["batch_size"], row["epoch"]) == (1024, 8)
    )

    time_s = 8 * 4 * STUDY.timing(1024).step_s
    assert shown["batch size"] == "1024"
    assert float(shown["accuracy"].partition(" %")[0]) == pytest.approx(
        100 * mean_final(1024, 0.01, "train"), abs=5e-3
    )
    assert shown["details"] == ", ".join(
        (
            *("mean", "epoch 8", "step 32"),
            *(f"{quantity_text('equal_time_s', time_s)} of training", "3 observations"),
        )
    )
    browser.assert_quiet()


def test_a_chart_hidden_while_the_window_changed_has_its_new_width(open_page):
    browser = open_page()
    browser.live("b-epochs-train-1")
    browser.choose("steps")
    size = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.tell("Emulation.setDeviceMetricsOverride", **size)
    browser.live("b-steps-train-1")

    browser.choose("epochs")

    browser.wait_for(
        "document.querySelector('#b-epochs-train-1 .live svg').getBoundingClientRect().width"
        " - document.getElementById('b-epochs-train-1').offsetWidth < 2 && "
        "document.querySelector('#b-epochs-train-1 .live svg').getBoundingClientRect().width > 200"
    )


def test_with_scripts_blocked_charts_switch_tables_and_data_are_there(open_page):
    browser = open_page(scripts=False)

    assert browser.ask("typeof window.batchlabViews") == "undefined"
    width = "document.querySelector('#{} .still svg').getBoundingClientRect().width"
    assert browser.ask(width.format("b-epochs-train-1")) > 250
    assert browser.ask(width.format("b-time-train-1")) == 0
    browser.driver.find_element("id", "view-time").click()
    assert browser.ask(width.format("b-time-train-1")) > 250
    assert browser.ask("document.querySelectorAll('#table-trials tbody tr').length") == 24
    address = browser.ask("document.querySelector('a[download*=observations]').href")
    packed = base64.b64decode(address.partition(",")[2])
    assert gzip.decompress(packed).decode() == observations_table(STUDY).to_csv()


def test_the_keyboard_reaches_skip_link_switch_tables_and_downloads(open_page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = open_page()
    reached = []

    for _ in range(60):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.append(
            browser.ask(
                "(({className, id, tagName, download}) => [className, id, tagName, download])"
                "(document.activeElement).join(' ').trim()"
            )
        )

    assert reached[0].startswith("skip")
    words = "\n".join(reached)
    assert "view-epochs" in words
    assert "scroll" in words
    assert "SUMMARY" in words
    assert "batchlab-observations.csv" in words


# ---- the page of an advice


def test_a_phone_shows_headline_numbers_and_picture_on_two_screens(open_page):
    browser = open_page("advice", width=380)

    bottom = "document.getElementById('a-objective').getBoundingClientRect().bottom"
    assert browser.ask(bottom) <= 2 * 800


def test_the_pointer_beside_any_point_of_the_first_picture_says_its_value(open_page):
    browser = open_page("advice")
    browser.live("a-objective")
    points = browser.points("a-objective")

    said = [browser.said_at(point) for point in points]

    assert said
    for point, shown in zip(points, said, strict=True):
        near = [p["datum"] for p in points if math.dist(place(p), place(point)) < 5]
        assert shown["time to target"] in [row["shown"] for row in near]
        assert shown["batch size"] in [row["batch"] for row in near]
    browser.assert_quiet()


def test_the_rows_of_a_figure_are_saved_as_a_file_of_their_own(open_page):
    browser = open_page("advice")
    browser.ask("URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:0'; }")
    browser.ask("HTMLAnchorElement.prototype.click = function () { window.named = this.download; }")
    browser.ask("document.querySelector('button[data-rows=answer]').click()")
    browser.ask("window.saved.text().then(text => { window.text = text; })")
    browser.wait_for("Boolean(window.text)")

    assert browser.ask("window.named") == "batchlab-answer.csv"
    saved = csv.DictReader(browser.ask("window.text").splitlines())
    expected = csv.DictReader(rows_csv(answer_figure(ADVICE).rows).splitlines())
    assert [numbers(row) for row in saved] == [numbers(row) for row in expected]


def test_a_figure_is_saved_as_an_image_as_it_is_seen(open_page):
    browser = open_page("advice")
    browser.ask("URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:0'; }")
    browser.ask("HTMLAnchorElement.prototype.click = function () { window.named = this.download; }")
    browser.choose("steps")
    seen = "document.querySelector('#figure-b [data-image={}]').click()"

    browser.ask(seen.format("svg"))
    browser.ask("window.saved.text().then(text => { window.svg = text; })")
    browser.wait_for("Boolean(window.svg)")
    browser.ask(seen.format("png"))
    browser.wait_for("window.saved.type == 'image/png'")

    assert browser.ask("window.svg.startsWith('<svg') && !window.svg.includes('var(--')")
    assert "validation accuracy" in browser.ask("window.svg")
    assert browser.ask("window.named") == "batchlab-b-curves.png"
    assert browser.ask("window.saved.size") > 5_000
    browser.assert_quiet()


def test_a_command_is_copied_by_its_button(open_page):
    browser = open_page()
    browser.ask("document.execCommand = (name) => { window.did = name + ': ' + getSelection(); }")

    browser.ask("document.querySelector('#origin button[data-copy]').click()")

    assert browser.ask("window.did").startswith("copy: batchlab sweep made-up --batch-sizes 64,")


def numbers(row: dict[str, str]) -> dict[str, float | str]:
    """Python and a browser write the same number differently: 64.0 and 64."""
    return {
        key: float(value) if value.replace(".", "").isdigit() else value
        for key, value in row.items()
    }


def place(point: dict[str, float]) -> tuple[float, float]:
    return point["x"], point["y"]
