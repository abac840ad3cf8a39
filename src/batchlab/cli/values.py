"""Values of the command line: what a flag's text means, refused with what would be possible."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import click

from batchlab.commands.budget import seconds_of
from batchlab.errors import UsageError


def batch_sizes(text: str) -> tuple[int | Literal["full"], ...]:
    """`64,256,full` as batch sizes.

    Raises:
        UsageError: something that is neither a whole number above 0 nor `full`.
    """
    sizes: list[int | Literal["full"]] = []
    for part in _parts(text):
        if part == "full":
            sizes.append("full")
        elif re.fullmatch(r"\d{1,18}", part) and int(part) > 0:
            sizes.append(int(part))
        else:
            raise UsageError(
                f"batch size {part!r}: expected whole numbers of at least 1, or the word full for "
                f"the whole training set, such as 64,256,full"
            )
    return tuple(sizes)


def learning_rates(text: str) -> tuple[float, ...]:
    """`0.01,0.1` as learning rates.

    Raises:
        UsageError: something that is not a finite number above 0.
    """
    rates = []
    for part in _parts(text):
        rate = _number(part)
        if rate is None or rate <= 0:
            raise UsageError(
                f"learning rate {part!r}: expected finite numbers above 0, such as 0.01,0.1"
            )
        rates.append(rate)
    return tuple(rates)


def target(text: str) -> tuple[str, float]:
    """`accuracy=0.97` as a metric and its value.

    Raises:
        UsageError: no such pair.
    """
    metric, equals, value = text.partition("=")
    number = _number(value)
    if not (metric and equals) or number is None:
        raise UsageError(f"target {text!r}: expected METRIC=VALUE, such as accuracy=0.97")
    return metric.strip(), number


def setting(text: str) -> tuple[str, str]:
    """`width=1024` as a name and its value's text.

    Raises:
        UsageError: no such pair.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"setting {text!r}: expected KEY=VALUE, such as width=1024")
    return name.strip(), value.strip()


def _given_with(param: object) -> str:
    """The option that a value was given with."""
    return param.opts[0] if isinstance(param, click.Parameter) else "value"


class WholeNumber(click.ParamType[int]):
    """A flag's type: a whole number of at least `least`."""

    name = "N"

    def __init__(self, least: int) -> None:
        """Refuse what is below `least`."""
        self._least = least

    def convert(self, value: object, param: object, ctx: object) -> int:
        """A text is read; anything else is a default and stays.

        Raises:
            UsageError: no whole number, or one below.
        """
        text = str(value).strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < self._least:
            raise UsageError(
                f"{_given_with(param)} {value}: expected a whole number of at least {self._least}"
            )
        return int(text)


class Number(click.ParamType[float]):
    """A flag's type: a number; the command says which ones it takes."""

    name = "NUMBER"

    def __init__(self, such_as: str) -> None:
        """Show `such_as` to who gives something else."""
        self._such_as = such_as

    def convert(self, value: object, param: object, ctx: object) -> float:
        """A text is read; anything else is a default and stays.

        Raises:
            UsageError: no number.
        """
        try:
            return float(str(value))
        except ValueError:
            raise UsageError(
                f"{_given_with(param)} {value}: expected a number, such as {self._such_as}"
            ) from None


def n_bytes(text: str) -> int:
    """`2GiB` (2^30 bytes each) or `2GB` (10^9 each) in bytes.

    Raises:
        UsageError: something else, or no memory at all.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(?:([kmgt])(i?))?b", text.strip().lower())
    value = 0
    if found:
        base = 1024 if found[3] else 1000
        value = int(float(found[1]) * base ** (" kmgt".index(found[2] or " ")))
    if value <= 0:
        raise UsageError(
            f"memory limit {text!r}: expected a size above 0, such as 2GiB, 1.5GB or 500MB"
        )
    return value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Parsed(click.ParamType[object]):
    """A flag's type made from one of the functions above; `name` is what `--help` shows."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        """Show `name`, read with `parse`."""
        self.name = name
        self._parse = parse

    def get_metavar(self, param: object, ctx: object = None) -> str:
        """The name as it is: in capitals, as click writes it, `full` and `90s` would be refused."""
        return self.name

    def convert(self, value: object, param: object, ctx: object) -> object:
        """A text is read; anything else is a default and stays."""
        return self._parse(value) if isinstance(value, str) else value


BATCH_SIZES = Parsed("64,256,full", batch_sizes)
LEARNING_RATES = Parsed("0.01,0.1", learning_rates)
TARGET = Parsed("METRIC=VALUE", target)
SETTING = Parsed("KEY=VALUE", setting)
BUDGET = Parsed("90s|5m|1h30m", seconds_of)
TRAIN_TIME = Parsed("90s|5m|1h30m", partial(seconds_of, what="train time"))
BYTES = Parsed("2GiB", n_bytes)
