"""What judges the advice is judged at night: nobody who uses batchlab runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

# It compares what the product says of its own worth with the record.
BY_DAY = "test_chance_on_the_record.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name != BY_DAY:
            item.add_marker(pytest.mark.nightly)
