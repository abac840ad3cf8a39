"""Names, files and settings; most of what is refused stands in cli/wrong_inputs.txt."""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from tests.reference.user_file import write_user_file

from batchlab.errors import UsageError, WorkloadError
from batchlab.workload.loading import as_type_of, live_workload, load_workload

# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise ValueError('no data\\nhere')\n", "ValueError: no data (odd.py, line 2)"),
        ("x = 1\nimport sys; sys.exit(3)\n", "SystemExit: 3 (odd.py, line 2)"),
        ("from .model import Net\n", ".odd import workload`, and name that file"),
        ("import numpy\nnumpy.load('no.npy')\n", "no.npy"),
        (
            "import os; os.unlink(__file__)\ndef workload(): pass\n",
            "odd.py could not be read (No such file",
        ),
    ],
)
def test_a_file_that_gives_no_workload_is_refused_with_its_line(text, message, tmp_path):
    (tmp_path / "odd.py").write_text(text)

    with pytest.raises(WorkloadError) as caught:
        load_workload(f"{tmp_path}/odd.py:workload", {})

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "raise" not in text or "odd" not in sys.modules


def test_files_of_one_name_or_one_that_is_no_identifier_are_workloads_of_their_own(tmp_path):
    loaded = []
    for name, rate in (("same.py", 0.1), ("same.py", 0.2), ("my-train.py", 0.3)):
        folder = tmp_path / str(rate)
        folder.mkdir()
        reference = write_user_file(folder, name=name, fields=f"learning_rate={rate}")
        loaded.append(load_workload(reference, {}))

    assert [one.workload.learning_rate for one in loaded] == [0.1, 0.2, 0.3]


def test_a_file_travels_by_value_so_that_an_edit_meanwhile_changes_no_trial(tmp_path):
    workload = load_workload(write_user_file(tmp_path), {}).workload
    blob = cloudpickle.dumps(workload.loss)
    del sys.modules["mine"]
    (tmp_path / "mine.py").write_text("raise SystemExit('edited')\n")

    loss = cloudpickle.loads(blob)

    assert loss(workload.model(), workload.train).ndim == 0


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {
            "width": ("16", 16),
            "rate": ("1", 1.0),
            "nesterov": ("true", True),
            "activation": ("5", "5"),
            "decay": ("0.01", 0.01),
            "limit": ("0.5", 0.5),
        },
        {"nesterov": ("No", False), "limit": ("few", "few")},
    ],
)
def test_a_setting_is_read_as_the_type_of_its_default(settings, tmp_path):
    keywords = "width=8, rate=0.5, nesterov=False, activation='relu', decay: float = 0, limit=None"
    fields = f"name=repr([{', '.join(settings)}])"
    reference = write_user_file(tmp_path, keywords=keywords, fields=fields)

    loaded = load_workload(reference, {name: text for name, (text, _) in settings.items()})

    values = {name: value for name, (_, value) in settings.items()}
    assert loaded.workload.name == repr(list(values.values()))
    assert dict(loaded.settings).items() >= values.items()
    names = [name for name, _ in loaded.settings]
    assert names == ["activation", "decay", "limit", "nesterov", "rate", "width"]


@pytest.mark.parametrize(
    ("default", "value", "setting"),
    [(0.5, 0, 0.0), (1, np.int64(3), 3), (0.5, np.float32(0.25), 0.25), (None, True, True)],
)
def test_a_value_from_python_is_the_same_setting_as_its_text(default, value, setting):
    assert repr(as_type_of(default, value, "s")) == repr(setting)


@pytest.mark.parametrize(
    "fields", ["", "optimizer=torch.optim.SGD"], ids=["function", "class of torch"]
)
def test_a_setting_of_the_optimizer_is_passed_to_it_by_keyword(fields, tmp_path):
    reference = write_user_file(tmp_path, fields=fields)

    loaded = load_workload(reference, {"momentum": "0.75"})

    optimizer: Any = loaded.workload.optimizer
    (group,) = optimizer([torch.nn.Parameter(torch.zeros(1))], 0.1).param_groups
    assert (group["momentum"], group["lr"]) == (0.75, 0.1)
    assert loaded.settings == (("momentum", 0.75),)
    assert live_workload(loaded.workload, {"momentum": 1}).settings == (("momentum", 1.0),)
    with pytest.raises(UsageError, match="no setting 'lr'"):  # it is given by position
        load_workload(reference, {"lr": "0.3"})


def test_any_workload_takes_a_schedule_by_name(tmp_path):
    reference = write_user_file(tmp_path)

    plain = load_workload(reference, {})
    cooled = load_workload(reference, {"schedule": "wsd"})

    rates = list(map(cooled.workload.schedule, (0, 0.5, 0.7, 0.9, 1)))
    assert rates == pytest.approx([1, 1, 1, 0.5, 0])
    assert cooled.settings == (("schedule", "wsd"),)
    assert cooled.workload_id != plain.workload_id
