"""The report in a real browser: what a reader sees, and that nothing is fetched or goes wrong."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from urllib.parse import unquote

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.records.trial import Status
from batchlab.report.advice_page import render_advice_html
from batchlab.report.cells import observations_table
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
    paths = {name: folder / f"{name}.html" for name in ("sweep", "advice")}
    paths["sweep"].write_text(html_page(STUDY))
    paths["advice"].write_text(render_advice_html(ADVICE, advice_study(ADVICE), None))
    return paths


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
    browser.assert_quiet()


def test_the_pointer_over_a_point_shows_its_numbers(open_page):
    browser = open_page()
    points = browser.points("b-epochs-train-1")
    point = next(p for p in points if "size: 1024" in p["lines"][0] and "epoch 8" in p["lines"][2])

    size, value, details = browser.said_at(point)

    time_s = 8 * 4 * STUDY.timing(1024).step_s
    finals = [
        record.last("train", "accuracy")
        for record in STUDY.records
        if (record.trial.batch_size, record.trial.learning_rate) == (1024, 0.1)
    ]
    assert size == "batch size: 1024"
    assert value.startswith("accuracy: ")
    assert float(value.split()[1]) == pytest.approx(100 * fmean(finals), abs=5e-3)
    of_training = f"{quantity_text('equal_time_s', time_s)} of training"
    assert details == f"mean, epoch 8, step 32, {of_training}, 3 observations"
    browser.tell("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    browser.wait_for("document.querySelector('.words').hidden")
    browser.assert_quiet()


def test_with_scripts_blocked_charts_switch_tables_and_data_are_there(open_page):
    browser = open_page(scripts=False)

    assert browser.ask("document.querySelector('.words')") is None
    width = "document.querySelector('#{} svg').getBoundingClientRect().width"
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


def test_a_command_is_copied_by_its_button(open_page):
    browser = open_page()
    browser.ask("document.execCommand = (name) => { window.did = name + ': ' + getSelection(); }")

    browser.ask("document.querySelector('#origin button').click()")

    assert browser.ask("window.did").startswith("copy: batchlab sweep made-up --batch-sizes 64,")


def test_a_figure_is_saved_as_an_image_as_it_is_seen(open_page):
    browser = open_page("advice")
    saved = "window.saved = [this.href, this.download]"
    browser.ask(f"HTMLAnchorElement.prototype.click = function () {{ {saved}; }}")
    browser.choose("steps")
    press = "document.querySelector('#figure-b [data-image={}]').click()"

    browser.ask(press.format("svg"))
    address, _ = browser.ask("window.saved")
    browser.ask(press.format("png"))
    browser.wait_for("window.saved[0].startsWith('data:image/png')")

    svg = unquote(address.partition(",")[2])
    assert svg.startswith("<svg")
    assert "var(--" not in svg
    assert "validation accuracy" in svg
    image, name = browser.ask("window.saved")
    assert name == "batchlab-b-curves.png"
    assert len(image) > 5_000
    browser.assert_quiet()
