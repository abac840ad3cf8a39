"""What a command writes: read as it comes, kept at its beginning and end, timed."""

from __future__ import annotations

import gzip
import logging
import os
import random
import signal
import statistics
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.reference.large_output import assert_a_large_output_is_kept_small

from batchlab.records.trial import Status
from batchlab.script.command import TrainingCommand
from batchlab.script.follow import FollowedTraining, ProgressMoment, step_intervals
from batchlab.script.output import EACH_END_BYTES, GrowingFiles, KeptOutput
from batchlab.script.process import WIDE
from batchlab.script.reading import Reading


def kept(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


@pytest.mark.slow
def test_a_hundred_megabytes_keep_a_few(tmp_path: Path) -> None:
    # A gigabyte in tests/nightly.
    assert_a_large_output_is_kept_small(tmp_path, n_bytes=100_000_000)


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

    started.launched.wait(30)

    assert started.text == "".join(f"{i}\n" for i in range(2000))
    # The median: there are a few more at the start, and one at the end.
    assert statistics.median(b - a for (_, a), (_, b) in pairwise(started.pieces)) > 0.04


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
    assert (end.status, end.exit_code) == (Status.KILLED, -signal.SIGTERM)
    assert time.monotonic() - asked_s < 10.0


NOISE = random.Random(0)


@pytest.mark.parametrize("n_more", [-1, 0, 1, 3 * EACH_END_BYTES])
@pytest.mark.parametrize("piece_bytes", [7_777_777, 999])
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
    assert zlib.decompressobj(wbits=31).decompress(on_disk) == b"epoch 1\n"


def test_memory_stays_bounded_however_much_is_written(tmp_path: Path) -> None:
    output = KeptOutput(tmp_path / "output.gz")

    for _ in range(50):
        output.write(bytes(1_000_000))

    assert len(output._end) < 2 * EACH_END_BYTES + 1_000_000


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


def test_a_full_disk_costs_the_file_and_not_the_training(caplog: pytest.LogCaptureFixture) -> None:
    output = KeptOutput(Path("/dev/full"))

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            output.write(NOISE.randbytes(100_000))
        output.close()

    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: the output is no longer kept (No space left on device)"
    ]


def test_what_python_prints_comes_at_once_through_a_pipe(start: Callable) -> None:
    started = start((sys.executable, "-c", "import time; print('step 1'); time.sleep(60)"))

    started.receive_until("step 1\n")


def command(tmp_path: Path, code: str) -> TrainingCommand:
    return TrainingCommand(
        arguments=(sys.executable, "-I", "-S", "-c", code, "{batch_size}"),
        metric="val_loss",
        folder=tmp_path,
    )


@pytest.fixture
def marker() -> str:
    return f"followed-{uuid.uuid4().hex}/1"


PRINTS = "import os; print(*(os.environ.get(name) for name in ('TTY_COMPATIBLE', 'COLUMNS')))"


@pytest.mark.parametrize("own", [{}, {"TTY_COMPATIBLE": "0", "COLUMNS": "120"}])
def test_a_training_draws_as_on_a_wide_terminal_but_for_what_the_user_has_set(
    own: dict[str, str], marker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in WIDE:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    printing = command(tmp_path, PRINTS)

    with FollowedTraining(printing, {"batch_size": 8}, folder=tmp_path, marker=marker) as begun:
        end = begun.follow(lambda readings: False)

    assert end.last_lines == (" ".join({**WIDE, **own}.values()),)


LOGS_AND_PRINTS = """
import json, os, time
print("step 1 val_loss 0.5", flush=True)
with open(os.environ["BATCHLAB_LOG_PATH"], "a") as log:
    told = {"at_s": time.monotonic(), "step": 1, "values": {"val_loss": 0.51}}
    print(json.dumps({"batchlab_log": 1, **told}), file=log)
time.sleep(0.2)
print("step 2 val_loss 0.4", flush=True)
"""


def test_once_batchlab_log_speaks_it_alone_counts(marker: str, tmp_path: Path) -> None:
    both, told = command(tmp_path, LOGS_AND_PRINTS), []

    with FollowedTraining(both, {"batch_size": 8}, folder=tmp_path, marker=marker) as begun:
        begun.follow(lambda readings: bool(told.extend(each.shape for each in readings)))

    assert [shape for shape in told if shape != "batchlab"] in ([], ["words"])
    assert told[-1] == "batchlab"


STEP_S, EVALUATION_S = 0.002, 0.5


def moments(
    *, n: int, every: int, evaluate_every: int = 0, late_s: float = 0.0, step_s: float = STEP_S
) -> list[ProgressMoment]:
    """Of a script whose steps take the same and that evaluates now and then."""
    found, at_s = [], 0.0
    for step in range(1, n + 1):
        at_s += step_s
        is_evaluated = bool(evaluate_every) and step % evaluate_every == 0
        at_s += EVALUATION_S if is_evaluated else 0.0
        if step % every == 0 or is_evaluated:
            seen_s = at_s if not late_s else -(-at_s // late_s) * late_s
            found.append(
                ProgressMoment(at_s=seen_s, step=step, has_metric=is_evaluated, resolution_s=late_s)
            )
    return found


def test_steps_are_timed_without_the_evaluations_between_them() -> None:
    found = step_intervals(moments(n=1000, every=10, evaluate_every=100))

    assert not found.with_evaluations
    assert found.is_enough
    assert statistics.median(found.step_s) == pytest.approx(STEP_S)


def test_where_only_evaluations_are_told_the_time_holds_them_and_says_so() -> None:
    found = step_intervals(moments(n=1000, every=100, evaluate_every=100))

    assert found.with_evaluations
    assert statistics.median(found.step_s) == pytest.approx(STEP_S + EVALUATION_S / 100)


def test_an_evaluation_told_after_its_step_does_not_count_as_steps() -> None:
    told = []
    for step in range(10, 400, 10):
        told.append(ProgressMoment(at_s=step * 0.05, step=step, has_metric=False))
    told.insert(5, ProgressMoment(at_s=50 * 0.05 + 0.4, step=50, has_metric=True))

    found = step_intervals(told)

    assert statistics.median(found.step_s) == pytest.approx(0.05)
    assert not found.with_evaluations


def test_what_counts_something_else_before_the_steps_hides_none_of_them() -> None:
    tokenized = [
        ProgressMoment(at_s=-0.1 + n / 30_000, step=n, has_metric=False) for n in (1000, 3000)
    ]

    found = step_intervals([*tokenized, *moments(n=1000, every=10)])

    assert statistics.median(found.step_s) == pytest.approx(STEP_S)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 3, 17])
