"""What a workload reads and imports is part of who it is, and runs as it stands after an edit."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
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
from batchlab.workload.builtin import workload_names
from batchlab.workload.identity import made_model
from batchlab.workload.loading import LoadedWorkload, live_workload, load_workload, with_model
from batchlab.workload.source import files_below, heard_opening

ROOT = Path(__file__).parents[2]


def known(reference: str, **settings: str) -> LoadedWorkload:
    """Loaded, and known by its model, which a child process makes in a command."""
    loaded = load_workload(reference, settings)
    assert loaded.folder is not None
    return with_model(loaded, made_model(lambda: loaded.workload, loaded.folder))


def width_of(loaded: LoadedWorkload) -> int:
    (weight, _) = loaded.workload.model().parameters()
    return int(weight.shape[0])


HERE = "import importlib, json, pathlib\nHERE = pathlib.Path(__file__).parent\n"
READ = "json.loads((HERE / 'c.json').read_text())['width']"
SETTINGS = f"{HERE}WIDTH = {READ}\n"
MODEL = "model=lambda: nn.Linear(4, {})"


def configured(folder: Path, where: str) -> str:
    """A workload whose width stands in `c.json`, which is read at one of four places."""
    (folder / "c.json").write_text(json.dumps({"width": 3}))
    (folder / "settings_of_mine.py").write_text(SETTINGS)
    in_function = "model=(lambda width: lambda: nn.Linear(4, width))({})"
    before, fields = {
        "file": (f"{HERE}WIDTH = {READ}", MODEL.format("WIDTH")),
        "function": (HERE, in_function.format(READ)),
        "model": (HERE, MODEL.format(READ)),
        "module": ("import settings_of_mine", MODEL.format("settings_of_mine.WIDTH")),
    }[where]
    return write_user_file(folder, before=before, fields=fields)


@pytest.mark.parametrize("where", ["file", "function", "model", "module"])
def test_an_edited_configuration_is_another_workload_and_the_same_one_is_the_same(
    where: str, tmp_path: Path
) -> None:
    reference = configured(tmp_path, where)
    first, again = known(reference), known(reference)

    (tmp_path / "c.json").write_text(json.dumps({"width": 7}))
    edited = known(reference)

    assert first.workload_id == again.workload_id != edited.workload_id
    assert (width_of(again), width_of(edited)) == (3 if where != "model" else 7, 7)


def save_numpy(numbers: dict[str, torch.Tensor], file: Path) -> None:
    np.save(file, numbers["x"].numpy())


LOAD = "__import__('safetensors.torch').torch.load_file(HERE / {})"


@pytest.mark.parametrize(
    ("name", "save", "read", "settings"),
    [
        ("w.pt", torch.save, "torch.load(HERE / 'w.pt')", {}),
        ("w.npy", save_numpy, "__import__('numpy').load(HERE / 'w.npy')", {}),
        # Opened unheard by their own library: known by the text, a setting, the folder.
        ("w.safetensors", save_file, LOAD.format("'w.safetensors'"), {}),
        ("w.safetensors", save_file, LOAD.format("start"), {"start": "w.safetensors"}),
        ("saved/w.safetensors", save_file, "(HERE / 'saved' / 'c.json').read_text()", {}),
    ],
)
def test_weights_that_the_model_begins_with_count(
    name: str, save: Any, read: str, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "c.json").write_text("{}")
    model = f"model=lambda: ({read}, nn.Linear(4, 3))[1]"
    reference = write_user_file(tmp_path, before=HERE, keywords="start='none'", fields=model)
    save({"x": torch.zeros(3)}, tmp_path / name)
    first, again = (known(reference, **settings).workload_id for _ in range(2))

    save({"x": torch.ones(3)}, tmp_path / name)

    assert first == again != known(reference, **settings).workload_id


def dynamic(folder: Path) -> str:
    """A workload whose network is imported by a name put together at run time."""
    (folder / "nets").mkdir()
    for name, text in (("__init__", ""), ("small", "WIDTH = 3\n"), ("large", "WIDTH = 8\n")):
        (folder / "nets" / f"{name}.py").write_text(text)
    return write_user_file(
        folder,
        before=HERE,
        keywords="arch='small'",
        fields="model=(lambda w: lambda: nn.Linear(4, w))"
        "(importlib.import_module(f'nets.{arch}').WIDTH)",
    )


def test_an_edited_module_that_no_text_names_counts_and_what_another_load_imported_does_not(
    tmp_path: Path,
) -> None:
    reference = dynamic(tmp_path)
    alone = load_workload(reference, {}).workload_id
    large = load_workload(reference, {"arch": "large"}).workload_id
    after = load_workload(reference, {}).workload_id

    (tmp_path / "nets" / "small.py").write_text("WIDTH = 9\n")
    edited = load_workload(reference, {})

    assert alone == after != edited.workload_id
    assert width_of(edited) == 9
    assert load_workload(reference, {"arch": "large"}).workload_id == large


@pytest.mark.parametrize("where", ["model", "module"])
def test_a_child_refuses_an_edited_configuration_that_it_reads_itself(
    where: str, tmp_path: Path
) -> None:
    loaded = with_seen_model(load_workload(configured(tmp_path, where), {}), timeout_s=60.0)
    packed = PackedWorkload(loaded.workload, files=loaded.files)
    (tmp_path / "c.json").write_text(json.dumps({"width": 7}))

    with pytest.raises(EditedError, match=r"^c\.json was edited since this study began"):
        run_in_child(packed_functions.first_loss, packed, timeout_s=60.0)


def test_other_shapes_of_a_model_are_another_workload_wherever_they_come_from(
    tmp_path: Path,
) -> None:
    def identity(width: str) -> str:
        fields = "model=lambda: nn.Linear(4, int(__import__('os').environ['WIDTH_OF_MINE']))"
        os.environ["WIDTH_OF_MINE"] = width
        return known(write_user_file(tmp_path, fields=fields)).workload_id

    try:
        assert identity("3") == identity("3") != identity("4")
    finally:
        del os.environ["WIDTH_OF_MINE"]


# Which files


def opened_by(folder: Path, path: Path, mode: str = "rb") -> list[str]:
    with heard_opening() as opened, path.open(mode):
        pass
    return list(files_below(folder, opened))


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
    name: str, mode: str, counts: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    assert opened_by(folder, path, mode) == ([name] if counts else [])


def test_nothing_is_heard_outside_and_a_file_that_is_gone_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "c.json").touch()
    with heard_opening() as opened:
        os.close(os.open(tmp_path / "c.json", os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            (tmp_path / "none.json").open()
    (tmp_path / "d.json").touch()
    (tmp_path / "d.json").read_text()

    assert list(files_below(tmp_path, opened)) == ["c.json"]


# The same again


def identities_here() -> list[str]:
    """What each built-in workload and example is known by, loaded twice."""
    files = [f"{path}:workload" for path in sorted((ROOT / "examples").glob("*.py"))]
    found = []
    for name in (*workload_names(), *files):
        if name in files and "def workload" not in Path(name[: -len(":workload")]).read_text():
            continue
        twice = {known(name).workload_id for _ in range(2)}
        found.append(" ".join((name, *twice)))
    return found


@pytest.mark.slow
def test_every_built_in_workload_and_example_is_the_same_in_two_loads_and_two_processes() -> None:
    code = "from tests.workload.test_edited_files import *; print(*identities_here(), sep='\\n')"

    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    here = identities_here()
    assert here == there.stdout.splitlines()
    assert {len(line.split()) for line in here} == {2}
    assert len(here) > 15


@pytest.fixture
def reference(tmp_path: Path) -> str:
    """A file that imports `layers`, which imports `inner`, which says how wide the model is."""
    (tmp_path / "layers.py").write_text("from inner import WIDTH\n")
    (tmp_path / "inner.py").write_text("WIDTH = 3\n")
    return write_user_file(
        tmp_path, before="import layers", fields="model=lambda: nn.Linear(4, layers.WIDTH)"
    )


def test_a_file_loaded_after_an_edit_of_what_it_imports_runs_the_edited_code_and_back_again(
    reference: str, tmp_path: Path
) -> None:
    first = load_workload(reference, {})

    (tmp_path / "inner.py").write_text("WIDTH = 7\n")  # as long, perhaps in the same second
    second = load_workload(reference, {})
    (tmp_path / "inner.py").write_text("WIDTH = 3\n")
    last = load_workload(reference, {})

    assert [width_of(each) for each in (first, second, last)] == [3, 7, 3]
    assert first.workload_id == last.workload_id != second.workload_id


def test_a_module_that_the_caller_imported_before_an_edit_is_run_again(
    reference: str, tmp_path: Path
) -> None:
    sys.path.insert(0, str(tmp_path))
    importlib.import_module("layers")

    (tmp_path / "inner.py").write_text("WIDTH = 7\n")

    assert width_of(load_workload(reference, {})) == 7


def test_a_module_of_the_same_name_from_another_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    widths = []
    for width in (3, 4):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "layers.py").write_text(f"WIDTH = {width}\n")
        fields = "model=lambda: nn.Linear(4, layers.WIDTH)"
        reference = write_user_file(folder, before="import layers", fields=fields)
        widths.append(width_of(load_workload(reference, {})))

    assert widths == [3, 4]


def live(tmp_path: Path) -> LoadedWorkload:
    sys.path.insert(0, str(tmp_path))
    layers: Any = importlib.import_module("layers")
    return live_workload(workload(model=layers.Net), {})


LAYERS = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
"""


def test_a_live_workload_with_code_edited_since_its_import_is_refused_and_reloaded_another_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "layers.py").write_text(LAYERS)
    first = live(tmp_path).workload_id
    (tmp_path / "layers.py").write_text(LAYERS.replace("(3, 2)", "(3, 2, False)"))

    with pytest.raises(EditedError, match=r"layers\.py was edited since it was imported"):
        live(tmp_path)
    importlib.reload(sys.modules["layers"])

    assert live(tmp_path).workload_id != first
