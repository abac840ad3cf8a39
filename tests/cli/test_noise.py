from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.user_file import write_user_file

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "noise.json"


@pytest.mark.slow
def test_the_command_prints_a_table_or_one_document(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    shown = do("noise", "mine.py:workload", "--steps", "16")
    printed = do("noise", "mine.py:workload", "--steps", "16", "--json", "--report", "n.html")

    assert (shown.code, printed.code) == (0, 0)
    assert "In a batch of 20," in " ".join(shown.out.split())
    document = json.loads(printed.out)
    assert document["report"] == "n.html"
    assert "Gradient noise of mine" in Path("n.html").read_text()
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert [point["step"] for point in document["along"]] == [0, 1, 2, 4, 8, 16]
    assert document["gradient_noise_scale"] == document["along"][-1]["gradient_noise_scale"]
