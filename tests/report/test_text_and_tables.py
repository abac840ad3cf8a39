"""Numbers, words and tables as people read them, on a terminal of any width and in files."""

import csv
import errno
import io
import os

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_noise import made_up_noise
from tests.reference.made_up_profile import made_up_profile

from batchlab.app.output_file import write_output_file
from batchlab.errors import BatchlabError
from batchlab.records.estimate import Estimate, Reason
from batchlab.report import text
from batchlab.report.short_reports import noise_section, profile_section
from batchlab.report.sweep_page import text_report
from batchlab.report.table import Column, Table, sections_text
from batchlab.report.text import estimate_text, on_a_terminal, terminal_width

UNTOLD = Reason.as_written("nothing ran")


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate.of(2.0, interval=(1.5, 2.5), n=3), "2 s (95 %: 1.5 s to 2.5 s)"),
        (Estimate.of(2.0, interval=(1.5, None), n=3), "2 s (95 %: at least 1.5 s)"),
        (Estimate.of(2.0, interval=(None, None), n=1), "2 s"),
        (Estimate.of(2.0, interval=(0.1, 20.0), n=3), "2 s (95 %: too unsteady)"),
        (Estimate.cannot_tell(UNTOLD, low=1.5), "at least 1.5 s"),
        (Estimate.cannot_tell(UNTOLD, high=2.5), "at most 2.5 s"),
        (Estimate.cannot_tell(UNTOLD), "can't be told"),
    ],
)
def test_an_estimate_is_written_with_as_much_as_is_known_of_it(estimate, said):
    assert estimate_text("time_to_target_s", estimate) == said


def test_csv_keeps_full_precision_and_leaves_unknown_values_empty():
    columns = tuple(map(Column, ("name", "step_s", "cost")))
    cost = Estimate.of(2.0, interval=(1.5, None), n=3)
    rows = (('a, "b"', 0.0012345678901234, cost), ("c", None, None))

    file = io.StringIO(Table(caption="A table", columns=columns, rows=rows).to_csv())

    assert list(csv.reader(file)) == [
        ["name", "step_s", "cost", "cost_low", "cost_high"],
        ['a, "b"', "0.0012345678901234", "2.0", "1.5", ""],
        ["c", "", "", "", ""],
    ]


SIZES = Table(
    caption="Sizes",
    columns=(
        Column("batch", label="batch size"),
        Column("mean", "accuracy", "mean accuracy"),
        Column("lowest", "accuracy", "lowest", is_minor=True),
        Column("highest", "accuracy", "highest"),
    ),
    rows=(("64", 0.9698, 0.9612, 0.9743), ("2000 (full)", 0.9684, 0.9601, 0.9712)),
)
# Headers are wrapped first, then minor columns are left out, then others, from the right.
NARROWER = """\
39
batch size       mean   lowest  highest
             accuracy
64            96.98 %  96.12 %  97.43 %
2000 (full)   96.84 %  96.01 %  97.12 %

30
batch size       mean  highest
             accuracy
64            96.98 %  97.43 %
2000 (full)   96.84 %  97.12 %

21
batch size       mean
             accuracy
64            96.98 %
2000 (full)   96.84 %
No room for: highest.
"""


@pytest.mark.parametrize("case", NARROWER.split("\n\n"))
def test_a_table_that_is_too_wide_is_made_narrower(case: str, monkeypatch) -> None:
    monkeypatch.setattr(text, "LEAST", 1)
    width, *lines = case.splitlines()

    with on_a_terminal(int(width)):
        assert SIZES.to_text().splitlines() == lines


@pytest.mark.parametrize("width", [40, 50, 60])
def test_words_are_wrapped_and_a_number_keeps_its_unit(width: int) -> None:
    columns = (Column("what", label=" "), Column("yours"), Column("best", label="best so far"))
    row = ("time to target, validation accuracy", "13.2 s", "1.28 s (1.21 s to 1.34 s)")

    with on_a_terminal(width):
        lines = Table(caption="", columns=columns, rows=(row,)).to_text().splitlines()

    assert max(map(len, lines)) <= width
    assert "13.2 s" in lines[1]
    assert "1.34 s)" in " ".join(" ".join(line[-14:] for line in lines[1:]).split())
    assert not any(line.strip().startswith("s") for line in lines)


def test_a_text_is_as_wide_as_the_terminal_from_40_to_100_and_fits_it() -> None:
    made = made_up_study(batch_sizes=(64, 256), learning_rates=(0.01, 0.1))
    sections = [profile_section(made_up_profile()), noise_section(made_up_noise())]

    assert terminal_width() is None
    for columns, used in {20: 40, 40: 40, 73: 73, 240: 100}.items():
        with on_a_terminal(columns):
            assert terminal_width() == used
            said = text_report(made) + sections_text(sections)
            assert max(map(len, said.splitlines())) <= used


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(BatchlabError, match=r"No space left on device.*unchanged.*free some"):
        write_output_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    write_output_file(pipe, b"page")

    assert os.read(reader, 10) == b"page"
    assert pipe.is_fifo()
    os.close(reader)
