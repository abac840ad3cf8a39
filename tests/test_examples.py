"""The examples: whole, short, and run as a reader would run them."""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.app.conftest import timed_at_once
from tests.reference.by_day import by_day
from tests.reference.example_commands import EXAMPLES, NAMES, REAL, commands, understood

from batchlab.app.subjects import WorkloadSubject
from batchlab.cli import main as cli
from batchlab.script.command import TrainingCommand

# Kinds of data that not everybody has, and other ways to train than plain steps on a loss.
UNUSUAL = (
    *("buckets", "memory_map", "stream", "whole_set"),
    *("clip", "clipping", "ema", "gan", "grad_scaler", "pinn", "sam"),
)
OF_COMMANDS = ("hugging_face", "keras_fit", "lightning_trainer", "plain_pytorch", "two_lines")
# What each growing run needs, and its first rate.
GROWING = {
    "plain": ((), 0.01),
    "on_accelerate": (("accelerate",), 0.01),
    "on_lightning": (("lightning",), 0.01),
    "on_keras": (("keras",), 0.01),
    "on_transformers": (("transformers", "accelerate"), 0.001),
}


@pytest.mark.parametrize("name", [*NAMES, *(f"commands/{name}" for name in OF_COMMANDS)])
def test_an_example_is_short_and_says_how_to_ask_about_it(name):
    found = commands(name)

    n_lines = len((EXAMPLES / f"{name}.py").read_text().splitlines())
    assert n_lines <= (40 if name in UNUSUAL else 60)
    for words in found:  # that they are understood; the night runs them
        given = understood(words)
        if name in NAMES:
            continue
        cut = words.index("--")
        assert words[cut + 1 : cut + 3] == ["python", f"examples/{name}.py"]
        TrainingCommand(
            arguments=words[cut + 1 :], metric=given["metric"], learning_rate=given["learning_rate"]
        )
    if name in NAMES:
        asked = f"examples/{name}.py:workload"
        assert [line[:2] for line in found] == [["advise", asked], ["sweep", asked]]
    assert found[0 if name in NAMES else -1][0] == "advise"


@pytest.mark.parametrize("name", REAL)
def test_a_real_example_is_short_and_asks_for_a_gpu_or_a_tiny_form(name):
    on_gpu, tiny = map(understood, commands(name))

    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 80
    assert on_gpu["device"] == "cuda"
    assert dict(on_gpu["settings"]) == {"precision": "bf16"}
    assert tiny["settings"]
    assert tiny["budget"] == 120


# A kind of data, a way to train, and a real workload in its tiny form; the night runs all of them.
@pytest.mark.slow
@pytest.mark.parametrize("name", by_day([*NAMES, *REAL], ["stream", "grad_scaler", "real/unet"]))
def test_an_example_is_swept(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(WorkloadSubject, "timed", timed_at_once)
    modules = set(sys.modules)
    words = ["sweep", f"{EXAMPLES}/{name}.py:workload", "--batch-sizes", "16,64", "--steps", "10"]
    if name in REAL:
        for setting in understood(commands(name)[1])["settings"].items():
            words += ["--set", "=".join(setting)]

    code = cli._exit_code([*words, "--json"], started_s=time.monotonic())

    for module in {*NAMES, "backbone", "gpt"} - modules:
        sys.modules.pop(module, None)
    said = capsys.readouterr()
    assert code == 0, said.err
    swept = json.loads(said.out)
    assert [trial["status"] for trial in swept["trials"]] == ["ok", "ok"]
    for trial in swept["trials"]:
        assert set(trial["final"]["validation"]) == set(swept["workload"]["metrics"])
        assert None not in trial["final"]["validation"].values()


def printed(script: Path, *arguments: str, folder: Path, **environment: str) -> tuple[str, str]:
    outside = {name: value for name, value in os.environ.items() if "BATCHLAB" not in name}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=outside | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_the_two_lines_say_nothing_outside_a_study(tmp_path):
    script = EXAMPLES / "commands" / "two_lines.py"

    assert printed(script, "--batch-size=1000", "--epochs=1", folder=tmp_path) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(GROWING, ["plain"]))
def test_it_takes_the_steps_of_the_plan_at_its_rates(name, tmp_path):
    needed, rate = GROWING[name]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install {' '.join(needed)}")

    environment = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    said, _ = printed(EXAMPLES / "growing" / f"{name}.py", folder=tmp_path, **environment)

    # From 8 to 32 examples, as the root: twice the rate.
    assert said.splitlines()[-1] == f"39 steps of 39, the last at rate {2 * rate:g}"


@pytest.mark.nightly
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
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


def test_what_is_kept_beside_the_examples_is_what_their_scripts_write():
    made = runpy.run_path(str(EXAMPLES / "data" / "friedman.py"))
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert "\n".join(made["rows"]()) + "\n" == (EXAMPLES / "data" / "friedman.csv").read_text()
    # The notebook is kept without what it showed.
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
