"""The examples: whole, short, and run as a reader would run them."""

import json
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.reference.by_day import by_day
from tests.reference.example_commands import EXAMPLES, NAMES, commands, understood

from batchlab.cli import main as cli

# Kinds of data that not everybody has, and other ways to train than plain steps on a loss.
UNUSUAL = (
    *("buckets", "memory_map", "stream", "whole_set"),
    *("clip", "clipping", "ema", "gan", "grad_scaler", "pinn", "sam"),
)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Any]:
    """A command line in this process and an empty folder; gives its JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def run(*arguments: str) -> Any:
        code = cli._exit_code([*arguments, "--json"], started_s=time.monotonic())
        seen = capsys.readouterr()
        assert code == 0, seen.err
        return json.loads(seen.out)

    yield run
    for name in (*NAMES, "backbone"):
        if name not in modules:
            sys.modules.pop(name, None)


def test_there_is_one_for_each_kind_of_data() -> None:
    assert {"csv_file", "fine_tuning", "images", "tokens", "train", *UNUSUAL} == set(NAMES)
    assert (EXAMPLES / "notebook.ipynb").exists()


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_training_takes_forty_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_and_says_how_to_ask_about_it(name: str) -> None:
    found = commands(name)

    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60
    assert [line[:2] for line in found] == [
        ["advise", f"examples/{name}.py:workload"],
        ["sweep", f"examples/{name}.py:workload"],
    ]
    for words in found:  # the night runs them
        understood(words)


# A kind of data and a way to train; the night sweeps all of them.
@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(NAMES, ["stream", "grad_scaler"]))
def test_an_example_is_swept(name: str, run: Any) -> None:
    swept = run(
        "sweep", f"{EXAMPLES}/{name}.py:workload", "--batch-sizes", "16,64", "--steps", "10"
    )

    assert [trial["status"] for trial in swept["trials"]] == ["ok", "ok"]
    for trial in swept["trials"]:
        assert set(trial["final"]["validation"]) == set(swept["workload"]["metrics"])
        assert None not in trial["final"]["validation"].values()


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_advised(name: str, run: Any) -> None:
    advised = run(
        "advise", f"{EXAMPLES}/{name}.py:workload", "--batch-sizes", "16,64", "--budget", "20s"
    )

    assert advised["n_trials"] >= 1
    assert {16, 64} <= {candidate["batch_size"] for candidate in advised["candidates"]}
    caveats = [caveat["code"] for caveat in advised["caveats_coded"]]
    assert name != "clip" or "loss_couples" in caveats


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('budget="30s"', 'budget="12s"')

    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()

    shown = [cell.outputs[-1].data for cell in notebook.cells if cell.get("outputs")]
    assert ["text/html" in data for data in shown] == [True, False, True, False]
    assert "batch size" in shown[0]["text/html"]
    assert "<svg" in shown[2]["text/html"]
    assert {"sweep.html", "advice.html"} <= {file.name for file in tmp_path.iterdir()}


def test_the_notebook_is_kept_without_what_it_showed() -> None:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())

    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)


def test_the_table_of_numbers_is_what_its_script_writes() -> None:
    made = runpy.run_path(str(EXAMPLES / "data" / "friedman.py"))

    assert "\n".join(made["rows"]()) + "\n" == (EXAMPLES / "data" / "friedman.csv").read_text()


@pytest.mark.nightly
def test_the_backbone_is_what_its_script_trains() -> None:
    import torch
    from safetensors.torch import load_file

    made = runpy.run_path(str(EXAMPLES / "data" / "backbone.py"))["pretrained"]().state_dict()

    kept = load_file(EXAMPLES / "data" / "backbone.safetensors")
    # Another machine's kernels round otherwise, 400 steps long.
    distance = sum(float((made[name] - kept[name]).norm()) for name in kept)
    assert made.keys() == kept.keys()
    assert distance < 0.05 * sum(float(torch.as_tensor(part).norm()) for part in kept.values())
