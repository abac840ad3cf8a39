"""A command in a terminal of a width: what it writes there, line by line."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>])")
PATIENCE_S = 120.0


class Terminal(io.StringIO):
    """A stream in this process that says it is one."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a process wrote to its terminal, and how it ended."""

    raw: str
    code: int

    @property
    def lines(self) -> list[str]:
        """All lines that were ever drawn."""
        return lines_in(self.raw)

    @property
    def shows_the_cursor(self) -> bool:
        """Whether the cursor was left in sight."""
        return self.raw.rfind("\x1b[?25h") >= self.raw.rfind("\x1b[?25l")


def lines_in(written: str) -> list[str]:
    """The lines of what was written to a terminal, without colors and movements of the cursor."""
    return [_ESCAPE.sub("", line).rstrip() for line in re.split(r"[\r\n]+", written) if line]


def in_a_terminal(command: Sequence[str], *, columns: int, folder: Path) -> Written:
    """Run a command whose stdin, stdout and stderr are a terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables | {"TERM": "xterm-256color"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    written, ends_s = b"", time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < ends_s, written.decode(errors="replace")
        if not select.select([ours], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            found = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        written += found
    os.close(ours)
    return Written(raw=written.decode(), code=process.wait())
