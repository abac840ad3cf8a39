"""The report in a real browser: what a reader sees, and that nothing is fetched or goes wrong."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice
from tests.reference.pages import PAGES, write_page

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


def test_a_point_has_its_numbers_as_a_title(open_page):
    titles = open_page().ask(
        "[...document.querySelectorAll('#b-epochs-train-1 title')]"
        ".map(title => title.textContent.split('\\n'))"
    )
    (words,) = [each for each in titles if "size: 1024" in each[0] and "epoch 8" in each[2]]
    size, value, details = words

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


def test_with_scripts_blocked_charts_switch_tables_and_data_are_there(open_page):
    browser = open_page(scripts=False)

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


def test_a_command_is_copied_by_its_button(open_page):
    browser = open_page()
    browser.ask("document.execCommand = (name) => { window.did = name + ': ' + getSelection(); }")

    browser.ask("document.querySelector('#origin button').click()")

    assert browser.ask("window.did").startswith("copy: batchlab sweep made-up --batch-sizes 64,")


# ---- what holds for every page, of any advice and any sweep, in a real browser


# One of each shape; a page takes ten seconds here, so that the others are for the night.
IN_THE_SUITE = ("advice-recommend", "sweep-rates")


@pytest.fixture(scope="module", params=by_day(PAGES, IN_THE_SUITE))
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    write_page(request.param, path)
    return path


@pytest.fixture(scope="module")
def screen(page: Path) -> Iterator[Browser]:
    """A page on a screen."""
    yield from opened(page, width=1280, dark=False)


@pytest.fixture(scope="module")
def phone(page: Path) -> Iterator[Browser]:
    """A page in the dark on the narrowest phone, everything unfolded."""
    for browser in opened(page, width=360, dark=True):
        browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        yield browser


def opened(page: Path, *, width: int, dark: bool) -> Iterator[Browser]:
    profile = page.with_name(f"profile-{width}")
    browser = Browser(page, profile, width=width, dark=dark, scripts=True)
    try:
        yield browser
    finally:
        browser.driver.quit()


def test_headline_and_picture_lie_above_the_fold(screen: Browser) -> None:
    bottoms = "[...document.querySelectorAll('{}')].map(e => e.getBoundingClientRect().bottom)"

    (headline,) = screen.ask(bottoms.format("h1"))
    assert 0 < headline < 400
    seen = screen.ask(bottoms.format(".first .plot"))
    assert all(bottom <= 800 for bottom in seen), seen


def test_the_first_table_is_seen_whole_and_a_phone_never_scrolls_sideways(
    screen: Browser, phone: Browser
) -> None:
    hidden = "e => e.scrollWidth - e.clientWidth"
    of_tables = f"[...document.querySelectorAll('.numbers .scroll')].map({hidden})"

    assert screen.ask(of_tables) == [0]
    assert phone.ask(of_tables)[0] <= 4
    assert phone.ask("document.documentElement.scrollWidth") <= 360


def test_no_option_of_a_command_is_broken(phone: Browser) -> None:
    in_one_line = phone.ask(
        "[...document.querySelectorAll('.option')].filter(e => e.getClientRects().length == 1)"
        ".map(e => e.textContent)"
    )
    words = phone.ask(
        "[...document.querySelectorAll('pre')].map(e => e.textContent).join(' ').split(' ')"
    )

    assert in_one_line == [word for word in words if word.startswith("-")]


def test_a_page_is_short_with_few_figures_whose_letters_are_in_order(
    screen: Browser, page: Path
) -> None:
    assert page.stat().st_size <= 1_000_000
    cards = screen.ask("[...document.querySelectorAll('.picture, .card')].map(e => e.id)")

    assert screen.ask("document.documentElement.scrollHeight") <= 3700
    assert cards[0] == "figure-a"
    assert cards == sorted(set(cards))


def test_on_paper_every_fold_is_open(screen: Browser) -> None:
    # The numbers of the first figure stand below it already.
    content = "details li, section:not(.first) details table"
    seen = f"[...document.querySelectorAll('{content}')].map(e => e.checkVisibility())"
    folded = screen.ask(seen)

    screen.tell("Emulation.setEmulatedMedia", media="print")
    on_paper = screen.ask(seen)
    screen.tell("Emulation.setEmulatedMedia", media="")

    assert not any(folded)
    assert on_paper
    assert all(on_paper)


def test_nothing_is_fetched_or_said_on_the_console(screen: Browser) -> None:
    screen.assert_quiet()


def test_axe_finds_no_violation(screen: Browser, phone: Browser) -> None:
    for browser, options in ((screen, "{}"), (phone, "{runOnly: ['color-contrast']}")):
        axe = pytest.importorskip("selenium_axe_python").Axe(browser.driver)
        browser.driver.set_script_timeout(120)
        axe.inject()

        # A drawing is one image with words of its own; its thousand marks are nobody's business.
        found = axe.run(context="{exclude: [['.plot svg']]}", options=options)

        told = [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]
        assert told == []
        assert "color-contrast" in {passed["id"] for passed in found["passes"]}