def test_a_late_clock_makes_the_time_of_a_step_no_longer(every: int) -> None:
    found = step_intervals(moments(n=30_000, every=every, late_s=0.01, step_s=0.0003))

    # A stretch of 0.2 s has two ends that are late by 0.01 s at most.
    assert statistics.median(found.step_s) == pytest.approx(0.0003, rel=0.1)
    assert statistics.mean(found.step_s) == pytest.approx(0.0003, rel=0.02)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_little_is_not_enough(n: int) -> None:
    assert not step_intervals(moments(n=10 * n, every=10)).is_enough


def grown(files: GrowingFiles) -> list[tuple[str, int | None, tuple[tuple[str, float], ...]]]:
    return [(each.shape, each.step, each.values) for each in files.grown(is_last=True)]


def test_a_table_in_a_file_is_read_as_it_grows(tmp_path: Path) -> None:
    files, table = GrowingFiles(tmp_path), tmp_path / "logs" / "metrics.csv"
    table.parent.mkdir()

    table.write_text("step,loss\n10,0.5\n20,0.")
    first = grown(files)
    table.write_text("step,loss\n10,0.5\n20,0.4\n")

    assert first == [("logs/metrics.csv", 10, (("loss", 0.5),))]
    assert grown(files) == [("logs/metrics.csv", 20, (("loss", 0.4),))]
    assert grown(files) == []


def test_a_file_written_anew_tells_what_is_new_in_it(tmp_path: Path) -> None:
    files, table = GrowingFiles(tmp_path), tmp_path / "metrics.csv"

    table.write_text("step,loss\n10,0.5\n20,0.4\n")
    grown(files)
    table.write_text("step,loss,acc\n")
    torn = grown(files)
    table.write_text("step,loss,acc\n10,0.5,\n20,0.4,\n20,,0.9\n")

    assert torn == []
    assert grown(files) == [("metrics.csv", 20, (("acc", 0.9),))]


def test_the_last_object_of_a_file_needs_no_end_of_its_line(tmp_path: Path) -> None:
    files, rows = GrowingFiles(tmp_path), tmp_path / "log.jsonl"

    rows.write_text('{"step": 10, "loss": 0.5}\n{"step": 20, "lo')
    first = grown(files)
    rows.write_text('{"step": 10, "loss": 0.5}\n{"step": 20, "loss": 0.4}')

    assert first == [("log.jsonl", 10, (("loss", 0.5),))]
    assert grown(files) == [("log.jsonl", 20, (("loss", 0.4),))]


def test_a_folder_that_is_renamed_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = GrowingFiles(tmp_path)
    (tmp_path / "tmp-checkpoint").mkdir()
    scandir = os.scandir

    def renaming(folder: str | Path) -> Any:
        if str(folder) == str(tmp_path / "tmp-checkpoint"):
            raise FileNotFoundError(folder)
        return scandir(folder)

    monkeypatch.setattr("os.scandir", renaming)

    assert grown(files) == []


def test_what_a_folder_held_before_is_passed_over(tmp_path: Path) -> None:
    table = tmp_path / "result.json"
    table.write_text('{"step": 10, "loss": 0.5}\n')
    files = GrowingFiles(tmp_path)

    with table.open("a") as file:
        file.write('{"step": 20, "loss": 0.4}\n')

    assert grown(files) == [("result.json", 20, (("loss", 0.4),))]


@pytest.mark.parametrize(
    ("argument", "is_refused"),
    [("--fold=3", False), ("data.fold=3", False), ("--n-folds=3", True), ("folds.py", True)],
)
def test_a_script_that_is_told_its_fold_trains_one(
    argument: str, is_refused: bool, tmp_path: Path
) -> None:
    command = TrainingCommand(
        arguments=(sys.executable, "-c", "print('Fold 3/5')", argument, "{batch_size}"),
        metric="val_loss",
    )
    found: list[Reading] = []

    with FollowedTraining(
        command, {"batch_size": 32}, folder=tmp_path / "trial", marker=f"test-{uuid.uuid4().hex}/0"
    ) as training:
        training.follow(lambda told: bool(found.extend(told)))

    assert bool(found) == is_refused
