"""Unknown fields: what a later version wrote into a payload stays where we write it again."""

from __future__ import annotations

import msgspec


def with_unknown_fields(text: str, before: str) -> str:
    """A payload with the fields that only the one before it has.

    A record is encoded with all its fields, so a name that is missing in it is unknown to us.

    Args:
        text: the payload as JSON, as this version writes it.
        before: what it replaces; JSON, or what another program made of it.
    """
    try:
        old = msgspec.json.decode(before)
    except msgspec.DecodeError:
        return text
    new = msgspec.json.decode(text)
    kept = _kept(new, old)
    return text if kept == new else msgspec.json.encode(kept).decode()


def _kept(new: object, old: object) -> object:
    if isinstance(new, dict) and isinstance(old, dict):
        known = {key: _kept(new[key], old.get(key)) for key in new}
        return known | {key: old[key] for key in old if key not in new}
    if isinstance(new, list) and isinstance(old, list):
        # An item has no name: it is the same one where all that we know of it is the same.
        pairs = zip(new, old, strict=False)
        kept = [_kept(item, other) if _agrees(item, other) else item for item, other in pairs]
        return kept + new[len(kept) :]
    return new


def _agrees(new: object, old: object) -> bool:
    if isinstance(new, dict) and isinstance(old, dict):
        return all(key in old and _agrees(new[key], old[key]) for key in new)
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(_agrees, new, old))
    return new == old
