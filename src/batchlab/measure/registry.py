"""The registry of measurements: every row, and what is measured at a step, for any process."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache, partial

import cloudpickle

import batchlab.measure.rows as _ROWS
from batchlab.errors import UsageError
from batchlab.records.measurement import AtStep, Measurement, Moment
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


def on_request() -> tuple[str, ...]:
    """The names of the measurements that are taken only where they are asked for."""
    return tuple(name for name, row in measurement_rows().items() if row.on_request)


def checked_on_request(names: Collection[str]) -> tuple[str, ...]:
    """The names without repetitions, in the order of the rows.

    Raises:
        UsageError: one of them is none of `on_request`.
    """
    known = on_request()
    if isinstance(names, str):
        raise UsageError(f"measure {names!r}: expected several, such as ({known[0]!r},)")
    for name in names:
        if name not in known:
            raise UsageError(f"measure {name!r}: expected one of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def measured_at_steps(asked: Collection[str] = ()) -> dict[str, AtStep]:
    """How to measure a model at a step, by the name of the quantity.

    Args:
        asked: which of those on request to take too.
    """
    found: dict[str, AtStep] = {}
    for name, row in measurement_rows().items():
        if row.at_step is not None and not row.on_request:
            found[name] = partial(_after_a_step, row.at_step)
        elif row.at_step is not None and name in asked:
            found[name] = partial(_where_all_splits_are, row.at_step)
    return found


def _after_a_step(at_step: AtStep, moment: Moment) -> float | None:
    return at_step(moment) if moment.step > 0 else None


def _where_all_splits_are(at_step: AtStep, moment: Moment) -> float | None:
    if not moment.has_all_splits:
        return None
    try:
        return at_step(moment)
    except Exception:
        # A training does not end for what only looks at it: a model that diverges, that cannot be
        # differentiated twice, or memory that was enough for its steps alone.
        return None


def packed_at_steps(asked: Collection[str] = ()) -> bytes:
    """`measured_at_steps` for a child process, which unpacks it with `cloudpickle.loads`.

    The functions travel by value: a child looks for rows in the package's own folder alone, and
    would not find one of a folder that was added here.
    """
    modules = [row_module(_ROWS, name) for name in row_names(_ROWS)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        packed: bytes = cloudpickle.dumps(measured_at_steps(asked))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return packed
