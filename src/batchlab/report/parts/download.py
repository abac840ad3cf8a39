"""Download: a table as a file within a page."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from urllib.parse import quote

from batchlab.report.parts.table import Table

# A larger file is embedded packed: a page of a few megabytes would be most of it.
_MOST_PLAIN_CHARACTERS = 100_000
# Browsers refuse to save a data: address of more than 2 MiB.
MOST_ADDRESS_CHARACTERS = 1_900_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file embedded in the page.

    Attributes:
        name: its file name.
        words: what it holds.
        address: its data: address; None: too large to embed.
        n_rows: rows of the table.
    """

    name: str
    words: str
    address: str | None
    n_rows: int


def download(
    name: str, words: str, table: Table, *, most_characters: int = MOST_ADDRESS_CHARACTERS
) -> Download:
    """A table as a file within the page: plain where it is small, else packed.

    Args:
        name: the file's name.
        words: what it holds.
        table: its rows.
        most_characters: how long an address may be that browsers save.
    """
    text = table.to_csv()
    address = "data:text/csv;charset=utf-8," + quote(text, safe=",.:;-_ ()/")
    if len(address) > min(_MOST_PLAIN_CHARACTERS, most_characters):
        packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
        name, address = f"{name}.gz", f"data:application/gzip;base64,{packed}"
    return Download(
        name=name,
        words=words,
        address=address if len(address) <= most_characters else None,
        n_rows=len(table.rows),
    )
