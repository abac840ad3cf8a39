"""Containers: tuples, lists and mappings, nested as one likes, with something in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def is_container(value: object) -> bool:
    """Whether a value is a tuple, list or mapping, and does not move itself to a device."""
    return isinstance(value, (Mapping, tuple, list)) and not callable(getattr(value, "to", None))


def filled(container: Any, function: Callable[[Any], Any]) -> Any:
    """The same kind of container with `function` of each part."""
    if isinstance(container, Mapping):
        return {key: function(part) for key, part in container.items()}
    if isinstance(container, tuple) and hasattr(container, "_fields"):
        return type(container)(*(function(part) for part in container))
    return type(container)(function(part) for part in container)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What is in the containers, in their order, each with its place: `["x"][0]`."""
    if not is_container(value):
        yield place, value
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in parts:
        yield from leaves(part, f"{place}[{key!r}]")


def with_leaves(value: Any, new: Iterator[Any]) -> Any:
    """The same containers around other leaves, taken in their order."""
    if not is_container(value):
        return next(new)
    return filled(value, lambda part: with_leaves(part, new))
