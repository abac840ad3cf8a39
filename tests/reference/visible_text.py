"""What a reader sees or hears of an HTML page: its texts, labels and titles, one by one."""

from __future__ import annotations

from html.parser import HTMLParser

_UNSEEN = ("script", "style", "svg", "code")
_READ_OUT = ("aria-label", "title", "alt")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.unseen += tag in _UNSEEN
        if not self.unseen:
            self.texts += [value for name, value in attrs if name in _READ_OUT and value]

    def handle_endtag(self, tag: str) -> None:
        self.unseen -= tag in _UNSEEN

    def handle_data(self, data: str) -> None:
        if not self.unseen and data.strip():
            self.texts.append(data.strip())


def visible_texts(page: str) -> list[str]:
    """The texts of a page in their order; scripts, styles, drawings and code hold none."""
    reader = _Reader()
    reader.feed(page)
    return reader.texts
