"""Argument values: functions that convert a text or a Python value to an argument's value.

For an impossible value, a function raises a UsageError with its own message, or a ValueError or
TypeError, which `arguments.read` replaces by a UsageError that says what is expected.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from batchlab.errors import BatchlabError, UsageError
from batchlab.records.run import PlanName

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile
    from batchlab.runs.cluster import Cluster

PLANS = get_args(PlanName)


def count(value: Any, *, least: int = 1) -> int:
    """Convert a text or a Python or NumPy integer to an int; refuse numbers below `least`."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
            raise ValueError
        number = int(value)
    else:
        number = operator.index(value)
    if isinstance(value, bool) or number < least:
        raise ValueError
    return number


def positive(value: Any) -> float:
    """Convert a text or a number to a float; refuse values that are not finite and above 0."""
    number = float(value)
    if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
        raise ValueError
    return number


_TIME = re.compile(
    r"(?:(?P<hours>\d+(?:\.\d+)?)\s*h)?\s*(?:(?P<minutes>\d+(?:\.\d+)?)\s*m)?\s*"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)\s*s)?"
)
_UNIT_S = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


def seconds(value: Any) -> float:
    """Convert a number or a text such as `90s` or `1h30m` to a duration in seconds, above 0."""
    if not isinstance(value, str):
        return positive(value)
    match = _TIME.fullmatch(value.strip())
    if match is None:
        raise ValueError
    return positive(sum(float(n) * _UNIT_S[unit] for unit, n in match.groupdict().items() if n))


def several(item: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that converts each part of a sequence or comma-separated text by `item`."""

    def read(values: Any) -> tuple[Any, ...]:
        if isinstance(values, str):
            values = [text.strip() for text in values.split(",")]
        items = tuple(map(item, values))
        if not items:
            raise ValueError
        return items

    return read


def choice(*choices: str) -> Callable[[Any], str]:
    """Return a function that returns its argument if it is one of the choices, or refuses it."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return read


def batch_size(value: Any) -> int | Literal["full"]:
    """Convert a value to a batch size, or to "full", which means the whole training set."""
    # Whether the batch size exceeds the training set is checked once the workload is known.
    if isinstance(value, str) and value == "full":
        return "full"
    return count(value)


batch_sizes = several(batch_size)
learning_rates = several(positive)
plans = several(choice(*PLANS))


def text(value: Any) -> str:
    """Return a text, or refuse a value that is blank or no text."""
    if not (isinstance(value, str) and value.strip()):
        raise ValueError
    return value


def pattern(value: Any) -> str:
    """Return the text of a regular expression, or refuse a text that is not one."""
    try:
        re.compile(text(value))
    except re.error as error:
        raise UsageError(f"pattern {value!r} is not a regular expression: {error}") from None
    return str(value)


def target(value: Any) -> tuple[str, float]:
    """Convert a text such as `accuracy=0.97`, or a pair, to (metric, value)."""
    metric, number = value.split("=") if isinstance(value, str) else value
    metric = text(metric).strip()
    if isinstance(number, bool) or not math.isfinite(float(number)):
        raise ValueError
    return metric, float(number)


def settings(value: Any) -> Any:
    """Convert texts such as `width=64` to a dict of settings; return any other value unchanged."""
    if not isinstance(value, tuple):
        return value  # The workload checks the names and values of this mapping later.
    if not all(isinstance(item, str) for item in value):
        raise TypeError
    by_name: dict[str, str] = {}
    for item in value:
        name, equals, setting = (part.strip() for part in item.partition("="))
        if not (name and equals):
            raise UsageError(f"setting {item!r}: expected KEY=VALUE, such as width=1024")
        if name in by_name:
            raise UsageError(
                f"setting {name!r} was given twice, as {by_name[name]} and as {setting}; give it "
                f"once, and another command for the other value"
            )
        by_name[name] = setting
    return by_name


def n_bytes(value: Any) -> int:
    """Convert a number or a text such as `2GiB` (2 × 2^30) or `2GB` (2 × 10^9) to bytes."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(i?)b", value.strip().lower())
        if match is None:
            raise ValueError
        base = 1024 if match[3] else 1000
        value = int(float(match[1]) * base ** (" kmgt".index(match[2] or " ")))
    if not value >= 1:
        raise ValueError
    return int(value)


def device(value: Any) -> str:
    """Return a device's name if it is well formed, even if this machine has no such device."""
    if not re.fullmatch(r"cpu|cuda|cuda:\d+", value):
        raise ValueError
    return str(value)


def cluster(value: Any) -> Cluster:
    """Return a Cluster, or refuse a value of another class."""
    from batchlab.runs.cluster import Cluster

    if not isinstance(value, Cluster):
        raise TypeError
    return value


def measurements(names: Any) -> tuple[str, ...]:
    """Return the distinct names of measurements, or refuse an unknown name."""
    from batchlab.measure.measurements import checked_on_request

    return checked_on_request(names)


def read_profile(source: Any) -> Profile:
    """Return a Profile, which is given as an object or as the path of its JSON file.

    Raises:
        BatchlabError: the file cannot be read, or is not a profile.
    """
    from batchlab.measure.profile import Profile

    if isinstance(source, Profile):
        return source
    try:
        return Profile.from_json(Path(source).read_bytes())
    except OSError as error:
        raise BatchlabError(
            f"profile {source}: it cannot be read ({error.strerror}); make one with batchlab "
            f"profile --json > profile.json"
        ) from error
    except BatchlabError as error:
        raise BatchlabError(f"profile {source}: {error}") from error
