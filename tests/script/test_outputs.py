"""What a command writes: read as it comes, kept at its beginning and end, timed."""

import gzip
import math
import os
import random
import statistics
import sys
import time
import tracemalloc
import uuid
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.sampled_output import in_pieces, readings_of, sample, sample_names

from batchlab.records.trial import Status
from batchlab.script import process
from batchlab.script.command import TrainingCommand
from batchlab.script.follow import FEWEST_STRETCHES, FollowedTraining, step_intervals
from batchlab.script.metric import MetricPoint
from batchlab.script.output import (
    GrowingFiles,
    OutputReader,
    free_read_output,
    last_lines,
    pack_output,
)
from batchlab.script.process import WIDE, CommandEnd
from batchlab.script.reading import Reading


def following(command: TrainingCommand, folder: Path, **values: int) -> FollowedTraining:
    marker = f"followed-{uuid.uuid4().hex}/1"
    return FollowedTraining(command, values, folder=folder, marker=marker, grace_s=10.0)


def test_a_line_that_is_printed_after_some_quiet_is_read_at_once(tmp_path):
    prints = "print('step', step, 'late', time.monotonic(), flush=True)"

    readings, _ = followed(
        tmp_path, f"import time\nfor step in range(4): {prints}; time.sleep(0.1)"
    )

    late_s = [reading.at_s - dict(reading.values)["late"] for reading in readings]
    assert len(late_s) == 4
    assert min(late_s) < 0.01


def test_a_command_that_fills_the_disk_is_ended_with_its_reason(start, monkeypatch):
    monkeypatch.setattr(process, "_MOST_BYTES", 1 << 24)

    end = start(("yes", "x" * 200), grace_s=60.0).launched.wait(30)

    assert (end.status, end.was_asked, end.reason.code) == (Status.ERROR, False, "too_much_output")


def test_output_that_takes_longer_to_read_than_to_print_ends_in_time(tmp_path):
    arguments = ("seq", "-f", "step %.0f val_loss 0.5", "{batch_size}")
    command = TrainingCommand(arguments=arguments, metric="val_loss", folder=tmp_path)
    with following(command, tmp_path, batch_size=100_000) as training:
        training.follow(lambda _: training._ended is not None and training.stop_reading())

        assert training._n_read_bytes < 1_000_000


@pytest.mark.parametrize(
    ("wrote", "lines"),
    [
        (b"", ()),
        (b"one\ntwo", ("one", "two")),
        (b"one\r\n\r\n\n  \ntwo\r\n", ("one", "two")),
        (b" 1%|#\r50%|##\r99%|###\nloss 2\n", ("99%|###", "loss 2")),
        (b" 1%|#\r50%|##\r", ("50%|##",)),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\n", ("red x",)),
        (b"caf\xc3\xa9 \xff\n", ("café �",)),
        (b"y" * 1000, ("y" * 399 + "…",)),
    ],
)
def test_the_last_lines_are_fit_to_be_shown(wrote, lines, tmp_path):
    output = BytesIO(wrote)

    assert last_lines(output, 5) == lines
    output.write(bytes(range(256)) * 200)
    for line in last_lines(output, 5):
        assert line.isprintable() or "\t" in line or "\u2028" in line


def test_of_a_large_output_the_beginning_and_the_end_are_kept(tmp_path):
    with (tmp_path / "output.txt").open("w+b") as output:
        output.write(b"first\n" + random.Random(0).randbytes(1000) * 10_000 + b"\nlast\n")
        output.flush()
        free_read_output(output, output.tell())
        assert os.fstat(output.fileno()).st_blocks * 512 < 6_000_000 or sys.platform != "linux"
        pack_output(output)

    assert list(tmp_path.iterdir()) == [tmp_path / "output.gz"]
    with gzip.open(tmp_path / "output.gz") as file:
        kept = file.read()
    assert kept.startswith(b"first\n")
    assert kept.endswith(b"\nlast\n")
    assert b"\n[of 10000012 bytes, batchlab kept these and the last]\n" in kept
    assert (4 << 20) < len(kept) < (5 << 20)


def test_on_a_full_disk_the_output_stays_as_it_was_written(tmp_path, capsys):
    (tmp_path / "output.gz").symlink_to("/dev/full")
    with (tmp_path / "output.txt").open("w+b") as output:
        output.write(random.Random(0).randbytes(100_000))
        pack_output(output)

        assert "is not compressed (No space left on device)" in capsys.readouterr().err
        assert output.seek(0, os.SEEK_END) == (tmp_path / "output.txt").stat().st_size == 100_000


