"""What an argument is read as, from a text or from Python; wrong_inputs.txt has what is refused."""

import math

import pytest

from batchlab.app.arguments import read
from batchlab.errors import UsageError


@pytest.mark.parametrize(
    ("name", "values", "refused"),
    [
        (
            "batch_sizes",
            {"64,256,full": (64, 256, "full"), " 1 , full ": (1, "full"), (8, "16"): (8, 16)},
            ["1e3", "", "64 256", "9" * 5000],
        ),
        ("learning_rates", {"1e-3, 2": (0.001, 2.0), (0.5,): (0.5,)}, ["1e999", ""]),
        (
            "target",
            {"accuracy=0.97": ("accuracy", 0.97), ("loss", 1): ("loss", 1.0)},
            ["=0.9", "accuracy=", "accuracy=nan", "a=b=1", ("loss", True)],
        ),
        (
            "settings",
            {("width=64", "a = b=c ", "c="): {"width": "64", "a": "b=c", "c": ""}},
            [("=64",)],
        ),
        (
            "memory_limit_bytes",
            {"2GiB": 2**31, "2gb": 2 * 10**9, "1.5 GB": 15 * 10**8, "4096B": 4096, 2**20: 2**20},
            ["", "2", "2G", "GiB", "-2GiB", "0.5B", "2 PB", "9" * 400],
        ),
        (
            "budget",
            {"90s": 90, "1.5h": 5400, " 1h 2m 3s ": 3723, 0.5: 0.5},
            [
                *("90", "0s", "-5m", "5 days", "nanh", "", "30m1h", "9" * 400, "9" * 400 + "s"),
                *(0.0, -1.0, math.nan, math.inf, True, ("3m",), 10**400),
            ],
        ),
        ("seeds", {"1": 1, 3: 3}, ["0", True, 1.0]),
        ("steps", {"0": 0}, ["-1"]),
        ("metric", {"val_loss": "val_loss"}, ["", 3]),
        ("device", {"cuda:1": "cuda:1"}, ["tpu", 0]),
    ],
)
def test_a_value_is_read_as_it_is_meant_or_refused_with_what_is_possible(name, values, refused):
    assert {value: read("noise", name, value) for value in values} == values
    for value in refused:
        with pytest.raises(UsageError, match="expected"):
            read("noise", name, value)
