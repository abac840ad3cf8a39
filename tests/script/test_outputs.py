"""Outputs of every kind, through a real command."""

from __future__ import annotations

import gzip
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reference.large_output import assert_a_large_output_is_kept_small

from batchlab.records.trial import Status


def kept(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


@pytest.mark.slow
def test_a_hundred_megabytes_keep_a_few(tmp_path: Path) -> None:
    # A gigabyte in tests/nightly.
    assert_a_large_output_is_kept_small(tmp_path, n_bytes=100_000_000)


def test_a_line_without_an_end_takes_no_memory(start: Callable) -> None:
    pieces = 0

    def count(piece: bytes, at_s: float) -> None:
        nonlocal pieces
        pieces += len(piece)

    started = start("import os\nfor _ in range(300): os.write(1, b'x' * 100_000)")
    started.launched._on_output = count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    end = started.launched.wait(30)

    assert pieces == 30_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kibibytes
    assert end.last_lines == ("x" * 399 + "…",)


def test_bytes_that_are_no_text_come_through_and_are_kept(start: Callable, tmp_path: Path) -> None:
    started = start("import os\nfor _ in range(40): os.write(1, bytes(range(256)))")

    started.launched.wait(30)

    assert b"".join(piece for piece, _ in started.pieces) == bytes(range(256)) * 40
    assert kept(tmp_path / "trial" / "output.gz") == bytes(range(256)) * 40


@pytest.mark.slow
def test_a_chatty_command_is_looked_at_twenty_times_a_second(start: Callable) -> None:
    started = start(
        "import os, time\nfor i in range(2000): os.write(1, b'%d\\n' % i); time.sleep(2e-4)"
    )

    end = started.launched.wait(30)

    assert started.text == "".join(f"{i}\n" for i in range(2000))
    # A few more at the start, and one at the end.
    assert len(started.pieces) < 20 * end.duration_s + 5


def test_a_line_after_some_quiet_is_taken_at_once(start: Callable) -> None:
    started = start(
        (
            *(sys.executable, "-u", "-S", "-c"),
            "import time\nfor _ in range(4): print(time.monotonic()); time.sleep(0.1)",
        )
    )

    started.launched.wait(30)

    late_s = [at_s - float(piece) for piece, at_s in started.pieces if piece.strip()]
    assert len(late_s) == 4
    assert min(late_s) < 0.01


def test_a_flood_ends_when_it_is_asked_to(start: Callable) -> None:
    started = start(("yes", "x" * 200), grace_s=20.0)
    while len(started.pieces) < 5:
        started.launched.wait(0.01)
    asked_s = time.monotonic()

    started.launched.end()

    end = started.launched.wait(30)
    assert (end.status, end.signal) == (Status.KILLED, "SIGTERM")
    assert end.ended_s - asked_s < 10.0
