"""ShownInNotebook: records that a notebook shows, by a view which the records themselves know not.

The view belongs to the report, which reads records. So the way is turned round: the package's
surface, above all rooms, gives the view here, and a record asks for it when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable

_views: list[Callable[[object], str]] = []


def show_with(view: Callable[[object], str]) -> None:
    """From now on a notebook shows records by `view`: record -> a piece of HTML."""
    _views[:] = [view]


class ShownInNotebook:
    """A record that a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """The record as a notebook shows it; None, so that it shows the `repr`, without a view."""
        return _views[0](self) if _views else None
