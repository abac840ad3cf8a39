"""Quantity text: a measured number as people read it, with the unit of its quantity."""

from __future__ import annotations

from batchlab.measure.measurements import measurement_rows
from batchlab.records.quantities import QUANTITIES, Quantity, quantity
from batchlab.words.catalogue import number_text, text
from batchlab.words.numbers import form_of

_NAMED = frozenset(row.name for row in QUANTITIES)


def shown_quantity(name: str) -> Quantity:
    """The quantity called `name`: one of the records, or of a measurement that brings its own.

    A user's own metric has neither unit nor direction.
    """
    if name not in _NAMED and name in (rows := measurement_rows()):
        return rows[name].quantity
    return quantity(name)


def quantity_text(name: str, value: float | str | None) -> str:
    """`value` of the quantity called `name` in three or four significant digits, with its unit.

    Args:
        name: as `shown_quantity` takes it.
        value: in that quantity's unit; None: not known. Words are returned as they are.
    """
    return (
        value
        if isinstance(value, str)
        else number_text(value, form_of(name, shown_quantity(name).unit))
    )


def range_text(name: str, low: float, high: float) -> str:
    """The range of a quantity over seeds, "0.961 to 0.972"; one value where both read the same."""
    from_, to = quantity_text(name, low), quantity_text(name, high)
    return from_ if from_ == to else text("{low} to {high}", low=from_, high=to)


def label_text(name: str) -> str:
    """The words for a quantity on an axis or over a column; a user's metric keeps its name."""
    found = shown_quantity(name)
    return text(found.label) if name in _NAMED or found.label != name else name


def axis_text(name: str) -> str:
    """The label with its unit, as an axis shows it."""
    unit = shown_quantity(name).unit
    if not unit:
        return label_text(name)
    return text("{label} ({unit})", label=label_text(name), unit=text(unit))
