from __future__ import annotations

import gzip
import logging
import random
from pathlib import Path

import pytest

from batchlab.script.output import EACH_END_BYTES, KeptOutput

NOISE = random.Random(0)


def kept(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


def test_a_short_output_is_kept_as_it_was(tmp_path: Path) -> None:
    output = KeptOutput(tmp_path / "output.gz")
    wrote = NOISE.randbytes(100_000)

    for start in range(0, len(wrote), 999):
        output.write(wrote[start : start + 999])
    output.close()

    assert kept(output.path) == wrote


@pytest.mark.parametrize("n_more", [-1, 0, 1, 3 * EACH_END_BYTES])
@pytest.mark.parametrize("piece_bytes", [7_777_777, 262_144, 999])
def test_of_a_long_output_the_beginning_and_the_end_are_kept_and_the_gap_is_told(
    n_more: int, piece_bytes: int, tmp_path: Path
) -> None:
    output = KeptOutput(tmp_path / "output.gz")
    wrote = NOISE.randbytes(2 * EACH_END_BYTES + n_more)

    for start in range(0, len(wrote), piece_bytes):
        output.write(wrote[start : start + piece_bytes])
    output.close()

    gap = b"\n[batchlab left out %d bytes here]\n" % n_more if n_more > 0 else b""
    assert (
        kept(output.path)
        == wrote[:EACH_END_BYTES] + gap + wrote[max(EACH_END_BYTES, len(wrote) - EACH_END_BYTES) :]
    )


def test_the_beginning_can_be_read_when_batchlab_was_killed_later(tmp_path: Path) -> None:
    output = KeptOutput(tmp_path / "output.gz")

    output.write(b"epoch 1\n")

    on_disk = (tmp_path / "output.gz").read_bytes()
    import zlib

    assert zlib.decompressobj(wbits=31).decompress(on_disk) == b"epoch 1\n"


def test_memory_stays_bounded_however_much_is_written(tmp_path: Path) -> None:
    output = KeptOutput(tmp_path / "output.gz")

    for _ in range(50):
        output.write(bytes(1_000_000))

    held = len(output._end) + len(output._last)
    assert held < 2.1 * EACH_END_BYTES + 1_000_000


@pytest.mark.parametrize(
    ("wrote", "lines"),
    [
        (b"", ()),
        (b"one\ntwo", ("one", "two")),
        (b"one\r\n\r\n\n  \ntwo\r\n", ("one", "two")),
        (b" 1%|#\r50%|##\r99%|###\nloss 2\n", ("99%|###", "loss 2")),
        (b" 1%|#\r50%|##\r", ("50%|##",)),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\n", ("red x",)),
        (b"bell\x07 and null\x00\n", ("bell and null",)),
        (b"caf\xc3\xa9 \xff\n", ("café �",)),
        (b"y" * 1000, ("y" * 399 + "…",)),
        (bytes(range(256)) * 200, None),
    ],
)
def test_the_last_lines_are_fit_to_be_shown(
    wrote: bytes, lines: tuple[str, ...] | None, tmp_path: Path
) -> None:
    output = KeptOutput(tmp_path / "output.gz")
    output.write(wrote)

    shown = output.last_lines(5)

    if lines is not None:
        assert shown == lines
    assert all(line.isprintable() or "\t" in line or "\u2028" in line for line in shown)


def test_a_full_disk_costs_the_file_and_not_the_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = KeptOutput(Path("/dev/full"))

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            output.write(NOISE.randbytes(100_000))
        output.close()

    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: the output is no longer kept (No space left on device)"
    ]
