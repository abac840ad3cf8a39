"""Pages in a real browser: what a reader sees, and that nothing is fetched or goes wrong."""

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.by_day import by_day
from tests.reference.pages import PAGES, SWEEPS, write_page

from batchlab.report.cells import observations_table

pytestmark = NEEDS_BROWSER

HAS_SWITCH = "document.querySelector('#view-epochs') !== null"
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


def opened(page: Path, *, width: int, dark: bool, scripts: bool = True) -> Iterator[Browser]:
    profile = page.with_name(f"profile-{width}-{scripts}")
    browser = Browser(page, profile, width=width, dark=dark, scripts=scripts)
    try:
        yield browser
    finally:
        browser.driver.quit()


def test_a_page_is_short_with_its_answer_above_the_fold_and_few_figures_in_order(
    screen: Browser, page: Path
) -> None:
    bottoms = "[...document.querySelectorAll('{}')].map(e => e.getBoundingClientRect().bottom)"

    (headline,) = screen.ask(bottoms.format("h1"))
    assert 0 < headline < 400
    seen = screen.ask(bottoms.format(".first .plot"))
    assert all(bottom <= 800 for bottom in seen), seen
    assert page.stat().st_size <= 1_000_000
    assert screen.ask("document.documentElement.scrollHeight") <= 3700
    cards = screen.ask("[...document.querySelectorAll('.picture, .card')].map(e => e.id)")
    assert cards[0] == "figure-a"
    assert cards == sorted(set(cards))


def test_the_first_table_is_whole_and_a_phone_breaks_no_option_and_never_scrolls_sideways(
    screen: Browser, phone: Browser
) -> None:
    hidden = "e => e.scrollWidth - e.clientWidth"
    of_tables = f"[...document.querySelectorAll('.numbers .scroll')].map({hidden})"

    assert screen.ask(of_tables) == [0]
    assert phone.ask(of_tables)[0] <= 4
    assert phone.ask("document.documentElement.scrollWidth") <= 360
    in_one_line = phone.ask(
        "[...document.querySelectorAll('.option')].filter(e => e.getClientRects().length == 1)"
        ".map(e => e.textContent)"
    )
    words = phone.ask(
        "[...document.querySelectorAll('pre')].map(e => e.textContent).join(' ').split(' ')"
    )
    assert in_one_line == [word for word in words if word.startswith("-")]
    # Nor does a reason make the rows of trials tall.
    rows = "[...document.querySelectorAll('#table-trials tbody tr')]"
    assert all(height <= 100 for height in phone.ask(f"{rows}.map(e => e.offsetHeight)"))


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


def test_axe_finds_no_violation(screen: Browser, phone: Browser) -> None:
    for browser, options in ((screen, "{}"), (phone, "{runOnly: ['color-contrast']}")):
        axe = pytest.importorskip("selenium_axe_python").Axe(browser.driver)
        browser.driver.set_script_timeout(120)
        axe.inject()

        # A drawing is one image with words of its own; its thousand marks are nobody's business.
        # The rows of a folded table are made as those of the first table are.
        found = axe.run(context="{exclude: [['.plot svg'], ['details tbody']]}", options=options)

        told = [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]
        assert told == []
        assert "color-contrast" in {passed["id"] for passed in found["passes"]}


def test_keys_reach_everything_and_a_button_copies_its_command(screen: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    reach = "addEventListener('focusin', e => reached.push(e.target.outerHTML.slice(0, 99)))"
    screen.ask(f"window.reached = []; document.activeElement.blur(); {reach}")
    ActionChains(screen.driver).send_keys(*[Keys.TAB] * 80).perform()
    screen.ask("document.execCommand = (name) => { window.did = name + ': ' + getSelection(); }")
    screen.ask("document.querySelector('#origin button').click()")

    reached = "\n".join(screen.ask("window.reached"))
    for part in ('class="skip"', 'class="scroll"', "<summary", "observations.csv"):
        assert part in reached, reached
    assert ("view-epochs" in reached) == screen.ask(HAS_SWITCH)
    assert screen.ask("window.did").startswith("copy: batchlab ")


def test_the_switch_shows_one_view_at_a_time_and_nothing_is_fetched(screen: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    shown = (
        "[...document.querySelectorAll('.view')].filter(v => v.offsetHeight > 0)"
        ".map(v => v.dataset.view).join()"
    )

    if not screen.ask(HAS_SWITCH):
        pytest.skip("no curve is drawn")
    assert screen.ask(shown) == "epochs"
    screen.driver.find_element("id", "view-time").click()
    assert screen.ask(shown) == "time"
    screen.driver.find_element("id", "view-time").send_keys(Keys.ARROW_LEFT)
    assert screen.ask(shown) == "steps"
    screen.assert_quiet()


def test_with_scripts_blocked_charts_switch_tables_and_data_are_there(tmp_path: Path) -> None:
    study = SWEEPS["sweep-rates"]()
    write_page("sweep-rates", tmp_path / "page.html")
    width = "document.querySelector('#{} svg').getBoundingClientRect().width"
    for browser in opened(tmp_path / "page.html", width=1280, dark=False, scripts=False):
        assert browser.ask(width.format("b-epochs-train-1")) > 250
        assert browser.ask(width.format("b-time-train-1")) == 0
        browser.driver.find_element("id", "view-time").click()
        assert browser.ask(width.format("b-time-train-1")) > 250
        assert browser.ask("document.querySelectorAll('#table-trials tbody tr').length") == 16
        address = browser.ask("document.querySelector('a[download*=observations]').href")
        packed = base64.b64decode(address.partition(",")[2])
        assert gzip.decompress(packed).decode() == observations_table(study).to_csv()
