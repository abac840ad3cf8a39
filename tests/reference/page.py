"""A page as its elements, and a text that would do harm where it is not escaped."""

from html.parser import HTMLParser

HOSTILE = "</script><script>alert('x')</script><b>&\"'{{7*7}}"


class Page(HTMLParser):
    """The elements of a page in order, and the ends that miss their start."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unmatched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unmatched.append(tag)

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def fetched(self) -> list[str]:
        """The addresses that a browser would fetch."""
        named = ("src", "href", "action", "data", "poster", "srcset")
        found = [attributes[name] for _, attributes in self.elements for name in named
                 if name in attributes]  # fmt: skip
        return [address for address in found if not address.startswith(("data:", "#"))]
