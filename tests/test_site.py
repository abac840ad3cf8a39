"""The site of docs/: it builds without a warning and offline, its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


# A browser loads these by itself, while it only follows the link of an <a>.
LOADED = re.compile(
    r"""(?:\b(?:src|data|poster)=|<link[^>]*\bhref=|url\(|@import)\s*["']?((?:https?:)?//[^"')\s>]+)"""
)


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    """That links lead somewhere is what the strict build of `site` refuses otherwise."""
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]

    assert len(pages) > 10
    assert {str(page): LOADED.findall(page.read_text("utf-8")) for page in pages} == {
        str(page): [] for page in pages
    }
    assert LOADED.findall("<style>@import 'https://a.org/b';</style>") == ["https://a.org/b"]


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

    assert names - set(re.findall(r'id="([^"]+)"', page)) == set()
    assert [option for option in options if option not in page] == []
    assert "generated:" not in page
    for schema in ROOT.glob("docs/schema/*.json"):
        assert f"schema/{schema.name}" in page
    assert "\\|" not in page  # a pipe in a table stands there without its backslash
