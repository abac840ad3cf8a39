"""Prices: what an hour of a machine costs, by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from batchlab.errors import UsageError

Prices = Mapping[str, float]  # per hour, by what is in the name of a machine; "": of any other
_EXPECTED = (
    "expected the price of an hour, above 0, such as 2.5/h, or H100=2.5/h for machines of that name"
)


def read_price(given: str) -> tuple[str, float]:
    """`2.5/h`, or `H100=2.5/h` for the machines that have this in their name.

    Raises:
        UsageError: something else, or a price that is not above 0.
    """
    name, named, price = given.rpartition("=")
    number = price.strip().removesuffix("h").rstrip().removesuffix("/")
    try:
        is_price = price.strip().endswith("/h") and (name.strip() or not named)
        per_h = float(number) if is_price else math.nan
    except ValueError:
        per_h = math.nan
    return name.strip(), _checked(per_h, given)


def checked_prices(given: float | Mapping[str, float]) -> Prices:
    """Prices as they are given to Python, or as they were read.

    Raises:
        UsageError: a price that is no number above 0, or two names that differ in case alone.
    """
    named = given if isinstance(given, Mapping) else {"": given}
    found = {
        str(name).strip(): _checked(price, f"{name}={price}" if name else price)
        for name, price in named.items()
    }
    if len({name.casefold() for name in found}) < len(named):
        raise UsageError(
            f"prices of {', '.join(map(repr, named))}: two are of the same name; give each once"
        )
    return found


def _checked(per_h: object, given: object) -> float:
    try:
        found = float(per_h) if isinstance(per_h, Real) else math.nan
    except OverflowError:
        found = math.nan
    if isinstance(per_h, bool) or not 0 < found < math.inf:
        raise UsageError(f"price {given}: {_EXPECTED}")
    return found


def price_at(place: str, prices: Prices) -> float | None:
    """The price of machines of this name, by the longest that fits; None: it has none."""
    fits = [name for name in prices if is_of(name, place)]
    return prices[max(fits, key=len)] if fits else None


def is_of(name: str, place: str) -> bool:
    """Whether a price's name is in that of a machine."""
    return name.casefold() in place.casefold()
