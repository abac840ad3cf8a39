"""The readme's table of what a Workload takes has its fields, all of them and no others."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from batchlab.workload.definition import Workload

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_every_field_of_a_workload() -> None:
    table = README.read_text().partition("| field | what to give |")[2].partition("\n\n")[0]

    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]

    assert sorted(named) == sorted(field.name for field in fields(Workload))
