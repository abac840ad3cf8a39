"""Names, files and settings; most of what is refused stands in cli/wrong_inputs.txt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from tests.reference.user_file import write_user_file

from batchlab.errors import UsageError, WorkloadError
from batchlab.workload.loading import as_type_of, live_workload, load_workload


def refusal(reference: str, settings: dict[str, Any] | None = None) -> str:
    with pytest.raises((UsageError, WorkloadError)) as caught:
        load_workload(reference, settings or {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Names


def test_a_file_that_goes_while_it_is_loaded_is_told_in_words(tmp_path: Path) -> None:
    gone = "import os; os.unlink(__file__)\n"

    assert "mine.py could not be read (No such file" in refusal(
        write_user_file(tmp_path, before=gone)
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\nraise ValueError('no data\\nhere')\n", "ValueError: no data (odd.py, line 2)"),
        ("x = 1\nimport sys; sys.exit(3)\n", "SystemExit: 3 (odd.py, line 2)"),
        ("from .model import Net\n", ".odd import workload`, and name that file"),
        ("import numpy\nnumpy.load('no.npy')\n", "no.npy"),
    ],
)
def test_a_file_that_gives_no_workload_is_refused_with_its_line(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "odd.py").write_text(text)

    assert told in refusal(f"{tmp_path}/odd.py:workload")
    assert "raise" not in text or "odd" not in sys.modules


def test_a_file_whose_name_is_no_identifier_can_be_loaded(tmp_path: Path) -> None:
    reference = write_user_file(tmp_path, name="my-train.py")

    assert load_workload(reference, {}).workload.name == "mine"


def test_two_files_of_one_name_are_two_workloads(tmp_path: Path) -> None:
    references = []
    for rate in (0.1, 0.2):
        folder = tmp_path / str(rate)
        folder.mkdir()
        references.append(write_user_file(folder, name="same.py", fields=f"learning_rate={rate}"))

    loaded = [load_workload(reference, {}) for reference in references]

    assert [one.workload.learning_rate for one in loaded] == [0.1, 0.2]


def test_a_file_travels_by_value_so_that_an_edit_meanwhile_changes_no_trial(tmp_path: Path) -> None:
    loaded = load_workload(write_user_file(tmp_path), {})
    blob = cloudpickle.dumps(loaded.workload.loss)
    del sys.modules["mine"]
    (tmp_path / "mine.py").write_text("raise SystemExit('edited')\n")

    loss = cloudpickle.loads(blob)

    batch = tuple(part[:4] for part in loaded.workload.train)
    assert loss(loaded.workload.model(), batch).ndim == 0


# Settings


KEYWORDS = "width=8, rate=0.5, nesterov=False, activation='relu', decay: float = 0, limit=None"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "16", 16),
        ("rate", "1", 1.0),
        ("nesterov", "true", True),
        ("nesterov", "No", False),
        ("activation", "5", "5"),
        ("decay", "0.01", 0.01),
        ("limit", "0.5", 0.5),
        ("limit", "few", "few"),
    ],
)
def test_a_setting_is_read_as_the_type_of_its_default(
    tmp_path: Path, name: str, text: str, value: object
) -> None:
    reference = write_user_file(
        tmp_path, keywords=KEYWORDS, fields=f"name=repr([{name}, type({name}).__name__])"
    )

    loaded = load_workload(reference, {name: text})

    assert loaded.workload.name == repr([value, type(value).__name__])
    assert dict(loaded.settings)[name] == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("width", str(2**53), "at most 2^53 - 1"),
        ("rate", "nan", "a finite number"),
        ("nesterov", "maybe", "true or false"),
        ("limit", "nan", "a text, a finite number"),
    ],
)
def test_a_setting_of_another_type_is_refused(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    reference = write_user_file(tmp_path, keywords=KEYWORDS)

    message = refusal(reference, {name: text})

    assert f"setting {name}={text}: expected " in message
    assert expected in message


@pytest.mark.parametrize(
    ("default", "value", "found"),
    [(0.5, 0, 0.0), (1, np.int64(3), 3), (0.5, np.float32(0.25), 0.25), (None, True, True)],
)
def test_a_value_from_python_is_the_same_setting_as_its_text(
    default: Any, value: Any, found: object
) -> None:
    assert repr(as_type_of(default, value, "s")) == repr(found)


@pytest.mark.parametrize(
    ("default", "value"), [(1, 0.5), (1, True), ("a", 3), (True, 1), (None, [1]), (0.5, None)]
)
def test_a_value_from_python_of_another_type_is_refused(default: Any, value: Any) -> None:
    with pytest.raises(UsageError, match="setting s="):
        as_type_of(default, value, "s")


@pytest.mark.slow
def test_all_settings_with_the_values_used_are_kept_in_the_order_of_their_names() -> None:
    loaded = load_workload("mnist-softmax", {"momentum": "0.5"})

    names = [name for name, _ in loaded.settings]
    assert names == sorted(names)
    assert dict(loaded.settings)["momentum"] == 0.5
    assert len(names) > 1


@pytest.mark.parametrize(
    "fields", ["", "optimizer=torch.optim.SGD"], ids=["function", "class of torch"]
)
def test_a_setting_of_the_optimizer_is_passed_to_it_by_keyword(tmp_path: Path, fields: str) -> None:
    reference = write_user_file(tmp_path, fields=fields)

    loaded = load_workload(reference, {"momentum": "0.75"})

    assert loaded.workload.optimizer is not None
    (group,) = loaded.workload.optimizer([torch.nn.Parameter(torch.zeros(1))], 0.1).param_groups
    assert (group["momentum"], group["lr"]) == (0.75, 0.1)
    assert loaded.settings == (("momentum", 0.75),)
    assert live_workload(loaded.workload, {"momentum": 1}).settings == (("momentum", 1.0),)
    assert "no setting 'lr'" in refusal(reference, {"lr": "0.3"})  # it is given by position


def test_an_unknown_setting_is_refused_with_the_nearest_and_all_possible_ones(
    tmp_path: Path,
) -> None:
    reference = write_user_file(tmp_path, keywords="width=8")

    message = refusal(reference, {"momentun": "0.3"})

    assert (
        "no setting 'momentun'; did you mean 'momentum'? it has momentum, schedule, width"
        in message
    )


def test_any_workload_takes_a_schedule_by_name(tmp_path: Path) -> None:
    reference = write_user_file(tmp_path)

    plain = load_workload(reference, {})
    cooled = load_workload(reference, {"schedule": "wsd"})

    assert cooled.workload.schedule is not None
    rates = [cooled.workload.schedule(k / 10) for k in (0, 5, 7, 9, 10)]
    assert rates == pytest.approx([1, 1, 1, 0.5, 0])
    assert cooled.settings == (("schedule", "wsd"),)
    assert cooled.workload_id != plain.workload_id
    with pytest.raises(WorkloadError, match="schedule='cosine' is not a choice; give one of wsd"):
        load_workload(reference, {"schedule": "cosine"})


# Directions and data are refused when the workload is made


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("metrics={'specificity': accuracy}", "does not tell whether it goes up or down; give"),
        ("metrics={'f1': batchlab.Metric(sum=accuracy, better='up')}", "better='up'"),
        ("train=(i for i in range(9))", "train is of type generator without a length"),
        ("model=nn.Linear(4, 3)(torch.zeros(4))", "model is a Tensor"),
    ],
)
def test_a_workload_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, fields: str, told: str
) -> None:
    assert told in refusal(write_user_file(tmp_path, fields=fields))
