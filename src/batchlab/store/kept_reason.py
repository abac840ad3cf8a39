"""kept_reason, reason_kept: a reason as the text that a store keeps of it, and back."""

from __future__ import annotations

import msgspec

from batchlab.records.json_document import plain_float
from batchlab.records.reason import One, Reason, Value
from batchlab.store.column import printable
from batchlab.words.document import coded, reason_of
from batchlab.words.reasons import reason_text


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a reason; its text is for who reads the file without batchlab."""

    text: str
    code: str
    values: dict[str, object]


def kept_reason(reason: Reason) -> str:
    """A reason as JSON text, with its code, values and words; surrogates are spelled out."""
    written = _printable(reason)
    kept = _Kept(text=reason_text(written), **coded(written))
    return msgspec.json.encode(kept, enc_hook=plain_float).decode()


def reason_kept(text: str) -> Reason:
    """The reason of a text of `kept_reason`; a text that it did not make, as written."""
    try:
        kept = msgspec.json.decode(text, type=_Kept)
    except msgspec.DecodeError:
        return Reason.as_written(text)
    return reason_of(kept.text, kept.code, kept.values) or Reason.as_written(kept.text)


def _printable(reason: Reason) -> Reason:
    values = tuple((name, _printable_value(value)) for name, value in reason.values)
    return Reason(reason.code, values)


def _printable_value(value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(_printable_one(part) for part in value)
    return _printable_one(value)


def _printable_one(value: One) -> One:
    if isinstance(value, Reason):
        return _printable(value)
    return printable(value) if isinstance(value, str) else value
