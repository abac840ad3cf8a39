"""What a value on the command line is read as; what is refused stands in wrong_inputs.txt."""

from __future__ import annotations

from typing import Any

import pytest

from batchlab.app.argument_values import batch_sizes, learning_rates, n_bytes, setting, target
from batchlab.cli import main as cli
from batchlab.errors import UsageError


@pytest.mark.parametrize(
    ("read", "found", "refused"),
    [
        (
            batch_sizes,
            {"64,256,full": (64, 256, "full"), " 1 , full ": (1, "full")},
            ["1e3", "", "64 256", "9" * 5000],
        ),
        (learning_rates, {"1e-3, 2": (0.001, 2.0)}, ["1e999", ""]),
        (
            target,
            {"accuracy=0.97": ("accuracy", 0.97)},
            ["=0.9", "accuracy=", "accuracy=nan", "a=b=1"],
        ),
        (
            setting,
            {"width=64": ("width", "64"), "a = b=c ": ("a", "b=c"), "a=": ("a", "")},
            ["=64"],
        ),
        (
            n_bytes,
            {"2GiB": 2**31, "2gb": 2 * 10**9, "1.5 GB": 15 * 10**8, "1TiB": 2**40, "4096B": 4096},
            ["", "2", "2G", "GiB", "-2GiB", "0.5B", "2 PB", "9" * 400],
        ),
    ],
)
def test_a_value_is_read_as_it_is_meant_or_refused_with_what_is_possible(
    read: Any, found: dict[str, object], refused: list[str]
) -> None:
    assert {text: read(text) for text in found} == found
    for text in refused:
        with pytest.raises(UsageError, match="expected"):
            read(text)


@pytest.mark.parametrize("command", ["advise", "sweep", "profile", "noise"])
def test_one_is_enough_of_what_is_counted_and_a_noise_needs_no_step(command: str) -> None:
    least = 0 if command == "noise" else 1
    options = cli.batchlab.commands[command].params

    counted = [option for option in options if option.type.name == "N"]

    assert counted
    assert {option.type.convert(str(least), option, None) for option in counted} == {least}
    # A default that is no text passes as it is.
    (budget,) = (each for each in options if each.name == "budget")
    assert budget.type.convert(5.0, None, None) == 5.0
