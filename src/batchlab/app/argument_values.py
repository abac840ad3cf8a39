"""Argument values: how texts are converted, and how values given in Python are checked."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from batchlab.errors import BatchlabError, BatchSizeError, UsageError
from batchlab.records.run import PlanName

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile

PLANS = get_args(PlanName)

# ---- from a text


def batch_sizes(text: str) -> tuple[int | Literal["full"], ...]:
    """Return the batch sizes of a text such as `64,256,full`."""
    sizes: list[int | Literal["full"]] = []
    for item in split(text):
        if item == "full":
            sizes.append("full")
        elif re.fullmatch(r"\d{1,18}", item) and int(item) > 0:
            sizes.append(int(item))
        else:
            raise UsageError(
                f"batch size {item!r}: expected whole numbers of at least 1, or the word full for "
                f"the whole training set, such as 64,256,full"
            )
    return tuple(sizes)


def learning_rates(text: str) -> tuple[float, ...]:
    """Return the learning rates of a text such as `0.01,0.1`."""
    rates = []
    for item in split(text):
        rate = _finite(item)
        if rate is None or rate <= 0:
            raise UsageError(
                f"learning rate {item!r}: expected finite numbers above 0, such as 0.01,0.1"
            )
        rates.append(rate)
    return tuple(rates)


def target(text: str) -> tuple[str, float]:
    """Return the metric and the value of a text such as `accuracy=0.97`."""
    metric, equals, value = text.partition("=")
    number = _finite(value)
    if not (metric and equals) or number is None:
        raise UsageError(f"target {text!r}: expected METRIC=VALUE, such as accuracy=0.97")
    return metric.strip(), number


def setting(text: str) -> tuple[str, str]:
    """Return the name and the value's text of a text such as `width=1024`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"setting {text!r}: expected KEY=VALUE, such as width=1024")
    return name.strip(), value.strip()


def n_bytes(text: str) -> int:
    """Return the bytes of a text such as `2GiB` (2^30 bytes each) or `2GB` (10^9 each)."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(?:([kmgt])(i?))?b", text.strip().lower())
    value = 0
    if match:
        base = 1024 if match[3] else 1000
        value = int(float(match[1]) * base ** (" kmgt".index(match[2] or " ")))
    if value <= 0:
        raise UsageError(
            f"memory limit {text!r}: expected a size above 0, such as 2GiB, 1.5GB or 500MB"
        )
    return value


def split(text: str) -> tuple[str, ...]:
    """Return the items between the commas of a text."""
    return tuple(item.strip() for item in text.split(","))


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# ---- from Python


def checked_choice(name: str, choices: tuple[str, ...], value: str) -> str:
    """Return one of the choices, or refuse the value."""
    if value in choices:
        return value
    expected = " or ".join(choices)
    if len(choices) > 2:
        expected = f"one of {', '.join(choices)}"
    raise UsageError(f"{name} {value!r}: expected {expected}")


def checked_count(name: str, value: object) -> int:
    """Return a whole number of at least 1, or refuse the value."""
    number = as_whole(value)
    if number is None or number < 1:
        raise UsageError(f"{name}={value}: expected a whole number of at least 1")
    return number


def as_whole(value: object) -> int | None:
    """Return a whole number, also one of NumPy, as an int; None for anything else, as for bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def checked_micro_batch_size(value: object) -> int:
    """Return a whole number of at least 1, or refuse the value."""
    size = as_whole(value)
    if size is None or size < 1:
        raise BatchSizeError(f"micro-batch size {value!r}: expected a whole number of at least 1")
    return size


def checked_rate(value: Any, *, whose: str = "") -> float:
    """Return a learning rate, or refuse what is not a finite number above 0."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if isinstance(value, (str, bool)) or not (math.isfinite(rate) and rate > 0):
        raise UsageError(
            f"learning rate {value!r}{whose}: expected a finite number above 0, such as 0.01"
        )
    return rate


def _batch_size(value: object) -> int | Literal["full"]:
    if isinstance(value, str) and value == "full":
        return "full"
    size = as_whole(value)
    if size is None:
        raise BatchSizeError(f"batch size {value!r}: expected a whole number, or 'full'")
    return size


def _several(
    name: str, example: str, check: Callable[[Any], Any], error: type[UsageError] = UsageError
) -> Callable[[object], tuple[Any, ...]]:
    """Return a function that checks one or more values, each by `check`."""

    def checked(values: object) -> tuple[Any, ...]:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise error(f"{name}s {values!r}: expected several, such as {example}")
        items = tuple(map(check, values))
        if not items:
            raise error(f"no {name} was given; give some, such as {example}")
        return items

    return checked


# That a batch size is at most N is checked later, because N depends on the subject.
checked_batch_sizes = _several("batch size", "(64, 256, 'full')", _batch_size, BatchSizeError)
checked_rates = _several("learning rate", "(0.01, 0.1)", checked_rate)
checked_plans = _several("plan", f"{PLANS}", partial(checked_choice, "plan", PLANS))


def checked_margin(value: float) -> float:
    """Return a finite number above 0, or refuse the value."""
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"margin {value:g}: expected more than 0, in the unit of the metric that counts, such "
            f"as 0.002 of an accuracy"
        )
    return value


def checked_device(value: str) -> str:
    """Return the name of a device, which this machine need not have, or refuse the value."""
    kind, _, index = str(value).partition(":")
    if value not in ("cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise UsageError(f"device {value!r}: expected cpu, cuda or cuda:N")
    return value


def checked_cluster(value: object) -> object:
    """Return a cluster, or refuse anything else."""
    from batchlab.runs.cluster import Cluster

    if not isinstance(value, Cluster):
        raise UsageError(
            f"cluster {value!r}: expected a batchlab.Cluster, such as Cluster(address='auto')"
        )
    return value


def checked_memory_limit(value: object) -> object:
    """Return a number of bytes, or refuse the value."""
    if not (isinstance(value, int | float) and value >= 1):
        raise UsageError(
            f"memory limit {value!r}: expected a number of bytes, at least 1, such as 2 * 2**30"
        )
    return value


def checked_measurements(names: Collection[str]) -> tuple[str, ...]:
    """Return the distinct names of measurements, or refuse an unknown name."""
    from batchlab.measure.measurements import checked_on_request

    return checked_on_request(names)


def read_profile(source: Profile | str | Path) -> Profile:
    """Return a given profile, or read it from a file.

    Raises:
        BatchlabError: the file cannot be read, or is not a profile.
    """
    from batchlab.measure.profile import Profile

    if isinstance(source, Profile):
        return source
    path = Path(source)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BatchlabError(
            f"profile {path}: it cannot be read ({error.strerror}); make one with batchlab profile "
            f"--json > profile.json"
        ) from error
    try:
        return Profile.from_json(text)
    except BatchlabError as error:
        raise BatchlabError(f"profile {path}: {error}") from error
