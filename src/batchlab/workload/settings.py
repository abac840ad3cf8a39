"""Settings: checks of the values that a user gave to a workload's keywords.

Each refuses with one line that names the workload, the setting, the value and what is possible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from batchlab.errors import WorkloadError

Choice = TypeVar("Choice")


def chosen(value: str, choices: Mapping[str, Choice], *, setting: str, workload: str) -> Choice:
    """What the choice called `value` stands for.

    Args:
        value: the name that was given.
        choices: name -> what it stands for.
        setting: the keyword that it was given for.
        workload: the workload's name.

    Raises:
        WorkloadError: no choice has that name; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        raise WorkloadError(
            f"{workload}: {setting}={value!r} is not a choice; give one of {', '.join(choices)}"
        )
    return choices[value]


def check_whole(
    value: int, *, setting: str, workload: str, low: int, high: int | None = None
) -> None:
    """Refuse what is not a whole number from `low` to `high` (None: no upper end).

    Raises:
        WorkloadError: it is not; the message says what would be.
    """
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise WorkloadError(
            f"{workload}: {setting}={value!r}; expected a whole number {allowed}, "
            f"such as {setting}={low}"
        )


def check_real(
    value: float, *, setting: str, workload: str, low: float, below: float = math.inf
) -> None:
    """Refuse what is not a finite number x with low <= x < below.

    Raises:
        WorkloadError: it is not; the message says what would be.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares false with everything, so it fails here too.
    if not (is_number and low <= value < below):
        allowed = f"of at least {low}" + ("" if below == math.inf else f" and below {below}")
        raise WorkloadError(
            f"{workload}: {setting}={value!r}; expected a finite number {allowed}, "
            f"such as {setting}={low}"
        )


def check_switch(value: bool, *, setting: str, workload: str) -> None:
    """Refuse what is neither True nor False.

    Raises:
        WorkloadError: it is neither.
    """
    if not isinstance(value, bool):
        raise WorkloadError(f"{workload}: {setting}={value!r}; expected true or false")
