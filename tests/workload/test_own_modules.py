"""An edited module of the user's: the code that is run and the identity change together."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.reference.handed_over import workload
from tests.reference.user_file import write_user_file

from batchlab.errors import EditedError
from batchlab.workload.loading import LoadedWorkload, live_workload, load_workload


@pytest.fixture(autouse=True)
def imports_left_as_they_were() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in ("mine", "layers", "inner"):
        sys.modules.pop(name, None)


def width_of(loaded: LoadedWorkload) -> int:
    (weight, _) = loaded.workload.model().parameters()
    return int(weight.shape[0])


@pytest.fixture
def reference(tmp_path: Path) -> str:
    """A file that imports `layers`, which imports `inner`, which says how wide the model is."""
    (tmp_path / "layers.py").write_text("from inner import WIDTH\n")
    (tmp_path / "inner.py").write_text("WIDTH = 3\n")
    return write_user_file(
        tmp_path, before="import layers", fields="model=lambda: nn.Linear(4, layers.WIDTH)"
    )


def test_a_file_loaded_again_after_an_edit_of_what_it_imports_runs_the_edited_code(
    reference: str, tmp_path: Path
) -> None:
    first = load_workload(reference, {})

    (tmp_path / "inner.py").write_text("WIDTH = 7\n")  # as long, perhaps in the same second
    second = load_workload(reference, {})

    assert (width_of(first), width_of(second)) == (3, 7)
    assert first.workload_id != second.workload_id


def test_an_edit_that_is_taken_back_gives_the_first_workload_again(
    reference: str, tmp_path: Path
) -> None:
    first = load_workload(reference, {})
    for text in ("WIDTH = 7\n", "WIDTH = 3\n"):
        (tmp_path / "inner.py").write_text(text)
        last = load_workload(reference, {})

    assert (width_of(last), last.workload_id) == (3, first.workload_id)


def test_modules_that_nobody_edited_are_not_run_again(reference: str) -> None:
    first = load_workload(reference, {}).workload_id
    layers = sys.modules["layers"]

    assert load_workload(reference, {}).workload_id == first
    assert sys.modules["layers"] is layers


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


def test_a_live_workload_with_code_that_was_edited_since_its_import_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "layers.py").write_text(LAYERS)
    live(tmp_path)
    (tmp_path / "layers.py").write_text(LAYERS.replace("(3, 2)", "(3, 2, False)"))

    with pytest.raises(EditedError, match=r"layers\.py was edited since it was imported"):
        live(tmp_path)


def test_a_live_workload_with_code_that_was_reloaded_after_the_edit_is_another_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "layers.py").write_text(LAYERS)
    first = live(tmp_path).workload_id
    (tmp_path / "layers.py").write_text(LAYERS.replace("(3, 2)", "(3, 2, False)"))

    importlib.reload(sys.modules["layers"])

    assert live(tmp_path).workload_id != first
