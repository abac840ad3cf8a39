"""LookComparison: whether what differs between beginnings of a training acts on its numbers."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable

from batchlab.launching.first_look import FirstLook
from batchlab.launching.script_help import NAMES, plain_flag

# What tells of the machine differs from run to run, whatever the flags do.
_OF_MACHINE = re.compile(
    r"(?<![a-z])(time|runtime|secs?|seconds?|ms|eta|elapsed|took|dt|wall|speed|throughput|fps|mfu|"
    r"ups|wps|ips|mem|memory|allocated)(?![a-z])|/s$|per_s(ec)?$",
    re.IGNORECASE,
)
# A script prints what it was given, which does not say that it uses it.
_GIVEN = {
    *(plain_flag(name) for names in NAMES.values() for name in names),
    "micro_batch_size",
    "accumulation_steps",
}
_METRIC = "the metric"
_Place = tuple[str, object]
_Numbers = dict[str, dict[_Place, float]]


class LookComparison:
    """Two beginnings with the same arguments, with which others are compared.

    All numbers count that a script prints, for its metric may be rounded to what all runs share.
    What differs between the two by itself tells nothing of a flag.

    Attributes:
        is_repeatable: whether the two tell the very same.
        is_telling: whether anything changes along a training, so that equal numbers mean something.
    """

    def __init__(self, first: FirstLook, again: FirstLook | None) -> None:
        """Compare the two.

        Args:
            first: one of them.
            again: the other; None: there is none, and nothing is taken to differ by itself.
        """
        known = _numbers(first)
        twin = known if again is None else _numbers(again)
        self._steady = {
            name: told for name, told in known.items() if not _differ(name, known, twin)
        }
        self.is_repeatable = len(self._steady) == len(known)
        self.is_telling = any(_changes(told.values()) for told in self._steady.values())

    def acts(self, look: FirstLook) -> bool | None:
        """Whether another beginning differs because of its arguments; None: it can't be told.

        Args:
            look: with one value changed.
        """
        told = _numbers(look)
        if any(_differ(name, self._steady, told) for name in self._steady):
            return True
        return False if self.is_repeatable and self.is_telling else None


def _numbers(look: FirstLook) -> _Numbers:
    """Each number that tells of the training, by its name and where it was told."""
    found: _Numbers = defaultdict(dict)
    for index, (_, value) in enumerate(look.trained):
        found[_METRIC]["value", index] = value  # steps of other batch sizes are other places
    for reading in look.readings:
        place = (reading.step, reading.samples, reading.epoch, reading.epoch_step)
        for name, value in reading.values:
            if _OF_MACHINE.search(name) is None and plain_flag(name) not in _GIVEN:
                found[f"{reading.shape} {name}"].setdefault((name, place), value)
    return found


def _differ(name: str, ones: _Numbers, others: _Numbers) -> bool:
    """Whether a number was told twice for one place, and not the same."""
    one, other = ones[name], others.get(name, {})
    return any(not _is_same(one[place], other[place]) for place in one.keys() & other.keys())


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _changes(values: Iterable[float]) -> bool:
    return len({repr(value) for value in values}) > 1
