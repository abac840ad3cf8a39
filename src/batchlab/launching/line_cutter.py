"""LineCutter: bytes that arrive in pieces, cut into lines, in bounded memory."""

from __future__ import annotations

import re

LONGEST_LINE_BYTES = 64 * 1024
# Colors, cursor movements, window titles; a backspace takes back what bars draw over.
_CONTROLS = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]"
)


class LineCutter:
    """The lines of one stream; a carriage return ends a line like a new line does.

    What is longer than 64 KiB is cut there: the rest of such a line is left out.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._rest_at_s = 0.0

    def lines(self, data: bytes, at_s: float) -> list[tuple[bytes, float]]:
        """The lines that `data` completes, each with the time of its last byte.

        Args:
            data: what came, any number of bytes.
            at_s: when it came.
        """
        first, *others = data.replace(b"\r", b"\n").split(b"\n")
        if not others:
            self._extend(first, at_s)
            return []
        begun = self._take()
        if first or not begun[0]:
            begun = (begun[0] + first[: LONGEST_LINE_BYTES - len(begun[0])], at_s)
        last = others.pop()
        cut = [(line[:LONGEST_LINE_BYTES], at_s) for line in others]
        self._extend(last, at_s)
        return [begun, *cut]

    def finish(self) -> list[tuple[bytes, float]]:
        """The last line, where no new line ended it."""
        line = self._take()
        return [line] if line[0] else []

    def _extend(self, more: bytes, at_s: float) -> None:
        if more:
            self._rest += more[: LONGEST_LINE_BYTES - len(self._rest)]
            self._rest_at_s = at_s

    def _take(self) -> tuple[bytes, float]:
        taken = self._rest, self._rest_at_s
        self._rest = b""
        return taken


def plain_text(line: bytes) -> str:
    """The line without colors, movements of the cursor and other controls, as text.

    What is no UTF-8 becomes the sign for it.
    """
    text = line.decode("utf-8", "replace")
    if not text.isprintable():
        text = _CONTROLS.sub(b"", line).decode("utf-8", "replace")
    return text.strip()
