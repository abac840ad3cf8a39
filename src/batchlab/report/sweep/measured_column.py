"""Measured column: a measurement as a column of a table."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.report.parts.table import Column
from batchlab.words.catalogue import text


def measured_column(measurement: Measurement) -> Column:
    """Its header is the short one where the measurement has one, else the quantity's label."""
    name = measurement.quantity.name
    short = measurement.short
    return Column(key=name, quantity=name, label=None if short is None else text(short))
