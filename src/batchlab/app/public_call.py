"""Public calls: the answer to an argument that they do not have, in Python and on command lines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from batchlab.errors import ArgumentNameError

P = ParamSpec("P")
T = TypeVar("T")

# The names that other programs use.
_ELSEWHERE = {
    "lr": "learning_rates",
    "lrs": "learning_rates",
    "rate": "learning_rates",
    "learning_rate": "learning_rates",
    "bs": "batch_sizes",
    "sizes": "batch_sizes",
    "time": "budget",
    "goal": "target",
    "out": "report",
    "output": "report",
    "db": "store",
    "gpu": "device",
}
# Arguments that nobody can give, because the command finds them itself.
_FOUND = {
    ("advise", "learning_rates"): (
        "advise finds the learning rate of each batch size itself. The rate that you train with "
        "now belongs in the workload: Workload(learning_rate=...)"
    )
}


def known_name(given: str, known: Iterable[str]) -> str | None:
    """Return the name that an unknown one, with underscores, may stand for, or None."""
    names = list(known)
    elsewhere = _ELSEWHERE.get(given)
    if elsewhere in names:
        return elsewhere
    import difflib  # needed only after a typing error

    return next(iter(difflib.get_close_matches(given, names, n=1)), None)


def found_instead(command: str, given: str) -> str | None:
    """Return the message that a command finds this argument itself, or None if it does not."""
    return _FOUND.get((command, _ELSEWHERE.get(given, given)))


def public_call(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a public function so that it answers an unknown argument with the name that was meant.

    The caller's random streams stay as they were, because a workload's own code may draw from them.
    """
    command, names = function.__name__, tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in names:
                raise ArgumentNameError(
                    f"batchlab.{command} has no argument {name!r}{_instead(command, name, names)}"
                )
        from batchlab.random_state import untouched_randomness  # it loads torch

        with untouched_randomness():
            return function(*args, **kwargs)

    return called


def _instead(command: str, given: str, names: tuple[str, ...]) -> str:
    message = found_instead(command, given)
    if message is not None:
        return f". {message}"
    meant = known_name(given, names)
    if meant is not None:
        return f"; did you mean {meant!r}?"
    return f"; it has {', '.join(names)}"
