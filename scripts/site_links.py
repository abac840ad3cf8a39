"""Follows the links of a built site: python scripts/site_links.py FOLDER.

Every link within the site leads to a file and to an anchor that are there, and nothing that a
browser loads by itself (scripts, styles, images, frames) comes from elsewhere.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A style loads what stands in url(...) or after @import.
_LOADED_BY_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")


@dataclass(slots=True)
class HtmlPage(HTMLParser):
    """The anchors of one page, what it links to and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up the parser."""
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one element."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "href" in given:
            self.loads.append(given["href"])
        self.loads += [given[name] for name in ("src", "data", "poster") if name in given]
        self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part]
        self.loads += _LOADED_BY_STYLE.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Take note of what an embedded style loads."""
        if self.cdata_elem == "style":
            self.loads += _LOADED_BY_STYLE.findall(data)


def broken_links(site: Path) -> list[str]:
    """What is wrong with the links of all pages below `site`, a line each; empty: nothing."""
    pages = {file: HtmlPage() for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        page.feed(file.read_text("utf-8"))
    found = []
    for file, page in pages.items():
        where = file.relative_to(site)
        found += [f"{where} loads {url}" for url in page.loads if is_elsewhere(url)]
        inside = [url for url in (*page.links, *page.loads) if not is_elsewhere(url)]
        found += [f"{where}: {url} leads nowhere" for url in inside if not leads(url, file, pages)]
    for file in sorted(site.rglob("*.css")):
        urls = _LOADED_BY_STYLE.findall(file.read_text("utf-8"))
        found += [f"{file.relative_to(site)} loads {url}" for url in urls]
    return found


def is_elsewhere(url: str) -> bool:
    """Whether a URL leaves the site."""
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def leads(url: str, file: Path, pages: dict[Path, HtmlPage]) -> bool:
    """Whether a URL within the site, on the page `file`, leads to a file and an anchor of it."""
    parts = urlsplit(url)
    if parts.scheme == "data":
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
    if not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


def main() -> None:
    """Print what is wrong, and exit with 1 if anything is."""
    site = Path(sys.argv[1]).resolve()
    found = broken_links(site)
    print(
        "\n".join(found) or f"{site}: every link leads somewhere, nothing is loaded from elsewhere"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
