"""The registry of measurements: every row, and what is measured at a step, for any process."""

from __future__ import annotations

from functools import lru_cache

import cloudpickle

import batchlab.measurements.rows as _ROWS
from batchlab.records.measurement import AtStep, Measurement
from batchlab.records.quantities import QUANTITIES
from batchlab.registry import row_module, row_names


def measurement_rows() -> dict[str, Measurement]:
    """Every measurement by the name of its quantity; listing them loads no torch.

    In the order of the records' quantities; those that bring their own come last.
    """
    return dict(_rows_of(tuple(_ROWS.__path__)))


# A report asks for every number that it writes: the folders are read once.
@lru_cache
def _rows_of(folders: tuple[str, ...]) -> dict[str, Measurement]:
    del folders
    order = [quantity.name for quantity in QUANTITIES]
    rows = [row_module(_ROWS, name).MEASUREMENT for name in row_names(_ROWS)]
    found = {row.quantity.name: row for row in rows}
    return {name: found[name] for name in (*order, *found) if name in found}


def measured_at_steps() -> dict[str, AtStep]:
    """How to measure a model at a step, by the name of the quantity."""
    rows = measurement_rows()
    return {name: row.at_step for name, row in rows.items() if row.at_step is not None}


def packed_at_steps() -> bytes:
    """`measured_at_steps` for a child process, which unpacks it with `cloudpickle.loads`.

    The functions travel by value: a child looks for rows in the package's own folder alone, and
    would not find one of a folder that was added here.
    """
    modules = [row_module(_ROWS, name) for name in row_names(_ROWS)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        packed: bytes = cloudpickle.dumps(measured_at_steps())
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return packed
