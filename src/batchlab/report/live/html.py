"""Live HTML: a page with a line that says how far it is, which loads itself again as it changes."""

from __future__ import annotations

from batchlab.report.parts.templates import rendered
from batchlab.words.catalogue import text

_CLOSED = "default-src 'none';"
# The page asks its own server whether it has changed, and nobody else.
_OWN_SERVER = "default-src 'none'; connect-src 'self';"


def waiting_page(why: str) -> str:
    """A page for the time before there is anything to show.

    Args:
        why: what it waits for.
    """
    return rendered("live.html.j2", say=text, why=why)


def followed_page(page: str, *, status: str, version: str) -> str:
    """A whole page with its status at the bottom.

    Args:
        page: the page as it would be written to a file; it opens where the one before it was read.
        status: how far the study is.
        version: changes when the page does, as its server tells it.
    """
    end = rendered("live_end.html.j2", say=text, status=status, version=version)
    page = page.replace(_CLOSED, _OWN_SERVER, 1)
    # What draws the charts has such a tag in a string: it is the last that ends the page.
    head, tag, tail = page.rpartition("</body>")
    return f"{head}{end}{tag}{tail}"
