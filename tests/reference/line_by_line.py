"""Line by line: what a whole output says, every line given to every shape, nothing passed over."""

from __future__ import annotations

import re

from batchlab.script.formats import FORMATS
from batchlab.script.output import plain_text
from batchlab.script.reading import Reading


def readings_line_by_line(output: bytes) -> list[Reading]:
    """The twin of `OutputReader` that knows of no needles and pieces."""
    readers = [row() for row in FORMATS.values()]
    readings: list[Reading] = []
    for line in re.split(rb"[\r\n]", output):
        text = plain_text(line[: 64 * 1024])
        for reader in readers:
            found = reader.read(text, 0.0)
            if found is not None:
                readings += found
                break
    for reader in readers:
        readings += reader.finish()
    return readings
