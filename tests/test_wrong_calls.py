"""The table of wrong calls in Python: each is told in the one line that stands here.

What is wrong in a workload itself is in tests/workload: test_definition and test_given_data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.reference.tiny_workload import tiny
from torch import nn

import batchlab
from batchlab.errors import BatchlabError

TIME = "expected a time above 0, such as 90s, 5m or 1h30m"
WHOLE = "expected a whole number of at least 1"
RATE = "expected a finite number above 0, such as 0.01"
SIZE = "for workload 'tiny': expected 1 to 100, the size of its training set; use 'full' for all"
ROWS: list[tuple[str, dict[str, Any], str]] = [
    (
        "sweep",
        {"workload": "mnist-mpl"},
        "unknown workload 'mnist-mpl'; did you mean 'mnist-mlp'? built in are least-squares, "
        "mnist-mlp, mnist-softmax, moby-dick; your own is named path/file.py:name",
    ),
    (
        "sweep",
        {"workload": tiny},
        "workload is the function tiny; give what it returns: tiny()",
    ),
    (
        "advise",
        {"workload": nn.Linear(2, 2)},
        "workload is a model (Linear); give a batchlab.Workload, which has its data, loss and "
        "optimizer too",
    ),
    (
        "profile",
        {"workload": None},
        "workload is None; expected a batchlab.Workload, a built-in name or path/file.py:name",
    ),
    ("sweep", {"lr": 0.1}, "batchlab.sweep has no argument 'lr'; did you mean 'learning_rates'?"),
    *(
        (
            "advise",
            {name: 0.1},
            f"batchlab.advise has no argument {name!r}. advise finds the learning rate of each "
            "batch size itself. The rate that you train with now belongs in the workload: "
            "Workload(learning_rate=...)",
        )
        for name in ("lr", "learning_rate", "learning_rates")
    ),
    (
        "profile",
        {"memory_limit": 2**30},
        "batchlab.profile has no argument 'memory_limit'; did you mean 'memory_limit_bytes'?",
    ),
    (
        "check",
        {"xyz": 1},
        "batchlab.check has no argument 'xyz'; it has workload, settings, device, budget, "
        "reserved_s",
    ),
    ("sweep", {"batch_sizes": [500]}, f"batch size 500 {SIZE} of it in one batch"),
    ("advise", {"batch_sizes": [500]}, f"batch size 500 {SIZE} of it in one batch"),
    ("profile", {"batch_sizes": [0]}, f"batch size 0 {SIZE} of it in one batch"),
    ("sweep", {"batch_sizes": [1.5]}, "batch size 1.5: expected a whole number, or 'full'"),
    ("sweep", {"batch_sizes": ["64"]}, "batch size '64': expected a whole number, or 'full'"),
    (
        "sweep",
        {"batch_sizes": 64},
        "batch sizes 64: expected several, such as (64, 256, 'full')",
    ),
    (
        "sweep",
        {"batch_sizes": "64,256"},
        "batch sizes '64,256': expected several, such as (64, 256, 'full')",
    ),
    (
        "sweep",
        {"batch_sizes": []},
        "no batch size was given; give some, such as (64, 256, 'full')",
    ),
    (
        "sweep",
        {"batch_sizes": [True]},
        "batch size True: expected a whole number, or 'full'",
    ),
    ("sweep", {"micro_batch_size": 0}, f"micro-batch size 0: {WHOLE}"),
    (
        "sweep",
        {"batch_sizes": [20], "micro_batch_size": 21},
        "micro-batch size 21 with batch size 20: expected 1 to 20; give a smaller one, or only "
        "batch sizes of at least 21",
    ),
    (
        "sweep",
        {"workload": tiny(learning_rate=-0.1), "scaling_rule": "linear"},
        f"learning rate -0.1, the reference of workload 'tiny': {RATE}",
    ),
    (
        "noise",
        {"workload": tiny(batch_size=0)},
        f"batch size 0, the reference of workload 'tiny': {WHOLE}",
    ),
    (
        "sweep",
        {"workload": tiny(validation=None), "target": ("accuracy", 0.9)},
        "target accuracy=0.9: workload 'tiny' has no validation set to measure it on; give it one",
    ),
    ("sweep", {"sampling": "shuffle"}, "sampling 'shuffle': expected reshuffle or replacement"),
    (
        "sweep",
        {"scaling_rule": "cubic"},
        "scaling rule 'cubic': expected one of none, linear, sqrt, sde-adam",
    ),
    ("sweep", {"learning_rates": [0]}, f"learning rate 0: {RATE}"),
    ("sweep", {"learning_rates": ["0.1"]}, f"learning rate '0.1': {RATE}"),
    ("sweep", {"learning_rates": [float("nan")]}, f"learning rate nan: {RATE}"),
    (
        "sweep",
        {"learning_rates": 0.1},
        "learning rates 0.1: expected several, such as (0.01, 0.1)",
    ),
    ("sweep", {"learning_rates": []}, "no learning rate was given; give some, such as (0.01, 0.1)"),
    ("sweep", {"seeds": 0}, f"seeds=0: {WHOLE}"),
    ("sweep", {"seeds": [0, 1]}, f"seeds=[0, 1]: {WHOLE}"),
    ("sweep", {"epochs": 1.5}, f"epochs=1.5: {WHOLE}"),
    ("advise", {"epochs": 0}, f"epochs=0: {WHOLE}"),
    ("noise", {"steps": -1}, "steps=-1: expected 0, for the initial weights alone, or more"),
    ("sweep", {"budget": "soon"}, f"budget 'soon': {TIME}"),
    ("sweep", {"budget": 0}, f"budget 0: {TIME}"),
    ("sweep", {"budget": float("nan")}, f"budget nan: {TIME}"),
    ("advise", {"budget": -180}, f"budget -180: {TIME}"),
    ("profile", {"budget": "180"}, f"budget '180': {TIME}"),
    ("check", {"budget": "5 parsecs"}, f"budget '5 parsecs': {TIME}"),
    (
        "advise",
        {"budget": "3m", "trainings": 4},
        "4 trainings and a budget of 180 s: both say how long it may take; give one of the two",
    ),
    (
        "sweep",
        {"target": "accuracy=0.9"},
        "target 'accuracy=0.9': expected a metric and its value, such as (\"accuracy\", 0.97)",
    ),
    (
        "advise",
        {"target": ("accuracy", "high")},
        "target ('accuracy', 'high'): expected a metric and its value, such as (\"accuracy\", "
        "0.97)",
    ),
    (
        "sweep",
        {"target": ("f1", 0.9)},
        "target f1=0.9: workload 'tiny' has no metric 'f1'; it has accuracy, loss",
    ),
    ("sweep", {"target": ("loss", float("nan"))}, "target loss=nan: expected a finite number"),
    ("advise", {"objective": "speed"}, "objective 'speed': expected one of time, samples, quality"),
    (
        "sweep",
        {"settings": {"width": 3}},
        "workload 'tiny' has no setting 'width'; it has none",
    ),
    (
        "sweep",
        {"settings": "width=3"},
        "settings 'width=3': expected names with their values, such as {\"width\": 64}",
    ),
    ("sweep", {"device": "gpu"}, "device 'gpu': expected cpu, cuda or cuda:N"),
    (
        "sweep",
        {"measure": "sharpness"},
        "measure 'sharpness': expected several, such as ('noise_scale',)",
    ),
    (
        "advise",
        {"memory_limit_bytes": "2GB"},
        "memory limit '2GB': expected a number of bytes, at least 1, such as 2 * 2**30",
    ),
    (
        "sweep",
        {"store": "."},
        ". is a folder; a store is a file, for example lab.db",
    ),
]


@pytest.mark.parametrize(
    ("name", "given", "told"), ROWS, ids=[f"{r[0]}: {r[2]}"[:60] for r in ROWS]
)
def test_a_wrong_call_is_told_in_this_line_and_leaves_no_file(
    name: str,
    given: dict[str, Any],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    children: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BatchlabError) as caught:
        getattr(batchlab, name)(**({"workload": tiny()} | given))

    assert str(caught.value) == told
    assert children == []
    assert list(tmp_path.iterdir()) == []


def test_an_argument_that_is_not_there_is_a_type_error_as_in_any_function() -> None:
    with pytest.raises(TypeError, match="no argument 'seed'; did you mean 'seeds'"):
        batchlab.sweep(tiny(), seed=3)  # type: ignore[call-arg]
