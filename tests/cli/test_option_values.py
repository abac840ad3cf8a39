"""What a value on the command line is read as; what is refused stands in wrong_inputs.txt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batchlab.app.argument_values import batch_sizes, learning_rates, n_bytes, setting, target
from batchlab.cli import main as cli
from batchlab.errors import UsageError


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (batch_sizes, "64,256,full", (64, 256, "full")),
        (batch_sizes, " 1 , full ", (1, "full")),
        (learning_rates, "1e-3, 2", (0.001, 2.0)),
        (target, "accuracy=0.97", ("accuracy", 0.97)),
        (setting, "width=64", ("width", "64")),
        (setting, "a = b=c ", ("a", "b=c")),
        (setting, "a=", ("a", "")),
        (n_bytes, "2GiB", 2 * 2**30),
        (n_bytes, "2gb", 2 * 10**9),
        (n_bytes, "1.5 GB", 1_500_000_000),
        (n_bytes, "1TiB", 2**40),
        (n_bytes, "4096B", 4096),
    ],
)
def test_a_value_is_read_as_it_is_meant(
    read: Callable[[str], object], text: str, found: object
) -> None:
    assert read(text) == found


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (batch_sizes, ["1e3", "", "64 256", "9" * 5000]),
        (learning_rates, ["1e999", ""]),
        (target, ["=0.9", "accuracy=", "accuracy=nan", "a=b=1"]),
        (setting, ["=64"]),
        (n_bytes, ["", "2", "2G", "GiB", "-2GiB", "0.5B", "2 PB", "9" * 400]),
    ],
)
def test_another_value_is_refused_with_what_is_possible(
    read: Callable[[str], object], texts: list[str]
) -> None:
    for text in texts:
        with pytest.raises(UsageError, match="expected"):
            read(text)


@pytest.mark.parametrize("command", ["advise", "sweep", "profile", "noise"])
def test_one_is_enough_of_what_is_counted_and_a_noise_needs_no_step(command: str) -> None:
    least = 0 if command == "noise" else 1
    options = cli.batchlab.commands[command].params

    counted = [option for option in options if option.type.name == "N"]

    assert counted
    assert {option.type.convert(str(least), option, None) for option in counted} == {least}


def test_a_default_that_is_no_text_passes_as_it_is() -> None:
    budget = next(each for each in cli.batchlab.commands["advise"].params if each.name == "budget")

    assert budget.type.convert(5.0, None, None) == 5.0
