"""stars: lines such as `***12 of the loss is 0.5`, of a trainer that nobody has."""

from __future__ import annotations

import re

from batchlab.script.reading import Reading, Shape


class _Lines:
    def read(self, line: str, at_s: float) -> list[Reading] | None:
        match = re.match(r"\*{3}(\d+) of the (\w+) is (\S+)$", line)
        if match is None:
            return None
        values = ((match[2], float(match[3])),)
        return [Reading(at_s=at_s, shape="stars", step=int(match[1]), values=values)]

    def finish(self) -> list[Reading]:
        return []


SHAPE = Shape(place=0, label="stars", needles=(b"***",), counts="updates", reader=_Lines)
