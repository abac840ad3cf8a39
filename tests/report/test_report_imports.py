from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_text_report_loads_neither_torch_nor_a_plotting_library():
    code = (
        "import sys\n"
        "from batchlab.report import text_report, write_csv\n"
        "heavy = {'torch', 'altair', 'vl_convert', 'jinja2', 'batchlab.training'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