def test_what_is_printed_after_a_shell_opened_its_output_again_is_read(start):
    started = start(("sh", "-c", "seq 9; sleep 0.2; echo more > /dev/stderr; echo last"))

    end = started.launched.wait(30)

    assert end.last_lines[-1] == "last"
    assert started.text.endswith("last\n")


def followed(folder: Path, code: str, *arguments: str) -> tuple[list[Reading], CommandEnd]:
    """The readings of a training to its end, and the end."""
    command = TrainingCommand(
        arguments=(sys.executable, "-I", "-S", "-c", code, *arguments, "{batch_size}"),
        metric="val_loss",
        folder=folder,
    )
    readings: list[Reading] = []
    with following(command, folder, batch_size=8) as training:
        end = training.follow(lambda new: bool(readings.extend(new)))
    return readings, end


PRINTS = "import os; print(*(os.environ.get(name) for name in ('TTY_COMPATIBLE', 'COLUMNS')))"


@pytest.mark.parametrize("own", [{}, {"TTY_COMPATIBLE": "0", "COLUMNS": "120"}])
def test_a_training_draws_as_on_a_wide_terminal_unless_told(own, tmp_path, monkeypatch):
    for name in WIDE:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)

    _, end = followed(tmp_path, PRINTS)

    assert end.last_lines == (" ".join({**WIDE, **own}.values()),)


LOGS_AND_PRINTS = """
import json, os, time
print("step 1 val_loss 0.5", flush=True)
with open(os.environ["BATCHLAB_LOG_PATH"], "a") as log:
    told = {"at_s": time.monotonic(), "step": 1, "values": {"val_loss": 0.51}}
    print(json.dumps({"batchlab_log": 1, **told}), file=log)
time.sleep(0.1)
print("step 2 val_loss 0.4", flush=True)
"""


def test_once_batchlab_log_speaks_it_alone_counts(tmp_path):
    readings, _ = followed(tmp_path, LOGS_AND_PRINTS)

    *before, last = (reading.shape for reading in readings)
    assert last == "batchlab"
    assert [shape for shape in before if shape != "batchlab"] in ([], ["words"])


STEP_S, EVALUATION_S = 0.002, 0.5


def point(at_s: float, step: int, value: float | None = None) -> MetricPoint:
    return MetricPoint(at_s=at_s, samples=step, step=step, value=value)


def timed(n: int, every: int, evaluate_every: int = 10**9) -> list[MetricPoint]:
    """Of a script whose steps take the same and that evaluates now and then."""
    found, at_s = [], 0.0
    for step in range(1, n + 1):
        is_evaluated = step % evaluate_every == 0
        at_s += STEP_S + EVALUATION_S * is_evaluated
        if step % every == 0 or is_evaluated:
            found.append(point(at_s, step, 0.5 if is_evaluated else None))
    return found


def steps(at: range, rate_s: float, late_s: float = 0.0, metric_at: int = 0) -> list[MetricPoint]:
    return [point(n * rate_s + late_s, n, 0.5 if n == metric_at else None) for n in at]


BEHIND = steps(range(100, 2100, 100), STEP_S) + steps(range(2000, 4000, 100), STEP_S, 0.15, 2000)
TOKENIZED = steps(range(1000, 5000, 2000), 1 / 30_000, -0.1)


@pytest.mark.parametrize(
    ("told", "step_s", "with_evaluations"),
    [
        (timed(1000, 10, evaluate_every=100), STEP_S, False),
        # Where only evaluations are told, the time holds them.
        (timed(1000, 100, evaluate_every=100), STEP_S + EVALUATION_S / 100, True),
        # An evaluation that is told after its step does not count as steps.
        (BEHIND, STEP_S, False),
        # What counts something else before the steps hides none of them.
        ([*TOKENIZED, *timed(1000, 10)], STEP_S, False),
        # Too little is not enough.
        *((timed(10 * n, 10), None, False) for n in (0, 1, 2)),
    ],
)
def test_steps_are_timed_without_evaluations_told_apart(told, step_s, with_evaluations):
    _, found, has_evaluations = step_intervals(told, resolution_s=0.0)

    assert (len(found) >= FEWEST_STRETCHES) == (step_s is not None)
    assert has_evaluations == with_evaluations
    assert step_s is None or found == pytest.approx([step_s] * len(found))


