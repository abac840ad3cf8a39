"""Reprs: Python's own words for an object, which no text for people may hold."""

import re

# NoiseWorkload(name='mnist', ...), <Status.OK: 'ok'>, <object at 0x7f>, array([1]), np.float64(1).
_REPR = re.compile(
    r"\b[A-Z]\w*\(\w+=(?!\.\.\.)|<\w+(?:\.\w+)*: |<[^<>]* at 0x[0-9a-f]+>|\barray\(\[|\bnp\.\w+\("
    r"|\bPosixPath\(|<(?:class|function|bound method) "
)


def reprs_in(text: str) -> list[str]:
    """Return the parts of a text that look like the repr of an object, with what follows."""
    return [text[found.start() : found.start() + 60] for found in _REPR.finditer(text)]
