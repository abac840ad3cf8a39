"""The check of CI that a report names its batch sizes to a reader."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "check_report.py"


@pytest.mark.parametrize(
    ("html", "sizes", "said"),
    [
        ("<p>64, 1024 and full</p>", ["64", "1024", "full"], None),
        ("<p>B=64 | 1,024 | full batch</p>", ["64", "1024", "full"], None),
        (None, ["64"], ""),
        ("<script>const sizes = [64]</script><p>256</p>", ["64"], "does not name"),
        ("<style>p { width: 64 }</style>", ["64"], "does not name"),
        ("<p>0.64, x86_64, 640, 64.5 and 64th</p>", ["64"], "does not name"),
    ],
)
def test_a_report_passes_whose_text_names_all_sizes(html, sizes, said, tmp_path):
    report = tmp_path / "report.html"
    if html is not None:
        report.write_text(html)

    command = [sys.executable, str(SCRIPT), str(report), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == (said is not None)
    assert (said or "") in done.stderr