@pytest.mark.parametrize("every", [1, 3, 17])
def test_a_late_clock_makes_the_time_of_a_step_no_longer(every):
    at_s = 0.0003 * np.arange(every, 10_000, every)
    late_s = 0.01 * np.ceil(at_s / 0.01)
    points = [point(float(seen_s), (n + 1) * every) for n, seen_s in enumerate(late_s)]
    _, step_s, _ = step_intervals(points, resolution_s=0.01)

    # A stretch of 0.2 s has two ends that are late by 0.01 s at most.
    assert statistics.median(step_s) == pytest.approx(0.0003, rel=0.1)
    assert statistics.mean(step_s) == pytest.approx(0.0003, rel=0.02)


# A file: what it holds at first, and after each write | what is read after each of these.
GROWING = r"""
logs/metrics.csv: | step,loss\n10,0.5\n20,0. | step,loss\n10,0.5\n20,0.4\n -> 10 loss 0.5 | 20 loss 0.4
metrics.csv: | step,loss\n10,0.5\n | step,loss,acc\n | step,loss,acc\n10,0.5,\n10,,0.9\n -> 10 loss 0.5 | | 10 acc 0.9
log.jsonl: | {"step": 1, "loss": 0.5}\n{"step": 2, "lo | {"step": 1, "loss": 0.5}\n{"step": 2, "loss": 1} -> 1 loss 0.5 | 2 loss 1.0
result.json:{"step": 1, "loss": 1}\n | {"step": 1, "loss": 1}\n{"step": 2, "loss": 4}\n -> 2 loss 4.0
"""  # noqa: E501


@pytest.mark.parametrize("row", GROWING.strip().split("\n"))
def test_what_is_new_in_a_file_is_read_when_its_line_is_whole(row, tmp_path):
    writes, _, news = row.replace("\\n", "\n").partition(" -> ")
    name, _, contents = writes.partition(":")
    before, *later = contents.split(" | ")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(before)
    files, found = GrowingFiles(tmp_path), []

    for content in later:
        (tmp_path / name).write_text(content)
        rows = files.grown(is_last=True)
        assert {row.shape for row in rows} <= {name}
        found.append(" ".join(f"{row.step} {row.values[0][0]} {row.values[0][1]}" for row in rows))

    assert found == [new.strip() for new in news.split("|")]
    assert files.grown(is_last=True) == []


def test_a_folder_that_is_renamed_meanwhile_is_no_error(tmp_path, monkeypatch):
    files, scandir = GrowingFiles(tmp_path), os.scandir
    (tmp_path / "tmp-checkpoint").mkdir()
    gone = tmp_path / "gone"
    monkeypatch.setattr("os.scandir", lambda at: scandir(gone if "tmp-check" in str(at) else at))

    assert files.grown(is_last=True) == []


# Any bytes, in any pieces, are read in bounded memory


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
def test_nothing_is_missed_however_an_output_is_cut(name):
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
@settings(max_examples=40, deadline=None)
def test_no_bytes_break_it_and_nothing_is_missed_in_any_mixture(lines):
    output = b"\n".join(lines)

    assert repr(readings_of(output)) == repr(readings_line_by_line(output))


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
def test_numbers_that_are_too_large_or_torn_are_passed_over(line):
    readings = readings_of(line + b"\nepoch 1 step 7 loss 0.25\n")

    for reading in readings:
        assert reading.step is None or reading.step < 1e18
        assert reading.epoch is None or math.isfinite(reading.epoch)
    assert readings[-1].values == (("loss", 0.25),)
    assert not line.startswith(b"{'") or {reading.shape for reading in readings} == {"words"}


def test_a_line_without_an_end_takes_no_more_memory_than_its_beginning():
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
def test_no_line_takes_long_however_it_repeats(piece):
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
def test_a_gigabyte_without_progress_takes_less_than_a_minute(line):
    piece = (line * (65_536 // len(line) + 1))[:65_536]
    times_s = []
    for _ in range(5):
        reader, started_s = OutputReader(), time.process_time()
        for _ in range(8):
            reader.feed(piece, 0.0)
        times_s.append(time.process_time() - started_s)

    assert min(times_s) * 2**30 / (8 * 65_536) < 60


def test_a_line_has_the_time_of_its_last_byte():
    reader = OutputReader()
    reader.feed(b"step 1 loss ", 1.0)
    reader.feed(b"0.5", 2.0)

    (first,) = reader.feed(b"\nstep 2 loss 0.4", 3.0)

    assert first.at_s == 2.0
    assert reader.finish()[0].at_s == 3.0
