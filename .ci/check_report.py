"""Checks that a report exists and names batch sizes: `check_report.py REPORT SIZE...`."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path


class VisibleText(HTMLParser):
    """The text that a reader sees: scripts and styles hold almost any number by accident."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Stop collecting inside script and style."""
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """Collect again after script and style."""
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        """Collect what is visible."""
        if not self._hidden:
            self.parts.append(data)


def missing_sizes(html: str, sizes: list[str]) -> list[str]:
    """The batch sizes that the visible text does not name as whole words (1,024 is 1024)."""
    page = VisibleText()
    page.feed(html)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", " ".join(page.parts))
    return [size for size in sizes if not re.search(rf"(?<![\w.]){size}(?![\w]|\.\d)", text)]


def main() -> int:
    """Print what is missing; 0 when nothing is."""
    path, sizes = Path(sys.argv[1]), sys.argv[2:]
    if not path.is_file():
        print(f"there is no report {path}", file=sys.stderr)
        return 1
    missing = missing_sizes(path.read_text(encoding="utf-8"), sizes)
    if missing:
        print(f"{path} does not name the batch sizes {', '.join(missing)}", file=sys.stderr)
        return 1
    print(f"{path} names the batch sizes {', '.join(sizes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
