"""The JSON Schemas of `--json`: `python -m scripts.schemas` writes them to docs/schema."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from batchlab.advice.advice import SHOWN_AS, Advice, Source
from batchlab.measure.finding import Accumulation
from batchlab.measure.noise import Noise
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Reason
from batchlab.report.short_reports import Comparison, FitDocument
from batchlab.report.sweep_page import SweepDocument
from batchlab.words.document import is_record, json_text, shown_names

FOLDER = Path(__file__).parents[1] / "docs" / "schema"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REASON = msgspec.defstruct(
    "Reason",
    [("text", str), ("code", str), ("values", dict[str, Any])],
    namespace={"__doc__": "A reason in words, and as its code with the values in the words."},
)
_ADVICE = "An advice; what its fields mean is said at `batchlab.Advice`. `trials` are its `tried`."


def schema_text(kind: type) -> str:
    """Return the JSON Schema of the documents that `document_text` makes of a class of records."""
    schema = {"$schema": _DIALECT} | msgspec.json.schema(_as_shown(kind))
    return json_text(schema) + "\n"


def advice_schema() -> str:
    """Return the JSON Schema of `advice_document`: fields of `Source`, then fields of `Advice`."""
    shown = get_type_hints(Advice)
    del shown["kept_in"]
    fields = [(SHOWN_AS.get(name, name), kind) for name, kind in shown.items()]
    document = msgspec.defstruct(
        "Advice", [*get_type_hints(Source).items(), *fields], namespace={"__doc__": _ADVICE}
    )
    return schema_text(document)


def schemas() -> dict[str, str]:
    """Return the schema of each command's document, by the command's name."""
    return {
        "advise": advice_schema(),
        "check": schema_text(Accumulation),
        "compare": schema_text(Comparison),
        "fit": schema_text(FitDocument),
        "noise": schema_text(Noise),
        "profile": schema_text(Profile),
        "sweep": schema_text(SweepDocument),
    }


def _hints(kind: type) -> dict[str, Any]:
    """Return, by name, the types of the fields and properties that a class of records shows."""
    hints = get_type_hints(kind)
    shown = {}
    for name in shown_names(kind):
        if name in getattr(kind, "by_name", ()):
            shown[name] = _object_of(hints[name])
        elif name in hints:
            shown[name] = hints[name]
        else:
            value = getattr(kind, name)  # a property, cached or not
            shown[name] = get_type_hints(getattr(value, "func", None) or value.fget)["return"]
    return shown


def _object_of(hint: Any) -> Any:
    """Convert the type of a `by_name` field, a tuple of pairs, to the type of the shown dict."""
    pair = get_args(hint)[0]
    *_, value = get_args(pair) or get_type_hints(pair).values()
    return dict[str, value]  # type: ignore[valid-type]


@lru_cache
def _as_shown(hint: Any) -> Any:
    """Replace each record class in a type by a class with only the shown fields for the schema."""
    arguments = get_args(hint)
    if arguments:
        shown = tuple(map(_as_shown, arguments))
        if shown == arguments:
            return hint
        origin = get_origin(hint)
        if origin is UnionType:
            origin = Union
        return origin[shown]
    if hint is Reason:
        return _REASON
    if not is_record(hint):
        return hint
    fields = [(name, _as_shown(of_field)) for name, of_field in _hints(hint).items()]
    if fields == list(get_type_hints(hint).items()):
        return hint
    doc = str(hint.__doc__)
    if list(_hints(hint)) != list(get_type_hints(hint)):  # "Attributes" lists hidden fields
        doc = doc.partition("\n\n    Attributes:")[0]
    return msgspec.defstruct(hint.__name__, fields, namespace={"__doc__": doc}, kw_only=True)


def main() -> None:
    """Write all schemas."""
    for name, text in schemas().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
