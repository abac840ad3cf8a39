"""Line by line: what a whole output says, every line given to every shape, nothing passed over."""

from __future__ import annotations

import re

from batchlab.script.metric import shape_rows
from batchlab.script.output import plain_text
from batchlab.script.reading import Reading


def readings_line_by_line(output: bytes) -> list[Reading]:
    """The twin of `OutputReader` that knows of no needles, pieces or streams."""
    rows = list(shape_rows().values())
    readers = [row.reader() for row in rows]
    readings: list[Reading] = []
    for line in re.split(rb"[\r\n]", output):
        text = plain_text(line[: 64 * 1024])
        for row, reader in zip(rows, readers, strict=True):
            if row.likely is not None and not row.likely.search(text.lower()):
                continue
            found = reader.read(text, 0.0)
            if found is not None:
                readings += found
                break
    for reader in readers:
        readings += reader.finish()
    return readings
