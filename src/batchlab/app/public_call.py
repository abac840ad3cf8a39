"""Public calls: how an unknown argument is answered, in Python and on the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from batchlab.errors import ArgumentNameError

P = ParamSpec("P")
T = TypeVar("T")

# Names that other programs use, with batchlab's names.
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
# Arguments that a command does not have, because it finds their values itself.
_FOUND = {
    ("advise", "learning_rates"): (
        "advise finds the learning rate of each batch size itself. The rate that you train with "
        "now belongs in the workload: Workload(learning_rate=...)"
    )
}


def known_name(given: str, known: Iterable[str]) -> str | None:
    """Return the known name that an unknown name probably means, or None."""
    names = list(known)
    elsewhere = _ELSEWHERE.get(given)
    if elsewhere in names:
        return elsewhere
    import difflib  # needed only after a typing error

    return next(iter(difflib.get_close_matches(given, names, n=1)), None)


def found_instead(command: str, given: str) -> str | None:
    """Return the message that a command finds this argument's value itself, or None."""
    return _FOUND.get((command, _ELSEWHERE.get(given, given)))


def public_call(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a public function so that its error for an unknown argument suggests a known name.

    The wrapper restores the caller's random streams, which a workload's own code may draw from.
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
