"""Public calls: what is told of an argument that they do not have, here and on their lines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from batchlab.errors import ArgumentNameError

P = ParamSpec("P")
T = TypeVar("T")

# What other programs call it.
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
# What a command finds itself, so that nobody can give it.
_FOUND = {
    ("advise", "learning_rates"): (
        "advise finds the learning rate of each batch size itself. The rate that you train with "
        "now belongs in the workload: Workload(learning_rate=...)"
    )
}


def known_name(given: str, known: Iterable[str]) -> str | None:
    """The name that an unknown one, with underscores, may stand for; None: none does."""
    names = list(known)
    elsewhere = _ELSEWHERE.get(given)
    if elsewhere in names:
        return elsewhere
    import difflib  # only for who has mistyped something

    return next(iter(difflib.get_close_matches(given, names, n=1)), None)


def found_instead(command: str, given: str) -> str | None:
    """That a command finds itself what is given; None: it does not."""
    return _FOUND.get((command, _ELSEWHERE.get(given, given)))


def public_call(function: Callable[P, T]) -> Callable[P, T]:
    """A public function, telling who gives it an argument that it does not have what was meant.

    The caller's random streams go on as if nothing had been drawn: a workload's own code may.
    """
    command, names = function.__name__, tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        for given in kwargs:
            if given not in names:
                raise ArgumentNameError(
                    f"batchlab.{command} has no argument {given!r}{_instead(command, given, names)}"
                )
        from batchlab.random_state import untouched_randomness  # it loads torch

        with untouched_randomness():
            return function(*args, **kwargs)

    return called


def _instead(command: str, given: str, names: tuple[str, ...]) -> str:
    found = found_instead(command, given)
    if found is not None:
        return f". {found}"
    meant = known_name(given, names)
    return f"; did you mean {meant!r}?" if meant else f"; it has {', '.join(names)}"
