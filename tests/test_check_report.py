"""The check of CI that a report names its batch sizes to a reader."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "check_report.py"


def check(report: Path, *sizes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(report), *sizes]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", ["64, 1024 and full", "B=64 | 1,024 | full batch"])
def test_a_report_whose_text_names_all_sizes_passes(tmp_path: Path, text: str) -> None:
    report = tmp_path / "report.html"
    report.write_text(f"<p>{text}</p>")

    assert check(report, "64", "1024", "full").returncode == 0
    assert check(tmp_path / "absent.html", "64").returncode == 1


@pytest.mark.parametrize(
    "html",
    [
        "<script>const sizes = [64]</script><p>256</p>",
        "<style>p { width: 64 }</style>",
        "<p>0.64, x86_64, 640, 64.5 and 64th</p>",
    ],
)
def test_a_size_that_no_reader_sees_is_missing(tmp_path: Path, html: str) -> None:
    report = tmp_path / "report.html"
    report.write_text(html)

    done = check(report, "64")

    assert done.returncode == 1
    assert "does not name the batch sizes 64" in done.stderr
