from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "fit.json"


def write_points(file: Path) -> None:
    """Two seeds on the law with S_min = 1000 and B_crit = 100, one percent apart."""
    lines = [
        f"{size},{factor * 1000 * (1 + 100 / size)}"
        for size in (10, 30, 100, 300, 1000)
        for factor in (0.995, 1.005)
    ]
    file.write_text("\n".join(["batch_size,steps_to_target", *lines, ""]))


def test_a_fit_as_text_names_the_law(do: Any, tmp_path: Path) -> None:
    write_points(tmp_path / "points.csv")

    done = do("fit", "points.csv")
    as_json = do("fit", "points.csv", "--json")

    assert (done.code, done.err) == (0, "")
    assert "B_crit" in done.out
    document = json.loads(as_json.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["source"] == "points.csv"
