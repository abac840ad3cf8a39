"""What a workload reads and imports is part of who it is, and runs as it stands after an edit."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.reference import packed_functions
from tests.reference.handed_over import workload
from tests.reference.user_file import write_user_file

from batchlab.errors import EditedError
from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import PackedWorkload, with_seen_model
from batchlab.workload.identity import made_model
from batchlab.workload.loading import LoadedWorkload, live_workload, load_workload, with_model
from batchlab.workload.source import files_below, heard_opening


def known(reference: str, **settings: str) -> LoadedWorkload:
    """Loaded, and known by its model, which a child process makes in a command."""
    loaded = load_workload(reference, settings)
    return with_model(loaded, made_model(lambda: loaded.workload, loaded.folder))


def width_of(loaded: LoadedWorkload) -> int:
    (weight, _) = loaded.workload.model().parameters()
    return len(weight)


HERE = "import importlib, json, pathlib\nHERE = pathlib.Path(__file__).parent\n"
READ = "json.loads((HERE / 'c.json').read_text())['width']"
SETTINGS = f"{HERE}WIDTH = {READ}\n"
MODEL = "model=lambda: nn.Linear(4, {})"
MODEL_OF_WIDTH = "model=(lambda width: lambda: nn.Linear(4, width))({})"


def configured(folder: Path, where: str) -> str:
    """A workload whose width stands in `c.json`, which is read at one of four places."""
    (folder / "c.json").write_text(json.dumps({"width": 3}))
    (folder / "settings_of_mine.py").write_text(SETTINGS)
    before, fields = {
        "file": (SETTINGS, MODEL.format("WIDTH")),
        "function": (HERE, MODEL_OF_WIDTH.format(READ)),
        "model": (HERE, MODEL.format(READ)),
        "module": ("import settings_of_mine", MODEL.format("settings_of_mine.WIDTH")),
    }[where]
    return write_user_file(folder, before=before, fields=fields)


@pytest.mark.parametrize("where", ["file", "function", "model", "module"])
def test_an_edited_configuration_is_another_workload_and_the_same_one_is_the_same(where, tmp_path):
    reference = configured(tmp_path, where)
    first, again = known(reference), known(reference)

    (tmp_path / "c.json").write_text(json.dumps({"width": 7}))
    edited = known(reference)

    assert first.workload_id == again.workload_id != edited.workload_id
    assert (width_of(again), width_of(edited)) == (3 if where != "model" else 7, 7)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["model", "module"])
def test_a_child_refuses_an_edited_configuration_that_it_reads_itself(where, tmp_path):
    loaded = with_seen_model(load_workload(configured(tmp_path, where), {}), timeout_s=60.0)
    packed = PackedWorkload(loaded.workload, files=loaded.files)
    (tmp_path / "c.json").write_text(json.dumps({"width": 7}))

    with pytest.raises(EditedError, match=r"^c\.json was edited since this study began"):
        run_in_child(packed_functions.first_loss, packed, timeout_s=60.0)


def save_numpy(numbers: dict[str, torch.Tensor], file: Path) -> None:
    np.save(file, numbers["x"].numpy())


LOAD = "__import__('safetensors.torch').torch.load_file(HERE / {})"


@pytest.mark.parametrize(
    ("name", "save", "read", "start"),
    [
        ("w.pt", torch.save, "torch.load(HERE / 'w.pt')", "none"),
        ("w.npy", save_numpy, "__import__('numpy').load(HERE / 'w.npy')", "none"),
        # Opened unheard by their own library: known by the text, a setting, the folder.
        ("w.safetensors", save_file, LOAD.format("'w.safetensors'"), "none"),
        ("w.safetensors", save_file, LOAD.format("start"), "w.safetensors"),
        ("saved/w.safetensors", save_file, "(HERE / 'saved' / 'c.json').read_text()", "none"),
    ],
)
def test_weights_that_the_model_begins_with_count(name, save, read, start, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "c.json").write_text("{}")
    model = f"model=lambda: ({read}, nn.Linear(4, 3))[1]"
    reference = write_user_file(tmp_path, before=HERE, keywords="start=''", fields=model)
    save({"x": torch.zeros(3)}, tmp_path / name)
    first, again = known(reference, start=start), known(reference, start=start)

    save({"x": torch.ones(3)}, tmp_path / name)

    assert first.workload_id == again.workload_id != known(reference, start=start).workload_id


def test_an_edited_module_that_no_text_names_counts_and_what_another_load_imported_does_not(
    tmp_path,
):
    """A network is imported by a name put together at run time."""
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

    (tmp_path / "nets" / "small.py").write_text("WIDTH = 9\n")
    edited = load_workload(reference, {})

    assert alone == after != edited.workload_id
    assert width_of(edited) == 9
    assert load_workload(reference, {"arch": "large"}).workload_id == large


def test_other_shapes_of_a_model_are_another_workload_wherever_they_come_from(
    tmp_path, monkeypatch
):
    reference = write_user_file(tmp_path, before="import os", fields=MODEL.format("WIDTH()"))
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n\nWIDTH = lambda: int(os.environ['WIDTH_OF_MINE'])\n")

    identities = []
    for width in ("3", "3", "4"):
        monkeypatch.setenv("WIDTH_OF_MINE", width)
        identities.append(known(reference).workload_id)

    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize(
    ("name", "mode", "counts"),
    [
        ("c.json", "rb", True),
        ("deep/er/c.yaml", "rb", True),
        ("W.PT", "rb", True),
        ("c.json", "wb", False),
        ("rows.csv", "rb", False),
        (".cache/c.json", "rb", False),
        ("lib/site-packages/c.json", "rb", False),
        ("../beside.json", "rb", False),
    ],
)
def test_configurations_and_weights_that_are_read_under_the_folder_count(
    name, mode, counts, tmp_path
):
    path = tmp_path / "here" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    with heard_opening() as opened, path.open(mode):
        pass

    assert list(files_below(tmp_path / "here", opened)) == ([name] if counts else [])


def test_nothing_is_heard_outside_and_a_file_that_is_gone_does_not_count(tmp_path):
    (tmp_path / "c.json").touch()
    with heard_opening() as opened:
        os.close(os.open(tmp_path / "c.json", os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            (tmp_path / "none.json").open()
    (tmp_path / "d.json").touch()
    (tmp_path / "d.json").read_text()

    assert list(files_below(tmp_path, opened)) == ["c.json"]


# Modules


@pytest.fixture
def reference(tmp_path: Path) -> str:
    """A file that imports `layers`, which imports `inner`, which says how wide the model is."""
    (tmp_path / "layers.py").write_text("from inner import WIDTH\n")
    (tmp_path / "inner.py").write_text("WIDTH = 3\n")
    return write_user_file(tmp_path, before="import layers", fields=MODEL.format("layers.WIDTH"))


@pytest.mark.parametrize("is_imported", [False, True])
def test_a_file_loaded_after_an_edit_of_what_it_imports_runs_the_edited_code_and_back_again(
    is_imported, reference, tmp_path
):
    if is_imported:  # by the caller, before the edit
        sys.path.insert(0, str(tmp_path))
        importlib.import_module("layers")
    widths, identities = [], []
    for width in (3, 7, 3):
        (tmp_path / "inner.py").write_text(f"WIDTH = {width}\n")  # as long, in the same second
        loaded = load_workload(reference, {})
        widths.append(width_of(loaded))
        identities.append(loaded.workload_id)

    assert widths == [3, 7, 3]
    assert identities[0] == identities[2] != identities[1]


def test_a_module_of_the_same_name_from_another_folder_is_not_taken_for_it(tmp_path):
    widths = []
    for width in (3, 4):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "layers.py").write_text(f"WIDTH = {width}\n")
        fields = MODEL.format("layers.WIDTH")
        reference = write_user_file(folder, before="import layers", fields=fields)
        widths.append(width_of(load_workload(reference, {})))

    assert widths == [3, 4]


LAYERS = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
"""


def test_a_live_workload_with_code_edited_since_its_import_is_refused_and_reloaded_another_one(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)

    def live() -> str:
        layers: Any = importlib.import_module("layers")
        return live_workload(workload(model=layers.Net), {}).workload_id

    (tmp_path / "layers.py").write_text(LAYERS)
    first = live()
    (tmp_path / "layers.py").write_text(LAYERS.replace("(3, 2)", "(3, 2, False)"))

    with pytest.raises(EditedError, match=r"layers\.py was edited since it was imported"):
        live()
    importlib.reload(sys.modules["layers"])

    assert live() != first
