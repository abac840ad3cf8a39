"""What of a document is golden: codes and numbers; not prose, times, places and versions."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCUMENTS = Path(__file__).parent / "documents"
# Another kind of processor adds up in another order: noise scales differ by 1e-8 there.
RELATIVE = 1e-6
_COLUMNS, _ROWS = "columns", "rows"

# Where a document is from, when it was made and with what: never the same twice.
_PLACES = {
    *("batchlab", "command_line", "created_at", "device_name", "place", "environment"),
    *("report", "source", "store", "study", "trial_id", "workload_id"),
}
# What a real clock or a real process told; a single trial has the threads that were timed fastest.
_CLOCK = {
    *("eval_s", "peak_bytes", "samples_per_s", "spent_s", "step_s"),
    *("threads", "train_s", "warmup_s", "block_s"),
}


def golden(document: Any, *, timed: bool = False) -> Any:
    """The document without what may differ from run to run or be said in other words.

    A field that is null is as one that is not there. If a real clock was at work its readings are
    left out.
    """
    if isinstance(document, dict):
        if document.keys() == {"text", "code", "values"}:  # a reason without its words
            return {document["code"]: golden(document["values"], timed=timed)}
        return {
            name: golden(value, timed=timed)
            for name, value in document.items()
            if value is not None and not _is_left_out(name, document, timed=timed)
        }
    if isinstance(document, list | tuple):
        return [golden(value, timed=timed) for value in document]
    if isinstance(document, float):
        return float(f"{document:.12g}") if math.isfinite(document) else str(document)
    if isinstance(document, str):
        return document.replace(sys.executable, "python")
    return document


def _is_left_out(name: str, within: dict[str, Any], *, timed: bool) -> bool:
    if name in _PLACES or name == "warnings" or (timed and name in _CLOCK):
        return True
    return name == "reference" and isinstance(within[name], str)  # a workload's file


def differences(found: Any, expected: Any, where: str = "") -> Iterator[str]:
    """Each place where two documents differ: integers and texts at all, others beyond rounding."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in {**expected, **found}:
            if name not in found or name not in expected:
                yield f"{where}.{name}: only {'expected' if name in expected else 'found'}"
            else:
                yield from differences(found[name], expected[name], f"{where}.{name}")
    elif isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            yield f"{where}: {len(found)} entries, expected {len(expected)}"
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            yield from differences(one, other, f"{where}[{number}]")
    elif not _is_alike(found, expected):
        yield f"{where}: {found!r}, expected {expected!r}"


def _is_alike(found: Any, expected: Any) -> bool:
    types = {type(found), type(expected)}
    if types <= {int, float} and float in types:
        return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=1e-12)
    return len(types) == 1 and bool(found == expected)


def as_text(document: Any) -> str:
    """A document as JSON for a diff: a field a line, and of a list of records a record a line."""
    if not isinstance(document, dict):
        return json.dumps(document) + "\n"
    fields = (f"{json.dumps(name)}: {_lines(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"


def read(name: str) -> Any:
    """The golden document of a study, as it was recorded."""
    return _unpacked(json.loads((DOCUMENTS / f"{name}.json").read_text()))


def _lines(value: Any) -> str:
    packed = _packed(value)
    if isinstance(packed, dict) and _ROWS in packed:
        rows = ",\n".join("  " + json.dumps(row) for row in packed[_ROWS])
        return f'{{"{_COLUMNS}": {json.dumps(packed[_COLUMNS])}, "{_ROWS}": [\n{rows}\n]}}'
    if isinstance(packed, list) and packed and isinstance(packed[0], dict | list):
        return "[\n" + ",\n".join("  " + json.dumps(entry) for entry in packed) + "\n]"
    return json.dumps(packed)


def _packed(value: Any) -> Any:
    """A list of records as a table, which names its columns once; a missing field is null."""
    if isinstance(value, dict):
        return {name: _packed(part) for name, part in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) < 3 or not all(isinstance(entry, dict) for entry in value):
        return [_packed(part) for part in value]
    columns = list(dict.fromkeys(name for entry in value for name in entry))
    rows = [[_packed(entry.get(name)) for name in columns] for entry in value]
    return {_COLUMNS: columns, _ROWS: rows}


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(part) for part in value]
    if not isinstance(value, dict):
        return value
    if _ROWS not in value:
        return {name: _unpacked(part) for name, part in value.items()}
    rows = [zip(value[_COLUMNS], row, strict=True) for row in value[_ROWS]]
    return [{name: _unpacked(part) for name, part in row if part is not None} for row in rows]
