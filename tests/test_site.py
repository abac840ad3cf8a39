"""The site of docs/: it builds without a warning and offline, its links lead somewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from scripts.site_links import HtmlPage, broken_links
from tests.reference.browser import NEEDS_BROWSER, Browser

import batchlab
from batchlab.cli.main import batchlab as command_line

ROOT = Path(__file__).parents[1]
# mkdocs, in a process that may look up and connect to nothing.
OFFLINE = """
import sys
from mkdocs.__main__ import cli

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"{event} {arguments}: the site is built offline")

sys.addaudithook(refuse)
cli()
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def anchors_of(page: Path) -> set[str]:
    found = HtmlPage()
    found.feed(page.read_text("utf-8"))
    return found.anchors


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert broken_links(site) == []


@pytest.mark.slow
def test_each_page_is_in_the_menu_or_shows_a_file_that_a_page_links_to(site):
    menu = (site / "index.html").read_text("utf-8")
    pages = {file.relative_to(ROOT / "docs") for file in ROOT.glob("docs/*.md")}
    listed = [f'href="{page.with_suffix(".html")}"' for page in pages - {Path("README.md")}]

    assert [link for link in listed if link not in menu] == []
    assert 'href="repository/CONTRIBUTING.html"' in menu
    assert (site / "repository" / "examples" / "train.py.html").is_file()
    assert 'href="examples/train.py.html"' in (site / "repository" / "examples.html").read_text()


@pytest.mark.slow
def test_the_reference_has_every_public_name_option_and_document(site):
    page = (site / "reference.html").read_text("utf-8")
    names = {f"batchlab.{name}" for name in batchlab.__all__ if name != "__version__"}
    options = {
        option
        for command in command_line.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert names - anchors_of(site / "reference.html") == set()
    assert [option for option in options if option not in page] == []
    assert "generated:" not in page
    for schema in ROOT.glob("docs/schema/*.json"):
        assert f"schema/{schema.name}" in page
    assert "\\|" not in page  # a pipe in a table stands there without its backslash


ELSEWHERE = "https://a.org/b"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<a id="x" href="#x"></a><a href="other.html#here"></a><a href="https://a.org"></a>', ""),
        ('<a href="gone.html">x</a>', "index.html: gone.html leads nowhere"),
        ('<a href="other.html#there">x</a>', "index.html: other.html#there leads nowhere"),
        ('<a href="#here">x</a>', "index.html: #here leads nowhere"),
        (f'<img src="{ELSEWHERE}">', f"index.html loads {ELSEWHERE}"),
        (f"<style>@import '{ELSEWHERE}';</style>", f"index.html loads {ELSEWHERE}"),
        (f'<p style="background: url({ELSEWHERE})">x</p>', f"index.html loads {ELSEWHERE}"),
    ],
)
def test_a_broken_link_or_a_foreign_resource_is_named_and_others_are_not(tmp_path, body, complaint):
    (tmp_path / "other.html").write_text('<h2 id="here">Here</h2>')
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    complaints = [complaint] if complaint else []

    assert broken_links(tmp_path) == complaints
    (tmp_path / "a.css").write_text(f'@font-face {{ src: url("{ELSEWHERE}"); }}')
    assert sorted(broken_links(tmp_path)) == sorted([*complaints, f"a.css loads {ELSEWHERE}"])


class TestInABrowser:
    """What a reader of the site sees who opened it from a disk."""

    pytestmark: ClassVar = [*NEEDS_BROWSER, pytest.mark.nightly]

    @pytest.fixture
    def browser(self, site, tmp_path):
        opened = Browser(
            site / "glossary.html", tmp_path / "profile", width=390, dark=False, scripts=True
        )
        yield opened
        opened.driver.quit()

    def test_the_search_finds_a_word_and_asks_nobody_else(self, browser, site):
        browser.driver.find_element("css selector", "label.md-header__button[for=__search]").click()
        browser.wait_for("document.activeElement.matches('.md-search__input')")
        browser.driver.find_element("css selector", ".md-search__input").send_keys("plateau")
        browser.wait_for("document.querySelectorAll('.md-search-result__item').length > 3")

        assert [entry["message"] for entry in browser.driver.get_log("browser")] == []
        events = [
            json.loads(entry["message"])["message"]
            for entry in browser.driver.get_log("performance")
        ]
        asked = {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
            and event["params"]["documentURL"].startswith("file://")
        }
        assert browser.address in asked
        assert {url for url in asked if not url.startswith((site.as_uri(), "data:"))} == set()

    @pytest.mark.parametrize("page", ["batch-size-basics.html", "how-it-decides.html"])
    def test_a_phone_never_scrolls_sideways(self, browser, site, page):
        browser.driver.get((site / page).as_uri())

        assert browser.ask("document.documentElement.scrollWidth") <= 390
