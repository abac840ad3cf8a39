"""Reading a training's output: any bytes, in any pieces, in bounded memory."""

import math
import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.sampled_output import in_pieces, readings_of, sample, sample_names

from batchlab.script.output import OutputReader
from batchlab.script.reading import Reading

MIXED = b"".join(
    (
        b"starting\n",
        b"epoch 1 step 10 val_loss=0.5\n",
        b'{"step": 20, "val_loss": 0.4, "ok": true}\r\n',
        b"\x1b[1mepoch 1 step 30\x1b[0m val_loss=0.3\r",
        b"\xff\xfe\x00garbage loss \x80\n",
        b'{"batchlab_log": 1, "at_s": 5.5, "step": 40, "values": {"val_loss": "nan"}}\n',
        b"epoch 2 step 50 val_loss: 2e-1",
    )
)


def readings_line_by_line(output: bytes) -> list[Reading]:
    """Every line given to every shape, nothing passed over."""
    reader = OutputReader()
    reader._needles = (b"",)
    return reader.feed(output, 0.0) + reader.finish()


@pytest.mark.parametrize("name", [*sample_names(), "../log_formats.txt"])
def test_nothing_is_missed_however_an_output_is_cut(name: str) -> None:
    """Most lines are passed over, which may not be seen."""
    output = sample(name)[:20_000]
    readings = readings_of(output)

    for longest in (1, 300):
        reader, cut = OutputReader(), []
        for piece in in_pieces(output, longest=longest, seed=longest):
            cut += reader.feed(piece, 0.0)
        assert cut + reader.finish() == readings
    assert readings_line_by_line(sample(name)) == readings_of(sample(name))


@given(
    lines=st.lists(
        st.sampled_from(MIXED.split(b"\n"))
        | st.sampled_from([sample("keras.txt"), sample("huggingface.txt"), sample("nanogpt.txt")])
        | st.binary(max_size=40)
        | st.binary(max_size=3000).map(lambda data: data + b"\nstep 3 loss " + data),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_it_and_nothing_is_missed_in_any_mixture(lines: list[bytes]) -> None:
    output = b"\n".join(lines)

    assert repr(readings_of(output)) == repr(readings_line_by_line(output))


def test_each_line_is_read_by_the_shape_it_has() -> None:
    found = [(reading.shape, reading.step) for reading in readings_of(MIXED) if reading.step]

    shapes = ("words", "json-lines", "words", "batchlab", "words")
    assert found == [*zip(shapes, range(10, 60, 10), strict=True)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 1e400, "loss": 1}',
        b'{"step": ' + b"9" * 5000 + b', "loss": 1}',
        b'{"step": 1, "a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"{'loss': " + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"epoch 1e999 loss 0.5",
        b"epoch " + b"9" * 400 + b" step " + b"9" * 400 + b" loss " + b"9" * 400,
        b'{"batchlab_log": [',
        b'{"batchlab_log": 1, "at_s": null, "values": 3}',
        b"Epoch 1 [5/0] loss 0.3",
        b"5/0 - 1s - 3ms/step - loss: 0.3",
        b" 50%|#####     | 5/0 [00:01<00:01, 5it/s, loss=0.3]",
        b"epoch loss\n+\n*",
        b"epoch nan loss 0.5",
        b'{"epoch": Infinity, "samples": 5, "loss": 1}',
        b"{'loss': " + b"9" * 5000 + b", 'epoch': 1}",
        b"{'loss': 0.5, 'epoch': " + b"(" * 3000,
    ],
)
def test_numbers_that_are_too_large_or_torn_are_passed_over(line: bytes) -> None:
    readings = readings_of(line + b"\nepoch 1 step 7 loss 0.25\n")

    for reading in readings:
        assert reading.step is None or reading.step < 1e18
        assert reading.epoch is None or math.isfinite(reading.epoch)
    assert readings[-1].values == (("loss", 0.25),)
    assert not line.startswith(b"{'") or {reading.shape for reading in readings} == {"words"}


def test_a_line_without_an_end_takes_no_more_memory_than_its_beginning() -> None:
    reader, piece = OutputReader(), b"loss 0.5 " * 10_000
    reader.feed(piece, 0.0)
    tracemalloc.start()

    for _ in range(100):
        reader.feed(piece, 0.0)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found = reader.feed(b"\nstep 3 loss 0.5\n", 0.0)

    assert peak_bytes < 2_000_000  # of 9 MB
    assert found[-1].step == 3


PIECES = [b"loss ", b"epoch", b"a:1", b"epoch a:1 ", b"loss a b c d ", b" - a: 1", b"1/1 ", b"{'"]
PIECES += [b"\x1b]", b"epoch 1/1 \xe2\x94\x81", b"%| 1/1 [", b"loss=,"]


@pytest.mark.parametrize("piece", PIECES)
def test_no_line_takes_long_however_it_repeats(piece: bytes) -> None:
    line = (b"Epoch 0/2 " + piece * 30_000)[:65_000]
    reader = OutputReader()
    reader.feed("Epoch 0/2 ━━ 1/12 0:00:00 • 0:00:00 35.52it/s a: 1\n".encode(), 0.0)
    started_s = time.process_time()

    reader.feed(line + b"x\n" + line[10:] + b"x\n", 0.0)

    assert time.process_time() - started_s < 1


@pytest.mark.parametrize(
    "line",
    [
        b"[INFO] fetched shard 00123 of 00999 in 0.31 s, 12 MB\n",
        b"abcdefghij",  # no new line
        bytes(random.Random(0).randbytes(4000)),
    ],
)
def test_a_gigabyte_without_progress_takes_less_than_a_minute(line: bytes) -> None:
    piece = (line * (65_536 // len(line) + 1))[:65_536]
    times_s = []
    for _ in range(5):
        reader, started_s = OutputReader(), time.process_time()
        for _ in range(8):
            reader.feed(piece, 0.0)
        times_s.append(time.process_time() - started_s)

    assert min(times_s) * 2**30 / (8 * 65_536) < 60


def test_a_line_has_the_time_of_its_last_byte() -> None:
    reader = OutputReader()
    reader.feed(b"step 1 loss ", 1.0)
    reader.feed(b"0.5", 2.0)

    (first,) = reader.feed(b"\nstep 2 loss 0.4", 3.0)

    assert first.at_s == 2.0
    assert reader.finish()[0].at_s == 3.0
