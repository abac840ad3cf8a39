"""What holds for every page, of any advice and any sweep, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reference.browser import CONTRASTS, NEEDS_BROWSER, Browser
from tests.reference.by_day import by_day
from tests.reference.pages import PAGES, write_page

pytestmark = NEEDS_BROWSER

# One of each shape; a page takes ten seconds here, so that the others are for the night.
IN_THE_SUITE = ("advice-recommend", "advice-cannot_tell", "sweep-rates")


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


def test_axe_finds_no_violation(screen: Browser) -> None:
    axe = pytest.importorskip("selenium_axe_python").Axe(screen.driver)
    screen.driver.set_script_timeout(120)
    axe.inject()

    # A drawing is one image with words of its own; its thousand marks are nobody's business.
    found = axe.run(context="{exclude: [['.plot svg']]}")

    told = [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 20


def test_the_pointer_beside_any_point_of_the_first_picture_says_something(screen: Browser) -> None:
    for panel in screen.ask("[...document.querySelectorAll('.first .plot')].map(p => p.id)"):
        for point in screen.points(panel):
            said = screen.said_at(point)

            assert len(said) > 1
            assert not {"undefined", "null", "NaN", ""} & set(said)


def test_all_text_stands_out_from_a_light_and_a_dark_ground(
    screen: Browser, phone: Browser
) -> None:
    for browser in (screen, phone):
        n_texts, worst = browser.ask(CONTRASTS)

        assert n_texts > 50
        assert worst[0] >= 4.5, worst
