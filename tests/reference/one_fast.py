"""Cases of which one runs at every commit and the others with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_fast(names: Iterable[str], fast: str) -> list[Any]:
    """The parameters `names`; all but `fast` are marked slow."""
    found = list(names)
    assert fast in found
    return [pytest.param(name, marks=() if name == fast else pytest.mark.slow) for name in found]
