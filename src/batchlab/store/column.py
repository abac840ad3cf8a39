"""JsonColumn: a column of a store that holds a record, or a part of one, as JSON text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from batchlab.errors import StoreError
from batchlab.records.json_document import plain_float

T = TypeVar("T")


class UnreadableColumn(Exception):
    """A text that is not what `JsonColumn.encoded` wrote; its message says whose."""


class JsonColumn(Generic[T]):
    """Values of one type as JSON, every float bit for bit, read back strictly.

    Args:
        kind: the type, built of frozen dataclasses, tuples and scalars.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def encoded(self, value: T, what: str) -> str:
        """The JSON text of `value`, seen to read back equal.

        JSON has no NaN or infinity: msgspec writes null for them, which that comparison finds.

        Args:
            value: what is stored.
            what: what it is, for the message.

        Raises:
            StoreError: it holds NaN or infinity, or other types than stated.
        """
        try:
            encoded = msgspec.json.encode(value, enc_hook=plain_float)
            if self._decoder.decode(encoded) == value:
                return encoded.decode()
        except (msgspec.ValidationError, TypeError, UnicodeEncodeError, OverflowError):
            pass
        for name, number in _numbers(msgspec.to_builtins(value, enc_hook=_plain), ""):
            require_finite(number, f"{what}: {name}")
        raise StoreError(
            f"{what} was not stored, for it would not read back as it is: {value!r}; give it the "
            "types that its class states"
        )

    def decoded(self, text: str, what: str) -> T:
        """The value that `encoded` made into `text`.

        Raises:
            UnreadableColumn: `encoded` did not make it, or the text was changed since.
        """
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, TypeError) as error:
            raise UnreadableColumn(what) from error


PAIRS: Final = JsonColumn[tuple[tuple[str, str], ...]](tuple[tuple[str, str], ...])
TEXTS: Final = JsonColumn[tuple[str, ...]](tuple[str, ...])


def require_finite(number: float, what: str) -> None:
    """Refuse NaN and infinity: a number that is not known is None.

    Raises:
        StoreError: which number it is, and what to give.
    """
    if not math.isfinite(number):
        raise StoreError(
            f"{what} is {number}, which a store does not keep; give None for a number that is not "
            "known, where that is possible"
        )


def _plain(value: object) -> object:
    return float(value) if isinstance(value, float) else repr(value)


def _numbers(value: object, name: str) -> Iterator[tuple[str, float]]:
    """Every float inside, with its place."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{name}[{index}]")


def printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a command line that it can't are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """The time as a store writes it: ISO 8601, UTC, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
