"""A command called in a notebook: one output of its cell, written again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from batchlab.records.progress_listener import Silent
from batchlab.report.progress import NotebookProgress, listener_or_notebook, notebook_progress

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

# A workload that a notebook holds, small enough to train in a blink.
CELLS = [
    """
import torch, batchlab
from torch import nn

x = torch.randn(200, 4)
workload = batchlab.Workload(
    name="live", model=lambda: nn.Linear(4, 1), train=(x, x[:, 0]), validation=None,
    loss=lambda model, batch: (model(batch[0]).squeeze(1) - batch[1]).pow(2).mean(),
)
""",
    """
import tempfile
store = tempfile.mkdtemp() + "/live.db"
study = batchlab.sweep(workload, batch_sizes=[20], learning_rates=[0.01], steps=20, store=store)
""",
    "raise KeyboardInterrupt if batchlab.profile(workload, batch_sizes=[20], budget=20) else 0",
]


class Cell:
    """What IPython's `display` shows."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.n_displayed = 0

    def display(self, both: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.n_displayed += 1
        self.outputs.append(both["text/plain"])
        return self

    def update(self, both: dict[str, str], *, raw: bool) -> None:
        assert raw
        assert both["text/html"].startswith("<pre>")
        self.outputs.append(both["text/plain"])


def told(cell: Cell, clock: Callable[[], float]) -> NotebookProgress:
    progress = NotebookProgress(cell.display, clock=clock)
    progress.begins(command="advise", subject="mine", stages=("first", "second"))
    progress.budget(spent_s=0.0, budget_s=60.0)
    progress.phase("second")
    return progress


def test_one_output_is_written_again_and_ends_as_one_line() -> None:
    now_s = 0.0
    cell = Cell()
    progress = told(cell, lambda: now_s)

    now_s = 98.0
    progress.warning("<b>odd</b>")
    now_s = 3600.0  # the cell goes on with something else
    progress.ends()

    assert cell.n_displayed == 1
    assert "advise mine   stage 2 of 2: second" in cell.outputs[1]
    assert cell.outputs[-1].splitlines() == ["advise mine: 1m38s", "warning: <b>odd</b>"]


def test_it_is_written_at_most_twice_a_second() -> None:
    now_s = 0.0
    cell = Cell()
    progress = told(cell, lambda: now_s)
    n_before = len(cell.outputs)

    for n in range(100):
        now_s = n / 50
        progress.progress(done_fraction=n / 100, left_s=None, text=f"run {n}")

    assert len(cell.outputs) - n_before == 3


def test_a_name_with_html_in_it_is_text() -> None:
    shown: list[dict[str, Any]] = []
    progress = NotebookProgress(lambda both, **_: shown.append(both))

    progress.begins(command="advise", subject="<script>", stages=())

    assert "<script>" not in shown[0]["text/html"]


def test_outside_of_a_notebook_nobody_is_told_and_ipython_is_not_loaded() -> None:
    code = (
        "import sys\n"
        "from batchlab.report.progress import listener_or_notebook\n"
        "print(type(listener_or_notebook(None)).__name__, 'IPython' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "Silent False\n"
    given = Silent()
    assert listener_or_notebook(given) is given


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        @staticmethod
        def get_ipython() -> object:
            return object()

    monkeypatch.setitem(sys.modules, "IPython", Terminal)  # type: ignore[arg-type]

    assert notebook_progress() is None


@pytest.mark.slow
def test_a_cell_that_asks_has_one_output_that_says_what_it_took() -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]

    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", allow_errors=True
    )
    client.execute()

    for cell, command in zip(notebook.cells[1:], ("sweep", "profile"), strict=True):
        shown = [out for out in cell.outputs if out["output_type"] == "display_data"]
        assert len(shown) == 1
        lines = shown[0]["data"]["text/plain"].splitlines()
        assert lines[0].startswith(f"{command} live: ")
        assert all(line.startswith("warning: ") for line in lines[1:])
    # The cell that was interrupted has it too.
    assert notebook.cells[2].outputs[-1]["ename"] == "KeyboardInterrupt"
