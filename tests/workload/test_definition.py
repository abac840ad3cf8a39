"""What a workload may be; what it can't is in the table refused.txt, each with the line that tells.

What the command line and the calls in Python are given as wrong is in cli/wrong_inputs.txt and
wrong_calls.txt.
"""

# ruff: noqa: F401 - the table calls what is imported here
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from tests.reference.tiny_workload import Net, loss, workload
from tests.reference.user_file import write_user_file
from torch import nn
from torch.utils import data

from batchlab.datasets.embedded import load_mnist
from batchlab.errors import BatchlabError, UsageError, WorkloadError
from batchlab.records.trial import Target
from batchlab.workload.builtin import least_squares, mnist_cnn
from batchlab.workload.data import Collated
from batchlab.workload.definition import Metric, check_has_loss
from batchlab.workload.loading import as_type_of, load_workload
from batchlab.workload.pieces import NamedOptimizer

TABLE = Path(__file__).with_name("refused.txt")
ROWS = re.findall(r"^>>> (.+)\n(.+)$", TABLE.read_text("utf-8"), re.M)
assert TABLE.read_text("utf-8").count(">>> ") == len(ROWS) > 50


def loaded(train: Any, **fields: Any) -> Any:
    return load_workload(workload(train=train, **fields), {})


ADAM = torch.optim.Adam(nn.Linear(1, 1).parameters())
ROWS_OF_3 = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2
X, Y = torch.arange(300.0).reshape(100, 3), torch.arange(100)
DATA = data.TensorDataset(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64))
NUMBERS = range(30)


@pytest.mark.parametrize(("call", "message"), ROWS, ids=[call for call, _ in ROWS])
def test_what_no_workload_can_be_is_told_in_this_line(call, message):
    with pytest.raises(BatchlabError) as caught:
        eval(call, globals())

    assert str(caught.value) == message


def test_a_loss_may_be_a_module_of_the_users_own_and_without_one_metrics_are_all_there_is():
    class Own(nn.Module):
        def forward(self, model: nn.Module, batch: Any) -> Any:
            return loss(model, batch)

    made = workload(loss=None, step=abs, metrics={"accuracy": abs})

    assert workload(loss=Own()).loss(Net(), workload().train) > 0
    assert (made.metric_names, made.takes_micro_batches) == (("accuracy",), False)


def test_what_nobody_gave_is_the_usual():
    given = workload(batch_size=64)
    usual = workload(batch_size=None, learning_rate=None)
    of_loader = workload(batch_size=None, train=data.DataLoader(DATA, batch_size=64))

    assert (usual.learning_rate, usual.batch_size, of_loader.batch_size) == (0.01, 64, 64)
    assert [each.is_usual for each in (usual, given, of_loader)] == [True, False, False]
    assert replace(usual, epochs=3).is_usual
    assert not replace(usual, batch_size=128).is_usual


# ---- files; most of what is refused stands in cli/wrong_inputs.txt


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise ValueError('no data\\nhere')\n", "ValueError: no data (odd.py, line 2)"),
        ("x = 1\nimport sys; sys.exit(3)\n", "SystemExit: 3 (odd.py, line 2)"),
        ("from .model import Net\n", "write a file outside the package"),
        ("import numpy\nnumpy.load('no.npy')\n", "no.npy"),
        ("x = 1\nclass:\n", "SyntaxError: invalid syntax (odd.py, line 2)"),
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
    """So are the modules of one name that they import."""
    known = []
    for name, width in (("same.py", 3), ("same.py", 4), ("my-train.py", 5)):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "layers.py").write_text(f"WIDTH = {width}\n")
        fields = f"learning_rate={width / 10}, model=lambda: nn.Linear(4, layers.WIDTH)"
        reference = write_user_file(folder, name=name, before="import layers", fields=fields)
        known.append(load_workload(reference, {}).workload)

    assert [one.learning_rate for one in known] == [0.3, 0.4, 0.5]
    assert [one.model().out_features for one in known] == [3, 4, 5]


# ---- settings


FIRST = {"width": ("16", 16), "rate": ("1", 1.0), "nesterov": ("true", True)}
FIRST |= {"activation": ("5", "5"), "decay": ("0.01", 0.01), "limit": ("0.5", 0.5)}


@pytest.mark.parametrize("settings", [FIRST, {"nesterov": ("0", False), "limit": ("few", "few")}])
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


def test_a_value_from_python_is_the_same_setting_as_its_text():
    given = [(0.5, 0), (1, np.int64(3)), (0.5, np.float32(0.25)), (None, True), (True, 1)]

    assert repr([as_type_of(*each, "s") for each in given]) == "[0.0, 3, 0.25, True, True]"


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
    assert load_workload(loaded.workload, {"momentum": 1}).settings == (("momentum", 1.0),)
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
