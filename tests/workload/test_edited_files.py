"""What a workload reads and imports is part of who it is, and runs as it stands after an edit."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.reference.user_file import write_user_file

from batchlab.workload.identity import made_model
from batchlab.workload.loading import LoadedWorkload, load_workload, with_model
from batchlab.workload.source import files_below, heard_opening


def known(reference: str, **settings: str) -> LoadedWorkload:
    """Loaded, and known by its model, which a child process makes in a command."""
    loaded = load_workload(reference, settings)
    return with_model(loaded, *made_model(lambda: loaded.workload, loaded.folder))


def width_of(loaded: LoadedWorkload) -> int:
    (weight, _) = loaded.workload.model().parameters()
    return len(weight)


HERE = "import importlib, json, numpy, pathlib\nHERE = pathlib.Path(__file__).parent\n"
READ = "json.loads((HERE / 'c.json').read_text())['width']"
SETTINGS = f"{HERE}WIDTH = {READ}\n"
MODEL = "model=lambda: nn.Linear(4, {})"
MODEL_OF_WIDTH = "model=(lambda width: lambda: nn.Linear(4, width))({})"
MODEL_AFTER = "model=lambda: ({}, nn.Linear(4, 3))[1]"
SAFETENSORS = MODEL_AFTER.format("__import__('safetensors.torch').torch.load_file(HERE / {})")
DATA = "numpy.fromfile(HERE / 'x.raw', 'float32').reshape(60, 4), torch.zeros(60).long()"


def save_npy(numbers: dict[str, torch.Tensor], file: Path) -> None:
    np.save(file, numbers["x"].numpy())


# Each file's text before and after the edit; one text if it stays; or what saves other numbers.
NEIGHBOUR = {"layers.py": ("WIDTH = 4\n", "WIDTH = 4  # edited\n")}
NEIGHBOURS = {
    "layers.py": "WIDTH = 4\ndef build():\n    from deeper import blocks\n",
    "deeper/__init__.py": "",
    "deeper/blocks.py": "from . import sizes\n",
    "deeper/sizes.py": ("DEPTH = 2\n", "DEPTH = 3\n"),
}
WIDTH = {"c.json": ('{"width": 3}', '{"width": 7}')}
# What comes before the workload, its fields, and the files.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "import": ("import layers", "", NEIGHBOUR),
    "import of a name": ("from layers import WIDTH", "", NEIGHBOUR),
    "import in a function": ("def later(): import layers", "", NEIGHBOUR),
    "neighbour of a neighbour": ("import layers", "", NEIGHBOURS),
    "settings of the file": (SETTINGS, MODEL.format("WIDTH"), WIDTH),
    "settings of the function": (HERE, MODEL_OF_WIDTH.format(READ), WIDTH),
    "settings of the model": (HERE, MODEL.format(READ), WIDTH),
    "settings of a module": (
        "import settings_of_mine",
        MODEL.format("settings_of_mine.WIDTH"),
        {**WIDTH, "settings_of_mine.py": SETTINGS},
    ),
    ".pt": (HERE, MODEL_AFTER.format("torch.load(HERE / 'w.pt')"), {"w.pt": torch.save}),
    ".npy": (HERE, MODEL_AFTER.format("numpy.load(HERE / 'w.npy')"), {"w.npy": save_npy}),
    # Opened unheard by their own library: known by the text, a setting, the folder.
    ".safetensors": (HERE, SAFETENSORS.format("'w.safetensors'"), {"w.safetensors": save_file}),
    "setting": (HERE, SAFETENSORS.format("start"), {"w.safetensors": save_file}),
    "folder": (
        HERE,
        MODEL_AFTER.format("(HERE / 'saved' / 'c.json').read_text()"),
        {"saved/c.json": "{}", "saved/w.safetensors": save_file},
    ),
    "train": (HERE, f"train=({DATA})", {"x.raw": lambda x, file: x["x"].numpy().tofile(file)}),
}


def written(folder: Path, kind: str, *, edited: bool = False) -> str:
    before, fields, files = KINDS[kind]
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if callable(content):
            x = torch.zeros(60, 4)
            x[7, 3] = 1e-30 * edited
            content({"x": x}, path)
        else:
            path.write_text(content if isinstance(content, str) else content[edited])
    return write_user_file(folder, before=before, keywords="start='none'", fields=fields)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_makes_another_workload_and_without_one_it_is_the_same(kind, tmp_path):
    reference = written(tmp_path, kind)
    settings = {"start": "w.safetensors"} if kind == "setting" else {}
    first, again = known(reference, **settings), known(reference, **settings)

    written(tmp_path, kind, edited=True)
    edited = known(reference, **settings)

    assert first.workload_id == again.workload_id != edited.workload_id
    assert width_of(edited) == (7 if kind.startswith("settings") else 3)


def test_an_edited_module_that_no_text_names_counts(tmp_path):
    """Its name is put together at run time; what another load imported does not count."""
    (tmp_path / "nets").mkdir()
    for name, text in (("__init__", ""), ("small", "WIDTH = 3\n"), ("large", "WIDTH = 8\n")):
        (tmp_path / "nets" / f"{name}.py").write_text(text)
    reference = write_user_file(
        tmp_path,
        before=HERE,
        keywords="arch='small'",
        fields=MODEL_OF_WIDTH.format("importlib.import_module(f'nets.{arch}').WIDTH"),
    )
    alone = load_workload(reference, {}).workload_id
    large = load_workload(reference, {"arch": "large"}).workload_id
    after = load_workload(reference, {}).workload_id

    (tmp_path / "nets" / "small.py").write_text("WIDTH = 19\n")
    edited = load_workload(reference, {})

    assert alone == after != edited.workload_id
    assert width_of(edited) == 19
    assert load_workload(reference, {"arch": "large"}).workload_id == large


def test_other_shapes_of_a_model_are_another_workload(tmp_path, monkeypatch):
    reference = write_user_file(tmp_path, before="import os", fields=MODEL.format("WIDTH()"))
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n\nWIDTH = lambda: int(os.environ['WIDTH_OF_MINE'])\n")

    monkeypatch.setenv("WIDTH_OF_MINE", "3")
    first, again = (known(reference).workload_id for _ in range(2))
    monkeypatch.setenv("WIDTH_OF_MINE", "4")

    assert first == again != known(reference).workload_id


@pytest.mark.parametrize(
    ("counts", "mode", "names"),
    [
        (True, "rb", ("c.json", "deep/er/c.yaml", "W.PT")),
        (False, "wb", ("c.json",)),
        (False, "rb", ("rows.csv", ".cache/c.json", "lib/site-packages/c.json", "../beside.json")),
    ],
)
def test_settings_and_weights_under_the_folder_count(counts, mode, names, tmp_path):
    for name in names:
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

        with heard_opening() as opened, path.open(mode):
            pass

        assert list(files_below(tmp_path / "here", opened)) == [name] * counts


# Modules


@pytest.mark.parametrize("is_imported", [False, True])
def test_a_file_runs_what_it_imports_as_edited_and_back_again(is_imported, tmp_path):
    (tmp_path / "layers.py").write_text("from inner import WIDTH\n")
    (tmp_path / "inner.py").write_text("WIDTH = 3\n")
    reference = write_user_file(
        tmp_path, before="import layers", fields=MODEL.format("layers.WIDTH")
    )
    if is_imported:  # by the caller, before the edit
        sys.path.insert(0, str(tmp_path))
        importlib.import_module("layers")
    known = []
    for width in (3, 17, 3):
        (tmp_path / "inner.py").write_text(f"WIDTH = {width}\n")
        loaded = load_workload(reference, {})
        known.append((width_of(loaded), loaded.workload_id))

    assert [width for width, _ in known] == [3, 17, 3]
    assert known[0] == known[2] != known[1]
